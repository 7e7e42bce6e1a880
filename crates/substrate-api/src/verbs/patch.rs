//! `patch`: JSON patch, merge patch, strategic merge patch and server-side apply, on an object or its subresources.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use super::create::{Tracking, create_object};
use super::update::{ATTEMPTS, Changed, change, check_uid};
use super::write::Draft;
use super::{Context, shown};
use crate::http::render::served;
use crate::http::{Reply, body};
use crate::object;
use crate::patch::{self, ApplyError, PatchError, PatchKind};
use crate::status::ApiError;
use crate::store::Stored;

const ACCEPTED: &str = "application/json-patch+json, application/merge-patch+json, \
    application/strategic-merge-patch+json, application/apply-patch+yaml";

/// A patch as it came.
pub(super) enum Patch {
    Change(PatchKind, Value),
    Apply(Value),
}

impl Patch {
    pub(super) fn read(ctx: &Context, bytes: &Bytes) -> Result<Patch, ApiError> {
        let media_type = body::media_type(&ctx.request.headers);
        if matches!(media_type, "application/apply-patch+yaml" | "application/apply-patch+json") {
            let applied = body::decode_yaml(bytes)?;
            if !applied.is_object() {
                return Err(ApiError::bad_request("error decoding YAML: the configuration must be an object"));
            }
            return Ok(Patch::Apply(applied));
        }
        let kind =
            PatchKind::from_content_type(media_type).ok_or_else(|| ApiError::unsupported_media_type(ACCEPTED))?;
        Ok(Patch::Change(kind, body::decode_json(bytes)?))
    }
}

pub(crate) async fn patch(ctx: &Context, bytes: &Bytes) -> Result<Reply, ApiError> {
    match Patch::read(ctx, bytes)? {
        Patch::Change(kind, change) => patch_object(ctx, kind, &change).await,
        Patch::Apply(applied) => apply(ctx, &applied).await,
    }
}

/// The object that a patch makes of `current`.
pub(super) fn patched(ctx: &Context, kind: PatchKind, current: &Value, change: &Value) -> Result<Value, ApiError> {
    patch::apply(kind, &ctx.resource.gvk(), current, change).map_err(|problem| match problem {
        PatchError::UnsupportedMediaType => ApiError::unsupported_media_type(
            "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        ),
        PatchError::BadRequest(message) => ApiError::bad_request(message),
        rejected @ PatchError::Rejected(_) => ApiError::unprocessable(rejected.to_string()),
    })
}

async fn patch_object(ctx: &Context, kind: PatchKind, patch: &Value) -> Result<Reply, ApiError> {
    for _ in 0..ATTEMPTS {
        let current = ctx.stored()?;
        let mut draft = Draft::new(ctx);
        let mut object = patched(ctx, kind, &served(&ctx.resource, &current.value), patch)?;
        if !object.is_object() {
            return Err(ApiError::bad_request("the patch makes something of the object that is no object"));
        }
        check_revision(ctx, &object, &current)?;
        check_uid(ctx, &object, &current)?;
        object::metadata_mut(&mut object).shift_remove("resourceVersion");
        let object = draft.accept(object)?;
        match change(&mut draft, &current, object, Tracking::Record).await {
            Err(Changed::Raced) => {}
            Err(Changed::Refused(error)) => return Err(error),
            Ok(stored) => return shown(ctx, &stored, false, draft.warnings),
        }
    }
    Err(ApiError::modified(ctx.subject(), &ctx.name))
}

/// A patch that sets the resourceVersion is conditional on it.
fn check_revision(ctx: &Context, object: &Value, current: &Stored) -> Result<(), ApiError> {
    let wanted = object::meta(object, "resourceVersion");
    if wanted.is_empty() || wanted == current.revision.to_string() {
        return Ok(());
    }
    Err(ApiError::modified(ctx.subject(), &ctx.name))
}

async fn apply(ctx: &Context, applied: &Value) -> Result<Reply, ApiError> {
    let manager = ctx.request.query.get("fieldManager").ok_or_else(|| {
        ApiError::unprocessable(
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        )
    })?;
    for _ in 0..ATTEMPTS {
        let mut draft = Draft::new(ctx);
        let applied = draft.accept(applied.clone())?;
        let current = ctx.server.store.get(&ctx.resource.table, &ctx.key());
        if let Some(current) = &current {
            check_revision(ctx, &applied, current)?;
            check_uid(ctx, &applied, current)?;
        }
        let merged = merge(ctx, &draft, &applied, current.as_deref(), manager)?;
        let outcome = match &current {
            Some(current) => change(&mut draft, current, merged, Tracking::Done).await,
            None => return create_applied(ctx, draft, merged).await,
        };
        match outcome {
            Err(Changed::Raced) => {}
            Err(Changed::Refused(error)) => return Err(error),
            Ok(stored) => return shown(ctx, &stored, false, draft.warnings),
        }
    }
    Err(ApiError::modified(ctx.subject(), &ctx.name))
}

fn merge(
    ctx: &Context,
    draft: &Draft<'_>,
    applied: &Value,
    current: Option<&Stored>,
    manager: &str,
) -> Result<Value, ApiError> {
    let current = current.map(|stored| served(&ctx.resource, &stored.value));
    let subresource = Some(ctx.subresource.as_str()).filter(|part| !part.is_empty());
    let force = ctx.request.query.flag("force");
    let now = object::now_text();
    patch::server_side_apply(current.as_deref(), applied, manager, force, subresource, draft.schema(), &now)
        .map_err(apply_error)
}

fn apply_error(error: ApplyError) -> ApiError {
    let message = error.to_string();
    match error {
        ApplyError::Invalid { message } => ApiError::bad_request(message),
        ApplyError::Conflicts { conflicts } => {
            let causes = conflicts.into_iter().map(|one| (one.field, format!("conflict with {}", one.manager)));
            ApiError::apply_conflict(message, causes.collect())
        }
    }
}

async fn create_applied(ctx: &Context, mut draft: Draft<'_>, object: Value) -> Result<Reply, ApiError> {
    if !ctx.subresource.is_empty() {
        return Err(ApiError::not_found(ctx.subject(), &ctx.name));
    }
    let stored: Arc<Stored> = create_object(&mut draft, object, Tracking::Done).await?;
    let mut reply = shown(ctx, &stored, true, draft.warnings)?;
    reply.code = StatusCode::CREATED;
    Ok(reply)
}
