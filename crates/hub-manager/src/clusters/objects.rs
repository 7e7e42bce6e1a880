//! The objects of a registered cluster that discovery looks at, with only what it looks at, so that a heartbeat of a node is no
//! change. Pure.

use std::collections::{BTreeMap, BTreeSet};

use hub::discovery::ClusterObjects;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, NodeStatus, Pod, PodSpec, PodStatus, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;
use kube_support::watch::Key;
use mesh_types::WorkloadEntry;

/// A kind of object that discovery looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are those of the kinds")]
pub enum Slot {
    Namespace,
    Node,
    Service,
    Deployment,
    DaemonSet,
    StatefulSet,
    Pod,
    EndpointSlice,
    WorkloadEntry,
    MeshConfig,
}

impl Slot {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Namespace,
        Self::Node,
        Self::Service,
        Self::Deployment,
        Self::DaemonSet,
        Self::StatefulSet,
        Self::Pod,
        Self::EndpointSlice,
        Self::WorkloadEntry,
        Self::MeshConfig,
    ];
}

/// An object.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the kinds")]
pub enum Row {
    Namespace(Box<Namespace>),
    Node(Box<Node>),
    Service(Box<Service>),
    Deployment(Box<Deployment>),
    DaemonSet(Box<DaemonSet>),
    StatefulSet(Box<StatefulSet>),
    Pod(Box<Pod>),
    EndpointSlice(Box<EndpointSlice>),
    WorkloadEntry(Box<mesh_types::Object<WorkloadEntry>>),
    MeshConfig(Box<ConfigMap>),
}

fn meta(from: ObjectMeta) -> ObjectMeta {
    let ObjectMeta { name, namespace, labels, annotations, .. } = from;
    ObjectMeta { name, namespace, labels, annotations, ..ObjectMeta::default() }
}

/// Without annotations, which machinery writes often.
fn short_meta(from: ObjectMeta) -> ObjectMeta {
    ObjectMeta { annotations: None, ..meta(from) }
}

/// Reads a Namespace.
pub fn namespace(object: Namespace) -> Option<Row> {
    Some(Row::Namespace(Box::new(Namespace { metadata: short_meta(object.metadata), ..Namespace::default() })))
}

/// Reads a Node.
pub fn node(object: Node) -> Option<Row> {
    let addresses = object.status.and_then(|status| status.addresses);
    let status = Some(NodeStatus { addresses, ..NodeStatus::default() });
    Some(Row::Node(Box::new(Node { metadata: short_meta(object.metadata), status, ..Node::default() })))
}

/// Reads a Service.
pub fn service(object: Service) -> Option<Row> {
    Some(Row::Service(Box::new(Service { metadata: meta(object.metadata), ..object })))
}

/// Reads a Deployment.
pub fn deployment(object: Deployment) -> Option<Row> {
    let Deployment { metadata, mut spec, .. } = object;
    spec.replicas = None;
    Some(Row::Deployment(Box::new(Deployment { metadata: short_meta(metadata), spec, ..Deployment::default() })))
}

/// Reads a DaemonSet.
pub fn daemon_set(object: DaemonSet) -> Option<Row> {
    let DaemonSet { metadata, spec, .. } = object;
    Some(Row::DaemonSet(Box::new(DaemonSet { metadata: short_meta(metadata), spec, ..DaemonSet::default() })))
}

/// Reads a StatefulSet.
pub fn stateful_set(object: StatefulSet) -> Option<Row> {
    let StatefulSet { metadata, mut spec, .. } = object;
    spec.replicas = None;
    Some(Row::StatefulSet(Box::new(StatefulSet { metadata: short_meta(metadata), spec, ..StatefulSet::default() })))
}

/// Reads a Pod: where it is, and whether it answers.
pub fn pod(object: Pod) -> Option<Row> {
    let going = object.metadata.deletion_timestamp.is_some();
    let conditions = object.status.and_then(|status| status.conditions).into_iter().flatten();
    let ready = conditions.filter(|one| one.type_ == "Ready" && one.status == "True" && !going).map(|one| {
        k8s_openapi::api::core::v1::PodCondition { type_: one.type_, status: one.status, ..Default::default() }
    });
    let status = Some(PodStatus { conditions: Some(ready.collect()), ..PodStatus::default() });
    let node_name = object.spec.and_then(|spec| spec.node_name);
    let spec = Some(PodSpec { node_name, ..PodSpec::default() });
    Some(Row::Pod(Box::new(Pod { metadata: short_meta(object.metadata), spec, status })))
}

/// Reads an EndpointSlice.
pub fn endpoint_slice(object: EndpointSlice) -> Option<Row> {
    Some(Row::EndpointSlice(Box::new(EndpointSlice { metadata: short_meta(object.metadata), ..object })))
}

/// Reads a WorkloadEntry; one that cannot be read is nothing.
pub fn workload_entry(object: DynamicObject) -> Option<Row> {
    let mut object: mesh_types::Object<WorkloadEntry> =
        serde_json::from_value(serde_json::to_value(object).ok()?).ok()?;
    object.metadata.resource_version = None;
    Some(Row::WorkloadEntry(Box::new(object)))
}

/// Reads the configuration of a mesh.
pub fn mesh_config(object: ConfigMap) -> Option<Row> {
    let ConfigMap { metadata, data, .. } = object;
    Some(Row::MeshConfig(Box::new(ConfigMap { metadata: short_meta(metadata), data, ..ConfigMap::default() })))
}

/// Everything of a cluster that discovery looks at.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    rows: BTreeMap<Slot, BTreeMap<Key, Row>>,
    listed: BTreeSet<Slot>,
}

impl Tables {
    /// Takes a whole list over; says whether anything is another than before.
    pub fn all(&mut self, slot: Slot, listed: BTreeMap<Key, Row>) -> bool {
        let first = self.listed.insert(slot);
        let before = self.rows.insert(slot, listed);
        first || before.as_ref() != self.rows.get(&slot)
    }

    /// Takes an object over, or that it is gone; says whether anything is another than before.
    pub fn set(&mut self, slot: Slot, key: Key, row: Option<Row>) -> bool {
        let rows = self.rows.entry(slot).or_default();
        match row {
            Some(row) => rows.insert(key.clone(), row.clone()).as_ref() != Some(&row),
            None => rows.remove(&key).is_some(),
        }
    }

    /// Whether everything was listed once.
    pub fn is_complete(&self) -> bool {
        Slot::ALL.iter().all(|slot| self.listed.contains(slot))
    }

    /// What was not listed yet.
    pub fn missing(&self) -> impl Iterator<Item = Slot> {
        Slot::ALL.into_iter().filter(|slot| !self.listed.contains(slot))
    }

    /// A pod of a namespace with a label that answers.
    pub fn ready_pod(&self, namespace: &str, (label, value): (&str, &str)) -> Option<String> {
        let pods = self.rows.get(&Slot::Pod)?.iter();
        let here = pods.filter(|((own, _), _)| own == namespace);
        here.filter_map(|((_, name), row)| match row {
            Row::Pod(pod) => Some((name, pod)),
            _ => None,
        })
        .find(|(_, pod)| {
            let labels = pod.metadata.labels.as_ref();
            let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
            labels.and_then(|labels| labels.get(label)).is_some_and(|own| own == value)
                && conditions.is_some_and(|conditions| !conditions.is_empty())
        })
        .map(|(name, _)| name.clone())
    }

    /// As discovery takes them.
    pub fn objects(&self) -> ClusterObjects {
        let mut objects = ClusterObjects::default();
        for row in self.rows.values().flat_map(BTreeMap::values) {
            match row {
                Row::Namespace(one) => objects.namespaces.push((**one).clone()),
                Row::Node(one) => objects.nodes.push((**one).clone()),
                Row::Service(one) => objects.services.push((**one).clone()),
                Row::Deployment(one) => objects.deployments.push((**one).clone()),
                Row::DaemonSet(one) => objects.daemon_sets.push((**one).clone()),
                Row::StatefulSet(one) => objects.stateful_sets.push((**one).clone()),
                Row::Pod(one) => objects.pods.push((**one).clone()),
                Row::EndpointSlice(one) => objects.endpoint_slices.push((**one).clone()),
                Row::WorkloadEntry(one) => objects.workload_entries.push((**one).clone()),
                Row::MeshConfig(one) => objects.mesh_configs.push((**one).clone()),
            }
        }
        objects
    }
}
