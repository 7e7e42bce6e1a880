//! Mesh: a control plane that was found in a cluster. Only Istio's kind is known; another would stand beside it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::object::Resource;
use super::reference::ObjectRef;
use super::status::State;

/// Specification of a Mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Mesh {
    /// An Istio, or what behaves like one.
    pub istio: Istio,
    /// The agent that keeps keys in the cluster; none where no agent runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_info: Option<AgentInfo>,
}

/// An Istio.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Istio {
    /// Where it is installed.
    pub installation: Installation,
    /// Root of the identities it issues.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub trust_domain: String,
    /// Other trust domains that it takes for its own (`trustDomainAliases`): policies do not tell these from each other.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trust_domain_aliases: Vec<String>,
    /// Service account of the control plane.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub istiod_service_account: String,
    /// Gateways for traffic from other meshes, by Service; every Service with a port for mutual TLS that is passed through.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ingress_gateways: Vec<IngressGateway>,
    /// Whether sidecars answer DNS for the hosts of ServiceEntries.
    pub smart_dns_proxying_enabled: bool,
}

/// Where a control plane is installed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Installation {
    /// Namespace, which is the root namespace of its configuration, too.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// Labels of its pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_labels: BTreeMap<String, String>,
    /// Version, from the image.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Region of the cluster's nodes, where they have one in common.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub region: String,
}

/// A gateway for traffic from other meshes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressGateway {
    /// Name of its Service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Namespace of its Service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Labels of its Service.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Labels of its pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub workload_labels: BTreeMap<String, String>,
    /// Addresses, or one DNS name, at which other networks reach it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub external_addresses: Vec<String>,
    /// Ports of its Service that take mutual TLS.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tls_ports: Vec<GatewayPort>,
}

/// A port of a gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayPort {
    /// Name in the Service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Port of the Service.
    pub number: u16,
    /// Port at the external addresses: that of the Service, or a node's port.
    pub external_number: u16,
}

/// The agent that keeps keys in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentInfo {
    /// Its namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub agent_namespace: String,
}

/// Status of a Mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshStatus {
    /// Generation that this is about.
    pub observed_generation: i64,
    /// Whether all that follows for the mesh holds.
    pub state: State,
    /// What does not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// The VirtualMesh that it is a member of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_mesh: Option<ObjectRef>,
    /// VirtualMeshes that name it, in the order in which they came. The first holds it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub applied_virtual_meshes: Vec<super::status::AppliedPolicy>,
    /// Gateways that other meshes reach it by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub east_west_gateways: Vec<ObjectRef>,
}

impl Resource for Mesh {
    const KIND: Kind = Kind::Mesh;
    type Status = MeshStatus;
}
