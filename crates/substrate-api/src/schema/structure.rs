//! The rules that `apiextensions.k8s.io/v1` sets for structural schemas.

use serde_json::{Map, Value};

use super::error::FieldError;
use super::model::{ListType, Structural, ValueType};
use super::parse::{Parser, Place, ROOT};

impl Parser<'_> {
    /// The rules for structural schemas.
    pub(super) fn check(&mut self, node: &Structural, object: &Map<String, Value>, path: &str, place: Place) {
        if place == Place::Validation {
            return self.check_validation(object, path);
        }
        for unsupported in ["$ref", "definitions", "dependencies", "patternProperties", "additionalItems", "id"] {
            if object.contains_key(unsupported) {
                self.errors.push(FieldError::forbidden(
                    format!("{path}.{unsupported}"),
                    format!("{unsupported} is not supported"),
                ));
            }
        }
        if object.get("uniqueItems") == Some(&Value::Bool(true)) {
            self.errors.push(FieldError::forbidden(
                format!("{path}.uniqueItems"),
                "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            ));
        }
        if !node.properties.is_empty() && node.additional.is_some() {
            self.errors.push(FieldError::forbidden(
                format!("{path}.additionalProperties"),
                "additionalProperties and properties are mutual exclusive",
            ));
        }
        self.check_type(node, object, path);
        self.check_list_type(node, path);
        if node.embedded_resource && node.value_type != Some(ValueType::Object) {
            self.errors.push(FieldError::invalid(
                format!("{path}.type"),
                object.get("type").cloned().unwrap_or("".into()),
                "must be object if x-kubernetes-embedded-resource is true",
            ));
        }
        if node.embedded_resource && !node.preserve_unknown && node.properties.is_empty() {
            self.errors.push(FieldError::required(format!("{path}.properties"), "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"));
        }
    }

    fn check_type(&mut self, node: &Structural, object: &Map<String, Value>, path: &str) {
        let field = format!("{path}.type");
        match object.get("type").and_then(Value::as_str) {
            Some(text) if node.value_type.is_none() => {
                let names =
                    ["array", "boolean", "integer", "number", "object", "string"].map(|name| format!("{name:?}"));
                self.errors.push(FieldError::not_supported(field, text.into(), &names));
            }
            Some(text) if node.int_or_string => {
                self.errors.push(FieldError::invalid(
                    field,
                    text.into(),
                    "must be empty if x-kubernetes-int-or-string is true",
                ));
            }
            None if path != ROOT && !node.int_or_string && !node.preserve_unknown => {
                let what = match path.rsplit('.').next() {
                    Some("items") => "array items",
                    Some("additionalProperties") => "object additionalProperties",
                    _ => "object fields",
                };
                self.errors.push(FieldError::required(field, format!("must not be empty for specified {what}")));
            }
            _ => {}
        }
        if node.value_type == Some(ValueType::Array) && node.items.is_none() {
            self.errors.push(FieldError::required(format!("{path}.items"), "must be specified"));
        }
    }

    fn check_list_type(&mut self, node: &Structural, path: &str) {
        let ListType::Map(keys) = &node.list_type else { return };
        let items = node.items.as_deref();
        if keys.is_empty() {
            self.errors.push(FieldError::required(
                format!("{path}.x-kubernetes-list-map-keys"),
                "must not be empty if x-kubernetes-list-type is map",
            ));
        }
        if items.is_some_and(|items| items.value_type != Some(ValueType::Object)) {
            self.errors.push(FieldError::invalid(
                format!("{path}.items.type"),
                Value::Null,
                "must be object if parent array's x-kubernetes-list-type is map",
            ));
        }
        for key in keys {
            match items.and_then(|items| items.properties.get(key)) {
                None => {
                    let field = format!("{path}.x-kubernetes-list-map-keys");
                    self.errors.push(FieldError::invalid(
                        field,
                        key.as_str().into(),
                        "entries must all be names of item properties",
                    ));
                }
                Some(property) => {
                    let required =
                        items.and_then(|i| i.rules.as_ref()).is_some_and(|rules| rules.required.contains(key));
                    if !required && property.default.is_none() {
                        let field = format!("{path}.items.properties[{key}].default");
                        self.errors.push(FieldError::required(field, "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"));
                    }
                }
            }
        }
    }

    /// Below `allOf` and its kin only value validations may stand.
    fn check_validation(&mut self, object: &Map<String, Value>, path: &str) {
        let int_or_string = (path.contains(".anyOf[") || path.contains(".allOf[")) && object.len() == 1;
        for keyword in ["additionalProperties", "default", "title", "description", "nullable", "type"] {
            if object.contains_key(keyword) && !(keyword == "type" && int_or_string) {
                self.errors.push(FieldError::forbidden(format!("{path}.{keyword}"), "must be empty to be structural"));
            }
        }
        for extension in
            object.keys().filter(|key| key.starts_with("x-kubernetes-") && *key != "x-kubernetes-validations")
        {
            self.errors.push(FieldError::forbidden(format!("{path}.{extension}"), "must be false to be structural"));
        }
    }
}
