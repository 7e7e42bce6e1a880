//! Collects what the watchers read and publishes snapshots of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::Client;
use mesh_types::Kind;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::assemble::assemble;
use super::config::{Config, collect};
use super::objects::{Key, Tables};
use crate::ca::ClusterClients;

use super::{ConfigVersion, Configs, Mesh, Settings, State};

/// A quiet time of this length ends the collection of changes.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// The same where nothing was published for [`DEBOUNCE_MAX`]: what was written together comes together.
const DEBOUNCE_CALM: Duration = Duration::from_millis(10);
/// Changes are published at the latest after this time, quiet or not.
const DEBOUNCE_MAX: Duration = Duration::from_millis(50);
/// How long the first snapshot waits for clusters that do not answer.
const REMOTE_PATIENCE: Duration = Duration::from_secs(3);

/// The tables of all clusters and the configuration of the own one.
pub struct Store {
    settings: Arc<Settings>,
    inner: Mutex<Inner>,
    dirty: Notify,
    published: watch::Sender<Option<Arc<Mesh>>>,
}

#[derive(Default)]
struct Inner {
    clusters: BTreeMap<String, Tables>,
    configs: BTreeMap<Kind, BTreeMap<Key, Config>>,
    secrets_read: bool,
    clients: BTreeMap<String, Client>,
}

impl Store {
    /// An empty store; nothing is published before [`Store::publish`] runs.
    pub fn new(settings: Settings) -> Arc<Self> {
        let (published, _) = watch::channel(None);
        Arc::new(Self { settings: Arc::new(settings), inner: Mutex::default(), dirty: Notify::new(), published })
    }

    /// Facts that hold for the life of the process.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// The latest snapshot, nothing before the own cluster was read.
    pub fn snapshots(&self) -> watch::Receiver<Option<Arc<Mesh>>> {
        self.published.subscribe()
    }

    /// Publishes a snapshot that was assembled elsewhere; for tests and tools that have no cluster to watch.
    pub fn publish_mesh(&self, mesh: Mesh) {
        self.published.send_replace(Some(Arc::new(mesh)));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The tables are plain values, whole after every statement: a panic elsewhere does not spoil them.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the tables of a cluster; `change` says whether anything changed.
    pub fn change(&self, cluster: &str, change: impl FnOnce(&mut Tables) -> bool) {
        let changed = {
            let mut inner = self.lock();
            change(inner.clusters.entry(cluster.to_owned()).or_default())
        };
        if changed {
            self.dirty.notify_one();
        }
    }

    /// Notes how the API server of a cluster is reached.
    pub fn set_client(&self, cluster: &str, client: Client) {
        self.lock().clients.insert(cluster.to_owned(), client);
    }

    /// Forgets a cluster and everything in it.
    pub fn forget(&self, cluster: &str) {
        let known = {
            let mut inner = self.lock();
            inner.clients.remove(cluster);
            inner.clusters.remove(cluster).is_some()
        };
        if known {
            self.dirty.notify_one();
        }
    }

    /// Replaces all configuration objects of a kind.
    pub fn replace_configs(&self, kind: Kind, objects: BTreeMap<Key, Config>) {
        self.lock().configs.insert(kind, objects);
        self.dirty.notify_one();
    }

    /// Sets or removes one configuration object.
    pub fn change_config(&self, kind: Kind, key: Key, object: Option<Config>) {
        {
            let mut inner = self.lock();
            let table = inner.configs.entry(kind).or_default();
            match object {
                Some(object) => table.insert(key, object),
                None => table.remove(&key),
            };
        }
        self.dirty.notify_one();
    }

    /// Says that the secrets with other clusters were read once.
    pub fn secrets_read(&self) {
        self.lock().secrets_read = true;
        self.dirty.notify_one();
    }

    /// Publishes snapshots until cancelled: the first when the own cluster was read, later ones when something changed.
    pub async fn publish(self: Arc<Self>, cancel: CancellationToken) {
        let started = Instant::now();
        let (mut number, mut latest) = (0, started);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.dirty.notified() => self.settle(latest).await,
                // Wakes the first snapshot that waits for a cluster that does not answer.
                () = tokio::time::sleep_until((started + REMOTE_PATIENCE).into()), if number == 0 && started.elapsed() < REMOTE_PATIENCE => {}
            }
            if let Some(mesh) = self.next(number, started) {
                (number, latest) = (mesh.number, Instant::now());
                tracing::info!(snapshot = number, services = mesh.state.services.len(), "published");
                self.published.send_replace(Some(Arc::new(mesh)));
            }
        }
    }

    /// Waits for the end of a collection; `latest` is when the last snapshot was published.
    async fn settle(&self, latest: Instant) {
        let first = Instant::now();
        let quiet = quiet(first.duration_since(latest));
        while first.elapsed() < DEBOUNCE_MAX {
            if tokio::time::timeout(quiet, self.dirty.notified()).await.is_err() {
                return;
            }
        }
    }

    /// The next snapshot, where there is something to publish.
    fn next(&self, number: u64, started: Instant) -> Option<Mesh> {
        let previous = self.published.borrow().clone();
        let before = previous.as_ref().map_or_else(|| Arc::new(State::default()), |mesh| Arc::clone(&mesh.state));
        let inner = self.lock();
        if previous.is_none() && !ready(&inner, &self.settings, started) {
            return None;
        }
        let configs = collect(&inner.configs);
        let state = assemble(&self.settings, &inner.clusters, configs, &before);
        drop(inner);
        if previous.is_some() && *before == state {
            return None;
        }
        let number = number + 1;
        let earlier = previous.as_ref().map(|mesh| &*mesh.config_versions);
        let config_versions = Arc::new(config_versions(&state.configs, earlier, number));
        Some(Mesh { number, settings: Arc::clone(&self.settings), state: Arc::new(state), config_versions })
    }
}

/// The quiet time that ends a collection, so long after the last snapshot. One change now and then goes out at once; many that
/// follow each other share the work.
fn quiet(calm: Duration) -> Duration {
    if calm >= DEBOUNCE_MAX { DEBOUNCE_CALM } else { DEBOUNCE }
}

impl ClusterClients for Store {
    fn client(&self, cluster_id: &str) -> Option<Client> {
        let id = if cluster_id.is_empty() { &self.settings.cluster } else { cluster_id };
        self.lock().clients.get(id).cloned()
    }
}

fn ready(inner: &Inner, settings: &Settings, started: Instant) -> bool {
    let own = inner.clusters.get(&settings.cluster).is_some_and(Tables::synced);
    let configs = Kind::ALL.iter().all(|kind| inner.configs.contains_key(kind));
    let others = inner.clusters.values().all(Tables::synced) || started.elapsed() >= REMOTE_PATIENCE;
    own && configs && inner.secrets_read && others
}

fn config_versions(
    configs: &Configs,
    earlier: Option<&BTreeMap<String, ConfigVersion>>,
    number: u64,
) -> BTreeMap<String, ConfigVersion> {
    let now = Timestamp::now();
    let versions = configs.versions().into_iter();
    versions
        .map(|(reference, resource_version)| {
            let known = earlier
                .and_then(|earlier| earlier.get(&reference))
                .filter(|known| known.resource_version == resource_version);
            let version =
                known.cloned().unwrap_or(ConfigVersion { resource_version, snapshot: number, published: now });
            (reference, version)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_after_a_calm_waits_for_less() {
        assert_eq!(quiet(Duration::from_secs(1)), DEBOUNCE_CALM);
        assert_eq!(quiet(Duration::from_millis(1)), DEBOUNCE);
        // However changes come, no more snapshots are made than one in this time.
        assert!(DEBOUNCE_CALM < DEBOUNCE && DEBOUNCE < DEBOUNCE_MAX);
    }
}
