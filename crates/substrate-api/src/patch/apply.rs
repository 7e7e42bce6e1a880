//! Server-side apply: merge a configuration, drop what its manager no longer applies, and refuse conflicts.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::compare::compare;
use super::conflict::{ApplyError, Conflict};
use super::fields::{FieldSet, Shape, field_element, fields_of, item_element, shape};
use super::managed::{Manager, is_status_subresource, managers_of, record};
use super::strip::strip;
use crate::schema::Structural;

/// Applies the configuration `applied` as `manager`.
///
/// `current` is the stored object, `None` if there is none yet; `now` is an RFC 3339 time of whole seconds. The result
/// has `metadata.managedFields` up to date. An apply that changes nothing returns an object equal to `current`.
/// For the `status` subresource pass `Some("status")`; the caller restores the parts that a subresource may not touch.
pub fn server_side_apply(
    current: Option<&Value>,
    applied: &Value,
    manager: &str,
    force: bool,
    subresource: Option<&str>,
    schema: Option<&Structural>,
    now: &str,
) -> Result<Value, ApplyError> {
    let applied = &without_managed_fields(applied)?;
    let invalid =
        |message: String| ApplyError::Invalid { message: format!("failed to create typed patch object: {message}") };
    let has_status = is_status_subresource(schema);
    let wanted = strip(fields_of(schema, applied).map_err(invalid)?, subresource, has_status);
    let mut managers = managers_of(current);
    let mine =
        managers.iter().position(|entry| entry.is(manager, true, subresource)).map(|place| managers.remove(place));
    let previous = mine.as_ref().map(|entry| entry.fields.clone()).unwrap_or_default();

    let mut merged = current.map_or_else(|| applied.clone(), |current| merge(schema, current, applied));
    let others: Vec<&FieldSet> = managers.iter().map(|entry| &entry.fields).collect();
    prune(schema, &mut merged, &previous, Some(&wanted), &others);

    let comparison = compare(schema, current, Some(&merged));
    let changed = strip(comparison.changed, subresource, has_status);
    let removed = strip(comparison.removed, subresource, has_status);
    let conflicts = conflicts_with(&managers, &changed);
    if !conflicts.is_empty() && !force {
        return Err(ApplyError::Conflicts { conflicts });
    }
    for other in &mut managers {
        other.fields = other.fields.difference(&changed).difference(&removed);
    }
    let api_version = applied.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    let nothing_changed = changed.is_empty() && removed.is_empty() && previous == wanted;
    managers.push(match mine.filter(|entry| nothing_changed && entry.api_version == api_version) {
        Some(entry) => entry,
        None => Manager::applying(manager, api_version, subresource, now, wanted),
    });
    record(&mut merged, managers);
    Ok(merged)
}

fn without_managed_fields(applied: &Value) -> Result<Value, ApplyError> {
    let refuse = |message: &str| Err(ApplyError::Invalid { message: message.to_owned() });
    if !applied.is_object() {
        return refuse("the applied configuration must be a JSON object");
    }
    let mut applied = applied.clone();
    if let Some(metadata) = applied.get_mut("metadata").and_then(Value::as_object_mut) {
        if metadata.get("managedFields").and_then(Value::as_array).is_some_and(|entries| !entries.is_empty()) {
            return refuse("metadata.managedFields must be nil");
        }
        metadata.shift_remove("managedFields");
    }
    Ok(applied)
}

fn conflicts_with(managers: &[Manager], changed: &FieldSet) -> Vec<Conflict> {
    let of = |entry: &Manager| {
        let manager = entry.described();
        let paths = entry.fields.intersection(changed).paths();
        paths.into_iter().map(move |field| Conflict { manager: manager.clone(), field })
    };
    let mut conflicts: Vec<Conflict> = managers.iter().flat_map(of).collect();
    conflicts.sort_by(|a, b| (&a.manager, &a.field).cmp(&(&b.manager, &b.field)));
    conflicts
}

/// `current` with the values of `applied` put in. Lists with item owners keep the items that `applied` lacks.
fn merge(schema: Option<&Structural>, current: &Value, applied: &Value) -> Value {
    match (shape(schema, applied), current, applied) {
        (Shape::Map, Value::Object(current), Value::Object(applied)) => {
            let mut merged = current.clone();
            for (name, value) in applied {
                let child = schema.and_then(|schema| schema.field(name));
                let value = merged.get(name).map_or_else(|| value.clone(), |old| merge(child, old, value));
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (Shape::Items, Value::Array(current), Value::Array(applied)) => merge_items(schema, current, applied),
        _ => applied.clone(),
    }
}

/// Applied items stand in their order. Items that only the object has keep their places: before the applied items, as
/// far as no applied item comes before them in the object.
fn merge_items(schema: Option<&Structural>, current: &[Value], applied: &[Value]) -> Value {
    let items = schema.and_then(|schema| schema.items.as_deref());
    let element = |item: &Value| item_element(schema, item).ok();
    let places: BTreeMap<String, usize> =
        current.iter().enumerate().filter_map(|(index, item)| Some((element(item)?, index))).collect();
    let place_of = |item: &Value| element(item).and_then(|element| places.get(&element)).copied();
    let mut pending: BTreeSet<usize> = applied.iter().filter_map(place_of).collect();
    let shared = pending.clone();
    let mut next = 0;
    let mut merged = Vec::with_capacity(current.len() + applied.len());
    for item in applied {
        while next < current.len() && !pending.contains(&next) {
            merged.extend((!shared.contains(&next)).then(|| current[next].clone()));
            next += 1;
        }
        let place = place_of(item);
        merged.push(place.map_or_else(|| item.clone(), |place| merge(items, &current[place], item)));
        pending.retain(|waiting| Some(*waiting) != place);
    }
    merged.extend((next..current.len()).filter(|index| !shared.contains(index)).map(|index| current[index].clone()));
    Value::Array(merged)
}

/// Removes from `value` what `previous` has, `wanted` has not, and no other manager owns.
fn prune(
    schema: Option<&Structural>,
    value: &mut Value,
    previous: &FieldSet,
    wanted: Option<&FieldSet>,
    others: &[&FieldSet],
) {
    match value {
        Value::Object(object) => prune_fields(schema, object, previous, wanted, others),
        Value::Array(list) => {
            let items = schema.and_then(|schema| schema.items.as_deref());
            list.retain_mut(|item| match item_element(schema, item) {
                Ok(element) => prune_part(items, item, &element, previous, wanted, others),
                Err(_) => true,
            });
        }
        _ => {}
    }
}

fn prune_fields(
    schema: Option<&Structural>,
    object: &mut Map<String, Value>,
    previous: &FieldSet,
    wanted: Option<&FieldSet>,
    others: &[&FieldSet],
) {
    let names: Vec<String> = object.keys().cloned().collect();
    for name in names {
        let child = schema.and_then(|schema| schema.field(&name));
        let keep = object
            .get_mut(&name)
            .is_none_or(|value| prune_part(child, value, &field_element(&name), previous, wanted, others));
        if !keep {
            object.shift_remove(&name);
        }
    }
}

/// Prunes below one field or item and says whether it stays.
fn prune_part(
    schema: Option<&Structural>,
    value: &mut Value,
    element: &str,
    previous: &FieldSet,
    wanted: Option<&FieldSet>,
    others: &[&FieldSet],
) -> bool {
    let Some(previous) = previous.children.get(element) else { return true };
    let wanted = wanted.and_then(|wanted| wanted.children.get(element));
    let others: Vec<&FieldSet> = others.iter().filter_map(|other| other.children.get(element)).collect();
    let owned = wanted.is_some() || others.iter().any(|other| !other.is_empty());
    if previous.member && !owned {
        return false;
    }
    let was_empty = is_hollow(value);
    prune(schema, value, previous, wanted, &others);
    // A container that only held what is gone goes as well.
    owned || was_empty || !is_hollow(value)
}

fn is_hollow(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}
