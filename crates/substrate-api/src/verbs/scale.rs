//! The `scale` subresource: a view of replicas and selector, read and written through the object itself.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::Context;
use super::create::Tracking;
use super::patch::Patch;
use super::update::{ATTEMPTS, Changed, change};
use super::write::Draft;
use crate::http::render::served;
use crate::http::{Reply, body};
use crate::object::{self, at_dotted, put_dotted};
use crate::patch;
use crate::registry::ScalePaths;
use crate::status::ApiError;
use crate::store::Stored;
use crate::validation::Errors;

pub(crate) fn get_scale(ctx: &Context) -> Result<Reply, ApiError> {
    let current = ctx.stored()?;
    Ok(Reply::value(&view(paths(ctx)?, &served(&ctx.resource, &current.value))))
}

fn paths(ctx: &Context) -> Result<&ScalePaths, ApiError> {
    ctx.resource.scale.as_ref().ok_or_else(ApiError::unknown_path)
}

/// The Scale of an object.
fn view(paths: &ScalePaths, object: &Value) -> Value {
    let mut status = json!({"replicas": at_dotted(object, &paths.status).and_then(Value::as_i64).unwrap_or(0)});
    if let Some(selector) = selector(paths, object) {
        status["selector"] = Value::from(selector);
    }
    let mut metadata = serde_json::Map::new();
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        object::put_or_remove(&mut metadata, key, object["metadata"].get(key).cloned());
    }
    let replicas = at_dotted(object, &paths.spec).and_then(Value::as_i64).unwrap_or(0);
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {"replicas": replicas}, "status": status})
}

fn selector(paths: &ScalePaths, object: &Value) -> Option<String> {
    if let Some(path) = &paths.selector {
        return at_dotted(object, path)?.as_str().map(str::to_owned);
    }
    let selector = &object["spec"]["selector"];
    let labels = selector.get("matchLabels").unwrap_or(selector).as_object()?;
    let pairs = labels.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)));
    Some(pairs.collect::<Vec<_>>().join(","))
}

pub(crate) async fn update_scale(ctx: &Context, bytes: &Bytes) -> Result<Reply, ApiError> {
    let wanted = body::decode_object(&ctx.request.headers, bytes)?;
    write(ctx, |_| Ok(wanted.clone())).await
}

pub(crate) async fn patch_scale(ctx: &Context, bytes: &Bytes) -> Result<Reply, ApiError> {
    let patch = Patch::read(ctx, bytes)?;
    write(ctx, |scale| match &patch {
        Patch::Change(kind, change) => patch::apply(*kind, "autoscaling/v1, Kind=Scale", scale, change)
            .map_err(|problem| ApiError::unprocessable(problem.to_string())),
        Patch::Apply(applied) => {
            let mut merged = scale.clone();
            merged["spec"]["replicas"] = applied["spec"]["replicas"].clone();
            Ok(merged)
        }
    })
    .await
}

async fn write(ctx: &Context, wanted: impl Fn(&Value) -> Result<Value, ApiError>) -> Result<Reply, ApiError> {
    let paths = paths(ctx)?;
    for _ in 0..ATTEMPTS {
        let current = ctx.stored()?;
        let mut object = served(&ctx.resource, &current.value).into_owned();
        let scale = wanted(&view(paths, &object))?;
        let given = object::meta(&scale, "resourceVersion");
        if !given.is_empty() && given != current.revision.to_string() {
            return Err(ApiError::modified(ctx.subject(), &ctx.name));
        }
        put_dotted(&mut object, &paths.spec, Value::from(replicas(ctx, &scale)?));
        let mut draft = Draft::new(ctx);
        match change(&mut draft, &current, object, Tracking::Record).await {
            Err(Changed::Raced) if given.is_empty() || given == current.revision.to_string() => {}
            Err(Changed::Raced) => return Err(ApiError::modified(ctx.subject(), &ctx.name)),
            Err(Changed::Refused(error)) => return Err(error),
            Ok(stored) => return Ok(reply(paths, ctx, &stored, draft.warnings)),
        }
    }
    Err(ApiError::modified(ctx.subject(), &ctx.name))
}

fn reply(paths: &ScalePaths, ctx: &Context, stored: &Arc<Stored>, warnings: Vec<String>) -> Reply {
    Reply { warnings, ..Reply::value(&view(paths, &served(&ctx.resource, &stored.value))) }
}

fn replicas(ctx: &Context, scale: &Value) -> Result<i64, ApiError> {
    let value = &scale["spec"]["replicas"];
    let number = if value.is_null() { Some(0) } else { value.as_i64() };
    number.filter(|number| *number >= 0).ok_or_else(|| {
        let mut errors = Errors::default();
        errors.invalid("spec.replicas", value, "must be greater than or equal to 0");
        ApiError::invalid(ctx.subject(), &ctx.name, &errors.0)
    })
}
