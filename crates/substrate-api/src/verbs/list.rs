//! `list`: the present, an exact revision, or the next page of an earlier list.

use std::sync::Arc;

use super::options::{self, Continue, Filter};
use super::{Context, check_reached};
use crate::http::Reply;
use crate::http::render::ListMeta;
use crate::object;
use crate::status::ApiError;
use crate::store::{Expired, Stored};

/// A consistent list of objects and the revision it shows.
struct Snapshot {
    objects: Vec<Arc<Stored>>,
    revision: u64,
}

pub(crate) fn list(ctx: &Context) -> Result<Reply, ApiError> {
    let renderer = ctx.renderer()?;
    let query = &ctx.request.query;
    let filter = Filter::new(query, &ctx.resource, &ctx.name)?;
    let start = query.get("continue").map(Continue::decode).transpose()?;
    let snapshot = snapshot(ctx, start.as_ref())?;
    let after = |stored: &Stored| {
        start.as_ref().is_none_or(|start| {
            (object::namespace(&stored.value), object::name(&stored.value))
                > (start.namespace.as_str(), start.name.as_str())
        })
    };
    let mut matching = snapshot.objects.iter().filter(|stored| after(stored) && filter.matches(&stored.value)).cloned();
    let limit = query.number("limit").filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let items: Vec<Arc<Stored>> = matching.by_ref().take(limit).collect();
    let remaining = matching.count();
    let mut meta = ListMeta { revision: snapshot.revision, ..ListMeta::default() };
    if let Some(last) = items.last().filter(|_| remaining > 0) {
        let next = Continue {
            revision: snapshot.revision,
            namespace: object::namespace(&last.value).to_owned(),
            name: object::name(&last.value).to_owned(),
        };
        meta.next = Some(next.encode());
        // As in Kubernetes, the count is only given where no selector makes it a guess.
        meta.remaining = filter.is_empty().then_some(remaining);
    }
    Ok(Reply::json(renderer.list(&items, &meta)))
}

fn snapshot(ctx: &Context, start: Option<&Continue>) -> Result<Snapshot, ApiError> {
    let store = &ctx.server.store;
    let table = &ctx.resource.table;
    let namespace = Some(ctx.namespace.as_str()).filter(|namespace| !namespace.is_empty());
    if let Some(start) = start {
        let objects = store.list_at(table, namespace, start.revision).map_err(|_| expired_page())?;
        return Ok(Snapshot { objects, revision: start.revision });
    }
    check_reached(ctx)?;
    let wanted = options::revision(&ctx.request.query)?;
    match (ctx.request.query.get("resourceVersionMatch"), wanted) {
        (Some("Exact"), Some(revision)) if revision > 0 => {
            let objects = store.list_at(table, namespace, revision).map_err(expired)?;
            Ok(Snapshot { objects, revision })
        }
        (Some("Exact" | "NotOlderThan"), None) => Err(ApiError::unprocessable(
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden \
             unless resourceVersion is provided",
        )),
        _ => {
            let (objects, revision) = store.list(table, namespace);
            Ok(Snapshot { objects, revision })
        }
    }
}

fn expired_page() -> ApiError {
    ApiError::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list \
         without the continue parameter.",
    )
}

/// The 410 for a revision that has left the window.
pub(super) fn expired(expired: Expired) -> ApiError {
    ApiError::expired(expired.to_string())
}
