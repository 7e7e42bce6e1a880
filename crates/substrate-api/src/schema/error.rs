//! One problem of one field, in the words and with the cause types of Kubernetes' `field.Error`.

use std::fmt;

use serde_json::{Value, json};

/// The `reason` of a `metav1.StatusCause`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CauseType {
    /// A required field is missing.
    FieldValueRequired,
    /// The value breaks a rule.
    FieldValueInvalid,
    /// The value has the wrong JSON type.
    FieldValueTypeInvalid,
    /// The value is not one of an enumeration.
    FieldValueNotSupported,
    /// The field may not be set.
    FieldValueForbidden,
    /// A value that must be unique appears twice.
    FieldValueDuplicate,
    /// The text is longer than allowed.
    FieldValueTooLong,
    /// The list or map has more entries than allowed.
    FieldValueTooMany,
}

impl CauseType {
    /// The name that appears in a status.
    pub fn as_str(self) -> &'static str {
        match self {
            CauseType::FieldValueRequired => "FieldValueRequired",
            CauseType::FieldValueInvalid => "FieldValueInvalid",
            CauseType::FieldValueTypeInvalid => "FieldValueTypeInvalid",
            CauseType::FieldValueNotSupported => "FieldValueNotSupported",
            CauseType::FieldValueForbidden => "FieldValueForbidden",
            CauseType::FieldValueDuplicate => "FieldValueDuplicate",
            CauseType::FieldValueTooLong => "FieldValueTooLong",
            CauseType::FieldValueTooMany => "FieldValueTooMany",
        }
    }

    fn words(self) -> &'static str {
        match self {
            CauseType::FieldValueRequired => "Required value",
            CauseType::FieldValueInvalid | CauseType::FieldValueTypeInvalid => "Invalid value",
            CauseType::FieldValueNotSupported => "Unsupported value",
            CauseType::FieldValueForbidden => "Forbidden",
            CauseType::FieldValueDuplicate => "Duplicate value",
            CauseType::FieldValueTooLong => "Too long",
            CauseType::FieldValueTooMany => "Too many",
        }
    }
}

/// One problem of one field.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// Path of the field, such as `spec.ports[0].port`; `<nil>` stands for the object itself.
    pub field: String,
    /// What kind of problem it is.
    pub cause: CauseType,
    /// The offending value, where the message shows it.
    pub value: Option<Value>,
    /// The rest of the message; may be empty.
    pub detail: String,
}

impl FieldError {
    /// A required field that is missing.
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> FieldError {
        FieldError { field: field.into(), cause: CauseType::FieldValueRequired, value: None, detail: detail.into() }
    }

    /// A value that breaks a rule.
    pub fn invalid(field: impl Into<String>, value: Value, detail: impl Into<String>) -> FieldError {
        FieldError {
            field: field.into(),
            cause: CauseType::FieldValueInvalid,
            value: Some(value),
            detail: detail.into(),
        }
    }

    /// A field that may not be set.
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> FieldError {
        FieldError { field: field.into(), cause: CauseType::FieldValueForbidden, value: None, detail: detail.into() }
    }

    /// A value outside of an enumeration.
    pub fn not_supported(field: impl Into<String>, value: Value, supported: &[String]) -> FieldError {
        let detail = format!("supported values: {}", supported.join(", "));
        FieldError { field: field.into(), cause: CauseType::FieldValueNotSupported, value: Some(value), detail }
    }

    /// A second occurrence of a value that must be unique.
    pub fn duplicate(field: impl Into<String>, value: Value) -> FieldError {
        FieldError {
            field: field.into(),
            cause: CauseType::FieldValueDuplicate,
            value: Some(value),
            detail: String::new(),
        }
    }

    /// The same problem below `prefix`: `spec.versions[0].schema` + `openAPIV3Schema.type`.
    #[must_use]
    pub fn below(mut self, prefix: &str) -> FieldError {
        let dot = if self.field.starts_with('[') { "" } else { "." };
        self.field = format!("{prefix}{dot}{}", self.field);
        self
    }

    /// The message without the field, as a `StatusCause` carries it.
    pub fn message(&self) -> String {
        let words = self.cause.words();
        let value = self.value.as_ref().map(|value| format!(": {}", shown(value))).unwrap_or_default();
        let detail = if self.detail.is_empty() { String::new() } else { format!(": {}", self.detail) };
        match self.cause {
            CauseType::FieldValueTooLong => format!("{words}{detail}"),
            _ => format!("{words}{value}{detail}"),
        }
    }

    /// A wrong type as Kubernetes' decoder words it. Only for errors of [`CauseType::FieldValueTypeInvalid`]; the
    /// names of Go's inner types are not known here, so the path starts with the kind.
    pub fn unmarshal_message(&self, kind: &str) -> String {
        let found = match self.value.as_ref().and_then(Value::as_str) {
            Some("boolean") => "bool",
            Some("integer") => "number",
            Some(found) => found,
            None => "value",
        };
        let wanted = self.detail.split("must be of type ").nth(1).and_then(|rest| rest.split(':').next());
        let wanted = match wanted.unwrap_or_default() {
            "boolean" => "bool",
            "integer" => "int32",
            "number" => "float64",
            "array" => "[]",
            "object" => "map[string]interface {}",
            other => other,
        };
        format!("json: cannot unmarshal {found} into Go struct field {kind}.{} of type {wanted}", self.field)
    }

    /// This problem as a `metav1.StatusCause`.
    pub fn to_cause(&self) -> Value {
        json!({"reason": self.cause.as_str(), "message": self.message(), "field": self.field})
    }
}

/// Values are shown as JSON; long ones are cut, since the message travels in a status.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.len() <= 1000 {
        return text;
    }
    let cut: String = text.chars().take(1000).collect();
    format!("{cut}...")
}

impl fmt::Display for FieldError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.field, self.message())
    }
}

/// The `message` of the 422 status: `Deployment.apps "web" is invalid: [a, b]`.
pub fn invalid_message(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> String {
    let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    match texts.as_slice() {
        [one] => format!("{qualified} {name:?} is invalid: {one}"),
        many => format!("{qualified} {name:?} is invalid: [{}]", many.join(", ")),
    }
}
