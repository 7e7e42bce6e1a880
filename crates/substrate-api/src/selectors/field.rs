//! Field selectors.

use std::fmt;

use serde_json::Value;

use super::{SelectorError, error};

#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldRequirement {
    path: String,
    value: String,
    equal: bool,
}

/// A conjunction of `path=value` and `path!=value` over any dotted path of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    /// Parses `metadata.name=x,status.phase!=Running`; `\,`, `\=` and `\\` are literal characters of a value.
    pub fn parse(text: &str) -> Result<FieldSelector, SelectorError> {
        let mut requirements = Vec::new();
        for part in split_unescaped(text).into_iter().filter(|part| !part.is_empty()) {
            requirements.push(parse_field_requirement(part, text)?);
        }
        Ok(FieldSelector { requirements })
    }

    /// Whether every requirement holds; a missing field counts as the empty string.
    pub fn matches(&self, object: &Value) -> bool {
        self.requirements
            .iter()
            .all(|requirement| (field_text(object, &requirement.path) == requirement.value) == requirement.equal)
    }

    /// True when nothing is required.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The value that `path` must equal, when the selector says so: lets a list of one name become a get.
    pub fn required(&self, path: &str) -> Option<&str> {
        self.requirements.iter().find(|r| r.equal && r.path == path).map(|r| r.value.as_str())
    }

    /// The paths that are compared, so that a server can refuse those it does not support for a kind.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.requirements.iter().map(|requirement| requirement.path.as_str())
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, FieldRequirement { path, value, equal }) in self.requirements.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let sign = if *equal { "=" } else { "!=" };
            let value = value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
            write!(formatter, "{comma}{path}{sign}{value}")?;
        }
        Ok(())
    }
}

fn split_unescaped(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (index, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn parse_field_requirement(part: &str, whole: &str) -> Result<FieldRequirement, SelectorError> {
    let understood = part.find(['=', '!']).and_then(|at| {
        let (path, rest) = part.split_at(at);
        let (equal, value) = match rest {
            _ if rest.starts_with("!=") => (false, &rest[2..]),
            _ if rest.starts_with("==") => (true, &rest[2..]),
            _ if rest.starts_with('=') => (true, &rest[1..]),
            _ => return None,
        };
        (!path.is_empty()).then(|| (path.to_owned(), equal, value))
    });
    let Some((path, equal, value)) = understood else {
        return Err(error(format!("invalid selector: '{whole}'; can't understand '{part}'")));
    };
    Ok(FieldRequirement { path, equal, value: unescape(value)? })
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some(next @ ('\\' | ',' | '=')) => plain.push(next),
                other => {
                    return Err(error(format!(
                        "invalid field selector: invalid escape sequence: \\{}",
                        other.map(String::from).unwrap_or_default()
                    )));
                }
            },
            '=' | ',' => {
                return Err(error(format!("invalid field selector: unescaped character in value: {character}")));
            }
            _ => plain.push(character),
        }
    }
    Ok(plain)
}

fn field_text(object: &Value, path: &str) -> String {
    let mut at = object;
    for segment in path.split('.') {
        match at.get(segment) {
            Some(next) => at = next,
            None => return String::new(),
        }
    }
    match at {
        Value::String(text) => text.clone(),
        Value::Null | Value::Object(_) | Value::Array(_) => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn pod(labels: Value) -> Value {
        json!({"metadata": {"name": "web-1", "labels": labels}, "spec": {"nodeName": "n1", "hostNetwork": true}, "status": {"phase": "Running"}})
    }

    #[test]
    fn field_selectors_compare_dotted_paths() {
        let object = pod(json!({}));
        for (selector, expected) in [
            ("", true),
            ("metadata.name=web-1", true),
            ("metadata.name==web-1,spec.nodeName=n1", true),
            ("spec.nodeName!=n1", false),
            ("spec.nodeName=", false),
            ("spec.unset=", true),
            ("spec.hostNetwork=true", true),
            ("status.phase!=Pending", true),
        ] {
            assert_eq!(FieldSelector::parse(selector).unwrap().matches(&object), expected, "{selector}");
        }
        assert_eq!(FieldSelector::parse("metadata.name=a").unwrap().required("metadata.name"), Some("a"));
        for selector in ["metadata.name", "=a", "a=b=c", "a=b\\d"] {
            assert!(FieldSelector::parse(selector).is_err(), "{selector}");
        }
    }

    proptest! {
        #[test]
        fn field_selectors_round_trip(path in "[a-z]{1,5}(\\.[a-z]{1,5}){0,2}", value in "[ -~]{0,8}", equal: bool) {
            let selector = FieldSelector { requirements: vec![FieldRequirement { path, value, equal }] };
            prop_assert_eq!(FieldSelector::parse(&selector.to_string()).unwrap(), selector);
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,24}") {
            let _ = FieldSelector::parse(&text);
        }
    }
}
