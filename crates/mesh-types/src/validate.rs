//! Whether a resource is one that Istio would accept: its form by the schema, its meaning by rules.

use std::fmt;

use serde_json::Value;

use crate::crd;
use crate::duration::IstioDuration;
use crate::kind::Kind;

mod authorization;
mod entry;
mod meaning;

/// A field with a value that cannot be accepted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldError {
    /// Where it is: `spec.http[0].route[1].weight`.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.message)
    }
}

/// Checks an object of one of our kinds; all errors are reported at once. Other kinds are not judged.
pub fn validate(object: &Value) -> Result<(), Vec<FieldError>> {
    let kind = object.get("kind").and_then(Value::as_str).and_then(Kind::from_name);
    let Some(kind) = kind else { return Ok(()) };
    let empty = Value::Object(serde_json::Map::new());
    let spec = object.get("spec").unwrap_or(&empty);
    let mut errors = Vec::new();
    form(crd::spec_schema(kind), spec, "spec", &mut errors);
    // The rules read the typed specification, which exists only where the form is right.
    if errors.is_empty() {
        meaning::check(kind, spec, &mut errors);
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

pub(crate) fn refuse(errors: &mut Vec<FieldError>, path: impl Into<String>, message: impl Into<String>) {
    errors.push(FieldError { path: path.into(), message: message.into() });
}

/// Why a text is neither an address nor a CIDR block; nothing where it is one.
pub(crate) fn address_block(block: &str) -> Option<String> {
    let (address, length) = block.split_once('/').map_or((block, None), |(address, length)| (address, Some(length)));
    let longest = match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(_)) => 32,
        Ok(std::net::IpAddr::V6(_)) => 128,
        Err(_) => return Some(format!("`{block}` is not an address or CIDR block")),
    };
    let fits = length.is_none_or(|length| length.parse::<u8>().is_ok_and(|length| length <= longest));
    (!fits).then(|| format!("`{block}` is not an address or CIDR block"))
}

/// Refuses every field that a schema does not list.
pub(crate) fn unknown(schema: &Value, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(fields) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let values = schema.get("additionalProperties");
            for (name, inner) in fields {
                let at = format!("{path}.{name}");
                match properties.and_then(|known| known.get(name)).or(values) {
                    Some(known) => unknown(known, inner, &at, errors),
                    None => {
                        let mut known: Vec<_> =
                            properties.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
                        known.sort_unstable();
                        refuse(errors, at, format!("unknown field; known here: {}", known.join(", ")));
                    }
                }
            }
        }
        Value::Array(items) => {
            if let Some(known) = schema.get("items") {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(index, item)| unknown(known, item, &format!("{path}[{index}]"), errors));
            }
        }
        _ => {}
    }
}

pub(crate) fn form(schema: &Value, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let wanted = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    if value.is_null() && schema.get("nullable") == Some(&Value::Bool(true)) {
        return;
    }
    if !has_type(value, wanted) {
        return refuse(errors, path, format!("must be of type {wanted}"));
    }
    bounds(schema, value, path, errors);
    match value {
        Value::Object(fields) => object_form(schema, fields, path, errors),
        Value::Array(items) => {
            if let Some(inner) = schema.get("items") {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(index, item)| form(inner, item, &format!("{path}[{index}]"), errors));
            }
        }
        _ => {}
    }
}

fn has_type(value: &Value, wanted: &str) -> bool {
    match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => true,
    }
}

fn bounds(schema: &Value, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        let names: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        refuse(errors, path, format!("{value} is not one of {}", names.join(", ")));
    }
    if let Some(number) = value.as_f64() {
        let int32 = schema.get("format").and_then(Value::as_str) == Some("int32");
        let lowest = schema.get("minimum").and_then(Value::as_f64).or(int32.then_some(f64::from(i32::MIN)));
        let highest = schema.get("maximum").and_then(Value::as_f64).or(int32.then_some(f64::from(i32::MAX)));
        if lowest.is_some_and(|lowest| number < lowest) || highest.is_some_and(|highest| number > highest) {
            refuse(errors, path, format!("{value} is out of range"));
        }
    }
    if schema.get("x-kubernetes-validations").is_some()
        && let Some(text) = value.as_str()
    {
        match IstioDuration::parse(text) {
            Err(error) => refuse(errors, path, error.to_string()),
            Ok(duration) if duration.0 < IstioDuration::MINIMUM => {
                refuse(errors, path, "must be a duration of at least 1ms")
            }
            Ok(_) => {}
        }
    }
}

fn object_form(schema: &Value, fields: &serde_json::Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            refuse(errors, format!("{path}.{name}"), "is required");
        }
    }
    if schema.get("minProperties").is_some() && fields.is_empty() {
        refuse(errors, path, "must not be empty");
    }
    let alternatives: Vec<&str> = alternatives(schema).into_iter().filter(|name| fields.contains_key(*name)).collect();
    if alternatives.len() > 1 {
        refuse(errors, path, format!("only one of {} can be set", alternatives.join(", ")));
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, inner) in fields {
        let known =
            properties.and_then(|properties| properties.get(name)).or_else(|| schema.get("additionalProperties"));
        if let Some(known) = known {
            form(known, inner, &format!("{path}.{name}"), errors);
        }
    }
}

/// The fields of which at most one may be given: `oneOf` entries of the form `{required: [field]}`.
fn alternatives(schema: &Value) -> Vec<&str> {
    let entries = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    entries.filter_map(|entry| entry.pointer("/required/0").and_then(Value::as_str)).collect()
}
