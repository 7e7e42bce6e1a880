//! A topology as reports draw it: where what runs. No configuration, no addresses.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::topology::Topology;
use crate::topology::vm::VmRuntime;

/// Clusters and what runs on them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopologyFacts {
    /// Name of the topology.
    pub name: String,
    /// One sentence for people.
    pub description: String,
    /// Trust domain of every identity; where clusters have their own, all of them, divided by commas.
    pub trust_domain: String,
    /// The clusters.
    pub clusters: Vec<ClusterFacts>,
    /// Gateways that every cluster has, by the names of their Deployments.
    pub gateways: Vec<String>,
    /// Applications.
    pub workloads: Vec<WorkloadFacts>,
    /// Virtual machines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vms: Vec<VmFacts>,
}

/// A virtual machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VmFacts {
    /// Its name.
    pub name: String,
    /// The network it is on.
    pub network: String,
    /// The cluster whose mesh it has joined.
    pub cluster: String,
    /// Who it is.
    pub identity: String,
    /// What plays it.
    pub runtime: VmRuntime,
}

/// A cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterFacts {
    /// Its name.
    pub name: String,
    /// The network it is on; different networks reach each other through gateways only.
    pub network: String,
    /// Where it is: region and zone.
    pub locality: String,
}

/// A workload on a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadFacts {
    /// The cluster.
    pub cluster: String,
    /// Its namespace.
    pub namespace: String,
    /// Name of the Deployment.
    pub name: String,
    /// Whether its pods have a proxy.
    pub sidecar: bool,
}

impl From<&Topology> for TopologyFacts {
    fn from(topology: &Topology) -> Self {
        let clusters = topology.clusters.iter().map(|cluster| ClusterFacts {
            name: cluster.name.clone(),
            network: cluster.network.clone(),
            locality: format!("{}/{}", cluster.region, cluster.zone),
        });
        let workloads = topology.workloads().into_iter().map(|workload| WorkloadFacts {
            cluster: workload.cluster,
            namespace: workload.namespace,
            name: workload.name,
            sidecar: workload.sidecar,
        });
        let vms = topology.vms.iter().map(|vm| VmFacts {
            name: vm.name.clone(),
            network: vm.network.clone(),
            cluster: vm.cluster.clone(),
            identity: vm.identity.clone(),
            runtime: vm.runtime,
        });
        Self {
            name: topology.name.clone(),
            description: topology.description.clone(),
            trust_domain: topology.trust_domains().into_iter().collect::<Vec<_>>().join(", "),
            clusters: clusters.collect(),
            gateways: topology.mesh.gateways.iter().map(|gateway| gateway.deployment().to_owned()).collect(),
            workloads: workloads.collect(),
            vms: vms.collect(),
        }
    }
}
