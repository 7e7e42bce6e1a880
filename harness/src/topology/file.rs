//! The YAML form of a topology, as people write it. Field documentation here becomes the published schema.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::apps::AppName;
use super::vm::{ProgramCapability, UserDefinedNetwork, VmRuntime};
use super::{Discovery, Federation, GatewayKind, Intermediate, Provider, RootOfTrust, VirtualTrust};

/// The one version of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// First version; may still change.
    #[serde(rename = "meshproof.dev/v1alpha1")]
    V1Alpha1,
}

/// The kind of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TopologyKind {
    /// A topology.
    Topology,
}

/// Clusters, networks, trust, mesh and applications of an environment.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = "meshproof topology")]
pub struct TopologyFile {
    /// Version of the format.
    #[serde(rename = "apiVersion")]
    pub api_version: ApiVersion,
    /// Kind of the file.
    pub kind: TopologyKind,
    /// Name of the topology: lower-case letters, digits and `-`.
    pub name: String,
    /// What it is for, in a sentence.
    #[serde(default)]
    pub description: String,
    /// Where the clusters come from, unless the command line says otherwise.
    #[serde(default)]
    pub provider: Provider,
    /// Networks. Pods of different networks cannot reach each other but through gateways.
    pub networks: Vec<NetworkFile>,
    /// Kubernetes clusters.
    pub clusters: Vec<ClusterFile>,
    /// Certificates of workloads.
    #[serde(default)]
    pub trust: TrustFile,
    /// What is installed as the mesh.
    #[serde(default)]
    pub mesh: MeshFile,
    /// How clusters learn of each other's endpoints.
    #[serde(default)]
    pub discovery: Discovery,
    /// The management plane; needed by `discovery: hub`.
    #[serde(default)]
    pub management: Option<ManagementFile>,
    /// Applications and where they run.
    #[serde(default)]
    pub apps: Vec<AppFile>,
    /// Virtual machines: hosts outside every cluster that join the mesh.
    #[serde(default)]
    pub vms: Vec<VmFile>,
}

/// The management plane: one cluster runs it, and every cluster with a mesh is registered with it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManagementFile {
    /// Name of the cluster that it runs on: one of its own, without a mesh, or one of the meshes'.
    pub cluster: String,
    /// How the meshes are joined.
    #[serde(default)]
    pub virtual_mesh: VirtualMeshFile,
}

/// How meshes are joined to a virtual mesh.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct VirtualMeshFile {
    /// Whether they are; with `false` the clusters are registered and nothing more.
    pub create: bool,
    /// Which services they know of each other.
    pub federation: Federation,
    /// Where the trust in each other comes from.
    pub trust: VirtualTrust,
    /// Whether calls are denied that no AccessPolicy allows.
    pub default_deny: bool,
}

impl Default for VirtualMeshFile {
    fn default() -> Self {
        let (federation, trust) = (Federation::default(), VirtualTrust::default());
        Self { create: true, federation, trust, default_deny: false }
    }
}

/// A network.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkFile {
    /// Name: lower-case letters, digits and `-`.
    pub name: String,
}

/// A cluster.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterFile {
    /// Name, also its id in the mesh: lower-case letters, digits and `-`.
    pub name: String,
    /// Where it comes from, where that is not the topology's `provider`: `kind` clusters may be beside those that are there.
    #[serde(default)]
    pub provider: Option<Provider>,
    /// The network it is on.
    pub network: String,
    /// Addresses of pods, such as `10.244.0.0/16`. Clusters on different networks may use the same.
    #[serde(default = "default_pod_subnet")]
    pub pod_subnet: String,
    /// Addresses of Services, such as `10.96.0.0/16`.
    #[serde(default = "default_service_subnet")]
    pub service_subnet: String,
    /// Region, for locality; by default the name of the network.
    #[serde(default)]
    pub region: Option<String>,
    /// Zone, for locality; by default the name of the cluster.
    #[serde(default)]
    pub zone: Option<String>,
    /// Number of nodes.
    #[serde(default = "default_nodes")]
    #[schemars(range(min = 1, max = 9))]
    pub nodes: u8,
    /// Trust domain of the SPIFFE ids on this cluster. The control planes of the others know it as an alias of theirs.
    #[serde(default)]
    pub trust_domain: Option<String>,
    /// Another cluster, whose control plane serves this one: this one has none, and is the remote of a primary. By default its own.
    #[serde(default)]
    pub control_plane: Option<String>,
    /// Whether a mesh is installed on it; without one it may still be the management cluster.
    #[serde(default = "yes")]
    pub mesh: bool,
}

fn default_pod_subnet() -> String {
    "10.244.0.0/16".to_owned()
}

fn default_service_subnet() -> String {
    "10.96.0.0/16".to_owned()
}

fn default_nodes() -> u8 {
    1
}

/// Certificates of workloads.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TrustFile {
    /// Trust domain of the SPIFFE ids, on clusters without a `trustDomain` of their own.
    pub domain: String,
    /// The root of trust.
    pub root: RootOfTrust,
    /// Who signs below the root.
    pub intermediate: Intermediate,
}

impl Default for TrustFile {
    fn default() -> Self {
        Self { domain: "cluster.local".to_owned(), root: RootOfTrust::default(), intermediate: Intermediate::default() }
    }
}

/// What is installed as the mesh.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MeshFile {
    /// Mesh id.
    pub id: String,
    /// Gateways, on every cluster.
    pub gateways: Vec<GatewayKind>,
}

impl Default for MeshFile {
    fn default() -> Self {
        Self { id: "mesh1".to_owned(), gateways: vec![GatewayKind::Ingress, GatewayKind::Eastwest] }
    }
}

/// An application in one namespace.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppFile {
    /// Which application.
    pub app: AppName,
    /// Its namespace.
    pub namespace: String,
    /// Whether its pods get a sidecar.
    #[serde(default = "yes")]
    pub sidecar: bool,
    /// Where it runs.
    pub clusters: Vec<PlacementFile>,
}

fn yes() -> bool {
    true
}

/// An application on a cluster.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlacementFile {
    /// Name of the cluster.
    pub name: String,
    /// Versions by service, such as `reviews: [v1, v2]`. A service that is not named runs in all its versions; one with
    /// an empty list does not run here.
    #[serde(default)]
    pub versions: BTreeMap<String, Vec<String>>,
}

/// A virtual machine: a host outside every cluster that joins the mesh of one.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VmFile {
    /// Name, also its host name: lower-case letters, digits and `-`. No cluster has the same: answers of its programs say
    /// that they come from there.
    pub name: String,
    /// The network it is on. It reaches pods of other networks through their gateways only.
    pub network: String,
    /// The cluster whose control plane it joins, and where it is registered.
    pub cluster: String,
    /// Namespace of its WorkloadGroup.
    pub namespace: String,
    /// Its service account; it is made where no application brings it.
    #[serde(default = "default_account")]
    pub service_account: String,
    /// Its WorkloadGroup; by default one of its own name. Machines of one group have all in common but name and programs.
    #[serde(default)]
    pub workload_group: Option<String>,
    /// How many of its kind there are, in one WorkloadGroup: with `name: web` and two of them, `web-1` and `web-2` of the group
    /// `web`. Without it, there is the one with this name.
    #[serde(default)]
    #[schemars(range(min = 1, max = 200))]
    pub replicas: Option<u8>,
    /// Annotations of its WorkloadGroup, such as `proxy.istio.io/config`.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Whether its DNS queries are answered beside it. Without that, it knows the names of its file `hosts` only.
    #[serde(default = "yes")]
    pub capture_dns: bool,
    /// Services that its file `hosts` names, such as `echo.echo`, for a machine whose DNS queries are not captured.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Labels of its WorkloadEntry: those that a Service selects make it a part of the Service.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Ports that it serves, by name.
    #[serde(default)]
    pub ports: BTreeMap<String, u16>,
    /// How it is asked whether it is healthy; without it, it is as soon as it is connected.
    #[serde(default)]
    pub health: Option<HealthFile>,
    /// What runs on it beside the proxy, started in this order once the proxy is there.
    pub programs: Vec<ProgramFile>,
    /// What plays the machine. `--vm-runtime` on the command line is stronger.
    #[serde(default)]
    pub runtime: VmRuntime,
    /// Image of its container where the runtime is `docker`, with all its programs, Envoy, `pilot-agent`, `nft`, and
    /// `/usr/local/bin/meshproof-machine-init`; it is never pulled. By default one is built of our own programs.
    #[serde(default)]
    pub image: Option<String>,
    /// Puts its container on a network of Docker's, too, which is made for it as a user of Docker makes one: its `resolv.conf` is as
    /// Docker writes it, and names Docker's own resolver.
    #[serde(default)]
    pub user_defined_network: Option<UserDefinedNetwork>,
}

fn default_account() -> String {
    "default".to_owned()
}

/// A question over HTTP, once a second, whose answer says whether a machine is healthy.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthFile {
    /// The path, such as `/health`.
    pub path: String,
    /// The port.
    #[schemars(range(min = 1))]
    pub port: u16,
}

/// A program of a virtual machine.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProgramFile {
    /// Name, unique on the machine. `proxy` is that of the agent with its proxy.
    pub name: String,
    /// Image that it comes from, such as `meshproof/bookinfo-details:v1`.
    pub image: String,
    /// Program and arguments in place of what the image runs.
    #[serde(default)]
    pub command: Vec<String>,
    /// What it may do besides what every program may.
    #[serde(default)]
    pub capabilities: Vec<ProgramCapability>,
}
