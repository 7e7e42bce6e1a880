//! `pods/binding` and `pods/eviction`: placing a pod on a node, and deleting it by policy.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::Context;
use super::delete::{delete, delete_options_body};
use crate::http::{Reply, body};
use crate::object::{self, child, metadata_mut};
use crate::status::ApiError;
use crate::store::StoreError;

/// `create` on `bindings`: the pod is named in the body.
pub(crate) fn create_binding(mut ctx: Context, bytes: &Bytes) -> Result<Reply, ApiError> {
    let binding = body::decode_object(&ctx.request.headers, bytes)?;
    object::name(&binding).clone_into(&mut ctx.name);
    let registry = ctx.server.registry();
    let pods = registry.find("", "v1", "pods").ok_or_else(ApiError::unknown_path)?;
    ctx.resource = std::sync::Arc::clone(pods);
    bind(&ctx, bytes)
}

/// Sets the node of a pod that has none.
pub(crate) fn bind(ctx: &Context, bytes: &Bytes) -> Result<Reply, ApiError> {
    let binding = body::decode_object(&ctx.request.headers, bytes)?;
    let node = binding["target"]["name"].as_str().unwrap_or_default();
    if node.is_empty() {
        return Err(ApiError::unprocessable(format!(
            "Binding \"{}\" is invalid: target.name: Required value",
            ctx.name
        )));
    }
    loop {
        let current = ctx.stored()?;
        let pod = placed(ctx, &current.value, &binding, node)?;
        if ctx.request.dry_run() {
            break;
        }
        match ctx.server.store.update(&ctx.resource.table, &ctx.key(), current.revision, pod) {
            Ok(_) => break,
            // Somebody wrote the pod in between; whether it may still be bound is checked again.
            Err(StoreError::Conflict) => {}
            Err(_) => return Err(ApiError::not_found(ctx.subject(), &ctx.name)),
        }
    }
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(Reply { code: StatusCode::CREATED, ..Reply::value(&status) })
}

fn placed(ctx: &Context, pod: &Value, binding: &Value, node: &str) -> Result<Value, ApiError> {
    let refuse = |why: &str| Err(ApiError::conflict(ctx.subject(), &ctx.name, why));
    let wanted = object::uid(binding);
    if !wanted.is_empty() && wanted != object::uid(pod) {
        return refuse("the UID in the binding does not match that of the pod");
    }
    if object::is_terminating(pod) {
        return refuse(&format!("pod {} is being deleted, cannot be assigned to a host", ctx.name));
    }
    if let Some(present) = pod["spec"]["nodeName"].as_str().filter(|present| !present.is_empty()) {
        return refuse(&format!("pod {} is already assigned to node \"{present}\"", ctx.name));
    }
    let mut pod = pod.clone();
    child(&mut pod, "spec").insert("nodeName".to_owned(), Value::from(node));
    for (key, value) in binding["metadata"]["annotations"].as_object().into_iter().flatten() {
        let annotations = metadata_mut(&mut pod).entry("annotations").or_insert(Value::Null);
        object::as_map(annotations).insert(key.clone(), value.clone());
    }
    let mut conditions: Vec<Value> = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.retain(|condition| condition["type"] != "PodScheduled");
    conditions.push(json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null,
        "lastTransitionTime": object::now_text()}));
    child(&mut pod, "status").insert("conditions".to_owned(), Value::from(conditions));
    Ok(pod)
}

/// Deletes a pod as an Eviction asks. Disruption budgets are stored but not enforced.
pub(crate) async fn evict(ctx: Context, bytes: &Bytes) -> Result<Reply, ApiError> {
    let eviction = body::decode_object(&ctx.request.headers, bytes)?;
    let options = delete_options_body(&eviction["deleteOptions"]);
    let ctx = Context { subresource: String::new(), ..ctx };
    delete(&ctx, &options).await?;
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(Reply { code: StatusCode::CREATED, ..Reply::value(&status) })
}
