//! Real kind configuration (`kind.x-k8s.io/v1alpha4`) for each cluster of a topology.

use std::fmt::Write as _;

use super::{Cluster, Provider, Topology};

/// The configuration of one cluster, for `kind create cluster --config`.
///
/// `origin` is the file of the topology, for the note at the top.
#[must_use]
pub fn config(topology: &Topology, cluster: &Cluster, origin: &str) -> String {
    let mut text = format!(
        "# Generated from {origin} by `meshproof generate`; do not edit.\n\
         kind: Cluster\n\
         apiVersion: kind.x-k8s.io/v1alpha4\n\
         name: {topology}-{cluster}\n\
         networking:\n  \
           ipFamily: ipv4\n  \
           podSubnet: {pods}\n  \
           serviceSubnet: {services}\n\
         nodes:\n",
        topology = topology.name,
        cluster = cluster.name,
        pods = cluster.pod_subnet,
        services = cluster.service_subnet,
    );
    for index in 0..cluster.nodes {
        let role = if index == 0 { "control-plane" } else { "worker" };
        let _infallible = write!(
            text,
            "- role: {role}\n  labels:\n    topology.kubernetes.io/region: {}\n    topology.kubernetes.io/zone: {}\n",
            cluster.region, cluster.zone
        );
    }
    text
}

/// Every file that is generated from a topology: path below `kind-configs/`, and content.
#[must_use]
pub fn files(topology: &Topology, origin: &str) -> Vec<(String, String)> {
    let topology = topology.clone().seen_by(Provider::Kind);
    let files = topology
        .clusters_of(Provider::Kind)
        .map(|cluster| (format!("{}/{}.yaml", topology.name, cluster.name), config(&topology, cluster, origin)));
    files.collect()
}
