//! `delete` and `deletecollection`: preconditions, grace, finalizers, and removal when nothing holds the object.

use std::sync::Arc;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::options::{DeleteOptions, Filter, Propagation};
use super::update::{ATTEMPTS, Changed, store_error};
use super::{Context, may_go, removal};
use crate::admission::{Admission, Operation};
use crate::http::render::{ListMeta, served};
use crate::http::{Reply, body};
use crate::kinds;
use crate::object::{self, as_map, child, metadata_mut};
use crate::status::{self, ApiError};
use crate::store::Stored;

const NAMESPACES_KEPT: &[&str] = &["default", "kube-system", "kube-public", "kube-node-lease"];

/// What became of a deletion.
enum Outcome {
    /// The object is gone; its last state.
    Removed(Arc<Stored>),
    /// The object stays until its finalizers or its grace are done.
    Pending(Arc<Stored>),
}

pub(crate) async fn delete(ctx: &Context, bytes: &Bytes) -> Result<Reply, ApiError> {
    let options = options(ctx, bytes)?;
    let mut warnings = Vec::new();
    let outcome = delete_one(ctx, &options, &mut warnings).await?;
    let renderer = ctx.renderer()?;
    let mut reply = match outcome {
        Outcome::Removed(stored) if !ctx.resource.behaviour.returns_deleted => {
            Reply::value(&status::deleted(ctx.subject(), &ctx.name, object::uid(&stored.value)))
        }
        Outcome::Removed(stored) | Outcome::Pending(stored) => Reply::json(renderer.object(&stored)),
    };
    reply.warnings = warnings;
    Ok(reply)
}

fn options(ctx: &Context, bytes: &Bytes) -> Result<DeleteOptions, ApiError> {
    let body = if bytes.is_empty() { Value::Null } else { body::decode_object(&ctx.request.headers, bytes)? };
    DeleteOptions::new(&ctx.request.query, &body)
}

async fn delete_one(ctx: &Context, options: &DeleteOptions, warnings: &mut Vec<String>) -> Result<Outcome, ApiError> {
    if ctx.resource.table == "namespaces" && NAMESPACES_KEPT.contains(&ctx.name.as_str()) {
        return Err(ApiError::forbidden(ctx.subject(), &ctx.name, "this namespace may not be deleted"));
    }
    for _ in 0..ATTEMPTS {
        let current = ctx.stored()?;
        check_preconditions(ctx, options, &current)?;
        let operation = Operation {
            server: &ctx.server,
            user: &ctx.request.user,
            resource: &ctx.resource,
            subresource: "",
            namespace: &ctx.namespace,
            name: &ctx.name,
            kind: "DELETE",
            dry_run: options.dry_run,
        };
        let old = served(&ctx.resource, &current.value);
        Admission::new(operation, warnings).validate(None, Some(&old)).await?;
        match advance(ctx, options, &current) {
            Err(Changed::Raced) => warnings.clear(),
            Err(Changed::Refused(error)) => return Err(error),
            Ok(outcome) => return Ok(outcome),
        }
    }
    Err(ApiError::modified(ctx.subject(), &ctx.name))
}

fn check_preconditions(ctx: &Context, options: &DeleteOptions, current: &Stored) -> Result<(), ApiError> {
    let uid = object::uid(&current.value);
    if let Some(wanted) = options.uid.as_deref().filter(|wanted| *wanted != uid) {
        let why = format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have been \
             deleted and then recreated"
        );
        return Err(ApiError::conflict(ctx.subject(), &ctx.name, &why));
    }
    let revision = current.revision.to_string();
    if let Some(wanted) = options.resource_version.as_deref().filter(|wanted| *wanted != revision) {
        let why = format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record \
             ({revision}). The object might have been modified"
        );
        return Err(ApiError::conflict(ctx.subject(), &ctx.name, &why));
    }
    Ok(())
}

/// Marks the object as being deleted, or removes it.
fn advance(ctx: &Context, options: &DeleteOptions, current: &Arc<Stored>) -> Result<Outcome, Changed> {
    let mut object = current.value.clone();
    mark(ctx, options, &mut object);
    if may_go(&object, &ctx.resource.table) {
        if options.dry_run {
            return Ok(Outcome::Removed(Arc::clone(current)));
        }
        let removed = removal::remove(&ctx.server, &ctx.resource, current).map_err(|error| store_error(ctx, error))?;
        return Ok(Outcome::Removed(removed));
    }
    if options.dry_run || object == current.value {
        return Ok(Outcome::Pending(Arc::clone(current)));
    }
    let key = ctx.key();
    let store = &ctx.server.store;
    let stored =
        store.update(&ctx.resource.table, &key, current.revision, object).map_err(|error| store_error(ctx, error))?;
    Ok(Outcome::Pending(stored))
}

/// Sets deletion time, grace and finalizers. A grace that was set before is only ever shortened.
fn mark(ctx: &Context, options: &DeleteOptions, object: &mut Value) {
    set_propagation_finalizers(object, options.propagation);
    if ctx.resource.table == "namespaces" {
        child(object, "status").insert("phase".to_owned(), json!("Terminating"));
    }
    if ctx.resource.table == "customresourcedefinitions.apiextensions.k8s.io" {
        kinds::add_crd_finalizer(object);
    }
    let grace = grace_seconds(&ctx.resource.table, options, object);
    let begun = object::is_terminating(object);
    let before = object["metadata"]["deletionGracePeriodSeconds"].as_i64();
    if begun && before.is_some_and(|before| grace >= before) {
        return;
    }
    let generation = object["metadata"]["generation"].as_i64();
    let metadata = metadata_mut(object);
    let end = Timestamp::now() + SignedDuration::from_secs(grace);
    metadata.insert("deletionTimestamp".to_owned(), Value::from(object::time_text(end)));
    metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
    if let (Some(generation), false) = (generation, begun) {
        metadata.insert("generation".to_owned(), json!(generation + 1));
    }
}

/// Only pods that run somewhere are given time to end.
fn grace_seconds(table: &str, options: &DeleteOptions, object: &Value) -> i64 {
    if table != "pods" {
        return 0;
    }
    let placed = object["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
    let over = matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if !placed || over {
        return 0;
    }
    let own = object["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
    options.grace_period_seconds.unwrap_or(own).max(0)
}

/// The garbage collector acts on these two finalizers.
fn set_propagation_finalizers(object: &mut Value, propagation: Option<Propagation>) {
    let wanted = match propagation {
        None => return,
        Some(Propagation::Background) => None,
        Some(Propagation::Foreground) => Some("foregroundDeletion"),
        Some(Propagation::Orphan) => Some("orphan"),
    };
    let mut finalizers: Vec<Value> = object::finalizers(object)
        .into_iter()
        .filter(|finalizer| !matches!(*finalizer, "foregroundDeletion" | "orphan"))
        .map(Value::from)
        .collect();
    finalizers.extend(wanted.map(Value::from));
    let list = Some(Value::from(finalizers)).filter(|list| list.as_array().is_some_and(|list| !list.is_empty()));
    object::put_or_remove(metadata_mut(object), "finalizers", list);
}

/// Deletes every object that the selectors match; answers with the list of them.
pub(crate) async fn delete_collection(ctx: Context, bytes: &Bytes) -> Result<Reply, ApiError> {
    let options = options(&ctx, bytes)?;
    let filter = Filter::new(&ctx.request.query, &ctx.resource, &ctx.name)?;
    let namespace = Some(ctx.namespace.as_str()).filter(|namespace| !namespace.is_empty());
    let (objects, revision) = ctx.server.store.list(&ctx.resource.table, namespace);
    let renderer = ctx.renderer()?;
    let mut warnings = Vec::new();
    let mut deleted = Vec::new();
    let mut one = ctx;
    for stored in objects.iter().filter(|stored| filter.matches(&stored.value)) {
        object::namespace(&stored.value).clone_into(&mut one.namespace);
        object::name(&stored.value).clone_into(&mut one.name);
        match delete_one(&one, &options, &mut warnings).await {
            Ok(Outcome::Removed(stored) | Outcome::Pending(stored)) => deleted.push(stored),
            Err(error) if error.code == http::StatusCode::NOT_FOUND => {}
            Err(error) => return Err(error),
        }
    }
    let mut reply = Reply::json(renderer.list(&deleted, &ListMeta { revision, ..ListMeta::default() }));
    reply.warnings = warnings;
    Ok(reply)
}

/// The body of a deletion with the given options; for evictions.
pub(super) fn delete_options_body(options: &Value) -> Bytes {
    let mut options = options.clone();
    as_map(&mut options);
    Bytes::from(options.to_string())
}
