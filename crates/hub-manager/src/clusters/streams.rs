//! Everything that is watched in a registered cluster, as one stream.

use futures::StreamExt as _;
use futures::stream::{BoxStream, select_all};
use hub::output::OutputKind;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use kube_support::error::is_refused;
use kube_support::watch::{Change, follow};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::objects::{self, Row, Slot};
use crate::kinds::ResourceKind;

/// Something seen in a cluster.
#[derive(Debug)]
pub(super) enum Seen {
    /// Of a kind that discovery looks at.
    Object(Slot, Box<Change<Row>>),
    /// Of a kind that the hub writes.
    Output(OutputKind, Box<Change<Value>>),
}

impl Seen {
    /// Whether something may no longer be watched.
    pub(super) fn is_refused(&self) -> bool {
        match self {
            Self::Object(_, change) => matches!(&**change, Change::Failed(error) if is_refused(error)),
            Self::Output(_, change) => matches!(&**change, Change::Failed(error) if is_refused(error)),
        }
    }
}

/// Watches a cluster for ever.
pub(super) fn all(client: &Client) -> BoxStream<'static, Seen> {
    let config = watcher::Config::default;
    let mesh_configs = config().fields("metadata.name=istio");
    let mut streams = vec![
        slot(Slot::Namespace, Api::all(client.clone()), config(), objects::namespace),
        slot(Slot::Node, Api::all(client.clone()), config(), objects::node),
        slot(Slot::Service, Api::all(client.clone()), config(), objects::service),
        slot(Slot::Deployment, Api::all(client.clone()), config(), objects::deployment),
        slot(Slot::DaemonSet, Api::all(client.clone()), config(), objects::daemon_set),
        slot(Slot::StatefulSet, Api::all(client.clone()), config(), objects::stateful_set),
        slot(Slot::Pod, Api::all(client.clone()), config(), objects::pod),
        slot(Slot::EndpointSlice, Api::all(client.clone()), config(), objects::endpoint_slice),
        slot(Slot::MeshConfig, Api::all(client.clone()), mesh_configs, objects::mesh_config),
        dynamic(Slot::WorkloadEntry, client),
    ];
    streams.extend(OutputKind::ALL.into_iter().map(|kind| output(kind, client)));
    select_all(streams).boxed()
}

fn slot<K>(slot: Slot, api: Api<K>, config: watcher::Config, read: fn(K) -> Option<Row>) -> BoxStream<'static, Seen>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    follow(api, config, read).map(move |change| Seen::Object(slot, Box::new(change))).boxed()
}

fn dynamic(slot: Slot, client: &Client) -> BoxStream<'static, Seen> {
    let kind = mesh_types::Kind::WorkloadEntry;
    let version = kind.versions().first().copied().unwrap_or("v1");
    let kind_of = GroupVersionKind::gvk(kind.group(), version, kind.name());
    let resource = ApiResource::from_gvk_with_plural(&kind_of, kind.plural());
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    follow(api, watcher::Config::default(), objects::workload_entry)
        .map(move |change| Seen::Object(slot, Box::new(change)))
        .boxed()
}

fn output(kind: OutputKind, client: &Client) -> BoxStream<'static, Seen> {
    let api = ResourceKind::from(kind).everywhere(client.clone());
    follow(api, watcher::Config::default(), value).map(move |change| Seen::Output(kind, Box::new(change))).boxed()
}

fn value(object: DynamicObject) -> Option<Value> {
    serde_json::to_value(object).ok()
}
