//! Pruning of unknown fields and filling in of defaults.

use serde_json::{Map, Value};

use super::builtin::object_meta;
use super::model::{Structural, ValueType};

impl Structural {
    /// Removes every field that the schema does not know. At the root and in embedded resources `apiVersion`, `kind`
    /// and the known fields of `metadata` stay. Built-in kinds lose nulls as well, as their decoder has no nulls.
    pub fn prune(&self, value: &mut Value) {
        prune(self, value, true);
    }

    /// Fills in defaults, also below values that are there. A null of a non-nullable field that has a default gives
    /// way to the default.
    pub fn apply_defaults(&self, value: &mut Value) {
        match value {
            Value::Object(object) => self.default_object(object),
            Value::Array(list) => {
                if let Some(items) = &self.items {
                    list.iter_mut().for_each(|item| items.apply_defaults(item));
                }
            }
            _ => {}
        }
    }

    fn default_object(&self, object: &mut Map<String, Value>) {
        for (name, schema) in &self.properties {
            let Some(default) = &schema.default else { continue };
            let missing = object.get(name).is_none_or(|value| value.is_null() && !schema.nullable);
            if missing {
                object.insert(name.clone(), default.clone());
            }
        }
        for (name, value) in object.iter_mut() {
            if let Some(schema) = self.field(name) {
                schema.apply_defaults(value);
            }
        }
    }
}

fn prune(schema: &Structural, value: &mut Value, resource: bool) {
    match value {
        Value::Object(object) => {
            object.retain(|name, value| {
                let known = schema.preserve_unknown
                    || schema.field(name).is_some()
                    || (resource && matches!(name.as_str(), "apiVersion" | "kind" | "metadata"));
                known && !(value.is_null() && schema.builtin && schema.properties.contains_key(name))
            });
            for (name, value) in object.iter_mut() {
                match (schema.field(name), object_meta()) {
                    (_, Some(metadata)) if resource && name == "metadata" => prune(metadata, value, false),
                    (Some(child), _) => prune_field(child, value),
                    (None, _) => {}
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = &schema.items {
                list.iter_mut().for_each(|item| prune(items, item, items.embedded_resource));
            }
        }
        _ => {}
    }
}

fn prune_field(schema: &Structural, value: &mut Value) {
    // What is null here is an entry of a map; a built-in one holds texts, whose null is the empty text.
    if value.is_null() && schema.builtin && schema.value_type == Some(ValueType::String) {
        *value = Value::String(String::new());
    }
    prune(schema, value, schema.embedded_resource);
}
