//! What was seen of a machine, and what a topology needs of one. Plain data.

use std::collections::{BTreeMap, BTreeSet};

use crate::provider::kind::istio::Installer;
use crate::provider::kind::load_balancers::LoadBalancers;
use crate::provider::kind::lock::{Minor, Release};
use crate::topology::{Ipv4Cidr, Provider, Topology};

/// A Docker engine cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// Why.
    pub why: String,
    /// What to do about it.
    pub cure: String,
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The Docker engine, or why it cannot be used.
    pub docker: Result<Docker, Unusable>,
    /// Programs by name: their version, or why it is not known.
    pub tools: BTreeMap<String, Result<Minor, String>>,
    /// Limits of the kernel by the name of their sysctl; those that could not be read are absent.
    pub limits: BTreeMap<String, u64>,
    /// Memory that could be had now, in bytes.
    pub memory: u64,
    /// Processors.
    pub cpus: u64,
    /// Variables of proxies that this process would pass on, such as `HTTPS_PROXY`; names in capitals.
    pub proxies: BTreeMap<String, String>,
    /// Whether the program `cloud-provider-kind` runs.
    pub cloud_provider_kind: bool,
    /// Whether the registry of the node image answers, or why not.
    pub registry: Result<(), String>,
}

impl Machine {
    /// What would install Istio here.
    #[must_use]
    pub fn installer(&self, release: Option<&Release>) -> Installer {
        let tool = |name| self.tools.get(name).and_then(|version| version.as_ref().ok()).copied();
        let version = release.map(|release| release.version.as_str()).unwrap_or_default();
        Installer::found(tool("helm").is_some(), tool("istioctl"), version)
    }
}

/// What was seen of a Docker engine.
#[derive(Clone, Debug, Default)]
pub struct Docker {
    /// The newest version of its API.
    pub api: String,
    /// Version of control groups: 1 or 2.
    pub cgroup: u8,
    /// Its storage driver, such as `overlay2`.
    pub storage: String,
    /// Whether its images are in containerd's store.
    pub containerd_store: bool,
    /// Free room where it keeps everything, in bytes; `None` where that is on another machine.
    pub free: Option<u64>,
    /// How many bytes a second could be written there, to the disk itself.
    pub throughput: Option<u64>,
    /// Subnets of all its networks.
    pub subnets: Vec<Ipv4Cidr>,
    /// Names and digests of images that are there.
    pub images: BTreeSet<String>,
    /// Its proxies, which pulls go through.
    pub proxies: BTreeMap<String, String>,
}

/// What a topology needs.
#[derive(Clone, Debug)]
pub struct Needs {
    /// Nodes of all clusters.
    pub nodes: u64,
    /// Clusters.
    pub clusters: u64,
    /// Networks.
    pub networks: usize,
    /// Addresses of pods and Services, which no network of the host may have.
    pub inside: Vec<(String, Ipv4Cidr)>,
    /// The node image.
    pub node_image: String,
    /// Whether Istio is installed, and which release.
    pub istio: Option<Release>,
    /// What is to install it, where the user says so.
    pub installer: Option<Installer>,
    /// Who is to give LoadBalancers their addresses.
    pub load_balancers: LoadBalancers,
}

impl Needs {
    /// Of a topology, a node image, and Istio's release where Istio is wanted, whatever installs it.
    #[must_use]
    pub fn of(topology: &Topology, node_image: &str, istio: Option<Release>) -> Self {
        let inside = topology.clusters_of(Provider::Kind).flat_map(|cluster| {
            let named = |what: &str| format!("{what} of {}", cluster.name);
            [(named("pods"), cluster.pod_subnet), (named("Services"), cluster.service_subnet)]
        });
        Self {
            nodes: topology.clusters_of(Provider::Kind).map(|cluster| u64::from(cluster.nodes)).sum(),
            clusters: topology.clusters_of(Provider::Kind).count() as u64,
            networks: topology.networks_of(Provider::Kind).count(),
            inside: inside.collect(),
            node_image: node_image.to_owned(),
            istio,
            installer: None,
            load_balancers: LoadBalancers::BuiltIn,
        }
    }
}
