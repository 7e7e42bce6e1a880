//! Headers of exchanges: what came back, and what the server says that it received. Pure.

use std::collections::{BTreeMap, BTreeSet};

use http::HeaderMap;
use serde::Serialize;
use serde_json::Value;

use super::connection::Answer;

/// Values of headers by their names, in the order in which they came.
pub type Headers = BTreeMap<String, Vec<String>>;

/// The headers of one exchange.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Heads {
    /// Status of the answer.
    pub status: u16,
    /// The headers of the answer.
    pub response: Headers,
    /// The headers of the request as the server got them; `null` where it does not say so. Only `echo` does.
    pub request: Option<Headers>,
}

impl Heads {
    /// Only headers with these names: others may differ from answer to answer without meaning anything.
    pub(super) fn of(answer: &Answer, names: &BTreeSet<String>) -> Self {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        let request = body.get("headers").and_then(|headers| serde_json::from_value::<Headers>(headers.clone()).ok());
        let named = |mut headers: Headers| {
            headers.retain(|name, _| names.contains(name));
            headers
        };
        Self { status: answer.status.as_u16(), response: named(listed(&answer.headers)), request: request.map(named) }
    }
}

fn listed(headers: &HeaderMap) -> Headers {
    let mut all = Headers::new();
    for (name, value) in headers {
        all.entry(name.as_str().to_owned()).or_default().push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    all
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderValue, StatusCode};

    use super::*;

    #[test]
    fn only_named_headers_are_kept_on_both_sides() {
        let mut headers = HeaderMap::new();
        headers.append("x-one", HeaderValue::from_static("1"));
        headers.append("x-one", HeaderValue::from_static("2"));
        headers.append("x-other", HeaderValue::from_static("3"));
        let body = Bytes::from_static(br#"{"headers": {"x-one": ["a"], "x-two": ["b"]}}"#);
        let answer = Answer { status: StatusCode::OK, grpc_status: None, headers, body };
        let names = BTreeSet::from(["x-one".to_owned(), "x-absent".to_owned()]);
        let heads = Heads::of(&answer, &names);
        assert_eq!(heads.response, Headers::from([("x-one".to_owned(), vec!["1".to_owned(), "2".to_owned()])]));
        assert_eq!(heads.request, Some(Headers::from([("x-one".to_owned(), vec!["a".to_owned()])])));
        let silent = Answer { body: Bytes::from_static(b"plain"), ..answer };
        assert_eq!(Heads::of(&silent, &names).request, None);
    }
}
