//! Topologies: clusters, networks, trust, mesh and applications of an environment, checked as a whole.
//!
//! [`mod@file`] is the YAML form, [`validate`] turns it into [`Topology`] and reports every problem at once, [`draw`] shows
//! it as text, [`kind`] and [`apps`] derive what other parts need from it. No input or output here: callers read files.

pub mod apps;
pub mod cidr;
pub mod draw;
pub mod file;
pub mod kind;
pub mod support;
pub mod validate;
pub mod vm;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use apps::Workload;
pub use cidr::Ipv4Cidr;
pub use vm::Vm;

/// Where the clusters come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// In-process Kubernetes: seconds, no Docker.
    #[default]
    Embedded,
    /// Real kind clusters on Docker.
    Kind,
    /// Contexts of the user's kubeconfig.
    Existing,
}

/// How the clusters of a mesh learn of each other's endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Discovery {
    /// Each control plane reads the other clusters through remote secrets.
    #[default]
    RemoteSecrets,
    /// The management plane federates services.
    Hub,
    /// Not at all.
    None,
}

/// Which services the members of a virtual mesh know of each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Federation {
    /// All of them, as `SERVICE.NAMESPACE.svc.CLUSTER.global`.
    #[default]
    Permissive,
    /// None; scenarios say which.
    None,
}

/// Where the trust of the members of a virtual mesh in each other comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VirtualTrust {
    /// From the topology's `trust`: the management plane leaves certificates alone.
    #[default]
    Topology,
    /// From the management plane: each control plane begins with a root of its own, and gets an intermediate of one that the
    /// management plane makes.
    Shared,
}

/// Where the root of trust comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RootOfTrust {
    /// One root for all clusters, so that their workloads trust each other.
    #[default]
    Shared,
    /// A root for each cluster: their workloads do not trust each other.
    PerCluster,
}

/// Who signs the certificates of workloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Intermediate {
    /// An intermediate for each cluster, so that a certificate tells its cluster.
    #[default]
    PerCluster,
    /// The root itself.
    None,
}

/// A gateway of the mesh that is installed on a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GatewayKind {
    /// `istio-ingressgateway`: for clients outside the mesh.
    Ingress,
    /// `istio-eastwestgateway`: for the other networks of the mesh.
    Eastwest,
}

impl GatewayKind {
    /// The Deployment and Service of the gateway, in namespace `istio-system`.
    #[must_use]
    pub fn deployment(self) -> &'static str {
        match self {
            Self::Ingress => "istio-ingressgateway",
            Self::Eastwest => "istio-eastwestgateway",
        }
    }

    /// The SPIFFE id that the gateway presents; its ServiceAccount is named like it.
    #[must_use]
    pub fn identity(self, trust_domain: &str) -> String {
        format!("spiffe://{trust_domain}/ns/istio-system/sa/{}", self.deployment())
    }
}

/// A checked topology.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Topology {
    /// Name, a DNS label.
    pub name: String,
    /// One sentence for people.
    pub description: String,
    /// Where the clusters come from.
    pub provider: Provider,
    /// Names of the networks.
    pub networks: Vec<String>,
    /// The clusters.
    pub clusters: Vec<Cluster>,
    /// Certificates.
    pub trust: Trust,
    /// The mesh.
    pub mesh: Mesh,
    /// How clusters learn of each other.
    pub discovery: Discovery,
    /// The management plane, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub management: Option<Management>,
    /// Applications, each on one or more clusters.
    pub apps: Vec<App>,
    /// Virtual machines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vms: Vec<Vm>,
}

/// The management plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Management {
    /// The cluster that it runs on.
    pub cluster: String,
    /// How the meshes are joined, if they are.
    pub virtual_mesh: Option<VirtualMesh>,
}

/// How the meshes of a topology are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualMesh {
    /// Which services they know of each other.
    pub federation: Federation,
    /// Where the trust in each other comes from.
    pub trust: VirtualTrust,
    /// Whether calls are denied that no AccessPolicy allows.
    pub default_deny: bool,
}

/// One Kubernetes cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// Name, a DNS label; also the mesh's cluster id.
    pub name: String,
    /// Where it comes from, where that is not the topology's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// The network it is on.
    pub network: String,
    /// Addresses of pods.
    pub pod_subnet: Ipv4Cidr,
    /// Addresses of Services.
    pub service_subnet: Ipv4Cidr,
    /// Region, for locality.
    pub region: String,
    /// Zone, for locality.
    pub zone: String,
    /// Number of nodes.
    pub nodes: u8,
    /// Trust domain of the SPIFFE ids on it.
    pub trust_domain: String,
    /// The other cluster whose control plane serves this one, where this has none of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_plane: Option<String>,
    /// Whether a mesh is installed on it.
    #[serde(skip_serializing_if = "is_true")]
    pub mesh: bool,
}

fn is_true(value: &bool) -> bool {
    *value
}

/// How certificates are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trust {
    /// Trust domain of the SPIFFE ids of clusters that have none of their own, such as `cluster.local`.
    pub domain: String,
    /// The root of trust.
    pub root: RootOfTrust,
    /// Intermediates below it.
    pub intermediate: Intermediate,
}

/// What is installed as the mesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mesh {
    /// Mesh id.
    pub id: String,
    /// Gateways on every cluster.
    pub gateways: Vec<GatewayKind>,
}

/// An application in one namespace on one cluster or more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct App {
    /// Which application.
    pub app: apps::AppName,
    /// Its namespace, the same on every cluster.
    pub namespace: String,
    /// Whether the namespace asks for sidecars.
    pub sidecar: bool,
    /// Where it runs.
    pub placements: Vec<Placement>,
}

/// Which parts of an application run on a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// The cluster.
    pub cluster: String,
    /// Names of the Deployments, such as `reviews-v3`.
    pub workloads: Vec<String>,
}

impl Topology {
    /// The cluster of that name.
    #[must_use]
    pub fn cluster(&self, name: &str) -> Option<&Cluster> {
        self.clusters.iter().find(|cluster| cluster.name == name)
    }

    /// The clusters that come from there.
    pub fn clusters_of(&self, provider: Provider) -> impl Iterator<Item = &Cluster> + Clone {
        self.clusters.iter().filter(move |cluster| cluster.provider.unwrap_or(self.provider) == provider)
    }

    /// The networks that clusters from there are on, in the order of the file.
    pub fn networks_of(&self, provider: Provider) -> impl Iterator<Item = &str> {
        let names = self.networks.iter().map(String::as_str);
        names.filter(move |name| self.clusters_of(provider).any(|cluster| cluster.network == *name))
    }

    /// Whether any cluster comes from there.
    #[must_use]
    pub fn has_clusters_of(&self, provider: Provider) -> bool {
        self.clusters_of(provider).next().is_some()
    }

    /// Lets all clusters come from one place, whatever the file says of them.
    pub fn let_all_come_from(&mut self, provider: Provider) {
        self.provider = provider;
        self.clusters.iter_mut().for_each(|cluster| cluster.provider = None);
    }

    /// The same, to look at what a provider would do: where no cluster comes from there, all do.
    #[must_use]
    pub fn seen_by(mut self, provider: Provider) -> Self {
        if !self.has_clusters_of(provider) {
            self.let_all_come_from(provider);
        }
        self
    }

    /// The virtual machine of that name.
    #[must_use]
    pub fn vm(&self, name: &str) -> Option<&Vm> {
        self.vms.iter().find(|vm| vm.name == name)
    }

    /// The clusters that have a mesh.
    pub fn meshed(&self) -> impl Iterator<Item = &Cluster> {
        self.clusters.iter().filter(|cluster| cluster.mesh)
    }

    /// Whether clusters with a mesh are on different networks, so that calls between them pass gateways.
    #[must_use]
    pub fn is_crossed(&self) -> bool {
        let networks: BTreeSet<&str> = self.meshed().map(|cluster| cluster.network.as_str()).collect();
        networks.len() > 1
    }

    /// The clusters with a control plane of their own.
    pub fn primaries(&self) -> impl Iterator<Item = &Cluster> {
        self.meshed().filter(|cluster| cluster.control_plane.is_none())
    }

    /// The clusters that the control plane of another one serves.
    pub fn remotes<'topology>(&'topology self, primary: &str) -> impl Iterator<Item = &'topology Cluster> {
        self.meshed().filter(move |cluster| cluster.control_plane.as_deref() == Some(primary))
    }

    /// How the management plane joins the meshes, if it does.
    #[must_use]
    pub fn virtual_mesh(&self) -> Option<VirtualMesh> {
        self.management.as_ref().and_then(|management| management.virtual_mesh)
    }

    /// Whether the management plane gives the control planes their authority, so that nobody else does.
    #[must_use]
    pub fn trust_is_managed(&self) -> bool {
        self.virtual_mesh().is_some_and(|joined| joined.trust == VirtualTrust::Shared)
    }

    /// Whether services are known to other clusters by a host of their own, `SERVICE.NAMESPACE.svc.CLUSTER.global`.
    #[must_use]
    pub fn is_federated(&self) -> bool {
        self.discovery == Discovery::Hub
            && self.virtual_mesh().is_some_and(|joined| joined.federation == Federation::Permissive)
    }

    /// Every workload on every cluster, in the order of the file.
    #[must_use]
    pub fn workloads(&self) -> Vec<Workload> {
        self.apps.iter().flat_map(|app| app.workloads(|cluster| self.trust_domain(cluster))).collect()
    }

    /// Trust domain of the identities on a cluster.
    #[must_use]
    pub fn trust_domain(&self, cluster: &str) -> &str {
        self.cluster(cluster).map_or(&self.trust.domain, |cluster| &cluster.trust_domain)
    }

    /// The trust domains of all clusters, each once.
    #[must_use]
    pub fn trust_domains(&self) -> BTreeSet<&str> {
        self.meshed().map(|cluster| cluster.trust_domain.as_str()).collect()
    }
}
