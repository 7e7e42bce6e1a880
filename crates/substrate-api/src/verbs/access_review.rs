//! Reviews: who am I, is this token good, may this user do that. Answered at once, never stored.

use bytes::Bytes;
use serde_json::{Value, json};

use super::Context;
use crate::authentication::jwt::ISSUER;
use crate::authentication::service_account;
use crate::http::{Reply, body};
use crate::rbac::{self, Attributes};
use crate::status::ApiError;

/// Reads the review, lets `answer` make its status, and shows the result.
fn reviewed(
    ctx: &Context,
    bytes: &Bytes,
    answer: impl FnOnce(&Value) -> Result<Value, ApiError>,
) -> Result<Reply, ApiError> {
    let mut review = body::decode_object(&ctx.request.headers, bytes)?;
    review["apiVersion"] = Value::from(ctx.resource.api_version());
    review["kind"] = Value::from(ctx.resource.kind.clone());
    let status = answer(&review)?;
    review["status"] = status;
    let metadata = crate::object::metadata_mut(&mut review);
    metadata.insert("creationTimestamp".to_owned(), Value::Null);
    Ok(Reply::created(&review))
}

/// SelfSubjectReview.
pub(crate) fn review_self(ctx: &Context, bytes: &Bytes) -> Result<Reply, ApiError> {
    reviewed(ctx, bytes, |_| Ok(json!({"userInfo": ctx.request.user.to_value()})))
}

/// TokenReview, with audiences.
pub(crate) fn review_token(ctx: &Context, bytes: &Bytes) -> Result<Reply, ApiError> {
    reviewed(ctx, bytes, |review| {
        let token = review["spec"]["token"].as_str().unwrap_or_default();
        if token.is_empty() {
            return Err(ApiError::bad_request("token is required for TokenReview in authentication"));
        }
        let given: Vec<&str> =
            review["spec"]["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let wanted = if given.is_empty() { vec![ISSUER] } else { given };
        Ok(match service_account::authenticate(&ctx.server, token, &wanted) {
            Ok(identity) => {
                json!({"authenticated": true, "user": identity.user.to_value(), "audiences": identity.audiences})
            }
            Err(problem) => {
                json!({"authenticated": false, "user": {}, "error": format!("[invalid bearer token, {problem}]")})
            }
        })
    })
}

/// What a review's specification asks about.
fn attributes<'a>(spec: &'a Value, user: &'a str, groups: &'a [String]) -> Result<Attributes<'a>, ApiError> {
    let base = Attributes { user, groups, ..Attributes::default() };
    let text = |value: &'a Value| value.as_str().unwrap_or_default();
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    match (resource.is_object(), path.is_object()) {
        (true, false) => Ok(Attributes {
            verb: text(&resource["verb"]),
            group: text(&resource["group"]),
            resource: text(&resource["resource"]),
            subresource: text(&resource["subresource"]),
            name: text(&resource["name"]),
            namespace: text(&resource["namespace"]),
            ..base
        }),
        (false, true) => Ok(Attributes { verb: text(&path["verb"]), path: Some(text(&path["path"])), ..base }),
        _ => Err(ApiError::unprocessable(
            "spec.resourceAttributes: Invalid value: exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )),
    }
}

fn decision(ctx: &Context, attributes: &Attributes<'_>) -> Value {
    let decision = ctx.server.decide(attributes);
    let mut status = json!({"allowed": decision.allowed});
    if !decision.reason.is_empty() {
        status["reason"] = Value::from(decision.reason);
    }
    status
}

/// SelfSubjectAccessReview.
pub(crate) fn review_own_access(ctx: &Context, bytes: &Bytes) -> Result<Reply, ApiError> {
    reviewed(ctx, bytes, |review| {
        let user = &ctx.request.user;
        Ok(decision(ctx, &attributes(&review["spec"], &user.name, &user.groups)?))
    })
}

/// SubjectAccessReview and LocalSubjectAccessReview.
pub(crate) fn review_access(ctx: &Context, bytes: &Bytes) -> Result<Reply, ApiError> {
    reviewed(ctx, bytes, |review| {
        let spec = &review["spec"];
        let user = spec["user"].as_str().unwrap_or_default();
        let groups: Vec<String> =
            spec["groups"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        if user.is_empty() && groups.is_empty() {
            return Err(ApiError::unprocessable(
                "spec.user: Invalid value: \"\": at least one of user or group must be specified",
            ));
        }
        let attributes = attributes(spec, user, &groups)?;
        if !ctx.namespace.is_empty() && attributes.namespace != ctx.namespace {
            return Err(ApiError::bad_request("spec.resourceAttributes.namespace must match metadata.namespace"));
        }
        Ok(decision(ctx, &attributes))
    })
}

/// SelfSubjectRulesReview.
pub(crate) fn review_own_rules(ctx: &Context, bytes: &Bytes) -> Result<Reply, ApiError> {
    reviewed(ctx, bytes, |review| {
        let namespace = review["spec"]["namespace"].as_str().unwrap_or_default();
        if namespace.is_empty() {
            return Err(ApiError::bad_request("no namespace on request"));
        }
        let user = &ctx.request.user;
        Ok(rbac::rules_for(&ctx.server.policy(), &user.name, &user.groups, namespace).to_status())
    })
}
