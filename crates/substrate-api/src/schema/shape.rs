//! Pruning of unknown fields and filling in of defaults.

use serde_json::{Map, Value};

use super::model::Structural;

impl Structural {
    /// Removes every field that the schema does not know. At the root and in embedded resources `apiVersion`, `kind`
    /// and `metadata` stay.
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
            let keep = |name: &str| {
                schema.preserve_unknown
                    || schema.field(name).is_some()
                    || (resource && matches!(name, "apiVersion" | "kind" | "metadata"))
            };
            object.retain(|name, _| keep(name));
            for (name, value) in object.iter_mut() {
                // Object metadata has its own, fixed schema; the server handles it.
                if resource && name == "metadata" {
                    continue;
                }
                if let Some(schema) = schema.field(name) {
                    prune(schema, value, schema.embedded_resource);
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
