//! What the hub knows and has worked out: the tables that translators read.
//!
//! [`Inputs`] are as the clusters and people say; the other tables follow from them, stage by stage, and are kept up to date
//! by [`crate::state`]. A translator is a function of these tables; it changes none.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use mesh_types::hub::status::AppliedPolicy;
use mesh_types::hub::{
    AccessPolicy, ClusterObjectRef, Destination, KubernetesCluster, Mesh, Object, ObjectRef, TrafficPolicy,
    VirtualDestination, VirtualMesh, Workload,
};

use crate::address::{Addresses, Pool};
use crate::output::{Clusters, ObjectKey, Renderer};

/// What holds for the hub as a whole.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespace of the hub.
    pub namespace: String,
    /// Identity of the plane, which marks what it wrote.
    pub owner: String,
    /// Addresses that stand for hosts of other clusters.
    pub pool: Pool,
}

impl Default for Settings {
    fn default() -> Self {
        let namespace = mesh_types::hub::names::NAMESPACE.to_owned();
        Self { owner: namespace.clone(), namespace, pool: Pool::default() }
    }
}

/// A resource that people write, and what is wrong with it as it stands alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked<R: mesh_types::hub::Resource> {
    /// The resource.
    pub object: Object<R>,
    /// Why it has no effect; empty where it may have one.
    pub errors: Vec<String>,
}

/// An object that somebody else wrote into a cluster, at a place or for a host that the hub might want.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Foreign {
    /// The cluster.
    pub cluster: String,
    /// The object.
    pub key: ObjectKey,
}

/// `VirtualService bookinfo/reviews in cluster1`.
impl fmt::Display for Foreign {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} in {}", self.key, self.cluster)
    }
}

/// As the clusters and people say.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Registered clusters, by name.
    pub clusters: BTreeMap<String, Object<KubernetesCluster>>,
    /// Meshes.
    pub meshes: BTreeMap<ObjectRef, Object<Mesh>>,
    /// Workloads.
    pub workloads: BTreeMap<ObjectRef, Object<Workload>>,
    /// Destinations, by their Service.
    pub destinations: BTreeMap<ClusterObjectRef, Object<Destination>>,
    /// Virtual meshes.
    pub virtual_meshes: BTreeMap<ObjectRef, Checked<VirtualMesh>>,
    /// Traffic policies.
    pub traffic_policies: BTreeMap<ObjectRef, Checked<TrafficPolicy>>,
    /// Virtual destinations.
    pub virtual_destinations: BTreeMap<ObjectRef, Checked<VirtualDestination>>,
    /// Access policies.
    pub access_policies: BTreeMap<ObjectRef, Checked<AccessPolicy>>,
    /// Clusters of foreign objects, by key, with the hosts that each is for, fully qualified.
    pub foreign: BTreeMap<ObjectKey, BTreeMap<String, Vec<String>>>,
    /// Foreign objects by host.
    pub foreign_hosts: BTreeMap<String, BTreeSet<Foreign>>,
}

/// Which virtual mesh a mesh is in, and who its members are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memberships {
    /// The virtual mesh of each mesh that is in one.
    pub of_mesh: BTreeMap<ObjectRef, ObjectRef>,
    /// The members of each virtual mesh that has some.
    pub members: BTreeMap<ObjectRef, Members>,
    /// The virtual meshes that name each mesh, in the order in which they came. Persisted in the mesh's status.
    pub claims: BTreeMap<ObjectRef, Vec<AppliedPolicy>>,
}

/// The members of a virtual mesh.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Members {
    /// Their names.
    pub meshes: BTreeSet<ObjectRef>,
    /// Their clusters.
    pub clusters: Arc<BTreeSet<String>>,
    /// Their clusters by root namespace.
    pub namespaces: BTreeMap<String, BTreeSet<String>>,
    /// The clusters that each selector of the federation exports to; one entry for all where it is permissive.
    pub exports: Vec<Arc<BTreeSet<String>>>,
}

/// How other meshes know a destination.
#[derive(Clone, Debug, PartialEq)]
pub struct Federated {
    /// Its host there.
    pub hostname: String,
    /// The virtual mesh.
    pub virtual_mesh: ObjectRef,
    /// Clusters of the meshes that know it, without its own.
    pub clients: Clusters,
    /// Whether these are all other members.
    pub to_all: bool,
}

/// Labels of a group of workloads.
pub type Subset = BTreeMap<String, String>;

/// What a traffic policy can refer to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A Service.
    Service(ClusterObjectRef),
    /// A virtual destination.
    Virtual(ObjectRef),
}

/// What became of the traffic policies of a destination.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Acceptance {
    /// Every policy that selects it, in the order in which they hold. Persisted in the destination's status.
    pub applied: Vec<AppliedPolicy>,
    /// Why a policy has no effect here.
    pub errors: BTreeMap<ObjectRef, Vec<String>>,
    /// What is worth a look.
    pub warnings: BTreeMap<ObjectRef, Vec<String>>,
    /// Everything that the policies refer to, whether it exists or not.
    pub refers_to: BTreeSet<Target>,
    /// Subsets that accepted policies need of it or of others.
    pub requires: BTreeMap<Target, BTreeSet<Subset>>,
}

/// What is settled about a virtual destination.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The clusters that know it.
    pub clients: Option<Clusters>,
    /// Its backends; those of a static one in their order.
    pub backends: Vec<ClusterObjectRef>,
    /// Virtual mesh that it is in.
    pub virtual_mesh: Option<ObjectRef>,
    /// Why it has no effect.
    pub errors: Vec<String>,
    /// What is worth a look.
    pub warnings: Vec<String>,
}

/// All tables.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// What holds for the hub as a whole.
    pub settings: Settings,
    /// As the clusters and people say.
    pub inputs: Inputs,
    /// Who is with whom.
    pub memberships: Memberships,
    /// How destinations are known elsewhere.
    pub federated: BTreeMap<ClusterObjectRef, Federated>,
    /// Whose host a federated host is.
    pub hosts: BTreeMap<String, ClusterObjectRef>,
    /// Addresses of federated hosts and virtual destinations.
    pub addresses: Addresses,
    /// Virtual destinations that are settled.
    pub plans: BTreeMap<ObjectRef, Plan>,
    /// Traffic policies that select each destination.
    pub traffic_on: BTreeMap<ClusterObjectRef, BTreeSet<ObjectRef>>,
    /// Access policies that select each destination.
    pub access_on: BTreeMap<ClusterObjectRef, BTreeSet<ObjectRef>>,
    /// What became of them.
    pub acceptances: BTreeMap<ClusterObjectRef, Acceptance>,
    /// Why access policies have no effect on a destination; an empty list where they have.
    pub access: BTreeMap<ClusterObjectRef, BTreeMap<ObjectRef, Vec<String>>>,
    /// Which destination's policies need which subsets of a target.
    pub required_of: BTreeMap<Target, BTreeMap<ClusterObjectRef, BTreeSet<Subset>>>,
}

impl World {
    /// Tables of a hub that knows nothing.
    pub fn new(settings: Settings) -> Self {
        Self { addresses: Addresses::new(settings.pool), settings, ..Self::default() }
    }

    /// Renders on behalf of this hub.
    pub fn renderer(&self) -> Renderer<'_> {
        Renderer { owner: &self.settings.owner }
    }

    /// DNS domain of a cluster's Services.
    pub fn domain(&self, cluster: &str) -> &str {
        self.inputs.clusters.get(cluster).map_or(KubernetesCluster::DEFAULT_DOMAIN, |cluster| cluster.spec.domain())
    }

    /// Host by which a Service's own cluster knows it.
    pub fn local_host(&self, service: &ClusterObjectRef) -> String {
        mesh_types::host::service_host(&service.name, &service.namespace, self.domain(&service.cluster_name))
    }

    /// Host by which a cluster knows a destination; `None` where it does not.
    pub fn host_in(&self, service: &ClusterObjectRef, cluster: &str) -> Option<String> {
        if service.cluster_name == cluster {
            return Some(self.local_host(service));
        }
        let federated = self.federated.get(service)?;
        federated.clients.contains(cluster).then(|| federated.hostname.clone())
    }

    /// The mesh of a destination.
    pub fn mesh_of(&self, destination: &Destination) -> Option<&Object<Mesh>> {
        self.inputs.meshes.get(&destination.mesh)
    }

    /// The virtual mesh of a mesh.
    pub fn virtual_mesh_of(&self, mesh: &ObjectRef) -> Option<&Object<VirtualMesh>> {
        let reference = self.memberships.of_mesh.get(mesh)?;
        self.inputs.virtual_meshes.get(reference).map(|checked| &checked.object)
    }

    /// Subsets that policies need of a target.
    pub fn subsets_of(&self, target: &Target) -> BTreeSet<&Subset> {
        self.required_of.get(target).into_iter().flat_map(|by| by.values().flatten()).collect()
    }

    /// The mesh in a cluster.
    pub fn mesh_in(&self, cluster: &str) -> Option<(&ObjectRef, &Object<Mesh>)> {
        self.inputs.meshes.iter().find(|(_, mesh)| mesh.spec.istio.installation.cluster == cluster)
    }

    /// Foreign objects that stand where the hub wants to write, or are of the same kind and for the same host.
    pub fn in_the_way(&self, key: &ObjectKey, host: &str, clusters: &Clusters) -> BTreeSet<Foreign> {
        let same_place = self.inputs.foreign.get(key).into_iter().flat_map(BTreeMap::keys);
        let same_place = same_place.map(|cluster| Foreign { cluster: cluster.clone(), key: key.clone() });
        let same_host = self.inputs.foreign_hosts.get(host).into_iter().flatten();
        let same_host = same_host.filter(|foreign| foreign.key.kind == key.kind).cloned();
        same_place.chain(same_host).filter(|foreign| clusters.contains(&foreign.cluster)).collect()
    }

    /// Clusters of members of a virtual mesh by the root namespace of their meshes, which is where objects for the whole
    /// mesh are written. It is the same one nearly always.
    pub fn by_root_namespace(&self, virtual_mesh: &ObjectRef, clusters: &Clusters) -> Vec<(String, Clusters)> {
        let Some(members) = self.memberships.members.get(virtual_mesh) else { return Vec::new() };
        if let [only] = members.namespaces.keys().collect::<Vec<_>>().as_slice() {
            return vec![((*only).clone(), clusters.clone())];
        }
        let own =
            |of: &BTreeSet<String>| of.iter().filter(|name| clusters.contains(name)).cloned().collect::<Clusters>();
        let parts = members.namespaces.iter().map(|(namespace, of)| (namespace.clone(), own(of)));
        parts.filter(|(_, clusters)| !clusters.is_empty()).collect()
    }
}
