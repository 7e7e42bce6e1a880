//! Field errors in Kubernetes' wording, and the rules for names, labels and generated names. Pure.
//! Does not know any kind of object.

use rand::RngExt;
use serde_json::{Value, json};

use crate::schema;

/// One thing wrong with one field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FieldError {
    reason: &'static str,
    field: String,
    message: String,
}

impl FieldError {
    /// The entry of `details.causes`.
    pub(crate) fn cause(&self) -> Value {
        json!({"reason": self.reason, "message": self.message, "field": self.field})
    }
}

impl From<schema::FieldError> for FieldError {
    fn from(error: schema::FieldError) -> FieldError {
        let message = error.message();
        FieldError { reason: error.cause.as_str(), field: error.field, message }
    }
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Collects the errors of one object.
#[derive(Debug, Default)]
pub(crate) struct Errors(pub(crate) Vec<FieldError>);

impl Errors {
    fn push(&mut self, reason: &'static str, field: impl Into<String>, words: &str, detail: &str) {
        let message = if detail.is_empty() { words.to_owned() } else { format!("{words}: {detail}") };
        self.0.push(FieldError { reason, field: field.into(), message });
    }

    pub(crate) fn required(&mut self, field: impl Into<String>, detail: &str) {
        self.push("FieldValueRequired", field, "Required value", detail);
    }

    pub(crate) fn invalid(&mut self, field: impl Into<String>, value: &Value, detail: &str) {
        self.push("FieldValueInvalid", field, "Invalid value", &format!("{value}: {detail}"));
    }

    pub(crate) fn not_supported(&mut self, field: impl Into<String>, value: &Value, allowed: &[&str]) {
        let list: Vec<String> = allowed.iter().map(|value| format!("\"{value}\"")).collect();
        let detail = format!("{value}: supported values: {}", list.join(", "));
        self.push("FieldValueNotSupported", field, "Unsupported value", &detail);
    }

    pub(crate) fn duplicate(&mut self, field: impl Into<String>, value: &Value) {
        self.push("FieldValueDuplicate", field, "Duplicate value", &value.to_string());
    }

    pub(crate) fn not_found(&mut self, field: impl Into<String>, value: &Value) {
        self.push("FieldValueNotFound", field, "Not found", &value.to_string());
    }

    pub(crate) fn forbidden(&mut self, field: impl Into<String>, detail: &str) {
        self.push("FieldValueForbidden", field, "Forbidden", detail);
    }

    /// Takes over what the walk along a structural schema found.
    pub(crate) fn extend(&mut self, found: Vec<schema::FieldError>) {
        self.0.extend(found.into_iter().map(FieldError::from));
    }

    /// Says that a field may not change, as Kubernetes does.
    pub(crate) fn immutable(&mut self, field: &str, new: &Value, old: &Value) {
        if new != old {
            self.invalid(field, new, "field is immutable");
        }
    }
}

/// How the names of a kind are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameRule {
    /// RFC 1123 subdomain: most kinds.
    Subdomain,
    /// RFC 1123 label: namespaces.
    Label,
    /// RFC 1035 label: services.
    Rfc1035Label,
    /// Anything that fits a URL path segment: RBAC objects.
    PathSegment,
}

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
    and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
    and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
    alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
    validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

/// What is wrong with `name`, or nothing.
pub(crate) fn check_name(rule: NameRule, name: &str) -> Option<String> {
    match rule {
        NameRule::Subdomain if name.len() > 253 => Some("must be no more than 253 bytes".to_owned()),
        NameRule::Label | NameRule::Rfc1035Label if name.len() > 63 => Some("must be no more than 63 bytes".to_owned()),
        NameRule::Subdomain => (!name.split('.').all(is_label)).then(|| SUBDOMAIN.to_owned()),
        NameRule::Label => (!is_label(name)).then(|| LABEL.to_owned()),
        NameRule::Rfc1035Label => {
            (!is_label(name) || !name.starts_with(|c: char| c.is_ascii_lowercase())).then(|| LABEL_1035.to_owned())
        }
        NameRule::PathSegment if name == "." || name == ".." => Some(format!("may not be '{name}'")),
        NameRule::PathSegment => {
            ['/', '%'].into_iter().find(|c| name.contains(*c)).map(|c| format!("may not contain '{c}'"))
        }
    }
}

/// Whether `text` is an RFC 1123 label without regard to its length.
pub(crate) fn is_label(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => inner(*first) && inner(*last) && bytes.iter().all(|c| inner(*c) || *c == b'-'),
        _ => false,
    }
}

const QUALIFIED_NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
    with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
    and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
    validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

fn is_name_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends =
        bytes.first().is_some_and(u8::is_ascii_alphanumeric) && bytes.last().is_some_and(u8::is_ascii_alphanumeric);
    ends && bytes.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
}

/// What is wrong with a label or annotation key, or nothing.
pub(crate) fn check_qualified_name(key: &str) -> Option<String> {
    let name = match key.split_once('/') {
        None => key,
        Some((prefix, name)) => {
            if prefix.is_empty() {
                return Some("prefix part must be non-empty".to_owned());
            }
            if let Some(problem) = check_name(NameRule::Subdomain, prefix) {
                return Some(format!("prefix part {problem}"));
            }
            name
        }
    };
    match name {
        "" => Some("name part must be non-empty".to_owned()),
        name if name.len() > 63 => Some("name part must be no more than 63 bytes".to_owned()),
        name => (!is_name_part(name)).then(|| QUALIFIED_NAME.to_owned()),
    }
}

/// Checks a map of labels at `field`.
pub(crate) fn check_labels(labels: &Value, field: &str, errors: &mut Errors) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        if let Some(problem) = check_qualified_name(key) {
            errors.invalid(field, &Value::from(key.as_str()), &problem);
        }
        match value.as_str() {
            Some(text) if text.len() > 63 => errors.invalid(field, value, "must be no more than 63 bytes"),
            Some(text) if !text.is_empty() && !is_name_part(text) => errors.invalid(field, value, LABEL_VALUE),
            Some(_) => {}
            None => errors.invalid(field, value, "must be a string"),
        }
    }
}

/// Checks the keys of a map of annotations at `field`.
pub(crate) fn check_annotations(annotations: &Value, field: &str, errors: &mut Errors) {
    for key in annotations.as_object().into_iter().flatten().map(|(key, _)| key) {
        if let Some(problem) = check_qualified_name(&key.to_lowercase()) {
            errors.invalid(field, &Value::from(key.as_str()), &problem);
        }
    }
}

/// The characters of generated suffixes: no vowels, so that no words appear.
const SUFFIX_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A name made from `generateName` by a random suffix of five characters; long prefixes are cut to fit 63.
pub(crate) fn generate_name(prefix: &str) -> String {
    let mut rng = rand::rng();
    let end = prefix.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= 58).last().unwrap_or(0);
    let suffix: String =
        (0..5).map(|_| char::from(SUFFIX_ALPHABET[rng.random_range(0..SUFFIX_ALPHABET.len())])).collect();
    format!("{}{suffix}", &prefix[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_rule() {
        assert_eq!(check_name(NameRule::Subdomain, "a.b-c.1"), None);
        assert!(check_name(NameRule::Subdomain, "a..b").is_some());
        assert!(check_name(NameRule::Subdomain, "A").is_some());
        assert!(check_name(NameRule::Label, "a.b").is_some());
        assert!(check_name(NameRule::Rfc1035Label, "1a").is_some());
        assert_eq!(check_name(NameRule::PathSegment, "system:node:X"), None);
        assert!(check_name(NameRule::PathSegment, "a/b").is_some());
    }

    #[test]
    fn label_keys_and_values_are_checked() {
        let mut errors = Errors::default();
        check_labels(&json!({"app.kubernetes.io/name": "x_1.Y", "ok": ""}), "metadata.labels", &mut errors);
        assert!(errors.0.is_empty());
        check_labels(&json!({"bad key": "x", "k": "-x"}), "metadata.labels", &mut errors);
        assert_eq!(errors.0.len(), 2);
        assert!(errors.0[1].to_string().starts_with("metadata.labels: Invalid value: \"-x\": a valid label must be"));
    }

    #[test]
    fn generated_names_fit_a_label() {
        let name = generate_name(&"x".repeat(80));
        assert_eq!(name.len(), 63);
        assert!(generate_name("web-").starts_with("web-") && generate_name("web-").len() == 9);
    }
}
