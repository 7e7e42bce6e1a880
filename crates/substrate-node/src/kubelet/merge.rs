//! The difference between two JSON documents as a merge patch (RFC 7396). Pure.

use serde_json::{Map, Value};

/// The patch that turns `before` into `after`; `None` if nothing differs.
pub(super) fn merge_patch(before: &Value, after: &Value) -> Option<Value> {
    if before == after {
        return None;
    }
    let (Value::Object(old), Value::Object(new)) = (before, after) else { return Some(after.clone()) };
    let removed = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = new.iter().filter_map(|(key, value)| {
        let patch = match old.get(key) {
            None => value.clone(),
            Some(known) => merge_patch(known, value)?,
        };
        Some((key.clone(), patch))
    });
    let patch: Map<String, Value> = removed.chain(changed).collect();
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_differences_are_named() {
        let before = json!({"phase": "Pending", "list": [1], "gone": 1, "nested": {"a": 1, "b": 1}});
        let after = json!({"phase": "Running", "list": [1], "nested": {"a": 1, "b": 2}});
        assert_eq!(merge_patch(&before, &after), Some(json!({"phase": "Running", "gone": null, "nested": {"b": 2}})));
        assert_eq!(merge_patch(&before, &before), None);
    }
}
