//! The verbs of the API on resources: what a real API server's generic registry does, over JSON values.
//! HTTP stops at the edge (`http::resource`); kinds differ only through their `Behaviour` and the few special files here.

mod access_review;
mod binding;
mod create;
mod definition_cleanup;
mod delete;
mod list;
mod options;
mod patch;
mod removal;
mod role_aggregation;
mod scale;
mod service_addresses;
mod token;
mod update;
mod watch;
mod write;

use std::sync::Arc;

use crate::http::render::Renderer;
use crate::http::{ApiRequest, Reply, accept};
use crate::object;
use crate::registry::Resource;
use crate::server::ApiServer;
use crate::status::{ApiError, Subject};
use crate::store::{Key, Stored};

pub(crate) use access_review::{review_access, review_own_access, review_own_rules, review_self, review_token};
pub(crate) use binding::{bind, create_binding, evict};
pub(crate) use create::create;
pub(crate) use definition_cleanup::spawn_definition_cleanup;
pub(crate) use delete::{delete, delete_collection};
pub(crate) use list::list;
pub(crate) use patch::patch;
pub(crate) use role_aggregation::spawn_role_aggregation;
pub(crate) use scale::{get_scale, patch_scale, update_scale};
pub(crate) use token::request_token;
pub(crate) use update::update;
pub(crate) use watch::watch;

/// A request for a known resource.
pub(crate) struct Context {
    pub(crate) server: Arc<ApiServer>,
    pub(crate) request: ApiRequest,
    pub(crate) resource: Arc<Resource>,
    /// Empty for cluster-wide resources and for requests over all namespaces.
    pub(crate) namespace: String,
    /// Empty for requests for a collection.
    pub(crate) name: String,
    /// Empty for the resource itself.
    pub(crate) subresource: String,
}

impl Context {
    pub(crate) fn subject(&self) -> Subject<'_> {
        self.resource.subject()
    }

    pub(crate) fn key(&self) -> Key {
        Key::new(self.namespace.clone(), self.name.clone())
    }

    /// The object that the path names.
    pub(crate) fn stored(&self) -> Result<Arc<Stored>, ApiError> {
        let found = self.server.store.get(&self.resource.table, &self.key());
        found.ok_or_else(|| ApiError::not_found(self.subject(), &self.name))
    }

    pub(crate) fn renderer(&self) -> Result<Renderer, ApiError> {
        let view = accept::view(&self.request.headers)?;
        Ok(Renderer::new(Arc::clone(&self.resource), view, self.request.query.get("includeObject")))
    }

    pub(crate) fn is_status(&self) -> bool {
        self.subresource == "status"
    }
}

/// `get` of one object.
pub(crate) fn get(ctx: &Context) -> Result<Reply, ApiError> {
    let renderer = ctx.renderer()?;
    let stored = ctx.stored()?;
    check_reached(ctx)?;
    Ok(Reply::json(renderer.object(&stored)))
}

/// Refuses a resourceVersion that lies in the future.
fn check_reached(ctx: &Context) -> Result<(), ApiError> {
    let wanted = options::revision(&ctx.request.query)?;
    let current = ctx.server.store.revision();
    match wanted {
        Some(wanted) if wanted > current => Err(ApiError::too_large_resource_version(wanted, current)),
        _ => Ok(()),
    }
}

/// The answer that shows an object after a write.
fn shown(ctx: &Context, stored: &Stored, created: bool, warnings: Vec<String>) -> Result<Reply, ApiError> {
    let mut reply = Reply::json(ctx.renderer()?.object(stored));
    if created {
        reply.code = http::StatusCode::CREATED;
    }
    reply.warnings = warnings;
    Ok(reply)
}

/// Whether an object that is being deleted has nothing left to wait for.
fn may_go(object: &serde_json::Value, table: &str) -> bool {
    let namespace_busy = table == "namespaces"
        && object["spec"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty());
    let graceful = table == "pods" && object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) > 0;
    object::is_terminating(object) && object::finalizers(object).is_empty() && !namespace_busy && !graceful
}
