//! The section `vms`: that each machine can be plugged in, has a mesh to join, and agrees with the others of its group.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::Check;
use crate::diagnostic::suggest;
use crate::diagnostic::tree::Path;
use crate::topology::file::{TopologyFile, VmFile};
use crate::topology::vm::{self, Health, Program, Vm, VmRuntime};
use crate::topology::{GatewayKind, Provider};

/// Ports of the proxy and its agent: nothing else can listen there.
const PROXY_PORTS: RangeInclusive<u16> = 15000..=15099;

impl Check<'_> {
    pub(super) fn vms(&mut self, file: &TopologyFile) -> Vec<Vm> {
        let path = Path::root().key("vms");
        let count = file.vms.iter().flat_map(names).count();
        self.unique(&path, file.vms.iter().map(|vm| vm.name.as_str()), "virtual machine");
        if count > vm::MOST_VMS {
            let most = vm::MOST_VMS;
            self.error(&path, format!("{count} virtual machines are more than the {most} that there may be"));
        }
        if !file.vms.is_empty() && !file.mesh.gateways.contains(&GatewayKind::Eastwest) {
            self.error(
                &path,
                "virtual machines reach the control plane through the gateway `eastwest`, which is not there",
            )
            .help("add `eastwest` to `mesh.gateways`");
        }
        let mut vms = Vec::new();
        for (position, vm) in file.vms.iter().enumerate() {
            let path = path.index(position);
            self.vm_place(&path, vm, file);
            self.vm_ports(&path, vm);
            self.vm_programs(&path, vm);
            self.vm_hosts(&path, vm);
            self.vm_group(&path, position, file);
            for name in names(vm) {
                let is_named = |other: &VmFile| other.replicas.is_none() && other.name == name;
                if vm.replicas.is_some() && file.vms.iter().any(is_named) {
                    self.error(&path.key("replicas"), format!("a virtual machine of its own has the name `{name}`"));
                }
                vms.push(machine(vms.len(), name, vm, file));
            }
        }
        vms
    }

    fn vm_place(&mut self, path: &Path, vm: &VmFile, file: &TopologyFile) {
        self.label(&path.key("name"), &vm.name);
        self.label(&path.key("namespace"), &vm.namespace);
        self.label(&path.key("serviceAccount"), &vm.service_account);
        self.label(&path.key("workloadGroup"), vm.workload_group.as_ref().unwrap_or(&vm.name));
        if vm.replicas == Some(0) {
            self.error(&path.key("replicas"), "there is none of these virtual machines")
                .help("say how many there are, or leave `replicas` out for one");
        }
        for name in names(vm) {
            if file.clusters.iter().any(|cluster| cluster.name == name) {
                self.error(&path.key("name"), format!("a cluster has the name `{name}`, too"))
                    .help("answers say where they come from by this name; choose another");
            }
        }
        let networks: Vec<&str> = file.networks.iter().map(|network| network.name.as_str()).collect();
        if !networks.contains(&vm.network.as_str()) {
            let message = format!("unknown network `{}`", vm.network);
            self.error(&path.key("network"), message).help(suggest::help(&vm.network, networks));
        }
        let clusters: Vec<&str> = file.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
        match file.clusters.iter().find(|cluster| cluster.name == vm.cluster) {
            None => {
                let message = format!("unknown cluster `{}`", vm.cluster);
                self.error(&path.key("cluster"), message).help(suggest::help(&vm.cluster, clusters));
            }
            Some(cluster) if !cluster.mesh => {
                self.error(&path.key("cluster"), format!("cluster `{}` has no mesh to join", vm.cluster))
                    .help("choose a cluster with a mesh");
            }
            Some(_) => {}
        }
        if vm.image.is_some() && vm.runtime != VmRuntime::Docker {
            self.error(&path.key("image"), "only a machine with `runtime: docker` is made of an image")
                .help("say `runtime: docker`, or leave `image` out");
        }
        if file.provider != Provider::Embedded {
            self.error(path, "virtual machines are played on the embedded networks only in this version")
                .help("say `provider: embedded`");
        }
    }

    /// What is resolved beside the machine needs no file.
    fn vm_hosts(&mut self, path: &Path, vm: &VmFile) {
        let path = path.key("hosts");
        if vm.capture_dns && !vm.hosts.is_empty() {
            self.error(&path, "its DNS queries are answered beside it, and so are those for these names")
                .help("say `captureDns: false`, or leave `hosts` out");
        }
        for (index, host) in vm.hosts.iter().enumerate() {
            match host.split_once('.') {
                Some((service, namespace)) => {
                    self.label(&path.index(index), service);
                    self.label(&path.index(index), namespace);
                }
                None => {
                    self.error(&path.index(index), format!("`{host}` has no namespace"))
                        .help(format!("write SERVICE.NAMESPACE, such as `{host}.{}`", vm.namespace));
                }
            }
        }
    }

    fn vm_ports(&mut self, path: &Path, vm: &VmFile) {
        let mut seen = BTreeSet::new();
        for (name, port) in &vm.ports {
            let path = path.key("ports").key(name);
            self.label(&path, name);
            if *port == 0 {
                self.error(&path, "0 is no port");
            } else if PROXY_PORTS.contains(port) {
                self.error(&path, format!("port {port} is the proxy's own")).help("choose a port below 15000");
            } else if !seen.insert(port) {
                self.error(&path, format!("port {port} is named twice"))
                    .help("a port has one name, and so one protocol");
            }
        }
    }

    fn vm_programs(&mut self, path: &Path, vm: &VmFile) {
        let path = path.key("programs");
        self.unique(&path, vm.programs.iter().map(|program| program.name.as_str()), "program");
        if vm.programs.is_empty() {
            self.error(&path, "nothing runs on this machine").help("name at least one program");
        }
        for (index, program) in vm.programs.iter().enumerate() {
            let path = path.index(index);
            self.label(&path.key("name"), &program.name);
            if program.name == vm::PROXY {
                self.error(&path.key("name"), format!("`{}` is the name of the agent with its proxy", vm::PROXY))
                    .help("choose another name; the proxy runs on every machine");
            }
        }
    }

    /// A WorkloadGroup is one object, so that its members agree.
    fn vm_group(&mut self, path: &Path, position: usize, file: &TopologyFile) {
        let vm = &file.vms[position];
        let group = |vm: &VmFile| (vm.namespace.clone(), vm.workload_group.clone().unwrap_or_else(|| vm.name.clone()));
        let Some(first) = file.vms[..position].iter().position(|other| group(other) == group(vm)) else { return };
        let earlier = &file.vms[first];
        let health = |vm: &VmFile| vm.health.as_ref().map(|health| (health.path.clone(), health.port));
        let differs = [
            ("cluster", earlier.cluster != vm.cluster),
            ("network", earlier.network != vm.network),
            ("serviceAccount", earlier.service_account != vm.service_account),
            ("labels", earlier.labels != vm.labels),
            ("annotations", earlier.annotations != vm.annotations),
            ("ports", earlier.ports != vm.ports),
            ("health", health(earlier) != health(vm)),
        ];
        for (field, _) in differs.into_iter().filter(|(_, differs)| *differs) {
            let related = self.document.span(&Path::root().key("vms").index(first));
            let message =
                format!("`{field}` is not that of `{}`, which is of the same group `{}`", earlier.name, group(vm).1);
            self.error(&path.key(field), message)
                .related(related, "the other machine")
                .help("a WorkloadGroup is one object; give each kind of machine a group of its own");
        }
    }
}

/// The names of the machines that an entry stands for.
fn names(vm: &VmFile) -> Vec<String> {
    match vm.replicas {
        None => vec![vm.name.clone()],
        Some(replicas) => (1..=replicas).map(|number| format!("{}-{number}", vm.name)).collect(),
    }
}

fn machine(position: usize, name: String, vm: &VmFile, file: &TopologyFile) -> Vm {
    let own = file.clusters.iter().find(|cluster| cluster.name == vm.cluster);
    let domain = own.and_then(|cluster| cluster.trust_domain.clone()).unwrap_or_else(|| file.trust.domain.clone());
    let programs = vm.programs.iter().map(|program| Program {
        name: program.name.clone(),
        image: program.image.clone(),
        command: program.command.clone(),
        capabilities: program.capabilities.clone(),
    });
    Vm {
        name,
        network: vm.network.clone(),
        address: Vm::address_at(position),
        cluster: vm.cluster.clone(),
        namespace: vm.namespace.clone(),
        service_account: vm.service_account.clone(),
        identity: format!("spiffe://{domain}/ns/{}/sa/{}", vm.namespace, vm.service_account),
        workload_group: vm.workload_group.clone().unwrap_or_else(|| vm.name.clone()),
        annotations: vm.annotations.clone(),
        capture_dns: vm.capture_dns,
        hosts: vm.hosts.clone(),
        labels: vm.labels.clone(),
        ports: vm.ports.clone(),
        health: vm.health.as_ref().map(|health| Health { path: health.path.clone(), port: health.port }),
        programs: programs.collect(),
        runtime: vm.runtime,
        image: vm.image.clone(),
        user_defined_network: vm.user_defined_network.clone(),
    }
}
