//! Ends CustomResourceDefinitions that are being deleted: first their objects, then, when none is left, themselves.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use serde_json::Value;

use super::{Context, delete_collection};
use crate::authentication::User;
use crate::http::ApiRequest;
use crate::http::query::Query;
use crate::http::request_info::RequestInfo;
use crate::kinds::CRD_FINALIZER;
use crate::object::{self, metadata_mut};
use crate::server::ApiServer;
use crate::store::{Cursor, Key, StoreError, Stored};

const TABLE: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// Starts the work in the background. It ends with the server.
pub(crate) fn spawn_definition_cleanup(server: &Arc<ApiServer>) {
    let (_, _, cursor) = server.store.list_and_watch(TABLE, None);
    tokio::spawn(run(Arc::downgrade(server), cursor));
}

async fn run(server: Weak<ApiServer>, mut definitions: Cursor) {
    // Definitions whose objects have their own finalizers are looked at again when one of the objects changes.
    let mut objects: Option<Cursor> = None;
    loop {
        match &mut objects {
            None => definitions.changed().await,
            Some(objects) => tokio::select! {
                () = definitions.changed() => {}
                () = objects.changed() => {}
            },
        }
        let Some(server) = server.upgrade() else { return };
        // Falling behind is no harm here: every round looks at the present state.
        drop(definitions.poll());
        let pending = clean(&server).await;
        objects = pending.first().map(|table| server.store.list_and_watch(table, None).2);
    }
}

/// One round; answers with the tables that still hold objects.
async fn clean(server: &Arc<ApiServer>) -> BTreeSet<String> {
    let mut pending = BTreeSet::new();
    let (definitions, _) = server.store.list(TABLE, None);
    for definition in definitions.iter().filter(|stored| object::is_terminating(&stored.value)) {
        let Some(table) = delete_objects(server, definition).await else { continue };
        if server.store.list(&table, None).0.is_empty() {
            finish(server, definition);
        } else {
            pending.insert(table);
        }
    }
    pending
}

/// Deletes the objects of a definition; answers with their table.
async fn delete_objects(server: &Arc<ApiServer>, definition: &Stored) -> Option<String> {
    if !object::finalizers(&definition.value).contains(&CRD_FINALIZER) {
        return None;
    }
    let spec = &definition.value["spec"];
    let (group, plural) = (spec["group"].as_str()?, spec["names"]["plural"].as_str()?);
    let table = crate::registry::table_name(group, plural);
    let registry = server.registry();
    let Some(resource) = registry.any_version(group, plural) else { return Some(table) };
    let ctx = Context {
        server: Arc::clone(server),
        request: ApiRequest {
            info: RequestInfo { verb: "deletecollection".to_owned(), path: String::new(), target: None },
            query: Query::default(),
            headers: http::HeaderMap::new(),
            user: User::authenticated("system:apiserver", &["system:masters"]),
        },
        resource: Arc::clone(resource),
        namespace: String::new(),
        name: String::new(),
        subresource: String::new(),
    };
    if let Err(error) = delete_collection(ctx, &Bytes::new()).await {
        tracing::warn!(cluster = %server.cluster_name, table, %error, "cannot delete the objects of a definition");
    }
    Some(table)
}

/// Takes the finalizer away, and the definition with it where it was the last.
fn finish(server: &ApiServer, definition: &Stored) {
    let key = Key::of(&definition.value);
    let mut object = definition.value.clone();
    let rest: Vec<Value> = object::finalizers(&object)
        .into_iter()
        .filter(|finalizer| *finalizer != CRD_FINALIZER)
        .map(Value::from)
        .collect();
    let outcome = if rest.is_empty() {
        server.store.remove(TABLE, &key, definition.revision).map(drop)
    } else {
        metadata_mut(&mut object).insert("finalizers".to_owned(), Value::from(rest));
        server.store.update(TABLE, &key, definition.revision, object).map(drop)
    };
    // A conflict means that the definition was written meanwhile, which starts the next round.
    if let Err(error @ StoreError::AlreadyExists) = outcome {
        tracing::error!(cluster = %server.cluster_name, %error, "cannot finish a definition");
    }
}
