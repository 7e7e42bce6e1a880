//! Envoy's response flags, where an answer tells them: by a header, else by the words in which Envoy itself refuses.
//! Pure.

use http::HeaderMap;

/// Header in which a mesh may put `%RESPONSE_FLAGS%`.
const HEADER: &str = "x-envoy-response-flags";

/// Words of Envoy's own answers and the flag that its access log has for them, most specific first.
const WORDS: [(&str, &str); 15] = [
    ("no healthy upstream", "UH"),
    ("reset reason: overflow", "UO"),
    ("reset reason: connection timeout", "UF"),
    ("reset reason: remote connection failure", "UF"),
    ("reset reason: local connection failure", "UF"),
    ("reset reason: connection failure", "UF"),
    ("reset reason: connection termination", "UC"),
    ("reset reason: remote reset", "UR"),
    ("reset reason: remote refused stream reset", "UR"),
    ("reset reason: local reset", "LR"),
    ("reset reason: protocol error", "UPE"),
    ("upstream request timeout", "UT"),
    ("upstream max stream duration reached", "UMSDR"),
    ("fault filter abort", "FI"),
    ("local_rate_limited", "RL"),
];

/// The flags of an answer that is not a success; `None` where it tells none.
pub(super) fn of_answer(headers: &HeaderMap, body: &[u8]) -> Option<String> {
    if let Some(flags) = headers.get(HEADER).and_then(|flags| flags.to_str().ok()) {
        return Some(flags.to_owned()).filter(|flags| !flags.is_empty() && flags != "-");
    }
    // A gRPC answer has no body: Envoy puts its words into the status message, with %20 for spaces.
    let message = headers.get("grpc-message").map(|message| message.as_bytes()).unwrap_or_default();
    let words = String::from_utf8_lossy(if message.is_empty() { body } else { message }).replace("%20", " ");
    WORDS.iter().find(|(text, _)| words.contains(text)).map(|(_, flag)| (*flag).to_owned())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn with(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_static(value))])
    }

    #[test]
    fn a_header_goes_before_words() {
        assert_eq!(of_answer(&with(HEADER, "UF,URX"), b"no healthy upstream").as_deref(), Some("UF,URX"));
        assert_eq!(of_answer(&with(HEADER, "-"), b""), None);
    }

    #[test]
    fn envoys_words_are_read() {
        let words: &[u8] = b"upstream connect error or disconnect/reset before headers. retried and the latest reset \
            reason: remote connection failure, transport failure reason: delayed connect error: Connection refused";
        assert_eq!(of_answer(&HeaderMap::new(), words).as_deref(), Some("UF"));
        let answer: &[u8] =
            b"upstream connect error or disconnect/reset before headers. reset reason: connection termination";
        assert_eq!(of_answer(&HeaderMap::new(), answer).as_deref(), Some("UC"));
        assert_eq!(of_answer(&with("grpc-message", "no%20healthy%20upstream"), b"").as_deref(), Some("UH"));
    }

    #[test]
    fn other_words_say_nothing() {
        assert_eq!(of_answer(&HeaderMap::new(), b"RBAC: access denied"), None);
    }
}
