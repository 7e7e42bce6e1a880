//! What the control plane knows: services, endpoints and configuration of all clusters, as one immutable snapshot.

pub mod assemble;
mod automatic;
pub mod cluster;
pub mod config;
pub mod credentials;
mod entries;
pub mod mesh_config;
pub mod objects;
pub mod remote;
pub mod store;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mesh_types::object::Resource;
use mesh_types::service_entry::Resolution;
use mesh_types::{
    AuthorizationPolicy, DestinationRule, Gateway, Object, PeerAuthentication, ServiceEntry, VirtualService,
    WorkloadEntry, WorkloadGroup,
};
use serde::Serialize;

use credentials::Credential;

/// Facts that hold for the life of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Id of the cluster that this process runs in.
    pub cluster: String,
    /// Namespace of the control plane, also the root namespace of configuration.
    pub root_namespace: String,
    /// DNS domain of Services.
    pub domain: String,
    /// Trust domain of workload identities.
    pub trust_domain: String,
    /// Other trust domains whose workloads count as those of the own one (Istio's `trustDomainAliases`).
    pub trust_domain_aliases: Vec<String>,
    /// Whether clients of any trust domain are taken, as long as the mesh's roots vouch for them.
    pub any_trust_domain: bool,
    /// Id of the mesh.
    pub mesh: String,
    /// How often proxies resolve names of endpoints, where the names' own time does not say.
    pub dns_refresh_rate: Duration,
    /// What is set for the whole mesh.
    pub mesh_config: mesh_config::MeshConfig,
}

impl Settings {
    /// The trust domains of the mesh: the own one, then the aliases.
    pub fn trust_domains(&self) -> Vec<String> {
        std::iter::once(&self.trust_domain).chain(&self.trust_domain_aliases).cloned().collect()
    }

    /// The trust domains whose clients are taken; none takes every identity of the mesh's roots.
    pub fn client_trust_domains(&self) -> Vec<String> {
        if self.any_trust_domain { Vec::new() } else { self.trust_domains() }
    }
}

/// An immutable snapshot. Parts that did not change are shared with the snapshot before it.
#[derive(Clone, Debug)]
pub struct Mesh {
    /// Number of the snapshot, greater than that of every earlier one of this process.
    pub number: u64,
    /// Facts that hold for the life of the process.
    pub settings: Arc<Settings>,
    /// Everything that was observed.
    pub state: Arc<State>,
    /// Number of the first snapshot that held each configuration object as it is now, by `Kind/namespace/name`.
    pub config_versions: Arc<BTreeMap<String, ConfigVersion>>,
}

/// When a configuration object became part of the snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigVersion {
    /// Kubernetes' resource version.
    pub resource_version: Option<String>,
    /// Number of the snapshot.
    pub snapshot: u64,
    /// When the snapshot was published.
    pub published: Timestamp,
}

/// Everything that was observed; equal states give equal proxies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Services by [`Service::key`]; those of one name in several clusters are one service.
    pub services: Arc<BTreeMap<String, Service>>,
    /// Endpoints by key and port of the service.
    pub endpoints: Arc<BTreeMap<String, BTreeMap<u16, Vec<Endpoint>>>>,
    /// Pods of all clusters, and the workloads that WorkloadEntries stand for.
    pub workloads: Arc<BTreeMap<WorkloadKey, Workload>>,
    /// Gateways through which a network is reached from others.
    pub gateways: Arc<Vec<NetworkGateway>>,
    /// Certificates for gateways by the name of their Secret, in the namespace of the control plane.
    pub credentials: Arc<BTreeMap<String, Credential>>,
    /// Configuration of the own cluster.
    pub configs: Arc<Configs>,
    /// Clusters and whether they were read completely.
    pub clusters: Arc<Vec<ClusterStatus>>,
}

/// A service as clients see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Fully qualified host.
    pub host: String,
    /// Name of the Service, or of the ServiceEntry.
    pub name: String,
    /// Namespace of the Service.
    pub namespace: String,
    /// Ports, TCP only.
    pub ports: Vec<ServicePort>,
    /// What differs between clusters, by cluster.
    pub clusters: BTreeMap<String, ClusterService>,
    /// Whether endpoints of other clusters stay invisible (`kubernetes.default`, `kube-system`).
    pub cluster_local: bool,
    /// What only a ServiceEntry says; nothing for a Service of Kubernetes.
    pub entry: Option<Entry>,
}

impl Service {
    /// What the service is known by: its host, and for a ServiceEntry `namespace/host`, since several namespaces may
    /// have entries for one host.
    pub fn key(&self) -> String {
        match self.entry {
            Some(_) => entry_key(&self.namespace, &self.host),
            None => self.host.clone(),
        }
    }

    /// Whether it lies outside the mesh.
    pub fn external(&self) -> bool {
        self.entry.as_ref().is_some_and(|entry| entry.external)
    }
}

pub(crate) fn entry_key(namespace: &str, host: &str) -> String {
    format!("{namespace}/{host}")
}

/// What only a ServiceEntry says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// When the object was created.
    pub created: Option<String>,
    /// Virtual addresses that it was given.
    pub addresses: Vec<String>,
    /// Virtual address that was found for it, for proxies beside which its name is resolved.
    pub automatic: Option<String>,
    /// How endpoints' addresses are found.
    pub resolution: Resolution,
    /// Whether the service lies outside the mesh.
    pub external: bool,
    /// Namespaces that see it; none means all.
    pub export_to: Vec<String>,
    /// Identities that its endpoints may have besides those of their service accounts.
    pub subject_alt_names: Vec<String>,
    /// Labels of the workloads behind it, where it chooses them.
    pub selector: Option<BTreeMap<String, String>>,
    /// Ports of endpoints by port of the service.
    pub targets: BTreeMap<u16, u16>,
}

impl Entry {
    /// The virtual addresses that hold for a proxy. An automatic one is only known where DNS is captured.
    pub fn addresses_for(&self, captures_dns: bool) -> Vec<String> {
        let automatic = self.automatic.iter().filter(|_| captures_dns);
        self.addresses.iter().chain(automatic).cloned().collect()
    }
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Number of the port.
    pub number: u16,
    /// Name; empty on a service with one unnamed port.
    pub name: String,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Whether it is TLS whose server name tells services apart that share an address.
    pub tls: bool,
}

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 or gRPC.
    Http2,
    /// Anything opaque, TLS included.
    Tcp,
    /// Not declared: found out per connection.
    Auto,
}

/// What differs between clusters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterService {
    /// Virtual addresses; none for headless services.
    pub addresses: Vec<String>,
    /// Whether names resolve to pods directly.
    pub headless: bool,
    /// Labels of the pods behind it; empty selects none.
    pub selector: BTreeMap<String, String>,
    /// Ports of pods by port of the service.
    pub targets: BTreeMap<u16, TargetPort>,
}

/// The port of a pod that a service's port leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// A number.
    Number(u16),
    /// Name of a container's port.
    Name(String),
}

/// A ready pod, or another workload, behind a service's port.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Address of the pod; a name where proxies resolve it.
    pub address: String,
    /// Port of the pod.
    pub port: u16,
    /// Cluster of the pod.
    pub cluster: String,
    /// The pod.
    pub workload: Arc<Workload>,
    /// Share relative to other endpoints.
    pub weight: u32,
}

/// Cluster, namespace and name of a pod.
pub type WorkloadKey = (String, String, String);

/// A pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workload {
    /// Name of the pod.
    pub name: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Cluster of the pod.
    pub cluster: String,
    /// Labels of the pod.
    pub labels: BTreeMap<String, String>,
    /// Service account of the pod.
    pub service_account: String,
    /// Network of the pod; empty where none is known.
    pub network: String,
    /// Where the pod runs.
    pub locality: Locality,
    /// Ports of its containers by name.
    pub ports: BTreeMap<String, u16>,
    /// Whether its proxy takes mutual TLS.
    pub mutual_tls: bool,
}

/// Region, zone and subzone; empty where unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Locality {
    /// Region.
    pub region: String,
    /// Zone of the region.
    pub zone: String,
    /// Part of the zone.
    pub subzone: String,
}

/// An address through which a network is reached from others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NetworkGateway {
    /// Network that is reached.
    pub network: String,
    /// Cluster of the gateway.
    pub cluster: String,
    /// Address of the gateway.
    pub address: String,
    /// Port for mutual TLS that is passed through.
    pub port: u16,
}

/// Configuration objects, each kind oldest first, then by namespace and name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configs {
    /// Gateways.
    pub gateways: Vec<Arc<Object<Gateway>>>,
    /// Virtual services.
    pub virtual_services: Vec<Arc<Object<VirtualService>>>,
    /// Destination rules.
    pub destination_rules: Vec<Arc<Object<DestinationRule>>>,
    /// Service entries.
    pub service_entries: Vec<Arc<Object<ServiceEntry>>>,
    /// Workload entries.
    pub workload_entries: Vec<Arc<Object<WorkloadEntry>>>,
    /// Workload groups.
    pub workload_groups: Vec<Arc<Object<WorkloadGroup>>>,
    /// Peer authentications.
    pub peer_authentications: Vec<Arc<Object<PeerAuthentication>>>,
    /// Authorization policies.
    pub authorization_policies: Vec<Arc<Object<AuthorizationPolicy>>>,
    /// Objects that cannot be used.
    pub problems: Vec<Problem>,
}

impl Configs {
    /// `Kind/namespace/name` and resource version of every object.
    pub fn versions(&self) -> BTreeMap<String, Option<String>> {
        fn pairs<S: Resource>(objects: &[Arc<Object<S>>]) -> impl Iterator<Item = (String, Option<String>)> {
            objects.iter().map(|object| (object.reference(), object.metadata.resource_version.clone()))
        }
        pairs(&self.gateways)
            .chain(pairs(&self.virtual_services))
            .chain(pairs(&self.destination_rules))
            .chain(pairs(&self.service_entries))
            .chain(pairs(&self.workload_entries))
            .chain(pairs(&self.workload_groups))
            .chain(pairs(&self.peer_authentications))
            .chain(pairs(&self.authorization_policies))
            .collect()
    }
}

/// Something in the input that has no effect, or not the effect that its author wants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// `Kind/namespace/name` of the object concerned.
    pub object: String,
    /// What is wrong.
    pub message: String,
}

impl Problem {
    /// A problem of an object.
    pub fn new(object: impl Into<String>, message: impl Into<String>) -> Self {
        Self { object: object.into(), message: message.into() }
    }
}

/// A cluster and whether it was read completely.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClusterStatus {
    /// Id of the cluster.
    pub id: String,
    /// Whether everything was read and the API server answers.
    pub synced: bool,
    /// Network of the cluster; empty where none is labelled.
    pub network: String,
    /// Why it is not synced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
