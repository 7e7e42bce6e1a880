//! What `meshproof-substrate run` is told and what it tells back: plain data, JSON on the wire.
//!
//! Addresses are IPv4. Nothing here knows of meshes: networks are layer-3 segments, images are names of local programs.

pub mod control;
pub mod machine;

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use machine::{MachineConfig, MachineRuntime};

/// One embedded world: its networks, its clusters and the programs that stand for images.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorldConfig {
    /// Name of the environment, a DNS label.
    pub name: String,
    /// Identifies the run; carried by everything that is created.
    pub run_id: String,
    /// Absolute folder that holds all that the world writes: kubeconfigs, logs, `world.json`.
    pub state_directory: Utf8PathBuf,
    /// Layer-3 segments. Clusters of one network reach each other's pods, clusters of different networks do not.
    pub networks: Vec<NetworkConfig>,
    /// The clusters, each on one of the networks.
    pub clusters: Vec<ClusterConfig>,
    /// Hosts outside every cluster. They are there from the beginning, and run once they are started.
    #[serde(default)]
    pub machines: Vec<MachineConfig>,
    /// Socket of the Docker engine, where a host is one of its containers.
    #[serde(default)]
    pub docker_socket: Option<Utf8PathBuf>,
    /// Ordered rules that map image names to local programs; the first that matches wins.
    pub images: Vec<ImageRule>,
    /// Whether the world ends when its standard input reaches end-of-file (the lease of a runner).
    #[serde(default)]
    pub exit_on_stdin_eof: bool,
}

/// A layer-3 segment.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkConfig {
    /// Unique name.
    pub name: String,
}

/// One cluster with a single node.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterConfig {
    /// Unique name, a DNS label.
    pub name: String,
    /// The network that its node is plugged into.
    pub network: String,
    /// Addresses of pods, in CIDR notation. May equal another cluster's where the networks differ.
    pub pod_subnet: String,
    /// Addresses of Services, in CIDR notation.
    pub service_subnet: String,
    /// Addresses of the node (`.1`) and of LoadBalancer Services (`.100` to `.199`), a /24, unique in the world.
    pub node_subnet: String,
    /// Label `topology.kubernetes.io/region` of the node.
    #[serde(default)]
    pub region: Option<String>,
    /// Label `topology.kubernetes.io/zone` of the node.
    #[serde(default)]
    pub zone: Option<String>,
}

/// Maps image names to a local program.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageRule {
    /// Image reference; a trailing `*` matches any rest.
    pub image: String,
    /// Path inside the container (below `/usr/local/bin`) to path on the host.
    pub files: BTreeMap<Utf8PathBuf, Utf8PathBuf>,
    /// What runs when the container gives no `command`.
    pub entrypoint: Vec<String>,
    /// Environment that the image brings along.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

/// A running world, as written to `world.json` (mode 0600) and announced on standard output.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorldState {
    /// Name of the environment.
    pub name: String,
    /// The run that brought it up.
    pub run_id: String,
    /// Process id of the supervisor as the host sees it; its death ends the world.
    pub process_id: u32,
    /// Start time of that process in clock ticks since boot (`/proc/<pid>/stat`, field 22), so that a reused id is told apart.
    pub process_start: u64,
    /// The clusters, in the order of the configuration.
    pub clusters: Vec<ClusterState>,
    /// Where faults and taps are asked for, see [`control`]; absent in the state of a world that had none.
    #[serde(default)]
    pub control_socket: Option<Utf8PathBuf>,
    /// Hosts outside every cluster.
    #[serde(default)]
    pub machines: Vec<MachineState>,
    /// Socket of the Docker engine that some of them are containers of.
    #[serde(default)]
    pub docker_socket: Option<Utf8PathBuf>,
}

/// A host outside every cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MachineState {
    /// Its name.
    pub name: String,
    /// What plays it.
    pub runtime: MachineRuntime,
}

/// How to reach one cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterState {
    /// Its name.
    pub name: String,
    /// Its network.
    pub network: String,
    /// Administrator's kubeconfig, valid on this host (mode 0600).
    pub kubeconfig: Utf8PathBuf,
    /// URL of the API server for other clusters; a partition of the networks cuts it.
    pub server_for_other_clusters: String,
    /// Address of the node.
    pub node_address: String,
}

/// One line of standard output.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "event")]
pub enum WorldEvent {
    /// A cluster's API server answers and its node is ready.
    ClusterReady {
        /// Which.
        cluster: String,
        /// Since the supervisor started.
        milliseconds: u64,
    },
    /// Every cluster is ready.
    Ready {
        /// The world.
        state: WorldState,
    },
    /// The world could not be brought up; the supervisor exits.
    Failed {
        /// What went wrong.
        message: String,
        /// What to do about it.
        cure: String,
    },
}
