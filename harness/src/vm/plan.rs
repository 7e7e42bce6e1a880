//! A machine of a topology as the embedded provider is told it. Pure.

use std::collections::BTreeMap;

use substrate_config::machine::{MachineConfig, MachineProgram, MachineRuntime, UserDefinedNetwork};

use crate::topology::vm::{PROXY, Program, Vm, VmRuntime};

/// Where each of the generated files lies on a machine, as Istio's documentation says.
pub const FILES: [(&str, &str); 5] = [
    ("cluster.env", "/var/lib/istio/envoy/cluster.env"),
    ("mesh.yaml", "/etc/istio/config/mesh"),
    ("root-cert.pem", "/etc/certs/root-cert.pem"),
    ("istio-token", "/var/run/secrets/tokens/istio-token"),
    ("hosts", "/etc/hosts"),
];
/// What outlives a reboot: the generated files, and the certificate that was bought by the token.
const DIRECTORIES: [&str; 4] = ["/etc/certs", "/etc/istio/config", "/var/lib/istio/envoy", "/var/run/secrets/tokens"];
/// A resolver that is nowhere: whatever is resolved is resolved beside the application, or in `/etc/hosts`.
const RESOLV_CONF: &str = "nameserver 192.0.2.53\noptions timeout:1 attempts:1\n";
/// The proxy takes connections here once it runs, and then the applications are started.
const PROXY_READY: u16 = 15021;

/// The configuration of a machine: the agent first, then its programs. `image` is that of containers that name none.
#[must_use]
pub fn machine(vm: &Vm, image: Option<&str>) -> MachineConfig {
    let proxy = MachineProgram {
        name: PROXY.to_owned(),
        image: "meshproof/proxy:dev".to_owned(),
        command: vec!["pilot-agent".to_owned(), "vm".to_owned()],
        starts: vec!["envoy".to_owned(), "nft".to_owned()],
        environment: BTreeMap::new(),
        capabilities: vec!["NET_ADMIN".to_owned()],
        ready_port: Some(PROXY_READY),
    };
    let programs = vm.programs.iter().enumerate().map(|(position, one)| program(vm, position, one));
    MachineConfig {
        name: vm.name.clone(),
        network: vm.network.clone(),
        address: vm.address.to_string(),
        directories: DIRECTORIES.map(Into::into).to_vec(),
        resolv_conf: resolv_conf(vm),
        programs: std::iter::once(proxy).chain(programs).collect(),
        runtime: match vm.runtime {
            VmRuntime::Docker => {
                let image = vm.image.as_deref().or(image);
                let image = image.expect("invariant: an image is made for machines that are containers").to_owned();
                MachineRuntime::Docker { image, user_defined_network: user_defined_network(vm) }
            }
            VmRuntime::Auto | VmRuntime::Netns => MachineRuntime::Netns,
        },
    }
}

/// A machine that is no container asks the resolver itself that Docker's would ask.
fn resolv_conf(vm: &Vm) -> String {
    vm.user_defined_network
        .as_ref()
        .map_or_else(|| RESOLV_CONF.to_owned(), |of| format!("nameserver {}\n", of.resolver))
}

fn user_defined_network(vm: &Vm) -> Option<UserDefinedNetwork> {
    let of = vm.user_defined_network.as_ref()?;
    Some(UserDefinedNetwork { resolver: of.resolver.to_string() })
}

/// What a program says of itself in its answers: the machine is its place, and it is a place of its own.
fn program(vm: &Vm, position: usize, program: &Program) -> MachineProgram {
    let says = [
        ("CLUSTER_NAME", &vm.name),
        ("NETWORK_NAME", &vm.network),
        ("POD_NAME", &vm.name),
        ("POD_NAMESPACE", &vm.namespace),
    ];
    let served = vm.health.as_ref().map(|health| health.port).or_else(|| vm.ports.values().next().copied());
    MachineProgram {
        name: program.name.clone(),
        image: program.image.clone(),
        command: program.command.clone(),
        starts: Vec::new(),
        environment: says.map(|(name, value)| (name.to_owned(), value.clone())).into(),
        capabilities: program.capabilities.iter().map(ToString::to_string).collect(),
        // The first program is the one that serves.
        ready_port: served.filter(|_| position == 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::validate;

    const SHIPPED: &str = include_str!("../../../scenarios/topologies/virtual-machines.yaml");

    #[test]
    fn a_machine_gets_nothing_but_its_programs_and_directories_for_the_generated_files() {
        let topology = validate::read("virtual-machines.yaml", SHIPPED).expect("no problems");
        let machines: Vec<MachineConfig> = topology.vms.iter().map(|vm| machine(vm, None)).collect();
        for (_, path) in FILES.iter().filter(|(name, _)| *name != "hosts") {
            assert!(machines[0].directories.iter().any(|directory| path.starts_with(directory.as_str())), "{path}");
        }
        insta::assert_json_snapshot!(machines);
    }
}
