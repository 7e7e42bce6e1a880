//! Reading and writing the metadata that every object has. Pure helpers over JSON values; no rules of any kind of object.

use jiff::Timestamp;
use serde_json::{Map, Value};

/// `metadata.<key>` as text, empty where absent.
pub(crate) fn meta<'a>(object: &'a Value, key: &str) -> &'a str {
    object["metadata"][key].as_str().unwrap_or_default()
}

pub(crate) fn name(object: &Value) -> &str {
    meta(object, "name")
}

pub(crate) fn namespace(object: &Value) -> &str {
    meta(object, "namespace")
}

pub(crate) fn uid(object: &Value) -> &str {
    meta(object, "uid")
}

/// Whether a deletion of the object has begun.
pub(crate) fn is_terminating(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// The names in `metadata.finalizers`.
pub(crate) fn finalizers(object: &Value) -> Vec<&str> {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// `value` as a map, made one where it is something else.
pub(crate) fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("invariant: made an object above")
}

/// The map at `value[key]`, created where absent.
pub(crate) fn child<'a>(value: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    child_map(as_map(value), key)
}

/// The map at `map[key]`, created where absent.
pub(crate) fn child_map<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    as_map(map.entry(key).or_insert(Value::Null))
}

/// The metadata of an object, created where absent.
pub(crate) fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    child(object, "metadata")
}

/// Sets `map[key]` where it is absent or null.
pub(crate) fn default_to(map: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    match map.get(key) {
        None | Some(Value::Null) => {
            map.insert(key.to_owned(), value.into());
        }
        Some(_) => {}
    }
}

/// Gives `map[key]` the value, or removes it where there is none.
pub(crate) fn put_or_remove(map: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    match value {
        Some(value) => {
            map.insert(key.to_owned(), value);
        }
        None => {
            map.shift_remove(key);
        }
    }
}

/// The value at a path of keys such as `["spec", "replicas"]`.
pub(crate) fn at<'a>(object: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(object, |value, key| &value[*key])
}

/// The value at a dotted path such as `.spec.replicas`.
pub(crate) fn at_dotted<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').filter(|key| !key.is_empty()).try_fold(object, |value, key| value.get(key))
}

/// Writes the value at a dotted path, creating what is missing.
pub(crate) fn put_dotted(object: &mut Value, path: &str, value: Value) {
    let mut keys: Vec<&str> = path.split('.').filter(|key| !key.is_empty()).collect();
    let Some(last) = keys.pop() else { return };
    let parent = keys.into_iter().fold(object, |value, key| as_map(value).entry(key).or_insert(Value::Null));
    as_map(parent).insert(last.to_owned(), value);
}

/// An instant as Kubernetes writes it in metadata: UTC, whole seconds.
pub(crate) fn time_text(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The present as text, whole seconds.
pub(crate) fn now_text() -> String {
    time_text(Timestamp::now())
}

/// Whether two objects differ in nothing but what a write that changes nothing would touch.
pub(crate) fn same_content(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else { return a == b };
    let bare = |map: &Map<String, Value>| -> Map<String, Value> {
        let mut metadata = map.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
        metadata.shift_remove("managedFields");
        metadata.shift_remove("resourceVersion");
        metadata
    };
    let rest_equal = |x: &Map<String, Value>, y: &Map<String, Value>| {
        x.iter().filter(|(key, _)| *key != "metadata").all(|(key, value)| y.get(key) == Some(value))
    };
    rest_equal(a, b) && rest_equal(b, a) && bare(a) == bare(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn dotted_paths_read_and_write() {
        let mut object = json!({"spec": {"replicas": 2}});
        assert_eq!(at_dotted(&object, ".spec.replicas"), Some(&json!(2)));
        put_dotted(&mut object, ".status.replicas", json!(1));
        assert_eq!(object, json!({"spec": {"replicas": 2}, "status": {"replicas": 1}}));
    }

    #[test]
    fn managed_fields_do_not_count_as_a_change() {
        let a = json!({"metadata": {"name": "x", "resourceVersion": "1", "managedFields": [1]}, "data": {"a": "b"}});
        let b = json!({"metadata": {"name": "x", "resourceVersion": "2"}, "data": {"a": "b"}});
        assert!(same_content(&a, &b));
        assert!(!same_content(&a, &json!({"metadata": {"name": "x"}, "data": {"a": "c"}})));
    }
}
