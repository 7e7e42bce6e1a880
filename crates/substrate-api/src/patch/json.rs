//! RFC 6902 JSON patch and RFC 7396 JSON merge patch.

use serde_json::{Map, Value};

use super::PatchError;

pub(super) fn json_patch(current: &Value, patch: &Value) -> Result<Value, PatchError> {
    let operations: json_patch::Patch = serde_json::from_value(patch.clone())
        .map_err(|problem| PatchError::BadRequest(format!("error decoding patch: {problem}")))?;
    let mut patched = current.clone();
    json_patch::patch(&mut patched, &operations).map_err(|problem| PatchError::Rejected(problem.to_string()))?;
    if patched.is_object() {
        Ok(patched)
    } else {
        Err(PatchError::Rejected("the patched document is not an object".into()))
    }
}

pub(super) fn merge_patch(current: &Value, patch: &Value) -> Result<Value, PatchError> {
    if !patch.is_object() {
        return Err(PatchError::BadRequest("error decoding patch: the body must be a JSON object".into()));
    }
    let mut patched = current.clone();
    merge(&mut patched, patch);
    Ok(patched)
}

/// RFC 7396. Fields keep their order, which `json_patch::merge` does not do when it removes one.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, change) in changes {
        if change.is_null() {
            fields.shift_remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0..4i64).prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::btree_map("[a-d]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn any_object() -> impl Strategy<Value = Value> {
        proptest::collection::btree_map("[a-d]", any_json(), 0..4)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn merge_agrees_with_the_json_patch_crate(current in any_object(), patch in any_object()) {
            let mut expected = current.clone();
            json_patch::merge(&mut expected, &patch);
            prop_assert_eq!(merge_patch(&current, &patch).unwrap(), expected);
        }

        #[test]
        fn merge_is_idempotent_and_empty_is_neutral(current in any_object(), patch in any_object()) {
            let once = merge_patch(&current, &patch).unwrap();
            prop_assert_eq!(&merge_patch(&once, &patch).unwrap(), &once);
            prop_assert_eq!(merge_patch(&current, &json!({})).unwrap(), current);
        }
    }

    #[test]
    fn json_patch_refuses_what_does_not_fit() {
        let current = json!({"a": 1, "list": [1, 2]});
        let patched = json_patch(
            &current,
            &json!([{"op": "test", "path": "/a", "value": 1}, {"op": "add", "path": "/list/-", "value": 3}]),
        );
        assert_eq!(patched.unwrap(), json!({"a": 1, "list": [1, 2, 3]}));
        assert_eq!(json_patch(&current, &json!([{"op": "test", "path": "/a", "value": 2}])).unwrap_err().code(), 422);
        assert_eq!(json_patch(&current, &json!([{"op": "remove", "path": "/none"}])).unwrap_err().code(), 422);
        assert_eq!(json_patch(&current, &json!({"op": "remove"})).unwrap_err().code(), 400);
        assert_eq!(json_patch(&current, &json!([{"op": "replace", "path": "", "value": 1}])).unwrap_err().code(), 422);
        assert_eq!(merge_patch(&current, &json!([1])).unwrap_err().code(), 400);
    }
}
