//! Addresses of Docker networks: a subnet for each mesh network that nobody else uses, and what is where in it. Pure.

use std::net::Ipv4Addr;

use super::engine::Network;
use crate::topology::{Ipv4Cidr, Provider, Topology};

/// Subnets are taken from here, `/24` by `/24`: outside the pools that Docker takes addresses from by itself.
const POOL: [u8; 2] = [172, 29];
/// Addresses of a subnet: Docker's own gateway.
const GATEWAY: u8 = 1;
/// Addresses of a subnet: the first that LoadBalancers get. Docker gives nodes addresses from the lower half.
pub const FIRST_LOAD_BALANCER: u8 = 200;
/// Addresses of a subnet: the last that LoadBalancers get.
pub const LAST_LOAD_BALANCER: u8 = 250;
/// Addresses of a subnet: the router to the other networks.
const ROUTER: u8 = 254;

/// A mesh network on Docker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshNetwork {
    /// Its name in the topology.
    pub name: String,
    /// Docker's network.
    pub docker: Network,
}

impl MeshNetwork {
    /// The router's address on it.
    #[must_use]
    pub fn router(&self) -> Ipv4Addr {
        address(self.docker.subnet, ROUTER)
    }

    /// The addresses that LoadBalancers on it get, in that order.
    pub fn load_balancers(&self) -> impl Iterator<Item = Ipv4Addr> {
        (FIRST_LOAD_BALANCER..=LAST_LOAD_BALANCER).map(|last| address(self.docker.subnet, last))
    }
}

fn address(subnet: Ipv4Cidr, last: u8) -> Ipv4Addr {
    let [a, b, c, _] = subnet.network().octets();
    Ipv4Addr::new(a, b, c, last)
}

/// All subnets of the pool are in use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{needed} networks are needed, and of 172.29.0.0/16 only {free} subnets /24 are free")]
pub struct Exhausted {
    /// So many are needed.
    pub needed: usize,
    /// So many are free.
    pub free: usize,
}

/// The subnets of the pool that overlap none of these.
#[must_use]
pub fn free(used: &[Ipv4Cidr]) -> Vec<Ipv4Cidr> {
    let all = (0..=u8::MAX).filter_map(|third| subnet([POOL[0], POOL[1], third, 0], 24));
    all.filter(|one| !used.iter().any(|other| other.overlaps(*one))).collect()
}

/// A Docker network for each network of a topology that kind clusters are on, none of which overlaps `used` or what the topology uses inside its clusters.
///
/// # Errors
/// [`Exhausted`].
pub fn networks(topology: &Topology, environment: &str, used: &[Ipv4Cidr]) -> Result<Vec<MeshNetwork>, Exhausted> {
    let inside = topology.clusters_of(Provider::Kind).flat_map(|cluster| [cluster.pod_subnet, cluster.service_subnet]);
    let free = free(&used.iter().copied().chain(inside).collect::<Vec<_>>());
    let needed = topology.networks_of(Provider::Kind).count();
    if free.len() < needed {
        return Err(Exhausted { needed, free: free.len() });
    }
    Ok(topology
        .networks_of(Provider::Kind)
        .zip(free)
        .map(|(name, subnet)| mesh_network(environment, name, subnet))
        .collect())
}

/// The Docker network for a network of a topology, with this subnet.
#[must_use]
pub fn mesh_network(environment: &str, name: &str, subnet: Ipv4Cidr) -> MeshNetwork {
    let [a, b, c, _] = subnet.network().octets();
    let docker = Network {
        name: format!("meshproof-{environment}-{name}"),
        subnet,
        gateway: address(subnet, GATEWAY),
        dynamic: self::subnet([a, b, c, 0], 25).unwrap_or(subnet),
    };
    MeshNetwork { name: name.to_owned(), docker }
}

fn subnet(octets: [u8; 4], prefix: u8) -> Option<Ipv4Cidr> {
    format!("{}/{prefix}", Ipv4Addr::from(octets)).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology(pods: &str) -> Topology {
        let text = format!(
            "{{apiVersion: meshproof.dev/v1alpha1, kind: Topology, name: t, provider: kind, networks: [{{name: east}}, {{name: west}}], clusters: \
             [{{name: a, network: east, podSubnet: {pods}}}, {{name: b, network: west}}]}}"
        );
        crate::topology::validate::read("t.yaml", &text).expect("a topology")
    }

    fn cidr(text: &str) -> Ipv4Cidr {
        text.parse().expect("a subnet")
    }

    #[test]
    fn networks_get_subnets_that_nobody_uses() {
        let used = [cidr("172.29.0.0/24"), cidr("172.29.2.128/25"), cidr("172.17.0.0/16")];
        let networks = networks(&topology("10.244.0.0/16"), "mine", &used).expect("room");
        assert_eq!(networks[0].docker.name, "meshproof-mine-east");
        assert_eq!(
            networks.iter().map(|one| one.docker.subnet.to_string()).collect::<Vec<_>>(),
            ["172.29.1.0/24", "172.29.3.0/24"]
        );
        let east = &networks[0];
        assert_eq!(east.docker.gateway, Ipv4Addr::new(172, 29, 1, 1));
        assert_eq!(east.docker.dynamic, cidr("172.29.1.0/25"));
        assert_eq!(east.router(), Ipv4Addr::new(172, 29, 1, 254));
        assert_eq!(east.load_balancers().next(), Some(Ipv4Addr::new(172, 29, 1, 200)));
        assert_eq!(east.load_balancers().last(), Some(Ipv4Addr::new(172, 29, 1, 250)));
    }

    #[test]
    fn without_room_it_says_how_much_there_is() {
        let error = networks(&topology("172.29.0.0/16"), "mine", &[]).expect_err("no room");
        assert_eq!(error.to_string(), "2 networks are needed, and of 172.29.0.0/16 only 0 subnets /24 are free");
    }
}
