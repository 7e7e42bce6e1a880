//! Behaviour of namespaces, configuration, accounts, RBAC objects and other small kinds.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{Behaviour, PLAIN, WITH_GENERATION, WITH_STATUS, items, items_mut};
use crate::object::{self, as_map, child, default_to, metadata_mut};
use crate::validation::{Errors, NameRule};

const RBAC_GROUP: &str = "rbac.authorization.k8s.io";

pub(super) static NAMESPACE: Behaviour = Behaviour {
    default: default_namespace,
    create: create_namespace,
    update: update_namespace,
    name: NameRule::Label,
    ..WITH_STATUS
};
pub(super) static SECRET: Behaviour =
    Behaviour { default: default_secret, validate: validate_secret, validate_update: validate_secret_update, ..PLAIN };
pub(super) static CONFIG_MAP: Behaviour =
    Behaviour { validate: validate_config_map, validate_update: validate_config_map_update, ..PLAIN };
pub(super) static SERVICE_ACCOUNT: Behaviour = Behaviour { returns_deleted: true, ..PLAIN };
pub(super) static VOLUME_CLAIM: Behaviour =
    Behaviour { default: default_claim, create: create_claim, returns_deleted: true, ..WITH_STATUS };
pub(super) static ROLE: Behaviour = Behaviour { name: NameRule::PathSegment, ..PLAIN };
pub(super) static ROLE_BINDING: Behaviour = Behaviour {
    default: default_binding,
    validate: validate_binding,
    validate_update: validate_binding_update,
    name: NameRule::PathSegment,
    ..PLAIN
};
pub(super) static NETWORK_POLICY: Behaviour =
    Behaviour { default: default_network_policy, separate_status: false, ..WITH_GENERATION };
pub(super) static STORAGE_CLASS: Behaviour = Behaviour { default: default_storage_class, ..PLAIN };

fn default_namespace(object: &mut Value) {
    let name = object::name(object).to_owned();
    if !name.is_empty() {
        let labels = metadata_mut(object).entry("labels").or_insert(Value::Null);
        as_map(labels).insert("kubernetes.io/metadata.name".to_owned(), Value::from(name));
    }
    default_to(child(object, "status"), "phase", "Active");
}

fn create_namespace(object: &mut Value) {
    object["status"] = json!({"phase": "Active"});
    let spec = child(object, "spec");
    let mut finalizers = spec.get("finalizers").map(items).unwrap_or_default().to_vec();
    if !finalizers.iter().any(|finalizer| finalizer == "kubernetes") {
        finalizers.push(Value::from("kubernetes"));
    }
    spec.insert("finalizers".to_owned(), Value::from(finalizers));
}

fn update_namespace(new: &mut Value, old: &Value) {
    // Only the finalize subresource changes these.
    child(new, "spec").insert("finalizers".to_owned(), old["spec"]["finalizers"].clone());
}

fn default_secret(object: &mut Value) {
    let map = as_map(object);
    default_to(map, "type", "Opaque");
    let Some(plain) = map.shift_remove("stringData") else { return };
    let data = child(object, "data");
    for (key, value) in plain.as_object().cloned().unwrap_or_default() {
        data.insert(key, Value::from(STANDARD.encode(value.as_str().unwrap_or_default())));
    }
}

fn is_config_key(key: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !key.is_empty() && key.len() <= 253 && key != "." && !key.starts_with("..") && key.chars().all(allowed)
}

const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  \
    or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

fn validate_keys(object: &Value, map: &str, errors: &mut Errors) {
    for key in object[map].as_object().into_iter().flat_map(Map::keys).filter(|key| !is_config_key(key)) {
        errors.invalid(format!("{map}[{key}]"), &Value::from(key.as_str()), CONFIG_KEY);
    }
}

fn validate_secret(object: &Value, errors: &mut Errors) {
    validate_keys(object, "data", errors);
    for (key, value) in object["data"].as_object().into_iter().flatten() {
        if value.as_str().is_none_or(|text| STANDARD.decode(text).is_err()) {
            errors.invalid(format!("data[{key}]"), &json!("<secret contents redacted>"), "must be base64");
        }
    }
    if object["type"] == "kubernetes.io/tls" {
        for key in ["tls.crt", "tls.key"].into_iter().filter(|key| object["data"][*key].is_null()) {
            errors.required(format!("data[{key}]"), "");
        }
    }
    if object["type"] == "kubernetes.io/service-account-token"
        && object["metadata"]["annotations"]["kubernetes.io/service-account.name"].is_null()
    {
        errors.required("metadata.annotations[kubernetes.io/service-account.name]", "");
    }
}

fn validate_immutable(new: &Value, old: &Value, parts: &[&str], errors: &mut Errors) {
    if old["immutable"] != true {
        return;
    }
    for part in parts.iter().filter(|part| new[**part] != old[**part]) {
        errors.forbidden(*part, "field is immutable when `immutable` is set");
    }
    if new["immutable"] != true {
        errors.forbidden("immutable", "field is immutable when `immutable` is set");
    }
}

fn validate_secret_update(new: &Value, old: &Value, errors: &mut Errors) {
    errors.immutable("type", &new["type"], &old["type"]);
    validate_immutable(new, old, &["data"], errors);
}

fn validate_config_map(object: &Value, errors: &mut Errors) {
    validate_keys(object, "data", errors);
    validate_keys(object, "binaryData", errors);
}

fn validate_config_map_update(new: &Value, old: &Value, errors: &mut Errors) {
    validate_immutable(new, old, &["data", "binaryData"], errors);
}

fn default_claim(object: &mut Value) {
    default_to(child(object, "spec"), "volumeMode", "Filesystem");
}

fn create_claim(object: &mut Value) {
    object["status"] = json!({"phase": "Pending"});
}

fn default_binding(object: &mut Value) {
    default_to(child(object, "roleRef"), "apiGroup", RBAC_GROUP);
    for subject in items_mut(object, "subjects") {
        let user_like = matches!(subject["kind"].as_str(), Some("User" | "Group"));
        if user_like {
            default_to(as_map(subject), "apiGroup", RBAC_GROUP);
        }
    }
}

fn validate_binding(object: &Value, errors: &mut Errors) {
    let allowed: &[&str] = if object["kind"] == "RoleBinding" { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    if !allowed.iter().any(|kind| object["roleRef"]["kind"] == *kind) {
        errors.not_supported("roleRef.kind", &object["roleRef"]["kind"], allowed);
    }
    if object["roleRef"]["name"].as_str().unwrap_or_default().is_empty() {
        errors.required("roleRef.name", "");
    }
    for (index, subject) in items(&object["subjects"]).iter().enumerate() {
        let at = format!("subjects[{index}]");
        if subject["name"].as_str().unwrap_or_default().is_empty() {
            errors.required(format!("{at}.name"), "");
        }
        match subject["kind"].as_str() {
            Some("User" | "Group") => {}
            Some("ServiceAccount") if subject["namespace"].as_str().unwrap_or_default().is_empty() => {
                errors.required(format!("{at}.namespace"), "");
            }
            Some("ServiceAccount") => {}
            _ => errors.not_supported(format!("{at}.kind"), &subject["kind"], &["ServiceAccount", "User", "Group"]),
        }
    }
}

fn validate_binding_update(new: &Value, old: &Value, errors: &mut Errors) {
    if new["roleRef"] != old["roleRef"] {
        errors.invalid("roleRef", &new["roleRef"], "cannot change roleRef");
    }
}

fn default_network_policy(object: &mut Value) {
    let egress = object["spec"]["egress"].is_array();
    let types = if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
    let spec = child(object, "spec");
    default_to(spec, "podSelector", json!({}));
    default_to(spec, "policyTypes", types);
    for direction in ["ingress", "egress"] {
        let spec = object.get_mut("spec").expect("invariant: made above");
        for port in items_mut(spec, direction).flat_map(|rule| items_mut(rule, "ports")) {
            default_to(as_map(port), "protocol", "TCP");
        }
    }
}

fn default_storage_class(object: &mut Value) {
    let map = as_map(object);
    default_to(map, "reclaimPolicy", "Delete");
    default_to(map, "volumeBindingMode", "Immediate");
}
