//! The schemas of a v3 document: built-in definitions, definitions made from custom resources, and lists of both.

use serde_json::{Map, Value, json};

use super::ResourceInfo;
use crate::schema::{builtin_kinds, document};

const PREFIX: &str = "#/components/schemas/";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("{PREFIX}{name}")})
}

/// A reference to the schema of a kind of the same document, or a plain object if the document has none.
pub(super) fn reference_to(group: &str, version: &str, kind: &str, resource: &ResourceInfo) -> Value {
    let of_resource = kind == resource.kind || kind == resource.list_kind();
    if resource.custom_schema.is_some() && of_resource {
        return reference(&definition_name(group, version, kind));
    }
    let builtin =
        builtin_kinds().iter().find(|known| known.kind == kind && known.group == group && known.version == version);
    match builtin {
        Some(known) => reference(&known.definition()),
        None if of_resource => reference(&definition_name_of_list(resource)),
        None => json!({"type": "object"}),
    }
}

/// All schemas that the paths of one group version refer to.
pub(super) fn definitions(group: &str, version: &str, resources: &[ResourceInfo]) -> Map<String, Value> {
    let mut definitions = Map::new();
    if let Some(document) = document(group, version) {
        add(&mut definitions, &document.definitions);
    }
    let own = resources.iter().filter(|resource| resource.group == group && resource.version == version);
    for resource in own {
        for subresource in &resource.subresources {
            if let Some(other) = document(&subresource.group, &subresource.version) {
                add_with_references(&mut definitions, other, &subresource.kind);
            }
        }
        if let Some(schema) = &resource.custom_schema {
            let definition = custom_definition(resource, schema);
            definitions.insert(definition_name(group, version, &resource.kind), definition);
        }
        if resource.verbs.iter().any(|verb| verb == "list") {
            definitions.insert(definition_name_of_list(resource), list_definition(resource));
        }
    }
    add_meta(&mut definitions);
    definitions
}

fn add(definitions: &mut Map<String, Value>, source: &Map<String, Value>) {
    for (name, schema) in source {
        definitions.entry(name.clone()).or_insert_with(|| kubernetes_style(schema));
    }
}

/// Adds one kind of another group version (Scale, Eviction, TokenRequest) with what it refers to.
fn add_with_references(definitions: &mut Map<String, Value>, source: &crate::schema::Document, kind: &str) {
    let wanted = source.definitions.keys().find(|name| name.rsplit('.').next() == Some(kind));
    let mut pending: Vec<String> = wanted.into_iter().cloned().collect();
    while let Some(name) = pending.pop() {
        let Some(schema) = source.definitions.get(&name) else { continue };
        if definitions.contains_key(&name) {
            continue;
        }
        pending.extend(references_in(schema));
        definitions.insert(name, kubernetes_style(schema));
    }
}

fn references_in(schema: &Value) -> Vec<String> {
    match schema {
        Value::Object(object) => {
            let own = object.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix(PREFIX));
            own.map(str::to_owned).into_iter().chain(object.values().flat_map(references_in)).collect()
        }
        Value::Array(list) => list.iter().flat_map(references_in).collect(),
        _ => Vec::new(),
    }
}

/// A reference with siblings becomes `allOf` with one entry, since OpenAPI 3.0 ignores what stands beside `$ref`. A
/// property may be called `$ref` too (in the schema of schemas), which is no reference: its value is a schema.
fn kubernetes_style(schema: &Value) -> Value {
    match schema {
        Value::Object(object) if object.len() > 1 && object.get("$ref").is_some_and(Value::is_string) => {
            let mut wrapped: Map<String, Value> = object
                .iter()
                .filter(|(name, _)| *name != "$ref")
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            wrapped.insert("allOf".to_owned(), json!([{"$ref": object["$ref"]}]));
            Value::Object(wrapped)
        }
        Value::Object(object) => object.iter().map(|(name, value)| (name.clone(), kubernetes_style(value))).collect(),
        Value::Array(list) => list.iter().map(kubernetes_style).collect(),
        other => other.clone(),
    }
}

/// `io.example.stable.v1.CronTab`: the group backwards, the version, the kind.
fn definition_name(group: &str, version: &str, kind: &str) -> String {
    let group: Vec<&str> = group.split('.').rev().collect();
    format!("{}.{version}.{kind}", group.join("."))
}

fn definition_name_of_list(resource: &ResourceInfo) -> String {
    let ResourceInfo { group, version, kind, .. } = resource;
    let builtin =
        builtin_kinds().iter().find(|known| known.kind == kind && known.group == group && known.version == version);
    match builtin {
        Some(known) => format!("{}List", known.definition()),
        None => definition_name(group, version, &resource.list_kind()),
    }
}

fn custom_definition(resource: &ResourceInfo, schema: &Value) -> Value {
    let mut definition = schema.clone();
    if !definition.is_object() {
        definition = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    }
    if !definition["properties"].is_object() {
        definition["properties"] = json!({});
    }
    let metadata =
        json!({"description": "Standard object's metadata.", "allOf": [reference(&format!("{META}.ObjectMeta"))]});
    let (api_version, kind) = type_fields();
    definition["properties"]["apiVersion"] = api_version;
    definition["properties"]["kind"] = kind;
    definition["properties"]["metadata"] = metadata;
    definition["x-kubernetes-group-version-kind"] = gvk(resource, &resource.kind);
    definition
}

fn type_fields() -> (Value, Value) {
    let field = |description: &str| json!({"description": description, "type": "string"});
    (
        field("The versioned schema of this representation of an object, as group and version."),
        field("The kind of the object, in CamelCase."),
    )
}

fn gvk(resource: &ResourceInfo, kind: &str) -> Value {
    json!([{"group": resource.group, "kind": kind, "version": resource.version}])
}

fn list_definition(resource: &ResourceInfo) -> Value {
    let ResourceInfo { group, version, kind, .. } = resource;
    let item = reference_to(group, version, kind, resource);
    let (api_version, kind_field) = type_fields();
    json!({
        "description": format!("A list of {kind}."),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": api_version,
            "items": {"description": format!("The {kind} objects."), "type": "array", "items": item},
            "kind": kind_field,
            "metadata": {"description": "Standard list metadata.", "allOf": [reference(&format!("{META}.ListMeta"))]},
        },
        "x-kubernetes-group-version-kind": gvk(resource, &resource.list_kind()),
    })
}

/// The types of the machinery that paths and lists refer to.
fn add_meta(definitions: &mut Map<String, Value>) {
    // ObjectMeta and what it refers to, for documents with custom resources only.
    if let Some(core) = document("", "v1") {
        add_with_references(definitions, core, "ObjectMeta");
    }
    let machinery = crate::schema::machinery();
    add(definitions, machinery);
    definitions.entry(format!("{META}.Patch")).or_insert_with(
        || json!({"description": "A patch of an object in one of the patch formats.", "type": "object"}),
    );
}
