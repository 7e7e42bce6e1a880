//! ServiceEntries as services, and WorkloadEntries as workloads and endpoints. Pure.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as BTreeSlot;
use std::net::IpAddr;
use std::sync::Arc;

use mesh_types::service_entry::{EntryPort, Location, Resolution};
use mesh_types::{Object, ServiceEntry, WorkloadEntry, names};

use super::assemble::{cluster_network, parse_locality};
use super::automatic::{self, Wanted};
use super::objects::{Key, Tables, protocol};
use super::{
    ClusterService, Configs, Endpoint, Entry, Problem, Protocol, Service, ServicePort, Settings, TargetPort, Workload,
    WorkloadKey, entry_key,
};

/// A workload that a WorkloadEntry stands for.
pub(super) struct Registered {
    pub(super) workload: Arc<Workload>,
    entry: Arc<Object<WorkloadEntry>>,
}

/// The workloads of the WorkloadEntries of all clusters: those of the own one are configuration.
pub(super) fn registered(
    settings: &Settings,
    clusters: &BTreeMap<String, Tables>,
    configs: &Configs,
) -> Vec<Registered> {
    let own = configs.workload_entries.iter().map(|entry| (&settings.cluster, Arc::clone(entry)));
    let others = clusters
        .iter()
        .filter(|(cluster, _)| **cluster != settings.cluster)
        .flat_map(|(cluster, tables)| tables.workload_entries.values().map(move |entry| (cluster, Arc::clone(entry))));
    let all = own.chain(others).map(|(cluster, entry)| {
        let network = clusters.get(cluster).map(|tables| cluster_network(settings, tables)).unwrap_or_default();
        let place = Place { cluster, network: &network, namespace: &entry.metadata.namespace };
        Registered { workload: Arc::new(place.workload(&entry.metadata.name, &entry.spec)), entry }
    });
    all.collect()
}

/// Where an entry stands.
struct Place<'a> {
    cluster: &'a str,
    network: &'a str,
    namespace: &'a str,
}

impl Place<'_> {
    fn workload(&self, name: &str, entry: &WorkloadEntry) -> Workload {
        let label = |name: &str| entry.labels.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let network = Some(entry.network.as_str()).filter(|network| !network.is_empty());
        let locality = Some(entry.locality.as_str()).filter(|locality| !locality.is_empty());
        Workload {
            name: name.to_owned(),
            namespace: self.namespace.to_owned(),
            cluster: self.cluster.to_owned(),
            labels: entry.labels.clone(),
            service_account: entry.service_account.clone(),
            network: network.or_else(|| label(names::LABEL_NETWORK)).unwrap_or(self.network).to_owned(),
            locality: locality
                .or_else(|| label(names::LABEL_LOCALITY))
                .or_else(|| label(names::LABEL_LOCALITY_LEGACY))
                .map(parse_locality)
                .unwrap_or_default(),
            ports: entry.ports.keys().filter_map(|name| Some((name.clone(), named_port(entry, name)?))).collect(),
            mutual_tls: entry.mutual_tls(),
        }
    }
}

fn endpoint(entry: &WorkloadEntry, workload: Arc<Workload>, port: u16) -> Endpoint {
    Endpoint {
        address: entry.address.clone(),
        port,
        cluster: workload.cluster.clone(),
        workload,
        weight: entry.weight.max(1),
    }
}

fn named_port(entry: &WorkloadEntry, name: &str) -> Option<u16> {
    entry.ports.get(name).and_then(|number| u16::try_from(*number).ok())
}

fn has(labels: &BTreeMap<String, String>, selector: &BTreeMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// The WorkloadEntries behind a port of a Kubernetes Service in one cluster: those that its selector chooses.
pub(super) fn behind_service(
    registered: &[Registered],
    cluster: &str,
    service: &Service,
    own: &ClusterService,
    port: &ServicePort,
    problems: &mut Vec<Problem>,
) -> Vec<Endpoint> {
    let mut found = Vec::new();
    if own.selector.is_empty() {
        return found;
    }
    let chosen = registered.iter().filter(|one| {
        one.workload.cluster == cluster
            && one.workload.namespace == service.namespace
            && one.entry.healthy()
            && has(&one.workload.labels, &own.selector)
    });
    for one in chosen {
        let spec = &one.entry.spec;
        if spec.address.parse::<IpAddr>().is_err() {
            problems.push(Problem::new(one.entry.reference(), "a Service has addresses behind it, and no names"));
            continue;
        }
        let target = match own.targets.get(&port.number) {
            Some(TargetPort::Number(number)) => *number,
            Some(TargetPort::Name(name)) => named_port(spec, name).unwrap_or(port.number),
            None => port.number,
        };
        found.push(endpoint(spec, Arc::clone(&one.workload), named_port(spec, &port.name).unwrap_or(target)));
    }
    found
}

/// The services of all ServiceEntries by key, beside those of Kubernetes in `known`.
pub(super) fn services(
    configs: &Configs,
    known: &BTreeMap<String, Service>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Service> {
    let mut found: BTreeMap<String, Service> = BTreeMap::new();
    for object in &configs.service_entries {
        for name in &object.spec.hosts {
            let key = entry_key(&object.metadata.namespace, name);
            let vacant = match found.entry(key) {
                BTreeSlot::Vacant(vacant) if !known.contains_key(name) => vacant,
                BTreeSlot::Vacant(_) => {
                    let message = format!("{name} is the name of a Service in a cluster, which is used in its place");
                    problems.push(Problem::new(object.reference(), message));
                    continue;
                }
                BTreeSlot::Occupied(_) => {
                    let message = format!("an older ServiceEntry of the namespace has the host {name}, and is used");
                    problems.push(Problem::new(object.reference(), message));
                    continue;
                }
            };
            vacant.insert(service(object, name, problems));
        }
    }
    let given = found.values().flat_map(|service| service.entry.iter().flat_map(|entry| entry.addresses.clone()));
    let given: Vec<String> = given.collect();
    // In the order of age, so that a new entry never takes the address of an older one.
    let wanted = configs.service_entries.iter().filter(|object| automatic::eligible(object)).flat_map(|object| {
        let namespace = &object.metadata.namespace;
        object.spec.hosts.iter().map(move |host| Wanted { namespace, host })
    });
    let wanted: Vec<Wanted<'_>> =
        wanted.filter(|one| !one.host.starts_with('*') && found.contains_key(&one.key())).collect();
    for (one, address) in wanted.iter().zip(automatic::allocate(&wanted, &given)) {
        let entry = found.get_mut(&one.key()).and_then(|service| service.entry.as_mut());
        match (entry, address) {
            (Some(entry), Some(address)) => entry.automatic = Some(address.to_string()),
            _ => problems.push(Problem::new(
                format!("ServiceEntry/{}/{}", one.namespace, one.host),
                "no automatic address is left",
            )),
        }
    }
    found
}

fn service(object: &Object<ServiceEntry>, name: &str, problems: &mut Vec<Problem>) -> Service {
    let spec = &object.spec;
    if spec.resolution == Resolution::DynamicDns {
        problems
            .push(Problem::new(object.reference(), "resolution DYNAMIC_DNS is not served; the entry has no effect"));
    }
    let mut addresses = Vec::new();
    for address in &spec.addresses {
        let bare = address.strip_suffix("/32").unwrap_or(address);
        if bare.parse::<IpAddr>().is_ok() {
            addresses.push(bare.to_owned());
        } else {
            let message = format!("{address}: ranges of addresses are not served, only single ones");
            problems.push(Problem::new(object.reference(), message));
        }
    }
    let entry = Entry {
        created: object.metadata.creation_timestamp.clone(),
        addresses,
        automatic: None,
        resolution: spec.resolution,
        external: spec.location == Location::MeshExternal,
        export_to: spec.export_to.clone(),
        subject_alt_names: spec.subject_alt_names.clone(),
        selector: spec.workload_selector.as_ref().map(|selector| selector.labels.clone()),
        targets: spec.ports.iter().filter_map(|port| Some((number(port)?, target(port)?))).collect(),
    };
    Service {
        host: name.to_owned(),
        name: object.metadata.name.clone(),
        namespace: object.metadata.namespace.clone(),
        ports: spec.ports.iter().filter_map(service_port).collect(),
        clusters: BTreeMap::new(),
        cluster_local: false,
        entry: Some(entry),
    }
}

fn number(port: &EntryPort) -> Option<u16> {
    u16::try_from(port.number).ok()
}

fn target(port: &EntryPort) -> Option<u16> {
    u16::try_from(port.target_port.unwrap_or(port.number)).ok()
}

fn service_port(port: &EntryPort) -> Option<ServicePort> {
    let declared = port.protocol.to_lowercase();
    let protocol = if declared.is_empty() { Protocol::Auto } else { protocol(Some(&declared), &port.name) };
    let tls = matches!(declared.as_str(), "tls" | "https");
    Some(ServicePort { number: number(port)?, name: port.name.clone(), protocol, tls })
}

/// What endpoints are taken from.
pub(super) struct Behind<'a> {
    pub(super) settings: &'a Settings,
    pub(super) clusters: &'a BTreeMap<String, Tables>,
    pub(super) workloads: &'a BTreeMap<WorkloadKey, Arc<Workload>>,
    pub(super) registered: &'a [Registered],
}

impl Behind<'_> {
    /// The endpoints of the ServiceEntries' services by key and port.
    pub(super) fn endpoints(
        &self,
        configs: &Configs,
        services: &BTreeMap<String, Service>,
        problems: &mut Vec<Problem>,
    ) -> BTreeMap<String, BTreeMap<u16, Vec<Endpoint>>> {
        let mut found = BTreeMap::new();
        for object in &configs.service_entries {
            for name in &object.spec.hosts {
                let key = entry_key(&object.metadata.namespace, name);
                let Some(service) = services.get(&key).filter(|service| service.name == object.metadata.name) else {
                    continue;
                };
                let ports =
                    service.ports.iter().map(|port| (port.number, self.of_port(object, service, port, problems)));
                found.insert(key, ports.filter(|(_, endpoints)| !endpoints.is_empty()).collect());
            }
        }
        found
    }

    fn of_port(
        &self,
        object: &Object<ServiceEntry>,
        service: &Service,
        port: &ServicePort,
        problems: &mut Vec<Problem>,
    ) -> Vec<Endpoint> {
        let Some(entry) = &service.entry else { return Vec::new() };
        let target = entry.targets.get(&port.number).copied().unwrap_or(port.number);
        let resolves = matches!(entry.resolution, Resolution::Dns | Resolution::DnsRoundRobin);
        let mut found: Vec<Endpoint> = match &entry.selector {
            Some(selector) => self.selected(&service.namespace, selector, port, target),
            None => {
                let network = self.clusters.get(&self.settings.cluster).map(|own| cluster_network(self.settings, own));
                let network = network.unwrap_or_default();
                let place = Place { cluster: &self.settings.cluster, network: &network, namespace: &service.namespace };
                let inline = |one: &WorkloadEntry| {
                    let workload = Arc::new(place.workload("", one));
                    endpoint(one, workload, named_port(one, &port.name).unwrap_or(target))
                };
                if object.spec.endpoints.is_empty() && resolves {
                    vec![inline(&WorkloadEntry { address: service.host.clone(), ..WorkloadEntry::default() })]
                } else {
                    object.spec.endpoints.iter().map(inline).collect()
                }
            }
        };
        found.retain(|one| {
            let usable = resolves || one.address.parse::<IpAddr>().is_ok();
            if !usable {
                let message = format!("endpoint {} is not an address, and the resolution finds none", one.address);
                problems.push(Problem::new(object.reference(), message));
            }
            usable
        });
        in_order(&mut found);
        found
    }

    fn selected(
        &self,
        namespace: &str,
        selector: &BTreeMap<String, String>,
        port: &ServicePort,
        target: u16,
    ) -> Vec<Endpoint> {
        let mut found = Vec::new();
        for (cluster, tables) in self.clusters {
            let of_namespace = tables.pods.iter().filter(|((of, _), _)| of == namespace);
            for (key, pod) in of_namespace.filter(|(_, pod)| pod.ready && has(&pod.labels, selector)) {
                let workload = self.workload(cluster, key);
                if let (Some(workload), Some(address)) = (workload, pod.address.clone()) {
                    found.push(Endpoint { address, port: target, cluster: cluster.clone(), workload, weight: 1 });
                }
            }
        }
        let entries = self
            .registered
            .iter()
            .filter(|one| one.entry.healthy())
            .filter(|one| one.workload.namespace == namespace && has(&one.workload.labels, selector));
        found.extend(entries.map(|one| {
            let spec = &one.entry.spec;
            endpoint(spec, Arc::clone(&one.workload), named_port(spec, &port.name).unwrap_or(target))
        }));
        found
    }

    fn workload(&self, cluster: &str, (namespace, name): &Key) -> Option<Arc<Workload>> {
        self.workloads.get(&(cluster.to_owned(), namespace.clone(), name.clone())).cloned()
    }
}

/// In a stable order. Unlike the pods of a service, endpoints of an entry may share an address and differ in labels: several
/// versions behind one gateway of another network, of which subsets choose.
fn in_order(list: &mut Vec<Endpoint>) {
    let key = |one: &Endpoint| {
        let workload = &one.workload;
        (one.cluster.clone(), one.address.clone(), one.port, workload.labels.clone(), workload.locality.clone())
    };
    list.sort_by_cached_key(key);
    list.dedup_by_key(|one| key(one));
}
