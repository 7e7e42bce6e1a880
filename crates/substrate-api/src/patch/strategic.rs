//! Strategic merge patch: a merge patch that knows which lists are keyed, and its `$` directives.

use serde_json::{Map, Value};

use super::PatchError;
use super::merge_lists;
use crate::schema::Structural;

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";

pub(super) fn apply(schema: &Structural, current: &Value, patch: &Value) -> Result<Value, PatchError> {
    let (Value::Object(current), Value::Object(patch)) = (current, patch) else {
        return Err(PatchError::BadRequest("error decoding patch: the body must be a JSON object".into()));
    };
    merge_objects(Some(schema), current.clone(), patch).map(Value::Object)
}

/// What `$patch` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Directive {
    Merge,
    Replace,
    Delete,
}

pub(super) fn directive(patch: &Map<String, Value>) -> Result<Directive, PatchError> {
    match patch.get(PATCH) {
        None => Ok(Directive::Merge),
        Some(Value::String(text)) if text == "merge" => Ok(Directive::Merge),
        Some(Value::String(text)) if text == "replace" => Ok(Directive::Replace),
        Some(Value::String(text)) if text == "delete" => Ok(Directive::Delete),
        Some(other) => Err(PatchError::BadRequest(format!("unknown patch type found: {other}"))),
    }
}

/// Merges `patch` into `current`. `schema` is the object's own node; without one, lists are replaced.
pub(super) fn merge_objects(
    schema: Option<&Structural>,
    mut current: Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<Map<String, Value>, PatchError> {
    match directive(patch)? {
        Directive::Delete => return Ok(Map::new()),
        Directive::Replace => {
            let mut replacement = patch.clone();
            replacement.shift_remove(PATCH);
            return Ok(replacement);
        }
        Directive::Merge => {}
    }
    retain_keys(&mut current, patch)?;
    for (name, change) in patch.iter().filter(|(name, _)| !is_directive(name)) {
        let child = schema.and_then(|schema| schema.field(name));
        merge_field(child, &mut current, name, change, patch)?;
    }
    lists_without_changes(schema, &mut current, patch)?;
    Ok(current)
}

fn merge_field(
    schema: Option<&Structural>,
    current: &mut Map<String, Value>,
    name: &str,
    change: &Value,
    siblings: &Map<String, Value>,
) -> Result<(), PatchError> {
    let strategy = schema.map(|schema| &schema.patch);
    let merged = match (change, current.get(name)) {
        (Value::Null, _) => {
            current.shift_remove(name);
            return Ok(());
        }
        (Value::Object(change), Some(Value::Object(existing))) if !strategy.is_some_and(|s| s.replace) => {
            Value::Object(merge_objects(schema, existing.clone(), change)?)
        }
        // Merging into nothing strips directives and nulls from what the patch brings.
        (Value::Object(change), _) => Value::Object(merge_objects(schema, Map::new(), change)?),
        (Value::Array(change), existing) if strategy.is_some_and(|s| s.merge) => {
            let existing = existing.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let deleted = list_of(siblings, DELETE_PRIMITIVES, name)?;
            let order = list_of(siblings, ELEMENT_ORDER, name)?;
            Value::Array(merge_lists::merge(schema, existing, change, deleted, order)?)
        }
        (other, _) => other.clone(),
    };
    current.insert(name.to_owned(), merged);
    Ok(())
}

/// `$setElementOrder/x` and `$deleteFromPrimitiveList/x` also work when the patch has no `x`.
fn lists_without_changes(
    schema: Option<&Structural>,
    current: &mut Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<(), PatchError> {
    let names = patch.keys().filter_map(|key| key.strip_prefix(ELEMENT_ORDER).or(key.strip_prefix(DELETE_PRIMITIVES)));
    for name in names.filter(|name| !patch.contains_key(*name)) {
        let child = schema.and_then(|schema| schema.field(name));
        let deleted = list_of(patch, DELETE_PRIMITIVES, name)?;
        let order = list_of(patch, ELEMENT_ORDER, name)?;
        let Some(Value::Array(existing)) = current.get(name) else { continue };
        let merged = merge_lists::merge(child, existing, &[], deleted, order)?;
        current.insert(name.to_owned(), Value::Array(merged));
    }
    Ok(())
}

fn list_of<'a>(patch: &'a Map<String, Value>, prefix: &str, name: &str) -> Result<Option<&'a [Value]>, PatchError> {
    match patch.get(&format!("{prefix}{name}")) {
        None => Ok(None),
        Some(Value::Array(list)) => Ok(Some(list)),
        Some(_) => Err(PatchError::BadRequest(format!("{prefix}{name} must be a list"))),
    }
}

/// `$retainKeys` drops every field of the object that it does not name.
fn retain_keys(current: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), PatchError> {
    let Some(retained) = patch.get(RETAIN_KEYS) else { return Ok(()) };
    let Some(retained) = retained.as_array() else {
        return Err(PatchError::BadRequest("$retainKeys must be a list".into()));
    };
    let is_retained = |name: &str| retained.iter().any(|key| key == name);
    if let Some(extra) =
        patch.iter().find(|(name, value)| !is_directive(name) && !value.is_null() && !is_retained(name))
    {
        return Err(PatchError::BadRequest(format!(
            "$retainKeys directive doesn't contain the key {:?} that the patch sets",
            extra.0
        )));
    }
    current.retain(|name, _| is_retained(name));
    Ok(())
}

pub(super) fn is_directive(name: &str) -> bool {
    name == PATCH || name == RETAIN_KEYS || name.starts_with(ELEMENT_ORDER) || name.starts_with(DELETE_PRIMITIVES)
}
