//! `update`: replacing an object, its status, or a namespace's finalizers; and the common tail of every change.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::removal;
use super::service_addresses::Reservation;
use super::write::Draft;
use super::{Context, create::Tracking, may_go, shown};
use crate::http::Reply;
use crate::http::render::served;
use crate::object::{self, as_map, child, metadata_mut};
use crate::status::ApiError;
use crate::store::{StoreError, Stored};

/// How often an unconditional write is tried again after somebody else's write came between.
pub(super) const ATTEMPTS: usize = 16;

pub(crate) async fn update(ctx: &Context, body: &Bytes) -> Result<Reply, ApiError> {
    let mut draft = Draft::new(ctx);
    let object = draft.decode(body)?;
    let given = object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    if given.is_empty() && !ctx.resource.behaviour.unconditional_update {
        let mut errors = crate::validation::Errors::default();
        errors.invalid("metadata.resourceVersion", &json!(0), "must be specified for an update");
        return Err(ApiError::invalid(ctx.subject(), &ctx.name, &errors.0));
    }
    for _ in 0..ATTEMPTS {
        let current = ctx.stored()?;
        if !given.is_empty() && given != current.revision.to_string() {
            return Err(ApiError::modified(ctx.subject(), &ctx.name));
        }
        check_uid(ctx, &object, &current)?;
        match change(&mut draft, &current, object.clone(), Tracking::Record).await {
            Err(Changed::Raced) if given.is_empty() => {}
            Err(Changed::Raced) => return Err(ApiError::modified(ctx.subject(), &ctx.name)),
            Err(Changed::Refused(error)) => return Err(error),
            Ok(stored) => return shown(ctx, &stored, false, draft.warnings),
        }
    }
    Err(ApiError::modified(ctx.subject(), &ctx.name))
}

/// A write that names another incarnation of the object is a conflict.
pub(super) fn check_uid(ctx: &Context, object: &Value, current: &Stored) -> Result<(), ApiError> {
    let (given, stored) = (object::uid(object), object::uid(&current.value));
    if given.is_empty() || given == stored {
        return Ok(());
    }
    let why = format!("Precondition failed: UID in precondition: {given}, UID in object meta: {stored}");
    Err(ApiError::conflict(ctx.subject(), &ctx.name, &why))
}

/// Why a change did not reach the store.
pub(super) enum Changed {
    /// The object was written in between; the caller may begin again.
    Raced,
    Refused(ApiError),
}

impl From<ApiError> for Changed {
    fn from(error: ApiError) -> Changed {
        Changed::Refused(error)
    }
}

/// Takes `object`, wanted in place of `current`, through defaults, admission and validation into the store.
pub(super) async fn change(
    draft: &mut Draft<'_>,
    current: &Arc<Stored>,
    mut object: Value,
    tracking: Tracking,
) -> Result<Arc<Stored>, Changed> {
    let ctx = draft.ctx;
    let old = served(&ctx.resource, &current.value).into_owned();
    let managed = object["metadata"]["managedFields"].clone();
    draft.shape(&mut object);
    carry_over(draft, &mut object, &old);
    draft.mutate("UPDATE", &mut object, Some(&old)).await?;
    carry_over(draft, &mut object, &old);
    count_generation(draft, &mut object, &old);
    draft.validate("UPDATE", &object, Some(&old)).await?;
    match tracking {
        Tracking::Record => draft.track(Some(&current.value), &mut object),
        Tracking::Done => {
            metadata_mut(&mut object).insert("managedFields".to_owned(), managed);
        }
    }
    if object::same_content(&object, &old) {
        return Ok(Arc::clone(current));
    }
    let reservation = Reservation::new(ctx, &mut object, Some(&old))?;
    let object = draft.to_storage(object);
    if draft.dry_run {
        return Ok(Arc::new(Stored::new(current.revision, object)));
    }
    let stored = commit(ctx, current, object)?;
    reservation.keep();
    Ok(stored)
}

fn commit(ctx: &Context, current: &Stored, object: Value) -> Result<Arc<Stored>, Changed> {
    let table = &ctx.resource.table;
    if may_go(&object, table) {
        return removal::remove(&ctx.server, &ctx.resource, current).map_err(|error| store_error(ctx, error));
    }
    let key = ctx.key();
    ctx.server.store.update(table, &key, current.revision, object).map_err(|error| store_error(ctx, error))
}

pub(super) fn store_error(ctx: &Context, error: StoreError) -> Changed {
    match error {
        StoreError::Conflict => Changed::Raced,
        StoreError::NotFound => Changed::Refused(ApiError::not_found(ctx.subject(), &ctx.name)),
        StoreError::AlreadyExists => Changed::Refused(ApiError::already_exists(ctx.subject(), &ctx.name)),
    }
}

/// Restores what this kind of request may not change: identity, and the other half of specification and status.
fn carry_over(draft: &Draft<'_>, object: &mut Value, old: &Value) {
    let ctx = draft.ctx;
    let resource = &ctx.resource;
    match ctx.subresource.as_str() {
        "status" => take_status(object, old, &resource.plural),
        "finalize" => take_finalizers(object, old),
        "ephemeralcontainers" | "resize" => take_spec(object, old),
        _ => {
            let custom_status = resource.custom.as_ref().is_some_and(|custom| custom.has_status);
            if custom_status || resource.behaviour.separate_status {
                object::put_or_remove(as_map(object), "status", old.get("status").cloned());
            }
            (resource.behaviour.update)(object, old);
        }
    }
    let before = &old["metadata"];
    let metadata = metadata_mut(object);
    for key in
        ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generateName", "generation"]
    {
        object::put_or_remove(metadata, key, before.get(key).cloned());
    }
    let revision = before.get("resourceVersion").cloned();
    object::put_or_remove(metadata, "resourceVersion", revision);
}

/// A status write changes nothing but the status; node agents may also annotate and label their node.
fn take_status(object: &mut Value, old: &Value, plural: &str) {
    let status = as_map(object).shift_remove("status");
    let managed = object["metadata"].get("managedFields").cloned();
    let metadata = if plural == "nodes" { object["metadata"].clone() } else { old["metadata"].clone() };
    *object = old.clone();
    object::put_or_remove(as_map(object), "status", status);
    as_map(object).insert("metadata".to_owned(), metadata);
    object::put_or_remove(metadata_mut(object), "managedFields", managed);
}

fn take_finalizers(object: &mut Value, old: &Value) {
    let finalizers = object["spec"].get("finalizers").cloned();
    *object = old.clone();
    object::put_or_remove(child(object, "spec"), "finalizers", finalizers);
}

fn take_spec(object: &mut Value, old: &Value) {
    let spec = as_map(object).shift_remove("spec");
    *object = old.clone();
    object::put_or_remove(as_map(object), "spec", spec);
}

/// The generation grows with every change outside metadata and status.
fn count_generation(draft: &Draft<'_>, object: &mut Value, old: &Value) {
    if !draft.ctx.resource.behaviour.generation || draft.ctx.is_status() {
        return;
    }
    let custom = draft.ctx.resource.custom.as_ref();
    let status_counts = custom.is_some_and(|custom| !custom.has_status);
    let counted = |key: &str| key != "metadata" && (status_counts || key != "status");
    let differs = |a: &Value, b: &Value| {
        a.as_object().into_iter().flatten().any(|(key, value)| counted(key) && b.get(key) != Some(value))
    };
    if differs(object, old) || differs(old, object) {
        let next = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        metadata_mut(object).insert("generation".to_owned(), json!(next));
    }
}
