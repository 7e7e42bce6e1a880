//! Keeps a node's rules and the cluster's DNS current from Services and EndpointSlices.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::ServiceTable;
use crate::dns::Zone;
use crate::fabric::ClusterNetwork;

/// Changes come in groups (a Service, its slice, its pods' readiness): the first of a group waits so long for the rest.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// Watches one cluster's API server for one node.
pub struct Synchronizer {
    /// The cluster's API server.
    pub client: Client,
    /// Where the rules go.
    pub network: Arc<ClusterNetwork>,
    /// Where the names go; see [`crate::dns::serve`].
    pub zone: watch::Sender<Arc<Zone>>,
    /// The cluster's domain, usually `cluster.local`.
    pub domain: String,
}

impl Synchronizer {
    /// Runs until cancelled. Watches reconnect by themselves; rules that `nft` refuses are reported and tried again
    /// with the next change.
    pub async fn run(self, cancel: CancellationToken) {
        let (services, service_changes) = store::<Service>(self.client.clone());
        let (slices, slice_changes) = store::<EndpointSlice>(self.client.clone());
        let mut changes = std::pin::pin!(futures::stream::select(service_changes, slice_changes));
        let mut applied = None;
        loop {
            tokio::select! {
                change = changes.next() => if change.is_none() { return },
                () = cancel.cancelled() => return,
            }
            gather(&mut changes).await;
            let (services, slices) = (services.state(), slices.state());
            self.publish_zone(Zone::build(&self.domain, services.iter().map(|s| &**s), slices.iter().map(|s| &**s)));
            let table = ServiceTable::build(services.iter().map(|s| &**s), slices.iter().map(|s| &**s));
            if applied.as_ref() == Some(&table) {
                continue;
            }
            match self.network.apply_services(&table).await {
                Ok(()) => applied = Some(table),
                Err(error) => tracing::error!(cluster = self.network.name(), %error, "service rules are out of date"),
            }
        }
    }

    fn publish_zone(&self, zone: Zone) {
        self.zone.send_if_modified(|current| {
            let changed = **current != zone;
            if changed {
                *current = Arc::new(zone);
            }
            changed
        });
    }
}

/// Takes what arrives within the debounce time after a first change.
async fn gather(changes: &mut (impl Stream<Item = ()> + Unpin)) {
    let end = tokio::time::Instant::now() + DEBOUNCE;
    while let Ok(Some(())) = tokio::time::timeout_at(end, changes.next()).await {}
}

/// A local copy of all objects of a kind, and a stream that says when it has changed.
fn store<K>(client: Client) -> (reflector::Store<K>, impl Stream<Item = ()> + Send)
where
    K: kube::Resource<DynamicType = ()> + Clone + Debug + Send + Sync + serde::de::DeserializeOwned + 'static,
{
    let (reader, writer) = reflector::store();
    let events = watcher(Api::<K>::all(client), watcher::Config::default());
    let events = reflector(writer, events.default_backoff());
    let changes = events.filter_map(|event| async move {
        match event {
            Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_) | watcher::Event::InitDone) => Some(()),
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(%error, "the watch of {} failed and starts again", K::plural(&()));
                None
            }
        }
    });
    (reader, changes)
}
