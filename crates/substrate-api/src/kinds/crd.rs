//! CustomResourceDefinition: defaults, the conditions that establish it, and validation of names, versions and schemas.
//!
//! A real API server establishes definitions by a controller; here a valid definition is established as it is stored.

use serde_json::{Value, json};

use super::{Behaviour, WITH_GENERATION, items};
use crate::object::{self, child, default_to};
use crate::schema::Structural;
use crate::validation::{Errors, is_label};

/// Holds a definition until its objects are gone.
pub(crate) const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

pub(super) static DEFINITION: Behaviour =
    Behaviour { default, create, update, validate, validate_update, ..WITH_GENERATION };

fn default(object: &mut Value) {
    let spec = child(object, "spec");
    default_to(spec, "conversion", json!({"strategy": "None"}));
    let names = child(object.get_mut("spec").expect("invariant: made above"), "names");
    if let Some(kind) = names.get("kind").and_then(Value::as_str).map(str::to_owned) {
        default_to(names, "singular", kind.to_lowercase());
        default_to(names, "listKind", format!("{kind}List"));
    }
}

fn create(object: &mut Value) {
    object["status"] = json!({"acceptedNames": object["spec"]["names"], "conditions": [], "storedVersions": []});
    establish(object);
}

fn update(new: &mut Value, _old: &Value) {
    establish(new);
}

/// Accepts the names and marks the definition established, keeping the times of conditions that hold already.
fn establish(object: &mut Value) {
    let names = object["spec"]["names"].clone();
    child(object, "status").insert("acceptedNames".to_owned(), names);
    let storage = items(&object["spec"]["versions"])
        .iter()
        .find(|version| version["storage"] == true)
        .map(|version| version["name"].clone());
    let mut stored: Vec<Value> = items(&object["status"]["storedVersions"]).to_vec();
    if let Some(storage) = storage
        && !stored.contains(&storage)
    {
        stored.push(storage);
    }
    child(object, "status").insert("storedVersions".to_owned(), Value::from(stored));
    set_condition(object, "NamesAccepted", "NoConflicts", "no conflicts found");
    set_condition(object, "Established", "InitialNamesAccepted", "the initial names have been accepted");
}

fn set_condition(object: &mut Value, kind: &str, reason: &str, message: &str) {
    let mut conditions: Vec<Value> = items(&object["status"]["conditions"]).to_vec();
    if conditions.iter().any(|condition| condition["type"] == kind && condition["status"] == "True") {
        return;
    }
    conditions.retain(|condition| condition["type"] != kind);
    conditions.push(json!({
        "type": kind, "status": "True", "reason": reason, "message": message,
        "lastTransitionTime": object::now_text(),
    }));
    child(object, "status").insert("conditions".to_owned(), Value::from(conditions));
}

/// Adds [`FINALIZER`], and the condition that says why the definition stays for a while.
pub(crate) fn add_finalizer(object: &mut Value) {
    set_condition(object, "Terminating", "InstanceDeletionInProgress", "CustomResource deletion is in progress");
    let mut finalizers: Vec<Value> = items(&object["metadata"]["finalizers"]).to_vec();
    if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        finalizers.push(Value::from(FINALIZER));
    }
    object::metadata_mut(object).insert("finalizers".to_owned(), Value::from(finalizers));
}

fn validate(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    validate_names(object, spec, errors);
    if !matches!(spec["scope"].as_str(), Some("Namespaced" | "Cluster")) {
        match &spec["scope"] {
            Value::Null => errors.required("spec.scope", ""),
            scope => errors.not_supported("spec.scope", scope, &["Cluster", "Namespaced"]),
        }
    }
    if spec["conversion"]["strategy"] != "None" {
        errors.not_supported("spec.conversion.strategy", &spec["conversion"]["strategy"], &["None"]);
    }
    validate_versions(&spec["versions"], errors);
}

fn validate_names(object: &Value, spec: &Value, errors: &mut Errors) {
    let group = spec["group"].as_str().unwrap_or_default();
    let plural = spec["names"]["plural"].as_str().unwrap_or_default();
    if group.is_empty() {
        errors.required("spec.group", "");
    } else if group.split('.').count() < 2 {
        errors.invalid("spec.group", &spec["group"], "should be a domain with at least one dot");
    }
    if !is_label(plural) {
        errors.invalid("spec.names.plural", &spec["names"]["plural"], "must be a lowercase RFC 1123 label");
    }
    if spec["names"]["kind"].as_str().unwrap_or_default().is_empty() {
        errors.required("spec.names.kind", "");
    }
    if object::name(object) != format!("{plural}.{group}") {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        errors.invalid("metadata.name", &object["metadata"]["name"], detail);
    }
}

fn validate_versions(versions: &Value, errors: &mut Errors) {
    let list = items(versions);
    let storage = list.iter().filter(|version| version["storage"] == true).count();
    if storage != 1 {
        errors.invalid("spec.versions", versions, "must have exactly one version marked as storage version");
    }
    for (index, version) in list.iter().enumerate() {
        let at = format!("spec.versions[{index}]");
        if !is_label(version["name"].as_str().unwrap_or_default()) {
            errors.invalid(format!("{at}.name"), &version["name"], "must be a lowercase RFC 1035 label");
        }
        if list[..index].iter().any(|other| other["name"] == version["name"]) {
            errors.duplicate(format!("{at}.name"), &version["name"]);
        }
        validate_schema(&version["schema"]["openAPIV3Schema"], &at, errors);
    }
}

fn validate_schema(schema: &Value, at: &str, errors: &mut Errors) {
    let field = format!("{at}.schema.openAPIV3Schema");
    if schema.is_null() {
        errors.required(field, "schemas are required");
        return;
    }
    if schema["type"] != "object" {
        errors.invalid(format!("{field}.type"), &schema["type"], "must be object at the root");
    }
    if let Err(problems) = Structural::parse(schema) {
        errors.extend(problems.into_iter().map(|problem| problem.below(&field)).collect());
    }
}

fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    for path in [&["spec", "group"][..], &["spec", "scope"], &["spec", "names", "plural"], &["spec", "names", "kind"]] {
        errors.immutable(&path.join("."), object::at(new, path), object::at(old, path));
    }
}
