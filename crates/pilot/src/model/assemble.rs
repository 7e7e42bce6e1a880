//! From the tables of all clusters to one state of the mesh. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_types::{host, names};

use super::credentials::Credential;
use super::entries::{self, Behind, Registered};
use super::objects::{Key, PodObject, ServiceObject, Tables};
use super::{
    ClusterService, ClusterStatus, Configs, Endpoint, Locality, NetworkGateway, Problem, Service, ServicePort,
    Settings, State, Workload, WorkloadKey,
};

/// Builds the state; parts equal to those of `previous` are shared with it.
pub fn assemble(
    settings: &Settings,
    clusters: &BTreeMap<String, Tables>,
    mut configs: Configs,
    previous: &State,
) -> State {
    let mut problems = Vec::new();
    let registered = entries::registered(settings, clusters, &configs);
    let mut workloads: BTreeMap<WorkloadKey, Arc<Workload>> =
        registered.iter().map(|one| (key(&one.workload), Arc::clone(&one.workload))).collect();
    workloads.extend(clusters.iter().flat_map(|(cluster, tables)| pods(settings, cluster, tables)));
    let mut services = services(settings, clusters);
    let mut endpoints = endpoints(settings, clusters, &services, &workloads);
    add_registered(&services, &registered, &mut endpoints, &mut problems);
    for list in endpoints.values_mut().flat_map(BTreeMap::values_mut) {
        in_order(list);
    }
    let entries = entries::services(&configs, &services, &mut problems);
    let behind = Behind { settings, clusters, workloads: &workloads, registered: &registered };
    endpoints.extend(behind.endpoints(&configs, &entries, &mut problems));
    services.extend(entries);
    problems.sort();
    problems.dedup();
    configs.problems.extend(problems);
    let workloads = workloads.into_iter().map(|(key, workload)| (key, Arc::unwrap_or_clone(workload))).collect();
    let statuses = clusters.iter().map(|(id, tables)| status(settings, id, tables)).collect();
    State {
        services: share(&previous.services, services),
        endpoints: share(&previous.endpoints, endpoints),
        workloads: share(&previous.workloads, workloads),
        gateways: share(&previous.gateways, gateways(clusters)),
        credentials: share(&previous.credentials, credentials(settings, clusters)),
        configs: share(&previous.configs, configs),
        clusters: share(&previous.clusters, statuses),
    }
}

fn share<T: PartialEq>(previous: &Arc<T>, current: T) -> Arc<T> {
    if **previous == current { Arc::clone(previous) } else { Arc::new(current) }
}

fn status(settings: &Settings, id: &str, tables: &Tables) -> ClusterStatus {
    let error = tables.errors.iter().next().map(|(what, message)| format!("{what}: {message}"));
    ClusterStatus { id: id.to_owned(), synced: tables.synced(), network: cluster_network(settings, tables), error }
}

pub(super) fn cluster_network(settings: &Settings, tables: &Tables) -> String {
    tables.namespaces.get(&(String::new(), settings.root_namespace.clone())).cloned().unwrap_or_default()
}

fn key(workload: &Workload) -> WorkloadKey {
    (workload.cluster.clone(), workload.namespace.clone(), workload.name.clone())
}

fn pods<'a>(
    settings: &Settings,
    cluster: &'a str,
    tables: &'a Tables,
) -> impl Iterator<Item = (WorkloadKey, Arc<Workload>)> + use<'a> {
    let network = cluster_network(settings, tables);
    tables.pods.iter().map(move |((namespace, name), pod)| {
        let workload = Workload {
            name: name.clone(),
            namespace: namespace.clone(),
            cluster: cluster.to_owned(),
            labels: pod.labels.clone(),
            service_account: pod.service_account.clone(),
            network: pod.labels.get(names::LABEL_NETWORK).cloned().unwrap_or_else(|| network.clone()),
            locality: locality(pod, tables),
            ports: pod.ports.clone(),
            mutual_tls: pod.labels.get(names::LABEL_TLS_MODE).is_some_and(|mode| mode == names::TLS_MODE_ISTIO),
        };
        ((cluster.to_owned(), namespace.clone(), name.clone()), Arc::new(workload))
    })
}

fn locality(pod: &PodObject, tables: &Tables) -> Locality {
    let own = pod.labels.get(names::LABEL_LOCALITY).or_else(|| pod.labels.get(names::LABEL_LOCALITY_LEGACY));
    match own {
        Some(text) => parse_locality(text),
        None => tables.nodes.get(&(String::new(), pod.node.clone())).cloned().unwrap_or_default(),
    }
}

/// Reads `region.zone.subzone` or `region/zone/subzone`.
pub fn parse_locality(text: &str) -> Locality {
    let separator = if text.contains('/') { '/' } else { '.' };
    let mut parts = text.splitn(3, separator).map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    Locality { region: next(), zone: next(), subzone: next() }
}

fn services(settings: &Settings, clusters: &BTreeMap<String, Tables>) -> BTreeMap<String, Service> {
    let mut merged: BTreeMap<String, Service> = BTreeMap::new();
    // The own cluster's Service decides the ports where clusters disagree.
    let own = clusters.get_key_value(&settings.cluster);
    let others = clusters.iter().filter(|(id, _)| **id != settings.cluster);
    for (cluster, tables) in own.into_iter().chain(others) {
        for (key, object) in tables.services.iter().filter(|(_, object)| !object.external_name) {
            let host = host::service_host(&key.1, &key.0, &settings.domain);
            let service = merged.entry(host).or_insert_with_key(|host| new_service(settings, host, key, object));
            service.clusters.insert(cluster.clone(), cluster_service(object));
        }
    }
    merged
}

fn new_service(settings: &Settings, host: &str, (namespace, name): &Key, object: &ServiceObject) -> Service {
    let ports = object.ports.iter().map(|port| ServicePort {
        number: port.number,
        name: port.name.clone(),
        protocol: port.protocol,
        tls: false,
    });
    let cluster_local = namespace == "kube-system"
        || (namespace == "default" && name == "kubernetes")
        || settings.mesh_config.is_cluster_local(host);
    Service {
        host: host.to_owned(),
        name: name.clone(),
        namespace: namespace.clone(),
        ports: ports.collect(),
        clusters: BTreeMap::new(),
        cluster_local: cluster_local || (name == "istiod" && namespace == "istio-system"),
        entry: None,
    }
}

fn cluster_service(object: &ServiceObject) -> ClusterService {
    ClusterService {
        addresses: object.addresses.clone(),
        headless: object.headless,
        selector: object.selector.clone(),
        targets: object.ports.iter().map(|port| (port.number, port.target.clone())).collect(),
    }
}

fn endpoints(
    settings: &Settings,
    clusters: &BTreeMap<String, Tables>,
    services: &BTreeMap<String, Service>,
    workloads: &BTreeMap<WorkloadKey, Arc<Workload>>,
) -> BTreeMap<String, BTreeMap<u16, Vec<Endpoint>>> {
    let mut found: BTreeMap<String, BTreeMap<u16, Vec<Endpoint>>> = BTreeMap::new();
    for (cluster, tables) in clusters {
        for ((namespace, _), slice) in &tables.slices {
            let host = host::service_host(&slice.service, namespace, &settings.domain);
            let Some(service) = services.get(&host) else { continue };
            let Some(object) = tables.services.get(&(namespace.clone(), slice.service.clone())) else { continue };
            for port in &service.ports {
                // Slices name ports as their own cluster's Service does.
                let name =
                    object.ports.iter().find(|own| own.number == port.number).map_or(&port.name, |own| &own.name);
                let Some(number) = slice.ports.get(name) else { continue };
                let members = slice.endpoints.iter().filter_map(|(address, pod)| {
                    let workload = workload_of(cluster, pod.as_ref(), tables, settings, workloads)?;
                    Some(Endpoint {
                        address: address.clone(),
                        port: *number,
                        cluster: cluster.clone(),
                        workload,
                        weight: 1,
                    })
                });
                found.entry(host.clone()).or_default().entry(port.number).or_default().extend(members);
            }
        }
    }
    found
}

/// Adds the WorkloadEntries that Services choose.
fn add_registered(
    services: &BTreeMap<String, Service>,
    registered: &[Registered],
    found: &mut BTreeMap<String, BTreeMap<u16, Vec<Endpoint>>>,
    problems: &mut Vec<Problem>,
) {
    for (key, service) in services.iter().filter(|_| !registered.is_empty()) {
        for (cluster, own) in &service.clusters {
            for port in &service.ports {
                let more = entries::behind_service(registered, cluster, service, own, port, problems);
                if !more.is_empty() {
                    found.entry(key.clone()).or_default().entry(port.number).or_default().extend(more);
                }
            }
        }
    }
}

fn in_order(list: &mut Vec<Endpoint>) {
    list.sort_by(|left, right| {
        (&left.cluster, &left.address, left.port).cmp(&(&right.cluster, &right.address, right.port))
    });
    list.dedup_by(|left, right| {
        (&left.cluster, &left.address, left.port) == (&right.cluster, &right.address, right.port)
    });
}

/// The pod behind an address. An address whose pod is not known *yet* is left out: without the pod's labels it would
/// be called in plain text. An address without a pod at all is a plain endpoint.
fn workload_of(
    cluster: &str,
    pod: Option<&Key>,
    tables: &Tables,
    settings: &Settings,
    workloads: &BTreeMap<WorkloadKey, Arc<Workload>>,
) -> Option<Arc<Workload>> {
    match pod {
        Some((namespace, name)) => workloads.get(&(cluster.to_owned(), namespace.clone(), name.clone())).cloned(),
        None => Some(Arc::new(Workload {
            cluster: cluster.to_owned(),
            network: cluster_network(settings, tables),
            ..Workload::default()
        })),
    }
}

fn credentials(settings: &Settings, clusters: &BTreeMap<String, Tables>) -> BTreeMap<String, Credential> {
    let own = clusters.get(&settings.cluster).into_iter().flat_map(|tables| &tables.credentials);
    let near = own.filter(|((namespace, _), _)| *namespace == settings.root_namespace);
    near.map(|((_, name), credential)| (name.clone(), credential.clone())).collect()
}

fn gateways(clusters: &BTreeMap<String, Tables>) -> Vec<NetworkGateway> {
    let mut found = Vec::new();
    for (cluster, tables) in clusters {
        for service in tables.services.values() {
            let Some(network) = service.labels.get(names::LABEL_NETWORK) else { continue };
            let port = service
                .labels
                .get(names::LABEL_GATEWAY_PORT)
                .and_then(|port| port.parse().ok())
                .unwrap_or(names::PORT_AUTO_PASSTHROUGH);
            // Envoy takes endpoints by address; a load balancer that only has a name cannot be one.
            let addresses =
                service.external_addresses.iter().filter(|address| address.parse::<std::net::IpAddr>().is_ok());
            found.extend(addresses.map(|address| NetworkGateway {
                network: network.clone(),
                cluster: cluster.clone(),
                address: address.clone(),
                port,
            }));
        }
    }
    found.sort();
    found.dedup();
    found
}
