//! Fields that a schema does not know, for `fieldValidation=Strict` and `Warn`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::builtin::object_meta;
use super::model::Structural;

impl Structural {
    /// Messages such as `unknown field "spec.foo"` for every field that the schema does not know, sorted.
    ///
    /// `metadata` of custom resources is checked against the schema of `ObjectMeta`.
    pub fn unknown_fields(&self, value: &Value) -> Vec<String> {
        let mut found = BTreeSet::new();
        collect(self, value, "", true, &mut found);
        found.into_iter().map(|path| format!("unknown field {path:?}")).collect()
    }
}

fn collect(schema: &Structural, value: &Value, path: &str, resource: bool, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let child_path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                if resource && matches!(name.as_str(), "apiVersion" | "kind") {
                    continue;
                }
                if resource && name == "metadata" {
                    if let Some(metadata) = object_meta() {
                        collect(metadata, value, &child_path, false, found);
                    }
                    continue;
                }
                match schema.field(name) {
                    Some(child) => collect(child, value, &child_path, child.embedded_resource, found),
                    None if schema.preserve_unknown => {}
                    None => drop(found.insert(child_path)),
                }
            }
        }
        Value::Array(list) => {
            let Some(items) = &schema.items else { return };
            for (index, item) in list.iter().enumerate() {
                collect(items, item, &format!("{path}[{index}]"), items.embedded_resource, found);
            }
        }
        _ => {}
    }
}

/// The message of the 400 status with which `fieldValidation=Strict` answers.
///
/// `objects` is the kind's name and version in Kubernetes' wording, for example `Deployment` and `apps/v1`.
pub fn strict_message(kind: &str, group_version: &str, problems: &[String]) -> String {
    let version = group_version.rsplit('/').next().unwrap_or(group_version);
    let problems = problems.join(", ");
    format!("{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {problems}")
}
