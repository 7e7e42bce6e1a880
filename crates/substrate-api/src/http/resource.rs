//! From a request for a resource to the verb that answers it.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use http::request::Parts;

use super::{ApiRequest, Reply, body};
use crate::registry::Resource;
use crate::server::ApiServer;
use crate::status::ApiError;
use crate::streaming;
use crate::verbs::{self, Context};

pub(super) async fn serve(
    server: &Arc<ApiServer>,
    request: ApiRequest,
    parts: Parts,
    request_body: Body,
) -> Result<Response<Body>, ApiError> {
    let ctx = context(server, request)?;
    let verb = ctx.request.info.verb.clone();
    if ctx.subresource.is_empty() && verb == "watch" {
        return verbs::watch(&ctx);
    }
    if ctx.resource.table == "pods" && matches!(ctx.subresource.as_str(), "log" | "exec" | "attach" | "portforward") {
        return streaming::serve(ctx, parts).await;
    }
    let bytes = body::read(request_body).await?;
    let reply = match ctx.subresource.as_str() {
        "" => serve_object(ctx, &verb, &bytes).await,
        _ => serve_subresource(ctx, &verb, &bytes).await,
    };
    reply.map(Reply::into_response)
}

fn context(server: &Arc<ApiServer>, request: ApiRequest) -> Result<Context, ApiError> {
    let target = request.info.target.clone().ok_or_else(ApiError::unknown_path)?;
    let registry = server.registry();
    let resource =
        registry.find(&target.group, &target.version, &target.resource).ok_or_else(ApiError::unknown_path)?;
    let verb = request.info.verb.as_str();
    check_scope(resource, &target.namespace, &request)?;
    let verbs = match target.subresource.as_str() {
        "" => resource.verbs,
        name => {
            let part = resource.subresources.iter().find(|part| part.name == name);
            part.ok_or_else(ApiError::unknown_path)?.verbs
        }
    };
    if !verbs.contains(&verb) {
        return Err(ApiError::method_not_allowed(&resource.kind, verb));
    }
    let namespace = if resource.namespaced { target.namespace } else { String::new() };
    Ok(Context {
        server: Arc::clone(server),
        resource: Arc::clone(resource),
        namespace,
        name: target.name,
        subresource: target.subresource,
        request,
    })
}

/// One object of a namespaced resource needs a namespace; a cluster-wide resource has none.
fn check_scope(resource: &Resource, namespace: &str, request: &ApiRequest) -> Result<(), ApiError> {
    let verb = request.info.verb.as_str();
    let over_all = matches!(verb, "list" | "watch");
    if resource.namespaced && namespace.is_empty() && !over_all {
        if matches!(verb, "create" | "deletecollection") {
            return Err(ApiError::method_not_allowed(&resource.kind, verb));
        }
        return Err(ApiError::unknown_path());
    }
    if !resource.namespaced && !namespace.is_empty() && resource.plural != "namespaces" {
        return Err(ApiError::unknown_path());
    }
    Ok(())
}

async fn serve_object(ctx: Context, verb: &str, bytes: &Bytes) -> Result<Reply, ApiError> {
    match (ctx.resource.kind.as_str(), verb) {
        ("Binding", "create") => verbs::create_binding(ctx, bytes),
        ("TokenReview", "create") => verbs::review_token(&ctx, bytes),
        ("SelfSubjectReview", "create") => verbs::review_self(&ctx, bytes),
        ("SelfSubjectAccessReview", "create") => verbs::review_own_access(&ctx, bytes),
        ("SubjectAccessReview" | "LocalSubjectAccessReview", "create") => verbs::review_access(&ctx, bytes),
        ("SelfSubjectRulesReview", "create") => verbs::review_own_rules(&ctx, bytes),
        (_, "get") => verbs::get(&ctx),
        (_, "list") => verbs::list(&ctx),
        (_, "create") => verbs::create(&ctx, bytes).await,
        (_, "update") => verbs::update(&ctx, bytes).await,
        (_, "patch") => verbs::patch(&ctx, bytes).await,
        (_, "delete") => verbs::delete(&ctx, bytes).await,
        (_, "deletecollection") => verbs::delete_collection(ctx, bytes).await,
        (kind, verb) => Err(ApiError::method_not_allowed(kind, verb)),
    }
}

async fn serve_subresource(ctx: Context, verb: &str, bytes: &Bytes) -> Result<Reply, ApiError> {
    match (ctx.subresource.as_str(), verb) {
        ("scale", "get") => verbs::get_scale(&ctx),
        ("scale", "update") => verbs::update_scale(&ctx, bytes).await,
        ("scale", "patch") => verbs::patch_scale(&ctx, bytes).await,
        ("token", "create") => verbs::request_token(&ctx, bytes),
        ("binding", "create") => verbs::bind(&ctx, bytes),
        ("eviction", "create") => verbs::evict(ctx, bytes).await,
        (_, "get") => verbs::get(&ctx),
        (_, "update") => verbs::update(&ctx, bytes).await,
        (_, "patch") => verbs::patch(&ctx, bytes).await,
        (part, verb) => Err(ApiError::method_not_allowed(part, verb)),
    }
}
