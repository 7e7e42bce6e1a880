//! All caches together, and the wiring from a change of any object to the controllers that care about it.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Namespace, Node, Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Resource;
use kube::runtime::watcher::{self, Event};
use tokio::sync::{mpsc, watch};

use crate::ControllerConfig;
use crate::cache::{Cache, Change};
use crate::controllers::Controller;
use crate::objects::Key;
use crate::routes::Triggers;

/// What the controllers know of the cluster.
#[derive(Debug, Default)]
pub(crate) struct Caches {
    pub(crate) namespaces: Cache<Namespace>,
    pub(crate) nodes: Cache<Node>,
    pub(crate) pods: Cache<Pod>,
    pub(crate) replica_sets: Cache<ReplicaSet>,
    pub(crate) deployments: Cache<Deployment>,
    pub(crate) stateful_sets: Cache<StatefulSet>,
    pub(crate) daemon_sets: Cache<DaemonSet>,
    pub(crate) jobs: Cache<Job>,
    pub(crate) services: Cache<Service>,
    pub(crate) endpoint_slices: Cache<EndpointSlice>,
    pub(crate) endpoints: Cache<Endpoints>,
    pub(crate) service_accounts: Cache<ServiceAccount>,
    pub(crate) config_maps: Cache<ConfigMap>,
}

/// A kind that is cached: where it is kept and whom its changes concern.
pub(crate) trait Cached: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static {
    /// The cache of this kind.
    fn cache(caches: &Caches) -> &Cache<Self>;
    /// Adds the keys that a change makes due.
    fn triggers(caches: &Caches, change: &Change<Self>, triggers: &mut Triggers);
}

/// The caches, the configuration and the queues.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) caches: Caches,
    pub(crate) config: ControllerConfig,
    queues: HashMap<Controller, mpsc::UnboundedSender<Key>>,
    synced: watch::Sender<usize>,
}

impl World {
    pub(crate) fn new(config: ControllerConfig, queues: HashMap<Controller, mpsc::UnboundedSender<Key>>) -> Self {
        Self { caches: Caches::default(), config, queues, synced: watch::Sender::new(0) }
    }

    /// Books a state of an object and makes due whatever depends on it.
    pub(crate) fn apply<K: Cached>(&self, object: K) {
        if let Some(change) = K::cache(&self.caches).apply(object) {
            self.publish(&change);
        }
    }

    /// Books that the object with this uid is gone.
    pub(crate) fn forget<K: Cached>(&self, key: &Key, uid: &str) {
        if let Some(object) = K::cache(&self.caches).get(key)
            && object.meta().uid.as_deref() == Some(uid)
        {
            self.remove(&object);
        }
    }

    fn remove<K: Cached>(&self, object: &Arc<K>) {
        if let Some(change) = K::cache(&self.caches).remove(object) {
            self.publish(&change);
        }
    }

    fn publish<K: Cached>(&self, change: &Change<K>) {
        let mut triggers = Triggers::default();
        K::triggers(&self.caches, change, &mut triggers);
        for (controller, key) in triggers.into_keys() {
            if let Some(queue) = self.queues.get(&controller) {
                // A closed queue means that the controllers are shutting down.
                let _closed = queue.send(key);
            }
        }
    }

    /// Feeds a cache from a watch until the watch ends. Errors of the watch are logged; it recovers by itself.
    pub(crate) async fn feed<K: Cached>(&self, events: impl Stream<Item = watcher::Result<Event<K>>>) {
        futures::pin_mut!(events);
        let mut listed = Vec::new();
        let mut first = true;
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(object)) => self.apply(object),
                Ok(Event::Delete(object)) => self.remove(&Arc::new(object)),
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(object)) => listed.push(object),
                Ok(Event::InitDone) => {
                    for change in K::cache(&self.caches).replace(std::mem::take(&mut listed)) {
                        self.publish(&change);
                    }
                    if std::mem::take(&mut first) {
                        self.synced.send_modify(|synced| *synced += 1);
                    }
                }
                Err(error) => tracing::debug!(kind = %K::kind(&()), %error, "a watch is being restarted"),
            }
        }
    }

    /// Waits until `kinds` caches have been filled for the first time.
    pub(crate) async fn filled(&self, kinds: usize) {
        let mut synced = self.synced.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _never_closed = synced.wait_for(|synced| *synced >= kinds).await;
    }
}
