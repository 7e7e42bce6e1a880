//! Validation of `metadata`, common to all kinds.

use serde_json::Value;

use super::items;
use crate::object;
use crate::validation::{Errors, NameRule, check_annotations, check_labels, check_name, check_qualified_name};

const MAX_ANNOTATIONS: usize = 256 * 1024;

/// Checks the metadata of an object that is about to be created or has been changed.
pub(crate) fn validate_metadata(object: &Value, rule: NameRule, namespaced: bool, errors: &mut Errors) {
    let metadata = &object["metadata"];
    match object::name(object) {
        "" => errors.required("metadata.name", "name or generateName is required"),
        name => {
            if let Some(problem) = check_name(rule, name) {
                errors.invalid("metadata.name", &metadata["name"], &problem);
            }
        }
    }
    match (namespaced, object::namespace(object)) {
        (true, "") => errors.required("metadata.namespace", ""),
        (false, namespace) if !namespace.is_empty() => {
            errors.forbidden("metadata.namespace", "not allowed on this type");
        }
        _ => {}
    }
    check_labels(&metadata["labels"], "metadata.labels", errors);
    check_annotations(&metadata["annotations"], "metadata.annotations", errors);
    validate_annotation_size(&metadata["annotations"], errors);
    validate_owners(&metadata["ownerReferences"], errors);
    for finalizer in object::finalizers(object) {
        if let Some(problem) = check_qualified_name(finalizer) {
            errors.invalid("metadata.finalizers", &Value::from(finalizer), &problem);
        }
    }
}

fn validate_annotation_size(annotations: &Value, errors: &mut Errors) {
    let size: usize = annotations
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
        .sum();
    if size > MAX_ANNOTATIONS {
        errors.invalid("metadata.annotations", &Value::from(size), "must have at most 262144 bytes");
    }
}

fn validate_owners(owners: &Value, errors: &mut Errors) {
    let mut controllers = 0;
    for (index, owner) in items(owners).iter().enumerate() {
        for key in ["apiVersion", "kind", "name", "uid"] {
            if owner[key].as_str().unwrap_or_default().is_empty() {
                errors.invalid(
                    format!("metadata.ownerReferences[{index}].{key}"),
                    &Value::from(""),
                    "must not be empty",
                );
            }
        }
        controllers += usize::from(owner["controller"] == true);
    }
    if controllers > 1 {
        let detail = "Only one reference can have Controller set to true";
        errors.invalid("metadata.ownerReferences", owners, detail);
    }
}

/// Checks what no update may change in metadata.
pub(crate) fn validate_metadata_update(new: &Value, old: &Value, errors: &mut Errors) {
    for key in ["name", "namespace", "uid", "creationTimestamp"] {
        errors.immutable(&format!("metadata.{key}"), &new["metadata"][key], &old["metadata"][key]);
    }
    if object::is_terminating(old) {
        let before = object::finalizers(old);
        let added: Vec<&str> =
            object::finalizers(new).into_iter().filter(|finalizer| !before.contains(finalizer)).collect();
        if !added.is_empty() {
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers {added:?}"
            );
            errors.forbidden("metadata.finalizers", &detail);
        }
    }
}
