//! Removes WorkloadEntries whose workloads have been away for too long, also those of a control plane that is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::{DeleteParams, Preconditions};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::fate::{Fate, Known, fate};
use super::registrar::Registrar;
use crate::model::Mesh;
use crate::model::objects::Key;

/// Looks at every snapshot, and whenever some entry may have had its time, until there are no more snapshots.
pub async fn run(registrar: Registrar, mut snapshots: watch::Receiver<Option<Arc<Mesh>>>, grace: Duration) {
    let mut orphans = Orphans::default();
    loop {
        let mesh = snapshots.borrow_and_update().clone();
        let mut pause = grace;
        if let Some(mesh) = mesh {
            let (due, next) = orphans.look(&registrar, &mesh, grace);
            for one in due {
                remove(&registrar, one).await;
            }
            pause = next;
        }
        if let Ok(Err(_no_more)) = tokio::time::timeout(pause, snapshots.changed()).await {
            return;
        }
    }
}

/// An entry to remove, if it is still as it was seen.
struct Due {
    key: Key,
    resource_version: Option<String>,
}

/// Entries that say that their workloads are connected, and nobody has them; since when that is known.
#[derive(Default)]
struct Orphans(BTreeMap<Key, Instant>);

impl Orphans {
    /// The entries that are to go, and when to look again at the latest.
    fn look(&mut self, registrar: &Registrar, mesh: &Mesh, grace: Duration) -> (Vec<Due>, Duration) {
        let exists = |name: &str| {
            let settings = &mesh.settings;
            let pod = (settings.cluster.clone(), settings.root_namespace.clone(), name.to_owned());
            mesh.state.workloads.contains_key(&pod)
        };
        let (mut due, mut next, mut still) = (Vec::new(), grace, BTreeMap::new());
        for entry in &mesh.state.configs.workload_entries {
            let metadata = &entry.metadata;
            let key = (metadata.namespace.clone(), metadata.name.clone());
            let known = Known {
                now: Timestamp::now(),
                instance: registrar.instance(),
                connected: registrar.is_connected(&key),
                exists: &exists,
            };
            let away = match fate(metadata, &known) {
                Fate::Stays => continue,
                Fate::Away(away) => away,
                Fate::Orphaned => {
                    let since = self.0.get(&key).copied().unwrap_or_else(Instant::now);
                    still.insert(key.clone(), since);
                    since.elapsed()
                }
            };
            if away >= grace {
                due.push(Due { key, resource_version: metadata.resource_version.clone() });
            } else {
                next = next.min(grace - away);
            }
        }
        self.0 = still;
        (due, next)
    }
}

async fn remove(registrar: &Registrar, Due { key: (namespace, name), resource_version }: Due) {
    // A workload that came back since has changed the entry, and keeps it.
    let preconditions = Preconditions { resource_version, uid: None };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match registrar.entries(&namespace).delete(&name, &parameters).await {
        Ok(_) => info!(namespace, entry = name, "workload removed: it did not come back"),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
        Err(error) => warn!(namespace, entry = name, %error, "a WorkloadEntry is not removed"),
    }
}
