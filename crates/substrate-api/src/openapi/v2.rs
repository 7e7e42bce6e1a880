//! OpenAPI v2: one JSON document of everything, and for kubectl, which takes v2 as protobuf alone, one that names no
//! kind: it asks for v2 only about kinds that v3 does not know, and v2 knows no others.

use serde_json::{Map, Value, json};

use super::{ResourceInfo, v3_document};

/// The v2 document of all served resources.
pub fn v2_document(resources: &[ResourceInfo]) -> Value {
    let mut group_versions: Vec<(&str, &str)> =
        resources.iter().map(|resource| (resource.group.as_str(), resource.version.as_str())).collect();
    group_versions.sort_unstable();
    group_versions.dedup();
    let (mut paths, mut definitions) = (Map::new(), Map::new());
    for (group, version) in group_versions {
        let mut document = v3_document(group, version, resources);
        for (path, item) in take(&mut document["paths"]) {
            paths.insert(path, path_item(&item));
        }
        for (name, schema) in take(&mut document["components"]["schemas"]) {
            definitions.entry(name).or_insert_with(|| schema_of(&schema));
        }
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": paths,
        "definitions": definitions,
    })
}

/// The media type of v2 as protobuf. Clients ask for `spec.v2@v1.0`, which is no valid type in an answer.
pub const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// A v2 document without kinds as protobuf: `swagger` (field 1) and `info` (2) with `title` (1) and `version` (2).
pub fn v2_protobuf() -> Vec<u8> {
    let info = [text_field(1, b"Kubernetes"), text_field(2, b"unversioned")].concat();
    [text_field(1, b"2.0"), text_field(2, &info)].concat()
}

/// One field of a length below 128, which fits in one byte.
fn text_field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).expect("invariant: these texts are short");
    [&[number << 3 | 2, length], bytes].concat()
}

fn take(value: &mut Value) -> Map<String, Value> {
    match value.take() {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn path_item(item: &Value) -> Value {
    let Some(object) = item.as_object() else { return json!({}) };
    let converted = object.iter().map(|(name, value)| match name.as_str() {
        "parameters" => (name.clone(), parameters(value)),
        _ => (name.clone(), operation(value)),
    });
    Value::Object(converted.collect())
}

fn operation(operation: &Value) -> Value {
    let mut converted = operation.clone();
    let mut all = parameters(&operation["parameters"]);
    if let (Some(list), Some(content)) =
        (all.as_array_mut(), operation.pointer("/requestBody/content").and_then(Value::as_object))
    {
        let schema = content.values().next().map(|media| schema_of(&media["schema"])).unwrap_or_default();
        list.push(json!({"name": "body", "in": "body", "required": operation["requestBody"]["required"] == true, "schema": schema}));
        converted["consumes"] = content.keys().cloned().collect();
    }
    converted["parameters"] = all;
    converted["produces"] = json!(["application/json"]);
    if let Some(object) = converted.as_object_mut() {
        object.shift_remove("requestBody");
    }
    let answer = schema_of(&operation["responses"]["200"]["content"]["application/json"]["schema"]);
    converted["responses"] =
        json!({"200": {"description": "OK", "schema": answer}, "401": {"description": "Unauthorized"}});
    converted
}

/// In v2 the type of a parameter stands beside its name.
fn parameters(parameters: &Value) -> Value {
    let convert = |parameter: &Value| {
        let mut converted = parameter.clone();
        converted["type"] = parameter["schema"]["type"].clone();
        converted["uniqueItems"] = true.into();
        if let Some(object) = converted.as_object_mut() {
            object.shift_remove("schema");
        }
        converted
    };
    parameters.as_array().into_iter().flatten().map(convert).collect()
}

/// References point elsewhere, `allOf` around one reference falls away, and v3 keywords that v2 lacks are dropped.
fn schema_of(schema: &Value) -> Value {
    match schema {
        Value::Object(object) => {
            let mut converted = Map::new();
            for (name, value) in object {
                match (name.as_str(), value) {
                    ("$ref", Value::String(target)) => {
                        let target = target.replace("#/components/schemas/", "#/definitions/");
                        converted.insert(name.clone(), target.into());
                    }
                    ("allOf", Value::Array(list)) if list.len() == 1 => {
                        converted.extend(take(&mut schema_of(&list[0])))
                    }
                    // Names of fields, not keywords: some kinds have fields that are called like keywords.
                    ("properties", Value::Object(fields)) => {
                        let fields: Map<String, Value> =
                            fields.iter().map(|(field, schema)| (field.clone(), schema_of(schema))).collect();
                        converted.insert(name.clone(), Value::Object(fields));
                    }
                    ("oneOf" | "anyOf" | "not" | "nullable", _) => {}
                    _ => drop(converted.insert(name.clone(), schema_of(value))),
                }
            }
            Value::Object(converted)
        }
        Value::Array(list) => list.iter().map(schema_of).collect(),
        other => other.clone(),
    }
}
