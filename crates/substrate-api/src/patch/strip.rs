//! Fields that nobody owns: identity and the bookkeeping of the server.

use super::fields::FieldSet;

const METADATA: &[&str] = &[
    "name",
    "namespace",
    "generateName",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "uid",
    "generation",
    "managedFields",
    "resourceVersion",
];

/// Drops what nobody owns, and keeps of a write through the `status` subresource only the status, of another write
/// (when `has_status` says that status is a subresource) all but the status.
pub(super) fn strip(mut set: FieldSet, subresource: Option<&str>, has_status: bool) -> FieldSet {
    set.member = false;
    set.children.remove("f:apiVersion");
    set.children.remove("f:kind");
    match subresource {
        Some("status") => set.children.retain(|element, _| element == "f:status"),
        None if has_status => drop(set.children.remove("f:status")),
        _ => {}
    }
    if let Some(metadata) = set.children.get_mut("f:metadata") {
        for field in METADATA {
            metadata.children.remove(&format!("f:{field}"));
        }
        metadata.member = false;
        if metadata.is_empty() {
            set.children.remove("f:metadata");
        }
    }
    set
}
