//! Sets of fields, as `metadata.managedFields[*].fieldsV1` records them.
//!
//! A path element is kept in its serialized form: `f:name`, `k:{"name":"a"}`, `v:"x"`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::schema::{ListType, MapType, Structural};

/// A trie of fields. The path to a node belongs to the set if the node is a member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet {
    pub(super) member: bool,
    pub(super) children: BTreeMap<String, FieldSet>,
}

impl FieldSet {
    pub(super) fn leaf() -> FieldSet {
        FieldSet { member: true, children: BTreeMap::new() }
    }

    /// True if no path belongs to the set.
    pub fn is_empty(&self) -> bool {
        !self.member && self.children.values().all(FieldSet::is_empty)
    }

    /// Reads `fieldsV1`. Anything that is not an object counts as empty.
    pub fn from_fields_v1(fields: &Value) -> FieldSet {
        let mut set = FieldSet::default();
        for (element, below) in fields.as_object().into_iter().flatten() {
            if element == "." {
                set.member = true;
                continue;
            }
            let mut child = FieldSet::from_fields_v1(below);
            child.member |= child.children.is_empty();
            set.children.insert(element.clone(), child);
        }
        set
    }

    /// Writes `fieldsV1`.
    pub fn to_fields_v1(&self) -> Value {
        let mut fields = Map::new();
        if self.member && !self.children.is_empty() {
            fields.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (element, child) in self.children.iter().filter(|(_, child)| !child.is_empty()) {
            fields.insert(element.clone(), child.to_fields_v1());
        }
        Value::Object(fields)
    }

    pub(super) fn insert(&mut self, element: String, child: FieldSet) {
        if !child.is_empty() {
            self.children.insert(element, child);
        }
    }

    pub(super) fn union(&self, other: &FieldSet) -> FieldSet {
        let mut result = self.clone();
        result.member |= other.member;
        for (element, child) in &other.children {
            let merged = result.children.get(element).map_or_else(|| child.clone(), |mine| mine.union(child));
            result.children.insert(element.clone(), merged);
        }
        result
    }

    pub(super) fn intersection(&self, other: &FieldSet) -> FieldSet {
        let mut result = FieldSet { member: self.member && other.member, children: BTreeMap::new() };
        for (element, child) in &self.children {
            if let Some(theirs) = other.children.get(element) {
                result.insert(element.clone(), child.intersection(theirs));
            }
        }
        result
    }

    pub(super) fn difference(&self, other: &FieldSet) -> FieldSet {
        let mut result = FieldSet { member: self.member && !other.member, children: BTreeMap::new() };
        for (element, child) in &self.children {
            let rest = other.children.get(element).map_or_else(|| child.clone(), |theirs| child.difference(theirs));
            result.insert(element.clone(), rest);
        }
        result
    }

    /// The member paths, written as Kubernetes shows them: `.spec.containers[name="a"].image`.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.collect_paths("", &mut found);
        found
    }

    fn collect_paths(&self, path: &str, found: &mut Vec<String>) {
        if self.member {
            found.push(path.to_owned());
        }
        for (element, child) in &self.children {
            child.collect_paths(&format!("{path}{}", shown(element)), found);
        }
    }
}

fn shown(element: &str) -> String {
    let Some((kind, rest)) = element.split_once(':') else { return element.to_owned() };
    match kind {
        "f" => format!(".{rest}"),
        "v" => format!("[={rest}]"),
        "k" => {
            let keys: BTreeMap<String, Value> = serde_json::from_str(rest).unwrap_or_default();
            let mut text = String::from("[");
            for (index, (key, value)) in keys.iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                // Writing to a String cannot fail.
                let _ = write!(text, "{comma}{key}={value}");
            }
            text + "]"
        }
        _ => format!("[{rest}]"),
    }
}

/// How server-side apply sees one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One owner: a scalar, an atomic list, an atomic map.
    Leaf,
    /// Fields have their own owners.
    Map,
    /// Items have their own owners.
    Items,
}

pub(super) fn shape(schema: Option<&Structural>, value: &Value) -> Shape {
    match value {
        Value::Object(_) if schema.is_none_or(|schema| schema.map_type == MapType::Granular) => Shape::Map,
        Value::Array(_) if schema.is_some_and(|schema| schema.list_type != ListType::Atomic) => Shape::Items,
        _ => Shape::Leaf,
    }
}

pub(super) fn field_element(name: &str) -> String {
    format!("f:{name}")
}

/// The path element of an item, or the key field that it lacks.
pub(super) fn item_element(schema: Option<&Structural>, item: &Value) -> Result<String, String> {
    let Some(ListType::Map(keys)) = schema.map(|schema| &schema.list_type) else {
        return Ok(format!("v:{item}"));
    };
    let items = schema.and_then(|schema| schema.items.as_deref());
    let mut found = BTreeMap::new();
    for key in keys {
        let default = || items?.properties.get(key)?.default.as_ref();
        if let Some(value) = item.get(key).filter(|value| !value.is_null()).or_else(default) {
            found.insert(key.as_str(), value);
        }
    }
    // Of several keys some may be absent (a port without protocol); then absence is part of the identity.
    if found.is_empty() {
        return Err(keys.join(","));
    }
    let keys: Map<String, Value> = found.into_iter().map(|(key, value)| (key.to_owned(), value.clone())).collect();
    Ok(format!("k:{}", Value::Object(keys)))
}

/// The fields that an applied configuration sets. Errors name the path of an item without its keys, or of a second
/// item with the same keys.
pub(super) fn fields_of(schema: Option<&Structural>, value: &Value) -> Result<FieldSet, String> {
    fields_at(schema, value, "")
}

fn fields_at(schema: Option<&Structural>, value: &Value, path: &str) -> Result<FieldSet, String> {
    match (shape(schema, value), value) {
        (Shape::Map, Value::Object(object)) => {
            let mut set = FieldSet::default();
            for (name, value) in object {
                let child = schema.and_then(|schema| schema.field(name));
                let mut below = fields_at(child, value, &format!("{path}.{name}"))?;
                let declared = schema.is_some_and(|schema| schema.properties.contains_key(name));
                let hollow = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                below.member |= hollow || !declared;
                set.insert(field_element(name), below);
            }
            Ok(set)
        }
        (Shape::Items, Value::Array(list)) => {
            let mut set = FieldSet { member: list.is_empty(), children: BTreeMap::new() };
            let items = schema.and_then(|schema| schema.items.as_deref());
            for (index, item) in list.iter().enumerate() {
                let element = item_element(schema, item).map_err(|keys| {
                    format!("{path}: element {index}: associative list with keys has an element that omits key field {keys:?} (and doesn't have default value)")
                })?;
                if set.children.contains_key(&element) {
                    return Err(format!("{path}: duplicate entries for key {}", shown(&element)));
                }
                let mut below = if item.is_object() {
                    fields_at(items, item, &format!("{path}{}", shown(&element)))?
                } else {
                    FieldSet::default()
                };
                below.member = true;
                set.insert(element, below);
            }
            Ok(set)
        }
        _ => Ok(FieldSet::leaf()),
    }
}
