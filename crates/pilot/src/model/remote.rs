//! Other clusters: found by secrets with kubeconfigs, watched like the own one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::pin_mut;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher;
use kube::{Api, Client};
use kube_support::client;
use kube_support::error::describe;
use kube_support::watch::{Change, follow};
use mesh_types::names;
use tokio::task::AbortHandle;

use super::cluster;
use super::objects::Key;
use super::store::Store;

/// How often another cluster's API server is asked whether it is there. A watch alone would notice a cut line late.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long it may take to answer.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(2);
/// Name of the heartbeat among the errors of a cluster.
const REACHABLE: &str = "API server";

/// What else is done in another cluster, by its id, for as long as it is watched.
pub type Serve = Arc<dyn Fn(String, Client) -> BoxFuture<'static, ()> + Send + Sync>;

/// Follows the secrets of the own cluster and watches and serves the clusters that they name, for as long as it is polled.
pub async fn run(store: Arc<Store>, own: Client, serve: Serve) {
    let api: Api<Secret> = Api::namespaced(own, &store.settings().root_namespace);
    let config = watcher::Config::default().labels(&format!("{}=true", names::LABEL_MULTI_CLUSTER));
    let changes = follow(api, config, kubeconfigs);
    pin_mut!(changes);
    let mut remotes = Remotes { store: Arc::clone(&store), serve, secrets: BTreeMap::new(), running: BTreeMap::new() };
    while let Some(change) = changes.next().await {
        match change {
            Change::All(secrets) => remotes.secrets = secrets,
            Change::Set(key, Some(secret)) => drop(remotes.secrets.insert(key, secret)),
            Change::Set(key, None) | Change::Gone(key) => drop(remotes.secrets.remove(&key)),
            Change::Failed(error) => {
                tracing::warn!(error = %describe(&error), "cannot read the secrets of other clusters");
                continue;
            }
        }
        remotes.reconcile();
        store.secrets_read();
    }
}

fn kubeconfigs(secret: Secret) -> Option<BTreeMap<String, String>> {
    let data = secret.data.unwrap_or_default().into_iter();
    Some(data.map(|(cluster, value)| (cluster, String::from_utf8_lossy(&value.0).into_owned())).collect())
}

struct Remotes {
    store: Arc<Store>,
    serve: Serve,
    secrets: BTreeMap<Key, BTreeMap<String, String>>,
    running: BTreeMap<String, (String, AbortHandle)>,
}

impl Remotes {
    /// Makes the running watchers those that the secrets ask for.
    fn reconcile(&mut self) {
        let own = self.store.settings().cluster.clone();
        let wanted: BTreeMap<String, String> = self
            .secrets
            .values()
            .flatten()
            .filter(|(id, _)| **id != own)
            .map(|(id, config)| (id.clone(), config.clone()))
            .collect();
        let stale = |(id, (config, _)): &(&String, &(String, AbortHandle))| wanted.get(*id) != Some(config);
        let stale: Vec<String> = self.running.iter().filter(stale).map(|(id, _)| id.clone()).collect();
        for id in stale {
            if let Some((_, task)) = self.running.remove(&id) {
                task.abort();
            }
            // A new kubeconfig for the same cluster keeps its endpoints until the new list replaces them.
            if !wanted.contains_key(&id) {
                tracing::info!(cluster = id, "cluster removed");
                self.store.forget(&id);
            }
        }
        for (id, config) in wanted {
            if !self.running.contains_key(&id) {
                tracing::info!(cluster = id, "cluster added");
                // The cluster is known, as not synced, from the moment its secret is.
                self.store.change(&id, |_| true);
                let task = tokio::spawn(follow_cluster(
                    Arc::clone(&self.store),
                    Arc::clone(&self.serve),
                    id.clone(),
                    config.clone(),
                ));
                self.running.insert(id, (config, task.abort_handle()));
            }
        }
    }
}

impl Drop for Remotes {
    fn drop(&mut self) {
        self.running.values().for_each(|(_, task)| task.abort());
    }
}

async fn follow_cluster(store: Arc<Store>, serve: Serve, id: String, kubeconfig: String) {
    match client::of_kubeconfig(&kubeconfig, HEARTBEAT_TIMEOUT).await {
        Ok(client) => {
            store.set_client(&id, client.clone());
            let watch = cluster::run(Arc::clone(&store), id.clone(), client.clone());
            let entries = cluster::run_workload_entries(Arc::clone(&store), id.clone(), client.clone());
            tokio::join!(watch, entries, heartbeat(&store, &id, client.clone()), serve(id.clone(), client));
        }
        Err(error) => {
            let message = describe(&error);
            tracing::warn!(cluster = id, %message, "kubeconfig cannot be used");
            store.change(&id, |tables| tables.errors.insert(REACHABLE, message).is_none());
        }
    }
}

async fn heartbeat(store: &Store, id: &str, client: Client) {
    let mut beat = tokio::time::interval(HEARTBEAT);
    loop {
        beat.tick().await;
        let failure = match tokio::time::timeout(HEARTBEAT_TIMEOUT, client.apiserver_version()).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(describe(&error)),
            Err(_) => Some(format!("no answer within {HEARTBEAT_TIMEOUT:?}")),
        };
        store.change(id, |tables| match failure {
            // The text may differ from beat to beat; only the state counts as a change.
            Some(message) => tables.errors.insert(REACHABLE, message).is_none(),
            None => tables.errors.remove(REACHABLE).is_some(),
        });
    }
}
