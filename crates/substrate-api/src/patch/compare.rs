//! What changed between two versions of an object, field by field.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fields::{FieldSet, Shape, field_element, item_element, shape};
use crate::schema::Structural;

/// The difference between two versions.
#[derive(Debug, Clone, Default)]
pub(super) struct Comparison {
    /// Fields that are new or have another value.
    pub(super) changed: FieldSet,
    /// Fields that are gone.
    pub(super) removed: FieldSet,
}

/// Compares `before` with `after`; `None` stands for a value that is not there.
pub(super) fn compare(schema: Option<&Structural>, before: Option<&Value>, after: Option<&Value>) -> Comparison {
    match (before, after) {
        (None, None) => Comparison::default(),
        (None, Some(after)) => Comparison { changed: whole(schema, after), removed: FieldSet::default() },
        (Some(before), None) => Comparison { changed: FieldSet::default(), removed: whole(schema, before) },
        (Some(before), Some(after)) => both(schema, before, after),
    }
}

fn both(schema: Option<&Structural>, before: &Value, after: &Value) -> Comparison {
    let (old, new) = (shape(schema, before), shape(schema, after));
    if old == Shape::Leaf || new == Shape::Leaf || old != new {
        let changed = if before == after { FieldSet::default() } else { whole(schema, after) };
        return Comparison { changed, removed: FieldSet::default() };
    }
    let mut result = Comparison::default();
    let (before, after) = (parts(schema, before), parts(schema, after));
    for (element, (child, value)) in &after {
        let below = compare(*child, before.get(element).map(|(_, value)| *value), Some(value));
        result.changed.insert(element.clone(), below.changed);
        result.removed.insert(element.clone(), below.removed);
    }
    for (element, (child, value)) in before.iter().filter(|(element, _)| !after.contains_key(*element)) {
        result.removed.insert(element.clone(), compare(*child, Some(value), None).removed);
    }
    result
}

/// A value that appears or disappears as a whole. Maps, lists and items count themselves, besides what is in them;
/// objects with declared fields only when they are empty.
fn whole(schema: Option<&Structural>, value: &Value) -> FieldSet {
    let mut set = FieldSet::leaf();
    if shape(schema, value) != Shape::Leaf {
        for (element, (child, value)) in parts(schema, value) {
            let mut below = whole(child, value);
            below.member |= element.starts_with("k:");
            set.insert(element, below);
        }
        let has_declared_fields = schema.is_some_and(|schema| !schema.properties.is_empty());
        set.member = set.children.is_empty() || !has_declared_fields;
    }
    set
}

type Parts<'a> = BTreeMap<String, (Option<&'a Structural>, &'a Value)>;

/// The fields or items of a value by path element. Items without identity are left out: nobody can own them.
fn parts<'a>(schema: Option<&'a Structural>, value: &'a Value) -> Parts<'a> {
    match value {
        Value::Object(object) => {
            let part = |(name, value): (&String, &'a Value)| {
                (field_element(name), (schema.and_then(|s| s.field(name)), value))
            };
            object.iter().map(part).collect()
        }
        Value::Array(list) => {
            let items = schema.and_then(|schema| schema.items.as_deref());
            let part = |item: &'a Value| Some((item_element(schema, item).ok()?, (items, item)));
            list.iter().filter_map(part).collect()
        }
        _ => Parts::new(),
    }
}
