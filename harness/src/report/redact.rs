//! Takes secrets out of what reports show: private keys, tokens, passwords. Pure, and used in one place only, the stream
//! of events, so that no consumer can forget it; and on artifacts before they are written.
//!
//! Certificates stay: they are public, and evidence. Rather too much is taken out than too little.

use std::borrow::Cow;
use std::sync::LazyLock;

use base64::Engine as _;
use regex::{Captures, Regex};
use serde_json::Value;

use super::event::{Event, EventKind};

/// What stands in the place of a secret.
pub const REDACTED: &str = "[redacted]";

/// A private key in PEM, to its end or, where it is cut, as far as it goes.
static PEM: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)"));
/// PEM in base64, as kubeconfigs and Secrets hold it.
static BASE64_PEM: LazyLock<Regex> = LazyLock::new(|| pattern(r"LS0tLS1CRUdJTi[A-Za-z0-9+/=_-]+"));
/// JSON Web Tokens: header and payload are base64 of `{"`.
static JWT: LazyLock<Regex> = LazyLock::new(|| pattern(r"eyJ[A-Za-z0-9_-]{5,}\.eyJ[A-Za-z0-9_-]*(\.[A-Za-z0-9_-]*)?"));
/// Credentials of a header; the scheme stays. `bearer` alone is also a word.
static AUTHORIZATION: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?i)(\bbearer[ \t]+[A-Za-z0-9+/=._~-]{16,}|authorization\\?["']?[ \t]*[:=][ \t]*\\?["']?(?:bearer|basic)[ \t]+[A-Za-z0-9+/=._~-]+)"#,
    )
});
/// `password: x`, `"token":"x"`, `--client-key-data=x`; the name stays.
static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?i)((?:pass(?:word|wd|phrase)|token|secret[_-]?(?:key|access[_-]?key)|(?:client|api|access|private|shared)[_-](?:secret|key)(?:[_-]data)?)\\?["']?[ \t]*[:=][ \t]*)(\\"(?:[^"\\]|\\[^"])*(?:\\")?|"(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s,;&"'}\]]+)"#,
    )
});
/// Credentials in a URL; user and host stay.
static USERINFO: LazyLock<Regex> = LazyLock::new(|| pattern(r"(://[^\s/:@]*:)([^\s/@]+)@"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("invariant: the pattern is a constant")
}

/// A text without its secrets.
#[must_use]
pub fn text(text: &str) -> Cow<'_, str> {
    let mut clean = Cow::Borrowed(text);
    replace(&mut clean, &PEM, |_| REDACTED.to_owned());
    replace(&mut clean, &BASE64_PEM, |found| {
        if holds_private_key(&found[0]) { REDACTED.to_owned() } else { found[0].to_owned() }
    });
    replace(&mut clean, &JWT, |_| REDACTED.to_owned());
    replace(&mut clean, &AUTHORIZATION, |found| {
        let scheme = found[0].trim_end_matches(|letter: char| !letter.is_whitespace());
        format!("{scheme}{REDACTED}")
    });
    replace(&mut clean, &NAMED, |found| {
        if found[2].trim_start_matches(['\\', '"', '\'']).starts_with(REDACTED.trim_end_matches(']')) {
            return found[0].to_owned();
        }
        // A value in quotes stays one, so that JSON and YAML stay what they are.
        let quote = found[2].chars().next().filter(|first| matches!(first, '"' | '\'')).map(String::from);
        let quote = if found[2].starts_with("\\\"") { "\\\"".to_owned() } else { quote.unwrap_or_default() };
        format!("{}{quote}{REDACTED}{quote}", &found[1])
    });
    replace(&mut clean, &USERINFO, |found| format!("{}{REDACTED}@", &found[1]));
    clean
}

fn replace(text: &mut Cow<'_, str>, pattern: &Regex, with: impl Fn(&Captures<'_>) -> String) {
    if let Cow::Owned(replaced) = pattern.replace_all(text, with)
        && replaced != **text
    {
        *text = Cow::Owned(replaced);
    }
}

/// Whether base64 holds a private key. What cannot be read is taken for one unless it says that it begins a certificate.
fn holds_private_key(encoded: &str) -> bool {
    let whole = encoded.trim_end_matches('=');
    let whole = &whole[..whole.len() - whole.len() % 4];
    match base64::engine::general_purpose::STANDARD_NO_PAD.decode(whole) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).contains("PRIVATE KEY"),
        Err(_) => !encoded.starts_with("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS"),
    }
}

/// Names of fields that hold nothing but a secret.
fn is_secret(key: &str) -> bool {
    let key: String =
        key.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    matches!(
        key.as_str(),
        "password"
            | "passwd"
            | "passphrase"
            | "token"
            | "privatekey"
            | "clientkeydata"
            | "clientsecret"
            | "apikey"
            | "secretkey"
            | "secretaccesskey"
            | "accesskey"
            | "privatekeypem"
            | "keymaterial"
            | "keypem"
    )
}

/// Takes the secrets out of a document; returns whether there were any. The data of Kubernetes Secrets goes whole,
/// names of its keys stay.
pub fn document(value: &mut Value) -> bool {
    match value {
        Value::String(content) => match text(content) {
            Cow::Owned(clean) => {
                *content = clean;
                true
            }
            Cow::Borrowed(_) => false,
        },
        Value::Array(items) => items.iter_mut().fold(false, |found, item| document(item) | found),
        Value::Object(fields) => {
            let secret_object = fields.get("kind").and_then(Value::as_str) == Some("Secret");
            let mut found = false;
            for (key, value) in fields.iter_mut() {
                found |= if is_secret(key) {
                    hide(value)
                } else if secret_object && matches!(key.as_str(), "data" | "stringData") {
                    value
                        .as_object_mut()
                        .into_iter()
                        .flat_map(|data| data.values_mut())
                        .fold(false, |found, value| hide(value) | found)
                } else {
                    document(value)
                };
            }
            found
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Replaces every text below a value.
fn hide(value: &mut Value) -> bool {
    match value {
        Value::String(content) if content == REDACTED || content.is_empty() => false,
        Value::String(content) => {
            REDACTED.clone_into(content);
            true
        }
        Value::Array(items) => items.iter_mut().fold(false, |found, item| hide(item) | found),
        Value::Object(fields) => fields.values_mut().fold(false, |found, item| hide(item) | found),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// An event without its secrets, whatever field they are in.
#[must_use]
pub fn event(event: Event) -> Event {
    let Ok(mut value) = serde_json::to_value(&event.kind) else { return event };
    if !document(&mut value) {
        return event;
    }
    let kind = serde_json::from_value(value).unwrap_or_else(|error| EventKind::Warning {
        message: format!("an event with a secret in an unexpected place was left out: {error}"),
        cure: None,
    });
    Event { elapsed: event.elapsed, kind }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn base64(text: &str) -> String {
        base64::engine::general_purpose::STANDARD.encode(text)
    }

    proptest! {
        #[test]
        fn no_secret_survives_in_any_surroundings(
            before in "[ -~\n]{0,40}",
            after in "[ -~\n]{0,40}",
            material in "[A-Za-z0-9]{24,64}",
            kind in 0..9_usize,
        ) {
            let secret = match kind {
                0 => format!("-----BEGIN PRIVATE KEY-----\n{material}\n-----END PRIVATE KEY-----"),
                1 => format!("-----BEGIN EC PRIVATE KEY-----\n{material}"),
                2 => format!("eyJhbGciOi{material}.eyJ{material}.{material}"),
                3 => format!("Authorization: Bearer {material}"),
                4 => format!("password={material}"),
                5 => format!("\"token\": \"{material}\""),
                6 => format!("client-key-data: {}", base64(&format!("-----BEGIN RSA PRIVATE KEY-----\n{material}"))),
                7 => format!("https://user:{material}@host/path"),
                _ => format!("{{\\\"token\\\":\\\"{material}\\\"}}"),
            };
            let clean = text(&format!("{before}\n{secret}\n{after}")).into_owned();
            prop_assert!(!clean.contains(&material), "{clean}");
            prop_assert!(clean.contains(REDACTED));
            prop_assert_eq!(text(&clean).into_owned(), clean.clone(), "redacting twice changes nothing");
        }

        #[test]
        fn no_secret_survives_in_an_event(material in "[A-Za-z0-9]{24,64}", place in 0..4_usize) {
            let leak = format!("token={material}");
            let kind = match place {
                0 => EventKind::Warning { message: leak, cure: None },
                1 => EventKind::Failure { message: String::new(), cure: None, evidence: vec![leak] },
                2 => EventKind::PlanReady { text: leak, scenarios: Vec::new(), requests: 0 },
                _ => EventKind::CheckFinished {
                    scenario: "s".into(),
                    step: "1".into(),
                    check: super::super::CheckReport {
                        name: "split".into(),
                        outcome: verdict::Outcome::Fail,
                        evidence: Vec::new(),
                        location: None,
                        figures: json!({ "deep": [{ "private_key": { "inline_string": material } }] }),
                    },
                },
            };
            let clean = event(Event { elapsed: std::time::Duration::ZERO, kind: kind.clone() });
            let line = serde_json::to_string(&clean).expect("JSON");
            prop_assert!(!line.contains(&material), "{line}");
            prop_assert_eq!(std::mem::discriminant(&clean.kind), std::mem::discriminant(&kind), "still the same event");
        }
    }

    #[test]
    fn evidence_stays_as_it_is() {
        let certificate = base64("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
        for sentence in [
            "remote secrets created: cluster1 reads cluster2",
            "refuted: 100 answers saw client spiffe://cluster.local/ns/bookinfo/sa/probe and presented none",
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
            "http://reviews:9080/reviews/0",
            "Secret istio-system/cacerts: ca-cert.pem, ca-key.pem",
            certificate.as_str(),
        ] {
            assert_eq!(text(sentence), sentence);
        }
    }

    #[test]
    fn a_bundle_with_a_key_behind_its_certificate_goes_whole() {
        let bundle =
            base64("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nabc");
        assert_eq!(text(&bundle), REDACTED);
    }

    #[test]
    fn secrets_keep_the_names_of_their_keys() {
        let mut list = json!({ "items": [
            { "kind": "Secret", "data": { "ca-key.pem": "c2VjcmV0", "empty": "" }, "type": "Opaque" },
            { "kind": "ConfigMap", "data": { "mesh": "trustDomain: cluster.local" } },
        ]});
        assert!(document(&mut list));
        assert_eq!(list["items"][0]["data"], json!({ "ca-key.pem": REDACTED, "empty": "" }));
        assert_eq!(list["items"][1]["data"]["mesh"], "trustDomain: cluster.local");
        assert!(!document(&mut list), "nothing is left to redact");
    }
}
