//! Who gives LoadBalancer Services of kind clusters their addresses, and what that takes. Pure.

use camino::Utf8Path;
use clap::ValueEnum;
use serde_json::{Value, json};

use super::addresses::{FIRST_LOAD_BALANCER, LAST_LOAD_BALANCER, MeshNetwork};
use super::commands::{self, CommandLine};
use super::lock::Lock;

/// Where MetalLB is, on a cluster.
pub const METALLB_NAMESPACE: &str = "metallb-system";

/// Who gives addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LoadBalancers {
    /// This program, while an environment comes up: a node has them besides its own.
    #[default]
    BuiltIn,
    /// MetalLB, installed on each cluster: also those that scenarios make later get one.
    Metallb,
    /// The program `cloud-provider-kind`, which somebody has started on this machine.
    CloudProviderKind,
}

/// MetalLB on a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metallb {
    /// Installs it.
    pub install: CommandLine,
    /// Say which addresses it gives; their kinds are there once it is installed.
    pub objects: Vec<Value>,
}

/// Its installation on a cluster, which is number `position` of so many on its network: each gives out addresses of its own.
#[must_use]
pub fn metallb(lock: &Lock, kubeconfig: &Utf8Path, network: &MeshNetwork, (position, of): (u8, u8)) -> Metallb {
    let each = (LAST_LOAD_BALANCER - FIRST_LOAD_BALANCER + 1) / of.max(1);
    let first = FIRST_LOAD_BALANCER + position * each;
    let [a, b, c, _] = network.docker.subnet.network().octets();
    let range = format!("{a}.{b}.{c}.{first}-{a}.{b}.{c}.{}", first + each - 1);
    let object = |kind: &str, spec: Value| {
        json!({
            "apiVersion": "metallb.io/v1beta1", "kind": kind,
            "metadata": { "name": "meshproof", "namespace": METALLB_NAMESPACE }, "spec": spec,
        })
    };
    Metallb {
        install: commands::metallb(&lock.metallb.charts, &lock.metallb.version, METALLB_NAMESPACE, kubeconfig),
        objects: vec![
            object("IPAddressPool", json!({ "addresses": [range] })),
            object("L2Advertisement", json!({ "ipAddressPools": ["meshproof"] })),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::kind::addresses::mesh_network;

    #[test]
    fn clusters_of_one_network_give_out_addresses_of_their_own() {
        let network = mesh_network("mine", "east", "172.29.7.0/24".parse().expect("a subnet"));
        let range = |position, of| {
            let made = metallb(&Lock::read(), "/state/kubeconfig".into(), &network, (position, of));
            made.objects[0]["spec"]["addresses"][0].as_str().expect("a range").to_owned()
        };
        assert_eq!(range(0, 1), "172.29.7.200-172.29.7.250");
        assert_eq!([range(0, 2), range(1, 2)], ["172.29.7.200-172.29.7.224", "172.29.7.225-172.29.7.249"]);
        // As many clusters as one environment can have.
        assert_eq!(range(15, 16), "172.29.7.245-172.29.7.247");
    }
}
