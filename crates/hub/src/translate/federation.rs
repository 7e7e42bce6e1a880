//! How destinations are made known to other meshes: a ServiceEntry with the gateways as endpoints where they are called from,
//! and one with the workloads where they are, so that the gateway passes calls for the host through.
//!
//! The endpoints in the first are one per gateway and per group of workloads with the same labels: subsets work, and
//! the number of pods does not matter to the callers. The second selects its workloads by label: the control plane there
//! follows them itself, also while the hub is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mesh_types::hub::destination::{Endpoint, KubeService};
use mesh_types::hub::selector::selects_destination;
use mesh_types::hub::virtual_mesh::FederationConfig;
use mesh_types::hub::{ClusterObjectRef, Destination, Mesh, Object};
use mesh_types::names::{LABEL_TLS_MODE, TLS_MODE_ISTIO};
use mesh_types::service_entry::{EntryPort, LabelSelector, Location, Resolution, ServiceEntry};
use mesh_types::spiffe::SpiffeId;
use mesh_types::workload_entry::WorkloadEntry;

use super::{gateway, port};
use crate::output::Clusters;
use crate::world::{Federated, World};

/// Label that marks the host of a Service below the suffix; no other host may have it there.
pub const SERVICE_MARK: &str = "svc";

/// Who else knows a destination, and by which host. `None` where nobody does.
pub fn of(world: &World, destination: &Destination) -> Option<Federated> {
    let service = &destination.kube_service;
    let virtual_mesh = world.memberships.of_mesh.get(&destination.mesh)?;
    let spec = &world.inputs.virtual_meshes.get(virtual_mesh)?.object.spec;
    let federation = spec.federation.as_ref()?;
    let members = world.memberships.members.get(virtual_mesh)?;
    let own = service.reference.cluster_name.as_str();
    let selected = |index: &usize| match federation.selectors.get(*index) {
        Some(selector) => selects_destination(&selector.destination_selectors, &service.reference, &service.labels),
        None => federation.permissive.is_some(),
    };
    let sets: Vec<_> = (0..members.exports.len()).filter(selected).map(|index| &members.exports[index]).collect();
    let clients = match sets.as_slice() {
        [] => return None,
        [only] => Clusters::of((*only).clone()),
        several => several.iter().flat_map(|set| set.iter().cloned()).collect(),
    };
    let clients = clients.without([own]);
    if clients.is_empty() {
        return None;
    }
    let others = members.clusters.len() - usize::from(members.clusters.contains(own));
    Some(Federated {
        hostname: hostname(&service.reference, federation),
        virtual_mesh: virtual_mesh.clone(),
        to_all: clients.len() == others,
        clients,
    })
}

/// `<service>.<namespace>.svc.<cluster>.<suffix>`.
pub fn hostname(service: &ClusterObjectRef, federation: &FederationConfig) -> String {
    let ClusterObjectRef { name, namespace, cluster_name } = service;
    format!("{name}.{namespace}.{SERVICE_MARK}.{cluster_name}.{}", federation.suffix())
}

/// The entry for callers in other clusters.
pub fn remote_entry(
    world: &World,
    federated: &Federated,
    destination: &Destination,
    mesh: &Object<Mesh>,
    federation: &FederationConfig,
) -> ServiceEntry {
    let service = &destination.kube_service;
    let endpoints = if federation.flat_network {
        service.endpoints.iter().map(|endpoint| direct(service, endpoint)).collect()
    } else {
        through_gateways(service, mesh, federation)
    };
    ServiceEntry {
        hosts: vec![federated.hostname.clone()],
        addresses: world.addresses.of(&federated.hostname).iter().map(ToString::to_string).collect(),
        ports: ports(service, false),
        location: Location::MeshInternal,
        resolution: resolution(&endpoints),
        endpoints,
        subject_alt_names: identities(&mesh.spec, service),
        ..ServiceEntry::default()
    }
}

/// The entry in the destination's own cluster, which only the gateways of `namespaces` see.
pub fn local_entry(hostname: &str, service: &KubeService, namespaces: Vec<String>) -> ServiceEntry {
    // By label where it can be said with one number for each port; else by what answers at present.
    let by_label =
        !service.workload_selector_labels.is_empty() && service.tcp_ports().all(|port| port.target_port.is_some());
    let endpoints = if by_label {
        Vec::new()
    } else {
        service.endpoints.iter().map(|endpoint| direct(service, endpoint)).collect()
    };
    ServiceEntry {
        hosts: vec![hostname.to_owned()],
        ports: ports(service, by_label),
        location: Location::MeshInternal,
        resolution: Resolution::Static,
        endpoints,
        workload_selector: by_label.then(|| LabelSelector { labels: service.workload_selector_labels.clone() }),
        export_to: namespaces,
        ..ServiceEntry::default()
    }
}

/// Identities that the workloads of a Service may have, so that nobody else can pretend to be them.
pub fn identities(mesh: &Mesh, service: &KubeService) -> Vec<String> {
    if service.without_proxies {
        return Vec::new();
    }
    let namespace = &service.reference.namespace;
    let of = |account: &String| SpiffeId::new(&mesh.istio.trust_domain, namespace, account).to_string();
    service.service_accounts.iter().map(of).collect()
}

/// DNS where an endpoint has a name; all addresses are used then.
pub fn resolution(endpoints: &[WorkloadEntry]) -> Resolution {
    let is_name = |endpoint: &WorkloadEntry| endpoint.address.parse::<IpAddr>().is_err();
    if endpoints.iter().any(is_name) { Resolution::Dns } else { Resolution::Static }
}

fn ports(service: &KubeService, with_target: bool) -> Vec<EntryPort> {
    let entry = |one: &mesh_types::hub::destination::ServicePort| EntryPort {
        number: u32::from(one.port),
        protocol: port::protocol(one).to_owned(),
        name: port::name(one),
        target_port: one.target_port.filter(|target| with_target && *target != one.port).map(u32::from),
    };
    service.tcp_ports().map(entry).collect()
}

/// One endpoint per gateway address and group of workloads with the same labels and locality.
fn through_gateways(service: &KubeService, mesh: &Object<Mesh>, federation: &FederationConfig) -> Vec<WorkloadEntry> {
    let groups: BTreeSet<_> = service.endpoints.iter().map(|one| (&one.labels, &one.locality)).collect();
    let mut endpoints = Vec::new();
    for gateway in gateway::selected(&mesh.spec, federation, &service.reference.cluster_name) {
        let external = u32::from(gateway.port.external_number);
        for address in &gateway.gateway.external_addresses {
            for (labels, locality) in &groups {
                endpoints.push(WorkloadEntry {
                    address: address.clone(),
                    ports: service.tcp_ports().map(|one| (port::name(one), external)).collect(),
                    labels: with_tls_mode(labels),
                    locality: (*locality).clone(),
                    ..WorkloadEntry::default()
                });
            }
        }
    }
    endpoints
}

/// A workload at its own address.
pub fn direct(service: &KubeService, endpoint: &Endpoint) -> WorkloadEntry {
    let target = |one: &mesh_types::hub::destination::ServicePort| {
        let number = endpoint.ports.get(&one.port.to_string()).copied().or(one.target_port).unwrap_or(one.port);
        (port::name(one), u32::from(number))
    };
    WorkloadEntry {
        address: endpoint.ip_address.clone(),
        ports: service.tcp_ports().map(target).collect(),
        labels: if service.without_proxies { endpoint.labels.clone() } else { with_tls_mode(&endpoint.labels) },
        locality: endpoint.locality.clone(),
        ..WorkloadEntry::default()
    }
}

/// Says that mutual TLS is taken there: through a gateway nothing else passes.
pub fn with_tls_mode(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut labels = labels.clone();
    labels.insert(LABEL_TLS_MODE.to_owned(), TLS_MODE_ISTIO.to_owned());
    labels
}
