//! The CustomResourceDefinitions of our kinds, generated from their types.
//!
//! Every object keeps fields that it does not list (`x-kubernetes-preserve-unknown-fields`), so that what Istio accepts
//! and we do not honour is stored; [`crate::fields`] names such fields.

use std::sync::LazyLock;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::kind::Kind;
use crate::{
    AuthorizationPolicy, DestinationRule, Gateway, PeerAuthentication, ServiceEntry, VirtualService, WorkloadEntry,
    WorkloadGroup,
};

/// The CustomResourceDefinition of a kind, as JSON.
pub fn definition(kind: Kind) -> Value {
    let versions: Vec<Value> =
        kind.versions().iter().enumerate().map(|(index, name)| version(kind, name, index == 0)).collect();
    let area = kind.group().split('.').next().unwrap_or_default();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{}.{}", kind.plural(), kind.group()),
            "labels": { "app": "istio-pilot", "istio": area },
        },
        "spec": {
            "group": kind.group(),
            "names": {
                "categories": ["istio-io", format!("{area}-istio-io")],
                "kind": kind.name(),
                "listKind": format!("{}List", kind.name()),
                "plural": kind.plural(),
                "shortNames": [kind.short_name()],
                "singular": kind.name().to_lowercase(),
            },
            "scope": "Namespaced",
            "versions": versions,
        },
    })
}

fn version(kind: Kind, name: &str, stored: bool) -> Value {
    let mut spec = spec_schema(kind).clone();
    if !stored {
        // All versions have the same schema; one with its descriptions is enough to read.
        strip_descriptions(&mut spec);
    }
    let mut version = json!({
        "name": name,
        "served": true,
        "storage": stored,
        "schema": { "openAPIV3Schema": {
            "type": "object",
            "properties": {
                "spec": spec,
                "status": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
            },
        } },
        "subresources": { "status": {} },
    });
    let columns = printer_columns(kind);
    if !columns.is_empty() {
        version["additionalPrinterColumns"] = Value::Array(columns);
    }
    version
}

fn strip_descriptions(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    object.remove("description");
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(strip_descriptions);
    }
    for container in ["items", "additionalProperties"] {
        if let Some(inner) = object.get_mut(container) {
            strip_descriptions(inner);
        }
    }
}

fn printer_columns(kind: Kind) -> Vec<Value> {
    let own: &[(&str, &str)] = match kind {
        Kind::Gateway => return Vec::new(),
        Kind::VirtualService => &[("Gateways", ".spec.gateways"), ("Hosts", ".spec.hosts")],
        Kind::DestinationRule => &[("Host", ".spec.host")],
        Kind::ServiceEntry => {
            &[("Hosts", ".spec.hosts"), ("Location", ".spec.location"), ("Resolution", ".spec.resolution")]
        }
        Kind::WorkloadEntry => &[("Address", ".spec.address")],
        Kind::WorkloadGroup => &[],
        Kind::PeerAuthentication => &[("Mode", ".spec.mtls.mode")],
        Kind::AuthorizationPolicy => &[("Action", ".spec.action")],
    };
    let mut columns: Vec<Value> =
        own.iter().map(|(name, path)| json!({ "name": name, "jsonPath": path, "type": "string" })).collect();
    columns.push(json!({ "name": "Age", "jsonPath": ".metadata.creationTimestamp", "type": "date" }));
    columns
}

/// The structural schema of a kind's `spec`.
pub fn spec_schema(kind: Kind) -> &'static Value {
    static GATEWAY: LazyLock<Value> = LazyLock::new(structural::<Gateway>);
    static VIRTUAL_SERVICE: LazyLock<Value> = LazyLock::new(structural::<VirtualService>);
    static DESTINATION_RULE: LazyLock<Value> = LazyLock::new(structural::<DestinationRule>);
    static SERVICE_ENTRY: LazyLock<Value> = LazyLock::new(structural::<ServiceEntry>);
    static WORKLOAD_ENTRY: LazyLock<Value> = LazyLock::new(structural::<WorkloadEntry>);
    static WORKLOAD_GROUP: LazyLock<Value> = LazyLock::new(structural::<WorkloadGroup>);
    static PEER_AUTHENTICATION: LazyLock<Value> = LazyLock::new(structural::<PeerAuthentication>);
    static AUTHORIZATION_POLICY: LazyLock<Value> = LazyLock::new(structural::<AuthorizationPolicy>);
    match kind {
        Kind::Gateway => &GATEWAY,
        Kind::VirtualService => &VIRTUAL_SERVICE,
        Kind::DestinationRule => &DESTINATION_RULE,
        Kind::ServiceEntry => &SERVICE_ENTRY,
        Kind::WorkloadEntry => &WORKLOAD_ENTRY,
        Kind::WorkloadGroup => &WORKLOAD_GROUP,
        Kind::PeerAuthentication => &PEER_AUTHENTICATION,
        Kind::AuthorizationPolicy => &AUTHORIZATION_POLICY,
    }
}

fn structural<T: JsonSchema>() -> Value {
    let mut schema = strict::<T>();
    keep_unknown(&mut schema);
    schema
}

/// The structural schema of a type, which keeps no field that it does not list.
pub(crate) fn strict<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.meta_schema = None;
        settings.inline_subschemas = true;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Some(root) = schema.as_object_mut() {
        root.remove("title");
    }
    simplify(&mut schema);
    schema
}

/// Turns what schemars writes for an optional field, an enumeration or a number into Kubernetes' structural form.
fn simplify(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    drop_null_alternative(object);
    collapse_enumeration(object);
    simplify_type(object);
    // API servers refuse definitions with `uniqueItems`.
    for keyword in ["default", "$schema", "format_hint", "uniqueItems"] {
        // The others keep their order.
        object.shift_remove(keyword);
    }
    for container in ["items", "additionalProperties"] {
        if let Some(inner) = object.get_mut(container) {
            simplify(inner);
        }
    }
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(simplify);
    }
}

fn keep_unknown(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    for container in ["items", "additionalProperties"] {
        if let Some(inner) = object.get_mut(container) {
            keep_unknown(inner);
        }
    }
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(keep_unknown);
        object.insert("x-kubernetes-preserve-unknown-fields".to_owned(), true.into());
    }
}

fn drop_null_alternative(object: &mut Map<String, Value>) {
    let Some(Value::Array(alternatives)) = object.remove("anyOf") else { return };
    let described = object.remove("description");
    for alternative in alternatives {
        if alternative.get("type") != Some(&json!("null"))
            && let Value::Object(inner) = alternative
        {
            object.extend(inner);
        }
    }
    if let Some(description) = described {
        object.insert("description".to_owned(), description);
    }
}

fn collapse_enumeration(object: &mut Map<String, Value>) {
    let constants = |value: &Value| -> Option<Vec<Value>> {
        value.as_array()?.iter().map(|one| one.get("const").cloned()).collect()
    };
    if let Some(names) = object.get("oneOf").and_then(constants) {
        object.remove("oneOf");
        object.insert("type".to_owned(), "string".into());
        object.insert("enum".to_owned(), Value::Array(names));
    }
    if let Some(Value::Array(names)) = object.get_mut("enum") {
        names.retain(|name| !name.is_null());
    }
}

fn simplify_type(object: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = object.get("type").cloned()
        && let Some(first) = types.into_iter().find(|name| name != "null")
    {
        object.insert("type".to_owned(), first);
    }
    if object.get("format") == Some(&json!("uint32")) {
        object.remove("format");
        object.insert("minimum".to_owned(), 0.into());
        object.insert("maximum".to_owned(), u32::MAX.into());
    }
    // Not a format of Kubernetes; the bounds beside it say the same.
    if object.get("format") == Some(&json!("uint16")) {
        object.remove("format");
    }
    if object.get("format") == Some(&json!("int32")) {
        object.remove("minimum");
        object.remove("maximum");
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Calls `check` with every schema inside a schema, and its path.
    pub(crate) fn each(schema: &Value, path: &str, check: &mut dyn FnMut(&str, &Map<String, Value>)) {
        let object = schema.as_object().unwrap_or_else(|| panic!("{path} is not an object"));
        check(path, object);
        for (name, inner) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
            each(inner, &format!("{path}.{name}"), check);
        }
        for container in ["items", "additionalProperties"] {
            if let Some(inner) = object.get(container) {
                each(inner, &format!("{path}.{container}"), check);
            }
        }
    }

    #[test]
    fn schemas_are_structural() {
        for kind in Kind::ALL {
            each(spec_schema(kind), kind.name(), &mut |path, schema| {
                assert!(schema.get("type").is_some_and(Value::is_string), "{path}: {schema:?}");
                for keyword in ["$ref", "anyOf", "allOf", "const", "default"] {
                    assert!(!schema.contains_key(keyword), "{path} has {keyword}");
                }
            });
        }
    }
}
