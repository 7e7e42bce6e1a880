//! From the objects of one cluster to its mesh, workloads and destinations. Pure, one cluster at a time: the runtime keeps the
//! objects by watches, and gives them all again when one of them changes.
//!
//! What is found stays while its controller or Service does: labels, accounts and ports are those of templates, so nothing
//! disappears at zero replicas. Only endpoints come and go.

mod destination;
mod mesh;
mod workload;

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use mesh_types::WorkloadEntry;
use mesh_types::hub::{self, Destination, Mesh, Workload};

/// The objects of a cluster that discovery looks at.
#[derive(Clone, Debug, Default)]
pub struct ClusterObjects {
    /// All namespaces.
    pub namespaces: Vec<Namespace>,
    /// All nodes.
    pub nodes: Vec<Node>,
    /// All Services.
    pub services: Vec<Service>,
    /// All Deployments.
    pub deployments: Vec<Deployment>,
    /// All DaemonSets.
    pub daemon_sets: Vec<DaemonSet>,
    /// All StatefulSets.
    pub stateful_sets: Vec<StatefulSet>,
    /// All pods.
    pub pods: Vec<Pod>,
    /// All EndpointSlices.
    pub endpoint_slices: Vec<EndpointSlice>,
    /// All WorkloadEntries.
    pub workload_entries: Vec<mesh_types::Object<WorkloadEntry>>,
    /// ConfigMaps called `istio`, which have a mesh's configuration.
    pub mesh_configs: Vec<ConfigMap>,
}

/// What was found in a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Discovered {
    /// Its control plane; a cluster has one at most.
    pub mesh: Option<hub::Object<Mesh>>,
    /// What runs behind proxies.
    pub workloads: Vec<hub::Object<Workload>>,
    /// Services of the mesh.
    pub destinations: Vec<hub::Object<Destination>>,
}

/// Looks at the objects of a cluster; what is found is for the namespace of the hub, and marked as that of the plane `owner`.
/// Without a control plane nothing is found.
pub fn discover(cluster: &str, hub_namespace: &str, owner: &str, objects: &ClusterObjects) -> Discovered {
    let templates = workload::templates(objects);
    let place = Place { cluster, hub_namespace, owner, mesh: hub::ObjectRef::default() };
    let Some(mesh) = mesh::of(&place, objects, &templates) else { return Discovered::default() };
    let behind_proxies: Vec<_> = templates.iter().filter(|one| one.has_proxy && !one.is_gateway).collect();
    let place = Place { mesh: mesh.reference(), ..place };
    Discovered {
        workloads: workload::all(&place, &behind_proxies),
        destinations: destination::all(&place, objects, &behind_proxies, &templates),
        mesh: Some(mesh),
    }
}

/// Where discovery takes place.
struct Place<'a> {
    cluster: &'a str,
    hub_namespace: &'a str,
    owner: &'a str,
    mesh: hub::ObjectRef,
}

impl Place<'_> {
    /// A resource for something of this cluster.
    fn object<R: hub::Resource>(&self, parts: &[&str], spec: R) -> hub::Object<R> {
        let mut object = hub::Object::new(&hub::names::join(parts), self.hub_namespace, spec);
        object.metadata.labels.insert(hub::names::LABEL_OWNER.to_owned(), self.owner.to_owned());
        object.metadata.labels.insert(hub::names::LABEL_CLUSTER.to_owned(), self.cluster.to_owned());
        object
    }
}

type Labels = BTreeMap<String, String>;

/// Labels that differ from pod to pod, or are of the machinery; no subset is made by them.
fn is_noise(label: &str) -> bool {
    const NOISE: [&str; 7] = [
        "pod-template-hash",
        "controller-revision-hash",
        "pod-template-generation",
        "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index",
        "service.istio.io/canonical-name",
        "service.istio.io/canonical-revision",
    ];
    NOISE.contains(&label)
        || ["security.istio.io/", "sidecar.istio.io/", "istio.io/"].iter().any(|start| label.starts_with(start))
}

fn meaningful(labels: &Labels) -> Labels {
    labels.iter().filter(|(key, _)| !is_noise(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn is_selected(selector: &Labels, labels: &Labels) -> bool {
    !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}
