//! Destination: a Service of a mesh, with what stands behind it. It stays while the Service does, also without endpoints.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::object::Resource;
use super::reference::{ClusterObjectRef, ObjectRef};
use super::status::AppliedPolicy;

/// Specification of a Destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Destination {
    /// The Service.
    pub kube_service: KubeService,
    /// The mesh that its workloads belong to.
    pub mesh: ObjectRef,
}

/// A Service and what stands behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeService {
    /// The Service.
    #[serde(rename = "ref")]
    pub reference: ClusterObjectRef,
    /// Labels that it selects its workloads by.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub workload_selector_labels: BTreeMap<String, String>,
    /// Labels of the Service.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ServicePort>,
    /// Labels of its workloads, with all values that they have; by these subsets are made.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub subsets: BTreeMap<String, BTreeSet<String>>,
    /// Service accounts of its workloads.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub service_accounts: BTreeSet<String>,
    /// What answers at present.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
    /// Whether no proxy stands before what answers, so that nobody there takes mutual TLS.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub without_proxies: bool,
}

/// A port of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// Number.
    pub port: u16,
    /// Name; may be empty where there is only one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `TCP` or `UDP`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// Protocol of the application, where the Service says it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub app_protocol: String,
    /// Port of the workloads, where it is a number or the same number in all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_port: Option<u16>,
}

/// A pod or a virtual machine that answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    /// Address in the network of its cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ip_address: String,
    /// Labels, without those that differ from pod to pod.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Ports by the number of the Service's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, u16>,
    /// `region/zone/subzone`, as far as they are known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub locality: String,
}

/// Status of a Destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DestinationStatus {
    /// Generation that this is about.
    pub observed_generation: i64,
    /// Host by which its own cluster knows it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub local_fqdn: String,
    /// TrafficPolicies, in the order in which they hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub applied_traffic_policies: Vec<AppliedPolicy>,
    /// AccessPolicies, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub applied_access_policies: Vec<ObjectRef>,
    /// How other meshes know it; none where they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub federation: Option<Federation>,
    /// What keeps something that follows from it from being written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// How other meshes know a Destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Federation {
    /// The VirtualMesh by which they know it.
    pub virtual_mesh: ObjectRef,
    /// Its host there.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// Its address there, which stands for the host and is nobody's. Kept once given.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// Whether its endpoints are called without a gateway between.
    pub flat_network: bool,
    /// Whether every other mesh of the VirtualMesh knows it.
    pub to_all_meshes: bool,
    /// Which ones do, where not all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to_meshes: Vec<ObjectRef>,
}

impl KubeService {
    /// Whether some workload may have all these labels.
    pub fn has_subset(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.iter().all(|(key, value)| self.subsets.get(key).is_some_and(|values| values.contains(value)))
    }

    /// The port with a number.
    pub fn port(&self, number: u16) -> Option<&ServicePort> {
        self.ports.iter().find(|port| port.port == number)
    }

    /// Ports that carry streams; the mesh carries no datagrams.
    pub fn tcp_ports(&self) -> impl Iterator<Item = &ServicePort> {
        self.ports.iter().filter(|port| port.protocol.is_empty() || port.protocol == "TCP")
    }
}

impl Resource for Destination {
    const KIND: Kind = Kind::Destination;
    type Status = DestinationStatus;
}
