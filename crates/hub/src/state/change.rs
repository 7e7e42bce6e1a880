//! What goes into a [`super::State`] and what comes out of it.

use std::sync::Arc;

use mesh_types::hub::virtual_mesh::TrustStatus;
use mesh_types::hub::{
    AccessPolicy, ClusterObjectRef, Destination, KubernetesCluster, Mesh, Object, ObjectRef, TrafficPolicy,
    VirtualDestination, VirtualMesh, Workload,
};

use crate::output::{Clusters, Desired, ObjectKey};
use crate::progress::Report;
use crate::world::Foreign;

/// A change of an input.
#[derive(Clone, Debug)]
pub enum Change {
    /// Something is there, or is another than before.
    Put(Box<Input>),
    /// Something is no longer there.
    Remove(InputKey),
    /// A write was tried; what came of it.
    Written(Outcome),
    /// Objects of a unit got further in a cluster, or are held up there.
    Progress(Report),
    /// The shared trust of a virtual mesh got further, or is held up.
    Trust(ObjectRef, Box<TrustStatus>),
}

impl Change {
    /// Something is there, or is another than before.
    pub fn put(input: Input) -> Self {
        Self::Put(Box::new(input))
    }
}

/// An input.
///
/// Statuses of resources are read only when the state sees the resource for the first time: they hold the orders of acceptance
/// and the addresses that were given before. From then on the state knows better.
#[derive(Clone, Debug)]
pub enum Input {
    /// A registered cluster.
    Cluster(Object<KubernetesCluster>),
    /// A mesh that was discovered.
    Mesh(Object<Mesh>),
    /// A workload that was discovered.
    Workload(Object<Workload>),
    /// A destination that was discovered.
    Destination(Object<Destination>),
    /// A virtual mesh.
    VirtualMesh(Object<VirtualMesh>),
    /// A traffic policy.
    TrafficPolicy(Object<TrafficPolicy>),
    /// A virtual destination.
    VirtualDestination(Object<VirtualDestination>),
    /// An access policy.
    AccessPolicy(Object<AccessPolicy>),
    /// An object of a kind that the hub writes, without the hub's label, and its hosts, fully qualified.
    Foreign(Foreign, Vec<String>),
}

/// Name of an input.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InputKey {
    /// A registered cluster, by name.
    Cluster(String),
    /// A mesh.
    Mesh(ObjectRef),
    /// A workload.
    Workload(ObjectRef),
    /// A destination, by its Service.
    Destination(ClusterObjectRef),
    /// A virtual mesh.
    VirtualMesh(ObjectRef),
    /// A traffic policy.
    TrafficPolicy(ObjectRef),
    /// A virtual destination.
    VirtualDestination(ObjectRef),
    /// An access policy.
    AccessPolicy(ObjectRef),
    /// A foreign object.
    Foreign(Foreign),
}

impl Input {
    /// Its name.
    pub fn key(&self) -> InputKey {
        match self {
            Self::Cluster(object) => InputKey::Cluster(object.metadata.name.clone()),
            Self::Mesh(object) => InputKey::Mesh(object.reference()),
            Self::Workload(object) => InputKey::Workload(object.reference()),
            Self::Destination(object) => InputKey::Destination(object.spec.kube_service.reference.clone()),
            Self::VirtualMesh(object) => InputKey::VirtualMesh(object.reference()),
            Self::TrafficPolicy(object) => InputKey::TrafficPolicy(object.reference()),
            Self::VirtualDestination(object) => InputKey::VirtualDestination(object.reference()),
            Self::AccessPolicy(object) => InputKey::AccessPolicy(object.reference()),
            Self::Foreign(foreign, _) => InputKey::Foreign(foreign.clone()),
        }
    }
}

/// What came of a write.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Whose object it is.
    pub unit: Unit,
    /// Where it was written.
    pub cluster: String,
    /// The object.
    pub key: ObjectKey,
    /// Why it could not be written; `None` where it was.
    pub error: Option<String>,
}

/// What objects follow from: everything that is translated, and written, together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// A destination.
    Destination(ClusterObjectRef),
    /// A mesh.
    Mesh(ObjectRef),
    /// A virtual destination.
    VirtualDestination(ObjectRef),
}

/// What has to be done in clusters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Whose object it is.
    pub unit: Unit,
    /// Where.
    pub clusters: Clusters,
    /// What.
    pub action: Action,
}

/// What has to be done with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It has to be as this says.
    Apply(Arc<Desired>),
    /// It has to go away.
    Delete(ObjectKey),
}

/// A resource whose status may be another than before; see [`super::State::status`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A mesh.
    Mesh(ObjectRef),
    /// A destination.
    Destination(ClusterObjectRef),
    /// A virtual mesh.
    VirtualMesh(ObjectRef),
    /// A traffic policy.
    TrafficPolicy(ObjectRef),
    /// A virtual destination.
    VirtualDestination(ObjectRef),
    /// An access policy.
    AccessPolicy(ObjectRef),
}

/// What follows from changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects {
    /// Counts the calls. Reports of progress name the last one whose writes they know of.
    pub revision: u64,
    /// What has to be done, in this order where it is the same object in the same cluster.
    pub writes: Vec<Write>,
    /// Whose status may be another.
    pub statuses: Vec<Subject>,
}
