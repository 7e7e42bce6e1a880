//! Reads OpenAPI schemas into [`Structural`] and checks the rules that `apiextensions.k8s.io/v1` sets for them.

use std::collections::HashMap;
use std::sync::Arc;

use regex::Regex;
use serde_json::{Map, Value};

use super::definitions::REFERENCE_PREFIX;
use super::error::FieldError;
use super::model::{ListType, MapType, PatchStrategy, Rules, Structural, ValueType};

pub(super) const ROOT: &str = "openAPIV3Schema";

impl Structural {
    /// Parses and checks `spec.versions[*].schema.openAPIV3Schema` of a CustomResourceDefinition.
    ///
    /// Error paths start with `openAPIV3Schema`; put the place before it with [`FieldError::below`].
    pub fn parse(schema: &Value) -> Result<Structural, Vec<FieldError>> {
        let mut parser = Parser { errors: Vec::new(), source: Source::Custom };
        let parsed = parser.node(schema, ROOT, Place::Structure);
        match schema.get("type").and_then(Value::as_str) {
            Some("object") => {}
            None => parser.errors.push(FieldError::required(format!("{ROOT}.type"), "must not be empty at the root")),
            Some(other) => {
                let error = FieldError::invalid(format!("{ROOT}.type"), other.into(), "must be object at the root");
                parser.errors.push(error);
            }
        }
        if parser.errors.is_empty() { Ok(parsed) } else { Err(parser.errors) }
    }
}

/// Parses one built-in definition; references are resolved, and a type that contains itself is opaque inside.
pub(super) fn builtin(definitions: &Map<String, Value>, name: &str) -> Structural {
    let source = Source::Builtin { definitions, done: HashMap::new(), under_way: Vec::new() };
    let mut parser = Parser { errors: Vec::new(), source };
    let mut root = parser.node(definitions.get(name).unwrap_or(&Value::Null), name, Place::Structure);
    // Clients send and controllers write partial statuses; Kubernetes never demands a status field.
    if let Some(status) = root.properties.get_mut("status") {
        *status = Arc::new(without_required(status));
    }
    root
}

fn without_required(node: &Structural) -> Structural {
    let mut node = node.clone();
    if let Some(rules) = &mut node.rules {
        rules.required.clear();
    }
    node.properties.values_mut().for_each(|child| *child = Arc::new(without_required(child)));
    node.items = node.items.map(|items| Arc::new(without_required(&items)));
    node.additional = node.additional.map(|items| Arc::new(without_required(&items)));
    node
}

/// Where a schema node stands: in the structure itself or below `allOf`, `anyOf`, `oneOf`, `not`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Structure,
    Validation,
}

pub(super) enum Source<'a> {
    Custom,
    Builtin { definitions: &'a Map<String, Value>, done: HashMap<String, Arc<Structural>>, under_way: Vec<String> },
}

pub(super) struct Parser<'a> {
    pub(super) errors: Vec<FieldError>,
    source: Source<'a>,
}

impl Parser<'_> {
    fn is_builtin(&self) -> bool {
        matches!(self.source, Source::Builtin { .. })
    }

    fn child(&mut self, schema: &Value, path: &str, place: Place) -> Arc<Structural> {
        let reference = reference_of(schema);
        let (Source::Builtin { definitions, done, under_way }, Some(name)) = (&mut self.source, reference) else {
            return Arc::new(self.node(schema, path, place));
        };
        let (definitions, name) = (*definitions, name.to_owned());
        if let Some(known) = done.get(&name) {
            return with_extensions(known, schema);
        }
        if under_way.contains(&name) {
            return Arc::new(Structural::anything());
        }
        under_way.push(name.clone());
        let parsed = Arc::new(self.node(definitions.get(&name).unwrap_or(&Value::Null), path, place));
        if let Source::Builtin { done, under_way, .. } = &mut self.source {
            under_way.pop();
            done.insert(name, Arc::clone(&parsed));
        }
        with_extensions(&parsed, schema)
    }

    fn node(&mut self, schema: &Value, path: &str, place: Place) -> Structural {
        let Some(object) = schema.as_object() else {
            if !schema.is_null() {
                self.errors.push(FieldError::invalid(path, schema.clone(), "must be an object"));
            }
            return Structural::anything();
        };
        let flag = |name: &str| object.get(name).and_then(Value::as_bool).unwrap_or(false);
        let mut node = Structural {
            value_type: object.get("type").and_then(Value::as_str).and_then(ValueType::parse),
            default: object.get("default").cloned(),
            nullable: flag("nullable"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            embedded_resource: flag("x-kubernetes-embedded-resource"),
            preserve_unknown: flag("x-kubernetes-preserve-unknown-fields"),
            builtin: self.is_builtin(),
            ..Structural::default()
        };
        read_extensions(&mut node, object);
        self.children(&mut node, object, path, place);
        node.rules = self.rules(object, path);
        if self.is_builtin() {
            // An object without any declared content (RawExtension, FieldsV1, JSON) is opaque.
            node.preserve_unknown |= node.properties.is_empty()
                && node.additional.is_none()
                && matches!(node.value_type, None | Some(ValueType::Object))
                && !node.int_or_string;
        } else {
            self.check(&node, object, path, place);
        }
        node
    }

    fn children(&mut self, node: &mut Structural, object: &Map<String, Value>, path: &str, place: Place) {
        for (name, schema) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let child = self.child(schema, &format!("{path}.properties[{name}]"), place);
            node.properties.insert(name.clone(), child);
        }
        match object.get("items") {
            Some(Value::Array(_)) => {
                self.errors.push(FieldError::forbidden(
                    format!("{path}.items"),
                    "items must be a schema object and not an array",
                ));
            }
            Some(schema) => node.items = Some(self.child(schema, &format!("{path}.items"), place)),
            None => {}
        }
        match object.get("additionalProperties") {
            Some(Value::Bool(false)) => {
                self.errors.push(FieldError::forbidden(
                    format!("{path}.additionalProperties"),
                    "additionalProperties cannot be set to false",
                ));
            }
            Some(Value::Bool(true)) => node.additional = Some(Arc::new(Structural::anything())),
            Some(schema) => node.additional = Some(self.child(schema, &format!("{path}.additionalProperties"), place)),
            None => {}
        }
    }

    fn rules(&mut self, object: &Map<String, Value>, path: &str) -> Option<Box<Rules>> {
        const KEYWORDS: &[&str] = &[
            "required",
            "enum",
            "format",
            "pattern",
            "minimum",
            "maximum",
            "multipleOf",
            "minLength",
            "maxLength",
            "minItems",
            "maxItems",
            "minProperties",
            "maxProperties",
            "allOf",
            "anyOf",
            "oneOf",
            "not",
        ];
        if !KEYWORDS.iter().any(|keyword| object.contains_key(*keyword)) {
            return None;
        }
        let number = |name: &str| object.get(name).filter(|value| value.is_number()).cloned();
        let count = |name: &str| object.get(name).and_then(Value::as_u64);
        let flag = |name: &str| object.get(name).and_then(Value::as_bool).unwrap_or(false);
        let list = |name: &str| object.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        Some(Box::new(Rules {
            required: list("required").iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            allowed: list("enum"),
            format: object.get("format").and_then(Value::as_str).map(str::to_owned),
            pattern: self.pattern(object, path),
            minimum: number("minimum"),
            maximum: number("maximum"),
            exclusive_minimum: flag("exclusiveMinimum"),
            exclusive_maximum: flag("exclusiveMaximum"),
            multiple_of: number("multipleOf"),
            min_length: count("minLength"),
            max_length: count("maxLength"),
            min_items: count("minItems"),
            max_items: count("maxItems"),
            min_properties: count("minProperties"),
            max_properties: count("maxProperties"),
            all_of: self.alternatives(object, "allOf", path),
            any_of: self.alternatives(object, "anyOf", path),
            one_of: self.alternatives(object, "oneOf", path),
            not: object.get("not").map(|schema| Box::new(self.node(schema, &format!("{path}.not"), Place::Validation))),
        }))
    }

    fn pattern(&mut self, object: &Map<String, Value>, path: &str) -> Option<Regex> {
        let text = object.get("pattern").and_then(Value::as_str)?;
        match Regex::new(text) {
            Ok(regex) => Some(regex),
            Err(problem) => {
                // The library draws the place over several lines; the last one says what is wrong.
                let problem = problem.to_string();
                let problem = problem.lines().last().unwrap_or_default();
                let detail = format!("must be a valid regular expression, but isn't: {problem}");
                self.errors.push(FieldError::invalid(format!("{path}.pattern"), text.into(), detail));
                None
            }
        }
    }

    fn alternatives(&mut self, object: &Map<String, Value>, keyword: &str, path: &str) -> Vec<Structural> {
        // References of built-in kinds that stand for alternatives (JSONSchemaPropsOrBool) are not looked into.
        let Some(list) = object.get(keyword).and_then(Value::as_array).filter(|_| !self.is_builtin()) else {
            return Vec::new();
        };
        let places = list.iter().enumerate();
        places
            .map(|(index, schema)| self.node(schema, &format!("{path}.{keyword}[{index}]"), Place::Validation))
            .collect()
    }
}

fn reference_of(schema: &Value) -> Option<&str> {
    schema.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix(REFERENCE_PREFIX))
}

/// A reference may carry extensions of its own (a patch strategy, an atomic map); then it is its own node.
fn with_extensions(target: &Arc<Structural>, schema: &Value) -> Arc<Structural> {
    match schema.as_object() {
        Some(object) if object.keys().any(|key| key.starts_with("x-kubernetes-")) => {
            let mut own = Structural::clone(target);
            read_extensions(&mut own, object);
            Arc::new(own)
        }
        _ => Arc::clone(target),
    }
}

fn read_extensions(node: &mut Structural, object: &Map<String, Value>) {
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    let keys = || {
        let list = object.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    match text("x-kubernetes-list-type") {
        Some("map") => node.list_type = ListType::Map(keys()),
        Some("set") => node.list_type = ListType::Set,
        _ => {}
    }
    if text("x-kubernetes-map-type") == Some("atomic") {
        node.map_type = MapType::Atomic;
    }
    if let Some(strategies) = text("x-kubernetes-patch-strategy") {
        let has = |name: &str| strategies.split(',').any(|strategy| strategy == name);
        node.patch = PatchStrategy {
            merge: has("merge"),
            retain_keys: has("retainKeys"),
            replace: has("replace"),
            merge_key: text("x-kubernetes-patch-merge-key").map(str::to_owned),
        };
    }
}
