//! Small readers of JSON objects that the printers share.

use serde_json::{Map, Value};

/// What stands in a cell that has nothing to show.
pub(super) const NONE: &str = "<none>";

/// The text at `pointer`, or an empty one.
pub(super) fn at<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The whole number at `pointer`, or 0.
pub(super) fn integer(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

/// The list at `pointer`, or an empty one.
pub(super) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The name of an object.
pub(super) fn name(object: &Value) -> Value {
    at(object, "/metadata/name").into()
}

/// `text`, or `<none>` if it is empty.
pub(super) fn or_none(text: impl Into<String>) -> String {
    let text = text.into();
    if text.is_empty() { NONE.to_owned() } else { text }
}

/// The texts of `field` in a list of objects, joined by commas.
pub(super) fn joined(items: &[Value], field: &str) -> String {
    items.iter().filter_map(|item| item.get(field)?.as_str()).collect::<Vec<_>>().join(",")
}

/// `a=b,c=d`, sorted, or `<none>`.
pub(super) fn labels(labels: Option<&Value>) -> String {
    or_none(pairs(labels.and_then(Value::as_object)).join(","))
}

fn pairs(labels: Option<&Map<String, Value>>) -> Vec<String> {
    let pair = |(key, value): (&String, &Value)| format!("{key}={}", value.as_str().unwrap_or_default());
    let mut pairs: Vec<String> = labels.into_iter().flatten().map(pair).collect();
    pairs.sort();
    pairs
}

/// A `metav1.LabelSelector` as kubectl shows it: `a=b,c in (d,e),!f`, or `<none>`.
pub(super) fn selector(selector: Option<&Value>) -> String {
    let Some(selector) = selector else { return NONE.to_owned() };
    let mut parts = pairs(selector.get("matchLabels").and_then(Value::as_object));
    for expression in list(selector, "/matchExpressions") {
        let key = at(expression, "/key");
        let values: Vec<&str> = list(expression, "/values").iter().filter_map(Value::as_str).collect();
        parts.push(match at(expression, "/operator") {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    or_none(parts.join(","))
}

/// The condition of one type.
pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    list(object, "/status/conditions").iter().find(|condition| at(condition, "/type") == kind)
}

/// Whether the condition of one type is true.
pub(super) fn condition_is_true(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|condition| at(condition, "/status") == "True")
}

/// How many entries the object at `pointer` has.
pub(super) fn count_of(object: &Value, pointer: &str) -> usize {
    object.pointer(pointer).and_then(Value::as_object).map_or(0, Map::len)
}
