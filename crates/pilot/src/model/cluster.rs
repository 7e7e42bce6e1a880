//! Watches the kinds that every cluster is read by.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use futures::StreamExt;
use futures::pin_mut;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use kube_support::error::{describe, is_status};
use kube_support::watch::{Change, follow};
use mesh_types::Kind;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::objects::{self, KINDS, Key, SECRET, Tables, WORKLOAD_ENTRY};
use super::store::Store;

use super::{config, credentials};

/// Keeps the tables of a cluster up to date for as long as the future is polled.
pub async fn run(store: Arc<Store>, cluster: String, client: Client) {
    let table = |kind| Table { store: &store, cluster: &cluster, kind };
    let [services, slices, pods, nodes, namespaces, _, _] = KINDS.map(table);
    tokio::join!(
        services.run(Api::<Service>::all(client.clone()), objects::service, |tables| &mut tables.services),
        slices.run(Api::<EndpointSlice>::all(client.clone()), objects::slice, |tables| &mut tables.slices),
        pods.run(Api::<Pod>::all(client.clone()), objects::pod, |tables| &mut tables.pods),
        nodes.run(Api::<Node>::all(client.clone()), objects::node, |tables| &mut tables.nodes),
        namespaces.run(Api::<Namespace>::all(client.clone()), objects::namespace, |tables| &mut tables.namespaces),
    );
}

/// Keeps the workload entries of a cluster other than the own one up to date for as long as the future is polled.
pub async fn run_workload_entries(store: Arc<Store>, cluster: String, client: Client) {
    // Certificates are the own cluster's.
    store.change(&cluster, |tables| tables.complete.insert(SECRET));
    let table = Table { store: &store, cluster: &cluster, kind: WORKLOAD_ENTRY };
    let changes = follow(dynamic(Kind::WorkloadEntry, client), watcher::Config::default(), objects::workload_entry);
    pin_mut!(changes);
    while let Some(change) = changes.next().await {
        let change = match change {
            // A cluster without the definition has none, and one that hides them is no worse off than before.
            Change::Failed(error) if is_status(&error, &[403, 404]) => Change::All(BTreeMap::new()),
            other => other,
        };
        store.change(&cluster, |tables| table.apply(tables, change, |tables| &mut tables.workload_entries));
    }
}

/// Keeps the certificates for the own cluster's gateways up to date for as long as the future is polled.
pub async fn run_credentials(store: Arc<Store>, client: Client) {
    let cluster = store.settings().cluster.clone();
    let table = Table { store: &store, cluster: &cluster, kind: SECRET };
    let api: Api<Secret> = Api::namespaced(client, &store.settings().root_namespace);
    let changes = follow(api, watcher::Config::default(), credentials::credential);
    pin_mut!(changes);
    while let Some(change) = changes.next().await {
        let change = match change {
            // A control plane that may not read them serves gateways without.
            Change::Failed(error) if is_status(&error, &[403]) => Change::All(BTreeMap::new()),
            other => other,
        };
        store.change(&cluster, |tables| table.apply(tables, change, |tables| &mut tables.credentials));
    }
}

/// Says of the own cluster that its workload entries are read as configuration.
pub fn workload_entries_are_configuration(store: &Store, cluster: &str) {
    store.change(cluster, |tables| tables.complete.insert(WORKLOAD_ENTRY));
}

struct Table<'a> {
    store: &'a Store,
    cluster: &'a str,
    kind: &'static str,
}

impl Table<'_> {
    async fn run<K, S>(&self, api: Api<K>, read: fn(K) -> Option<S>, table: fn(&mut Tables) -> &mut BTreeMap<Key, S>)
    where
        K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
        S: PartialEq + Send,
    {
        let changes = follow(api, watcher::Config::default(), read);
        pin_mut!(changes);
        while let Some(change) = changes.next().await {
            self.store.change(self.cluster, |tables| self.apply(tables, change, table));
        }
    }

    /// Applies a change; says whether the tables differ afterwards.
    fn apply<S: PartialEq>(
        &self,
        tables: &mut Tables,
        change: Change<S>,
        table: fn(&mut Tables) -> &mut BTreeMap<Key, S>,
    ) -> bool {
        if let Change::Failed(error) = change {
            let message = describe(&error);
            tracing::warn!(cluster = self.cluster, kind = self.kind, %message, "watch failed");
            // Once the table is complete a broken watch is repaired without a word, so it must not count for ever.
            return !tables.complete.contains(self.kind)
                && tables.errors.insert(self.kind, message.clone()).as_ref() != Some(&message);
        }
        let recovered = tables.errors.remove(self.kind).is_some();
        let rows = table(tables);
        let changed = match change {
            Change::All(listed) => {
                let changed = *rows != listed;
                *rows = listed;
                tables.complete.insert(self.kind) || changed
            }
            Change::Set(key, Some(row)) => {
                let changed = rows.get(&key) != Some(&row);
                rows.insert(key, row);
                changed
            }
            Change::Set(key, None) | Change::Gone(key) => rows.remove(&key).is_some(),
            Change::Failed(_) => false,
        };
        changed || recovered
    }
}

/// Keeps the configuration objects of a kind up to date for as long as the future is polled.
pub async fn run_config(store: Arc<Store>, kind: Kind, client: Client) {
    let changes = follow(dynamic(kind, client), watcher::Config::default(), config_value);
    pin_mut!(changes);
    while let Some(change) = changes.next().await {
        match change {
            Change::All(objects) => store.replace_configs(
                kind,
                objects.into_iter().map(|(key, value)| (key, config::read(kind, value))).collect(),
            ),
            Change::Set(key, object) => store.change_config(kind, key, object.map(|value| config::read(kind, value))),
            Change::Gone(key) => store.change_config(kind, key, None),
            // A cluster without the definition has no objects of it: that must not keep the proxies waiting.
            Change::Failed(error) if is_status(&error, &[404]) => store.replace_configs(kind, BTreeMap::new()),
            Change::Failed(error) => tracing::warn!(kind = kind.name(), error = %describe(&error), "watch failed"),
        }
    }
}

fn dynamic(kind: Kind, client: Client) -> Api<DynamicObject> {
    Api::all_with(client, &api_resource(kind))
}

/// Where the API server serves a kind.
pub(crate) fn api_resource(kind: Kind) -> ApiResource {
    let version = kind.versions().first().copied().unwrap_or("v1");
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(kind.group(), version, kind.name()), kind.plural())
}

fn config_value(object: DynamicObject) -> Option<Value> {
    serde_json::to_value(object).ok()
}
