//! What the fabric is made from: networks, and the clusters on them. Validation is complete before anything is made.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::Cidr;

/// All networks and clusters of one world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FabricConfig {
    /// Layer-3 networks, each with one router; all are joined by one backbone.
    pub networks: Vec<NetworkConfig>,
    /// Clusters, one node each.
    pub clusters: Vec<ClusterNetworkConfig>,
    /// Hosts outside every cluster.
    #[serde(default)]
    pub machines: Vec<MachineNetworkConfig>,
}

/// The address of a host outside every cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MachineNetworkConfig {
    /// Unique name.
    pub name: String,
    /// Name of its network.
    pub network: String,
    /// Reachable from every network, hence unique.
    pub address: Ipv4Addr,
}

/// A network: its clusters route each other's pods; other networks reach only node and LoadBalancer addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkConfig {
    /// Unique name.
    pub name: String,
}

/// The addresses of one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterNetworkConfig {
    /// Unique name.
    pub name: String,
    /// Name of its network.
    pub network: String,
    /// Pod addresses. May equal that of a cluster on another network.
    pub pod_subnet: Cidr,
    /// ClusterIPs. Known to this cluster only, so that it may equal any other cluster's.
    pub service_subnet: Cidr,
    /// Node address (the first one) and LoadBalancer addresses. Reachable from every network, hence unique.
    pub node_subnet: Cidr,
}

impl FabricConfig {
    /// Every reason why this configuration cannot work; empty if it can.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut names = BTreeSet::new();
        for network in &self.networks {
            if !names.insert(&network.name) {
                problems.push(format!("network {:?} is defined twice", network.name));
            }
        }
        let mut clusters = BTreeSet::new();
        for cluster in &self.clusters {
            if !clusters.insert(&cluster.name) {
                problems.push(format!("cluster {:?} is defined twice", cluster.name));
            }
            if !names.contains(&cluster.network) {
                problems.push(format!("cluster {:?} is on unknown network {:?}", cluster.name, cluster.network));
            }
            problems.extend(cluster.problems());
        }
        problems.extend(self.problems_of_machines(&names));
        for (index, one) in self.clusters.iter().enumerate() {
            problems.extend(self.clusters[index + 1..].iter().flat_map(|other| one.conflicts_with(other)));
        }
        problems
    }

    fn problems_of_machines(&self, networks: &BTreeSet<&String>) -> Vec<String> {
        let mut problems = Vec::new();
        let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
        for machine in &self.machines {
            let MachineNetworkConfig { name, network, address } = machine;
            if !names.insert(name) {
                problems.push(format!("machine {name:?} is defined twice"));
            }
            if !networks.contains(network) {
                problems.push(format!("machine {name:?} is on unknown network {network:?}"));
            }
            if !addresses.insert(address) {
                problems.push(format!("machine {name:?}: another machine has the address {address}"));
            }
            for cluster in &self.clusters {
                let taken = cluster.ranges().into_iter().find(|(_, range)| range.contains(*address));
                problems.extend(taken.map(|(range, _)| {
                    format!("machine {name:?}: its address {address} is in the {range} of cluster {:?}", cluster.name)
                }));
            }
        }
        problems
    }
}

impl ClusterNetworkConfig {
    fn ranges(&self) -> [(&'static str, Cidr); 3] {
        [("podSubnet", self.pod_subnet), ("serviceSubnet", self.service_subnet), ("nodeSubnet", self.node_subnet)]
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let ranges = self.ranges();
        for (index, (name, range)) in ranges.iter().enumerate() {
            if range.prefix() > 24 || range.prefix() < 8 {
                problems.push(format!("cluster {:?}: {name} {range} is not between /8 and /24", self.name));
            }
            for (other_name, other) in &ranges[index + 1..] {
                if range.overlaps(other) {
                    problems.push(format!("cluster {:?}: {name} {range} overlaps {other_name} {other}", self.name));
                }
            }
        }
        problems
    }

    fn conflicts_with(&self, other: &Self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |one: (&str, Cidr), two: (&str, Cidr)| {
            if one.1.overlaps(&two.1) {
                problems.push(format!(
                    "{} {} of cluster {:?} overlaps {} {} of cluster {:?}",
                    one.0, one.1, self.name, two.0, two.1, other.name
                ));
            }
        };
        check(("nodeSubnet", self.node_subnet), ("nodeSubnet", other.node_subnet));
        check(("nodeSubnet", self.node_subnet), ("podSubnet", other.pod_subnet));
        check(("podSubnet", self.pod_subnet), ("nodeSubnet", other.node_subnet));
        if self.network == other.network {
            check(("podSubnet", self.pod_subnet), ("podSubnet", other.pod_subnet));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(name: &str, network: &str, pods: &str, nodes: &str) -> ClusterNetworkConfig {
        ClusterNetworkConfig {
            name: name.to_owned(),
            network: network.to_owned(),
            pod_subnet: pods.parse().unwrap(),
            service_subnet: "10.96.0.0/16".parse().unwrap(),
            node_subnet: nodes.parse().unwrap(),
        }
    }

    fn config(clusters: Vec<ClusterNetworkConfig>) -> FabricConfig {
        let networks = ["network1", "network2"].map(|name| NetworkConfig { name: name.to_owned() }).to_vec();
        FabricConfig { networks, clusters, machines: Vec::new() }
    }

    #[test]
    fn equal_pod_subnets_are_fine_on_different_networks() {
        let clusters = vec![
            cluster("one", "network1", "10.244.0.0/16", "172.30.1.0/24"),
            cluster("two", "network2", "10.244.0.0/16", "172.30.2.0/24"),
        ];
        assert_eq!(config(clusters).problems(), Vec::<String>::new());
    }

    #[test]
    fn a_machine_is_on_a_network_and_has_an_address_of_its_own() {
        let mut config = config(vec![cluster("one", "network1", "10.244.0.0/16", "172.30.1.0/24")]);
        let machine = |name: &str, network: &str, address: &str| MachineNetworkConfig {
            name: name.to_owned(),
            network: network.to_owned(),
            address: address.parse().unwrap(),
        };
        config.machines = vec![machine("a", "network2", "192.168.9.1")];
        assert_eq!(config.problems(), Vec::<String>::new());
        config.machines.push(machine("a", "elsewhere", "192.168.9.1"));
        config.machines.push(machine("b", "network1", "172.30.1.7"));
        assert_eq!(
            config.problems(),
            [
                "machine \"a\" is defined twice",
                "machine \"a\" is on unknown network \"elsewhere\"",
                "machine \"a\": another machine has the address 192.168.9.1",
                "machine \"b\": its address 172.30.1.7 is in the nodeSubnet of cluster \"one\"",
            ]
        );
    }

    #[test]
    fn every_conflict_is_named() {
        let clusters = vec![
            cluster("one", "network1", "10.244.0.0/16", "172.30.1.0/24"),
            cluster("one", "network1", "10.244.0.0/16", "172.30.1.0/24"),
            cluster("three", "elsewhere", "10.96.0.0/12", "172.30.3.0/28"),
        ];
        insta::assert_snapshot!(config(clusters).problems().join("\n"));
    }
}
