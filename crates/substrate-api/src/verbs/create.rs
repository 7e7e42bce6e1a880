//! `create`: a new object, from request to store.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::service_addresses::Reservation;
use super::write::Draft;
use super::{Context, shown, token};
use crate::http::Reply;
use crate::object::{self, metadata_mut};
use crate::status::ApiError;
use crate::store::{Key, StoreError, Stored};
use crate::validation::generate_name;

/// How often a generated name that is taken is replaced by another.
const NAME_ATTEMPTS: usize = 8;

pub(crate) async fn create(ctx: &Context, body: &Bytes) -> Result<Reply, ApiError> {
    let mut draft = Draft::new(ctx);
    let object = draft.decode(body)?;
    if object["metadata"]["resourceVersion"].as_str().is_some_and(|revision| !revision.is_empty()) {
        return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
    }
    let stored = create_object(&mut draft, object, Tracking::Record).await?;
    let warnings = std::mem::take(&mut draft.warnings);
    shown(ctx, &stored, true, warnings)
}

/// Whether field ownership still has to be recorded; server-side apply has done it already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tracking {
    Record,
    Done,
}

/// Takes a decoded object through defaults, admission and validation into the store.
pub(crate) async fn create_object(
    draft: &mut Draft<'_>,
    mut object: Value,
    tracking: Tracking,
) -> Result<Arc<Stored>, ApiError> {
    let managed = object["metadata"]["managedFields"].clone();
    reset_metadata(&mut object);
    reset_status(draft, &mut object);
    draft.shape(&mut object);
    draft.mutate("CREATE", &mut object, None).await?;
    let generated = take_name(&mut object)?;
    (draft.ctx.resource.behaviour.create)(&mut object);
    token::fill_secret(&draft.ctx.server, &draft.ctx.resource, &mut object);
    draft.validate("CREATE", &object, None).await?;
    match tracking {
        Tracking::Record => draft.track(None, &mut object),
        Tracking::Done => {
            metadata_mut(&mut object).insert("managedFields".to_owned(), managed);
        }
    }
    let reservation = Reservation::new(draft.ctx, &mut object, None)?;
    let stored = commit(draft, object, generated)?;
    if !draft.dry_run {
        reservation.keep();
    }
    Ok(stored)
}

/// Gives the object its identity, whatever the client sent.
fn reset_metadata(object: &mut Value) {
    let metadata = metadata_mut(object);
    for key in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "generation",
        "resourceVersion",
        "managedFields",
    ] {
        metadata.shift_remove(key);
    }
    metadata.insert("uid".to_owned(), Value::from(uuid::Uuid::new_v4().to_string()));
    metadata.insert("creationTimestamp".to_owned(), Value::from(object::now_text()));
}

fn reset_status(draft: &Draft<'_>, object: &mut Value) {
    let resource = &draft.ctx.resource;
    let custom_status = resource.custom.as_ref().is_some_and(|custom| custom.has_status);
    if custom_status || resource.behaviour.separate_status {
        object::as_map(object).shift_remove("status");
    }
    if resource.behaviour.generation {
        metadata_mut(object).insert("generation".to_owned(), json!(1));
    }
}

/// Makes the name where only a prefix was given; answers with that prefix.
fn take_name(object: &mut Value) -> Result<Option<String>, ApiError> {
    let metadata = metadata_mut(object);
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let (name, prefix) = (text(metadata.get("name")), text(metadata.get("generateName")));
    if !name.is_empty() || prefix.is_empty() {
        return Ok(None);
    }
    metadata.insert("name".to_owned(), Value::from(generate_name(&prefix)));
    Ok(Some(prefix))
}

fn commit(draft: &Draft<'_>, object: Value, generated: Option<String>) -> Result<Arc<Stored>, ApiError> {
    let ctx = draft.ctx;
    let mut object = draft.to_storage(object);
    let (store, table) = (&ctx.server.store, &ctx.resource.table);
    for _ in 0..NAME_ATTEMPTS {
        let key = Key::of(&object);
        if draft.dry_run {
            if store.get(table, &key).is_none() {
                return Ok(Arc::new(Stored::new(store.revision(), object)));
            }
        } else {
            match store.create(table, key, object.clone()) {
                Ok(stored) => return Ok(stored),
                Err(StoreError::AlreadyExists) => {}
                Err(other) => return Err(ApiError::internal(other)),
            }
        }
        let Some(prefix) = &generated else { break };
        metadata_mut(&mut object).insert("name".to_owned(), Value::from(generate_name(prefix)));
    }
    Err(ApiError::already_exists(ctx.subject(), object::name(&object)))
}
