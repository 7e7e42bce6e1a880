//! Reads `x-forwarded-client-cert`, the header in which an Envoy tells the application whose certificate it verified.
//!
//! The value is a list of elements divided by commas, one for each proxy that a request passed; an element is a list of
//! `key=value` pairs divided by semicolons. A value that contains one of these signs is quoted, with `\"` for a quote.

use thiserror::Error;

/// What one proxy said about the certificates of one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// URI names of the certificate that the proxy itself showed (`By`).
    pub by: Vec<String>,
    /// URI names of the client's certificate (`URI`).
    pub uri: Vec<String>,
    /// Hexadecimal SHA-256 of the client's certificate (`Hash`).
    pub hash: Option<String>,
    /// Subject of the client's certificate (`Subject`); empty for a workload certificate.
    pub subject: Option<String>,
}

/// Why a header could not be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum XfccError {
    /// A quote was opened and not closed.
    #[error("a quoted value does not end")]
    UnterminatedQuote,
    /// A pair has no `=`.
    #[error("`{0}` is not a key=value pair")]
    NotAPair(String),
}

/// Parses the whole header. The last element is about the peer that connected to the proxy beside the application.
pub fn parse(header: &str) -> Result<Vec<Element>, XfccError> {
    let elements = split(header, ',')?;
    elements.into_iter().filter(|element| !element.trim().is_empty()).map(parse_element).collect()
}

fn parse_element(text: &str) -> Result<Element, XfccError> {
    let mut element = Element::default();
    for pair in split(text, ';')?.into_iter().filter(|pair| !pair.trim().is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| XfccError::NotAPair(pair.trim().to_owned()))?;
        let value = unquote(value.trim());
        match key.trim().to_ascii_lowercase().as_str() {
            "by" => element.by.push(value),
            "uri" => element.uri.push(value),
            "hash" => element.hash = Some(value),
            "subject" => element.subject = Some(value),
            _ => {}
        }
    }
    Ok(element)
}

/// Splits at a separator that stands outside quotes.
fn split(text: &str, separator: char) -> Result<Vec<&str>, XfccError> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (index, sign) in text.char_indices() {
        match sign {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if sign == separator && !quoted => {
                parts.push(&text[start..index]);
                start = index + sign.len_utf8();
            }
            _ => {}
        }
    }
    if quoted {
        return Err(XfccError::UnterminatedQuote);
    }
    parts.push(&text[start..]);
    Ok(parts)
}

fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut plain = String::with_capacity(inner.len());
    let mut escaped = false;
    for sign in inner.chars() {
        if sign == '\\' && !escaped {
            escaped = true;
        } else {
            plain.push(sign);
            escaped = false;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_header_as_istio_writes_it() {
        let header = "By=spiffe://cluster.local/ns/bookinfo/sa/bookinfo-reviews;Hash=ab12;Subject=\"\";\
                      URI=spiffe://cluster.local/ns/bookinfo/sa/bookinfo-productpage";
        let elements = parse(header).unwrap();
        assert_eq!(elements.len(), 1);
        assert_eq!(elements[0].by, ["spiffe://cluster.local/ns/bookinfo/sa/bookinfo-reviews"]);
        assert_eq!(elements[0].uri, ["spiffe://cluster.local/ns/bookinfo/sa/bookinfo-productpage"]);
        assert_eq!(elements[0].subject.as_deref(), Some(""));
    }

    #[test]
    fn separators_inside_quotes_divide_nothing() {
        let elements = parse(r#"Subject="CN=a,O=b;c\"d";uri=spiffe://x, By=spiffe://y"#).unwrap();
        assert_eq!(elements.len(), 2);
        assert_eq!(elements[0].subject.as_deref(), Some(r#"CN=a,O=b;c"d"#));
        assert_eq!(elements[1].by, ["spiffe://y"]);
    }

    #[test]
    fn broken_headers_are_refused_with_the_reason() {
        assert_eq!(parse("Subject=\"never ends"), Err(XfccError::UnterminatedQuote));
        assert_eq!(parse("By=x;nonsense"), Err(XfccError::NotAPair("nonsense".to_owned())));
        assert_eq!(parse(""), Ok(Vec::new()));
    }

    fn render(element: &Element) -> String {
        let quote = |value: &str| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
        let mut pairs: Vec<String> = element.by.iter().map(|by| format!("By={}", quote(by))).collect();
        pairs.extend(element.hash.iter().map(|hash| format!("Hash={}", quote(hash))));
        pairs.extend(element.subject.iter().map(|subject| format!("Subject={}", quote(subject))));
        pairs.extend(element.uri.iter().map(|uri| format!("URI={}", quote(uri))));
        pairs.join(";")
    }

    fn element() -> impl Strategy<Value = Element> {
        let names = || proptest::collection::vec("[ -~]{0,30}", 1..3);
        (names(), names(), proptest::option::of("[0-9a-f]{1,64}"), proptest::option::of("[ -~]{0,30}"))
            .prop_map(|(by, uri, hash, subject)| Element { by, uri, hash, subject })
    }

    proptest! {
        #[test]
        fn what_is_written_quoted_reads_back_the_same(elements in proptest::collection::vec(element(), 1..4)) {
            let header = elements.iter().map(render).collect::<Vec<_>>().join(",");
            prop_assert_eq!(parse(&header), Ok(elements));
        }

        #[test]
        fn no_input_panics(header in "\\PC*") {
            let _ = parse(&header);
        }
    }
}
