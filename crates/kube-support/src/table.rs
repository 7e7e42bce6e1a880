//! Tables of objects that watches keep up to date, and one bell that rings whenever any of them changes: for whoever looks at
//! everything again after each change.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use futures::StreamExt as _;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::reflector::{self, Lookup, Store, store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::error::describe;
use crate::watch::QuickBackoff;

/// Keeps a table of a kind that is known at compile time.
pub fn follow<K>(
    api: Api<K>,
    config: watcher::Config,
    changed: &Arc<watch::Sender<()>>,
    cancel: &CancellationToken,
) -> Store<K>
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (reader, writer) = store();
    let name = <K as Resource>::kind(&()).into_owned();
    drive(writer, api, config, name, changed, cancel);
    reader
}

/// Keeps a table of a kind that is known by its name only.
pub fn follow_dynamic(
    api: Api<DynamicObject>,
    resource: ApiResource,
    changed: &Arc<watch::Sender<()>>,
    cancel: &CancellationToken,
) -> Store<DynamicObject> {
    let name = resource.kind.clone();
    let writer = reflector::store::Writer::new(resource);
    let reader = writer.as_reader();
    drive(writer, api, watcher::Config::default(), name, changed, cancel);
    reader
}

fn drive<K>(
    writer: reflector::store::Writer<K>,
    api: Api<K>,
    config: watcher::Config,
    kind: String,
    changed: &Arc<watch::Sender<()>>,
    cancel: &CancellationToken,
) where
    K: Resource + Lookup + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    <K as Lookup>::DynamicType: Eq + Hash + Clone + Send + Sync,
{
    let (changed, cancel) = (Arc::clone(changed), cancel.clone());
    // What nobody reads is not kept: it is the larger part of most objects.
    let watched =
        watcher(api, config).backoff(QuickBackoff::default()).modify(|object| object.meta_mut().managed_fields = None);
    tokio::spawn(async move {
        let mut events = std::pin::pin!(reflector::reflector(writer, watched));
        while let Some(Some(event)) = cancel.run_until_cancelled(events.next()).await {
            match event {
                Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
                Ok(_) => changed.send_replace(()),
                Err(error) => tracing::warn!(kind, error = %describe(&error), "cannot be watched at the moment"),
            }
        }
    });
}
