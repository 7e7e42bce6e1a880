//! Virtual machines of a topology: who they are, what runs on them, and how the mesh knows them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Workload;

/// Name of the agent with its proxy among the programs of a machine.
pub const PROXY: &str = "proxy";
/// How many machines one environment may have: their addresses are numbered in one byte.
pub const MOST_VMS: usize = 200;

/// What plays a machine.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum VmRuntime {
    /// `docker` where a Docker engine answers whose containers can be plugged in, `netns` otherwise
    #[default]
    Auto,
    /// A host of its own on the embedded networks: namespaces of the kernel, no Docker
    Netns,
    /// A container of Docker, on the embedded networks all the same
    Docker,
}

impl VmRuntime {
    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Netns => "netns",
            Self::Docker => "docker",
        }
    }
}

/// A virtual machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Vm {
    /// Name, a DNS label; no cluster has the same.
    pub name: String,
    /// The network it is on.
    pub network: String,
    /// Its address there.
    pub address: Ipv4Addr,
    /// The cluster whose control plane it joins.
    pub cluster: String,
    /// Namespace of its WorkloadGroup.
    pub namespace: String,
    /// Its service account.
    pub service_account: String,
    /// Its SPIFFE id.
    pub identity: String,
    /// Its WorkloadGroup.
    pub workload_group: String,
    /// Annotations of its WorkloadGroup.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Whether its DNS queries are answered beside it.
    #[serde(skip_serializing_if = "is_true")]
    pub capture_dns: bool,
    /// Services that its file `hosts` names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Labels of its WorkloadEntry.
    pub labels: BTreeMap<String, String>,
    /// Ports that it serves, by name.
    pub ports: BTreeMap<String, u16>,
    /// How it is asked whether it is healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// What runs on it beside the proxy.
    pub programs: Vec<Program>,
    /// What plays it. Settled before it is brought up.
    pub runtime: VmRuntime,
    /// Image of its container, in place of one of our own programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The network of Docker's that its container is on, besides its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_defined_network: Option<UserDefinedNetwork>,
}

/// A network of Docker's as its users make them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserDefinedNetwork {
    /// Address of whom Docker's resolver asks what it does not know itself, as seen from the machine. A machine that is no
    /// container asks there itself.
    pub resolver: Ipv4Addr,
}

/// What a program of a machine may do besides what every program may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ProgramCapability {
    /// Listen on ports below 1024
    NetBindService,
}

impl std::fmt::Display for ProgramCapability {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NetBindService => formatter.write_str("NET_BIND_SERVICE"),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_true(value: &bool) -> bool {
    *value
}

/// A question over HTTP whose answer says whether a machine is healthy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// The path.
    pub path: String,
    /// The port.
    pub port: u16,
}

/// A program of a machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Program {
    /// Name, unique on the machine.
    pub name: String,
    /// Image that it comes from.
    pub image: String,
    /// What runs in place of the image's entry point.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// What it may do besides what every program may.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<ProgramCapability>,
}

impl Vm {
    /// The address of the machine at a position of the list. They exist inside the embedded world only, beside those of nodes.
    #[must_use]
    pub fn address_at(position: usize) -> Ipv4Addr {
        Ipv4Addr::new(172, 30, 200, u8::try_from(position + 1).unwrap_or(u8::MAX))
    }

    /// The name of its WorkloadEntry, as control planes make it.
    #[must_use]
    pub fn entry(&self) -> String {
        format!("{}-{}-{}", self.workload_group, self.address, self.network)
    }

    /// As a workload: one that has no pods, and is on no cluster but the mesh of one.
    #[must_use]
    pub fn workload(&self) -> Workload {
        Workload {
            name: self.name.clone(),
            cluster: self.cluster.clone(),
            namespace: self.namespace.clone(),
            app: self.labels.get("app").unwrap_or(&self.workload_group).clone(),
            version: self.labels.get("version").cloned(),
            container: self.programs.first().map_or(PROXY, |program| program.name.as_str()).to_owned(),
            port: self.ports.values().next().copied(),
            service_account: self.service_account.clone(),
            identity: self.identity.clone(),
            sidecar: true,
            vm: Some(Box::new(self.clone())),
        }
    }
}
