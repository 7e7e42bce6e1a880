//! `metadata.managedFields`: reading, writing, and keeping it through ordinary writes.

use serde_json::{Map, Value, json};

use super::compare::compare;
use super::fields::FieldSet;
use super::strip::strip;
use crate::schema::Structural;

/// Managers besides those that apply are merged into one once there are more of them than this, as in Kubernetes.
const MAX_UPDATE_MANAGERS: usize = 10;

/// One entry of `metadata.managedFields`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manager {
    pub(super) name: String,
    pub(super) applies: bool,
    pub(super) api_version: String,
    pub(super) subresource: String,
    pub(super) time: String,
    pub(super) fields: FieldSet,
}

impl Manager {
    /// The entry of a manager that applies.
    pub(super) fn applying(
        name: &str,
        api_version: &str,
        subresource: Option<&str>,
        now: &str,
        fields: FieldSet,
    ) -> Manager {
        Manager {
            name: name.to_owned(),
            applies: true,
            api_version: api_version.to_owned(),
            subresource: subresource.unwrap_or_default().to_owned(),
            time: now.to_owned(),
            fields,
        }
    }

    pub(super) fn is(&self, name: &str, applies: bool, subresource: Option<&str>) -> bool {
        self.name == name && self.applies == applies && self.subresource == subresource.unwrap_or_default()
    }

    /// How a conflict names this manager.
    pub(super) fn described(&self) -> String {
        let mut text = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            text = format!("{text} with subresource {:?}", self.subresource);
        }
        if self.applies {
            return text;
        }
        text = format!("{text} using {}", self.api_version);
        if self.time.is_empty() { text } else { format!("{text} at {}", self.time) }
    }

    fn from_entry(entry: &Value) -> Option<Manager> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let operation = text("operation");
        if operation != "Apply" && operation != "Update" {
            return None;
        }
        Some(Manager {
            name: text("manager"),
            applies: operation == "Apply",
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: text("time"),
            fields: FieldSet::from_fields_v1(entry.get("fieldsV1").unwrap_or(&Value::Null)),
        })
    }

    fn to_entry(&self) -> Value {
        let mut entry = json!({
            "manager": self.name,
            "operation": if self.applies { "Apply" } else { "Update" },
            "apiVersion": self.api_version,
        });
        if !self.time.is_empty() {
            entry["time"] = self.time.as_str().into();
        }
        entry["fieldsType"] = "FieldsV1".into();
        entry["fieldsV1"] = self.fields.to_fields_v1();
        if !self.subresource.is_empty() {
            entry["subresource"] = self.subresource.as_str().into();
        }
        entry
    }
}

/// The managers that an object records.
pub(super) fn managers_of(object: Option<&Value>) -> Vec<Manager> {
    let entries = object.and_then(|object| object.pointer("/metadata/managedFields")).and_then(Value::as_array);
    entries.into_iter().flatten().filter_map(Manager::from_entry).collect()
}

/// Writes the managers back: those that apply first, then by time and name; those without fields are dropped.
pub(super) fn record(object: &mut Value, mut managers: Vec<Manager>) {
    managers.retain(|manager| !manager.fields.is_empty());
    managers.sort_by(|a, b| {
        (!a.applies, &a.time, &a.name, &a.subresource).cmp(&(!b.applies, &b.time, &b.name, &b.subresource))
    });
    let Some(object) = object.as_object_mut() else { return };
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    let Some(metadata) = metadata.as_object_mut() else { return };
    if managers.is_empty() {
        metadata.shift_remove("managedFields");
    } else {
        let entries = managers.iter().map(Manager::to_entry).collect();
        metadata.insert("managedFields".to_owned(), Value::Array(entries));
    }
}

/// Records in `after` who owns what after an ordinary create, update or patch by `manager`.
///
/// `before` is the stored object, `None` at creation; `now` is an RFC 3339 time of whole seconds. Managed fields that
/// the client sent are ignored, except for an empty list (or one empty entry), which resets the record.
pub fn track_update(
    before: Option<&Value>,
    after: &mut Value,
    manager: &str,
    subresource: Option<&str>,
    now: &str,
    schema: Option<&Structural>,
) {
    let reset = after
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .is_some_and(|entries| entries.iter().all(|entry| entry.as_object().is_some_and(Map::is_empty)));
    let mut managers = if reset { Vec::new() } else { managers_of(before) };
    let comparison = compare(schema, before, Some(after));
    let has_status = is_status_subresource(schema);
    let changed = strip(comparison.changed, subresource, has_status);
    let removed = strip(comparison.removed, subresource, has_status);
    for other in managers.iter_mut().filter(|other| !other.is(manager, false, subresource)) {
        other.fields = other.fields.difference(&changed).difference(&removed);
    }
    let api_version = after.get("apiVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
    update_entry(&mut managers, manager, subresource, &api_version, now, &changed, &removed);
    limit(&mut managers);
    record(after, managers);
}

fn update_entry(
    managers: &mut Vec<Manager>,
    name: &str,
    subresource: Option<&str>,
    api_version: &str,
    now: &str,
    changed: &FieldSet,
    removed: &FieldSet,
) {
    let place = managers.iter().position(|manager| manager.is(name, false, subresource));
    let old = place.map(|place| managers.remove(place));
    let old_fields = old.as_ref().map(|manager| manager.fields.clone()).unwrap_or_default();
    let fields = old_fields.union(changed).difference(removed);
    // Nothing changed: the time of the last real change stays.
    if let Some(old) = old.filter(|_| changed.is_empty() && fields == old_fields) {
        managers.push(old);
        return;
    }
    managers.push(Manager { applies: false, ..Manager::applying(name, api_version, subresource, now, fields) });
}

/// Status is a subresource of every built-in kind that has one; for custom resources the server keeps it apart.
pub(super) fn is_status_subresource(schema: Option<&Structural>) -> bool {
    schema.is_some_and(|schema| schema.builtin && schema.properties.contains_key("status"))
}

/// Merges the oldest ordinary managers into `ancient-changes`, so that the record does not grow without bound.
fn limit(managers: &mut Vec<Manager>) {
    let updates = managers.iter().filter(|manager| !manager.applies).count();
    if updates <= MAX_UPDATE_MANAGERS {
        return;
    }
    let (mut ordinary, applying): (Vec<Manager>, Vec<Manager>) =
        managers.drain(..).partition(|manager| !manager.applies);
    ordinary.sort_by(|a, b| a.time.cmp(&b.time));
    let surplus = ordinary.len() - MAX_UPDATE_MANAGERS + 1;
    let rest = ordinary.split_off(surplus);
    let Some(newest) = ordinary.last().cloned() else { return };
    let fields = ordinary.iter().fold(FieldSet::default(), |all, manager| all.union(&manager.fields));
    managers.extend(applying);
    managers.push(Manager { name: "ancient-changes".to_owned(), subresource: String::new(), fields, ..newest });
    managers.extend(rest);
}
