//! Custom resources: NAME and their `additionalPrinterColumns`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::duration::since;
use super::path;
use super::text::at;

/// One entry of `additionalPrinterColumns`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrinterColumn {
    /// Heading.
    pub name: String,
    /// `integer`, `number`, `string`, `boolean` or `date`.
    pub kind: String,
    /// `format`; may be empty.
    pub format: String,
    /// Explanation; may be empty.
    pub description: String,
    /// 0 is always shown, more only with `-o wide`.
    pub priority: i64,
    /// Simple JSONPath such as `.status.conditions[?(@.type=="Ready")].status`.
    pub json_path: String,
}

impl PrinterColumn {
    /// Reads the list `additionalPrinterColumns` of one version of a CustomResourceDefinition; without any there is AGE.
    pub fn from_definition(columns: &Value) -> Vec<PrinterColumn> {
        let read = |column: &Value| PrinterColumn {
            name: at(column, "/name").to_owned(),
            kind: at(column, "/type").to_owned(),
            format: at(column, "/format").to_owned(),
            description: at(column, "/description").to_owned(),
            priority: column.get("priority").and_then(Value::as_i64).unwrap_or_default(),
            json_path: at(column, "/jsonPath").to_owned(),
        };
        columns.as_array().map_or_else(|| vec![age_column()], |columns| columns.iter().map(read).collect())
    }
}

fn age_column() -> PrinterColumn {
    PrinterColumn {
        name: "Age".to_owned(),
        kind: "date".to_owned(),
        format: String::new(),
        description: String::new(),
        priority: 0,
        json_path: ".metadata.creationTimestamp".to_owned(),
    }
}

fn or_age(columns: &[PrinterColumn]) -> Vec<PrinterColumn> {
    if columns.is_empty() { vec![age_column()] } else { columns.to_vec() }
}

pub(super) fn definitions(columns: &[PrinterColumn]) -> Vec<Value> {
    let mut definitions =
        vec![json!({"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0})];
    definitions.extend(or_age(columns).iter().map(|column| {
        json!({
            "name": column.name,
            "type": column.kind,
            "format": column.format,
            "description": column.description,
            "priority": column.priority,
        })
    }));
    definitions
}

pub(super) fn cells(columns: &[PrinterColumn], object: &Value, now: Timestamp) -> Vec<Value> {
    let mut cells = vec![at(object, "/metadata/name").into()];
    cells.extend(or_age(columns).iter().map(|column| cell(column, object, now)));
    cells
}

/// Only the first match counts; a value of another type than the column's leaves the cell empty.
fn cell(column: &PrinterColumn, object: &Value, now: Timestamp) -> Value {
    let Some(value) = path::first(&column.json_path, object) else { return Value::Null };
    match (column.kind.as_str(), value) {
        ("integer", Value::Number(number)) => {
            number.as_i64().or_else(|| number.as_f64().map(|number| number as i64)).map_or(Value::Null, Value::from)
        }
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
        ("string", Value::String(text)) => text.as_str().into(),
        ("string", Value::Null) => Value::Null,
        ("string", other) => other.to_string().into(),
        ("date", Value::String(text)) => {
            let holder = json!({"time": text});
            match since(&holder, "/time", now).as_str() {
                // Kubernetes leaves a date that cannot be read empty.
                "<unknown>" => Value::Null,
                ago => ago.into(),
            }
        }
        _ => Value::Null,
    }
}
