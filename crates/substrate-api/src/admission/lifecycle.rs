//! Nothing is created in a namespace that does not exist or is ending.

use serde_json::Value;

use super::Operation;
use crate::object;
use crate::status::{ApiError, Subject};
use crate::store::Key;

pub(super) fn check(operation: &Operation<'_>, object: &Value) -> Result<(), ApiError> {
    if operation.kind != "CREATE" || operation.namespace.is_empty() {
        return Ok(());
    }
    let namespaces = Subject { group: "", resource: "namespaces", kind: "Namespace" };
    let namespace = operation.server.store.get("namespaces", &Key::new("", operation.namespace));
    let namespace = namespace.ok_or_else(|| ApiError::not_found(namespaces, operation.namespace))?;
    if object::is_terminating(&namespace.value) {
        let subject = operation.resource.subject();
        return Err(ApiError::namespace_terminating(subject, object::name(object), operation.namespace));
    }
    Ok(())
}
