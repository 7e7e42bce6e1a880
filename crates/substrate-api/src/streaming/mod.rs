//! The subresources of pods that stream: `log`, `exec`, `attach`, `portforward`. Finds pod and container, checks the
//! request, and hands over to the node. WebSocket only; SPDY clients get an error that says so.

mod channels;
mod exec;
mod log;
mod port_forward;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::extract::ws::WebSocketUpgrade;
use http::Response;
use http::request::Parts;
use serde_json::Value;

use crate::backend::{NodeError, PodRef};
use crate::object;
use crate::status::ApiError;
use crate::verbs::Context;

/// Answers a request for one of the streaming subresources.
pub(crate) async fn serve(ctx: Context, mut parts: Parts) -> Result<Response<Body>, ApiError> {
    let stored = ctx.stored()?;
    let pod = &stored.value;
    if ctx.subresource == "log" {
        return log::serve(&ctx, pod).await;
    }
    check_placed(&ctx, pod)?;
    match ctx.subresource.as_str() {
        "exec" => {
            // What is wrong with the request is said before the upgrade: kubectl takes every refusal of WebSocket for
            // a server that only speaks SPDY, asks again that way, and shows the second answer.
            let options = exec::options(&ctx, pod)?;
            exec::serve(&ctx, pod, options, upgrade(&ctx, &mut parts).await?).await
        }
        "attach" => Err(ApiError::bad_request("attach is not supported by this API server; use exec or logs -f")),
        _ => port_forward::serve(&ctx, pod, upgrade(&ctx, &mut parts).await?),
    }
}

async fn upgrade(ctx: &Context, parts: &mut Parts) -> Result<WebSocketUpgrade, ApiError> {
    // Upgrade detection reads the headers, which were moved into the request.
    parts.headers = ctx.request.headers.clone();
    WebSocketUpgrade::from_request_parts(parts, &()).await.map_err(|_| {
        ApiError::bad_request(format!(
            "{} is served over WebSocket alone, and this is no such request",
            ctx.subresource
        ))
    })
}

fn reference(pod: &Value) -> PodRef {
    PodRef {
        namespace: object::namespace(pod).to_owned(),
        name: object::name(pod).to_owned(),
        uid: object::uid(pod).to_owned(),
    }
}

fn check_placed(ctx: &Context, pod: &Value) -> Result<(), ApiError> {
    match pod["spec"]["nodeName"].as_str() {
        None | Some("") => Err(ApiError::bad_request(format!("pod {} does not have a host assigned", ctx.name))),
        Some(_) => Ok(()),
    }
}

fn names(pod: &Value, list: &str) -> Vec<String> {
    let containers = pod["spec"][list].as_array().into_iter().flatten();
    containers.filter_map(|container| container["name"].as_str()).map(str::to_owned).collect()
}

/// The container that the query names, or the only one.
fn container(ctx: &Context, pod: &Value) -> Result<String, ApiError> {
    let (main, init) = (names(pod, "containers"), names(pod, "initContainers"));
    if let Some(wanted) = ctx.request.query.get("container") {
        if main.iter().chain(&init).any(|name| name == wanted) {
            return Ok(wanted.to_owned());
        }
        return Err(ApiError::bad_request(format!("container {wanted} is not valid for pod {}", ctx.name)));
    }
    if let [only] = main.as_slice() {
        return Ok(only.clone());
    }
    let mut message =
        format!("a container name must be specified for pod {}, choose one of: [{}]", ctx.name, main.join(" "));
    if !init.is_empty() {
        message.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
    }
    Err(ApiError::bad_request(message))
}

fn node_error(error: NodeError) -> ApiError {
    match error {
        NodeError::NotFound(message) => ApiError::gone_missing(message),
        NodeError::BadRequest(message) => ApiError::bad_request(message),
        NodeError::Internal(message) => ApiError::internal(message),
    }
}
