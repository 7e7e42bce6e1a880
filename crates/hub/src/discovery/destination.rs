//! Services of the mesh, and what stands behind them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint as SliceEndpoint, EndpointSlice};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use mesh_types::hub::destination::{Endpoint, KubeService, ServicePort};
use mesh_types::hub::names::ANNOTATION_DISCOVER;
use mesh_types::hub::{ClusterObjectRef, Destination, Object};
use mesh_types::names::{LABEL_REGION, LABEL_SUBZONE, LABEL_ZONE};

use super::workload::Template;
use super::{ClusterObjects, Labels, Place, is_selected, meaningful};

const LABEL_SERVICE: &str = "kubernetes.io/service-name";

pub(super) fn all(
    place: &Place<'_>,
    objects: &ClusterObjects,
    behind_proxies: &[&Template],
    templates: &[Template],
) -> Vec<Object<Destination>> {
    let known = Known::new(objects);
    let destination = |service: &Service| {
        let namespace = service.metadata.namespace.clone()?;
        let name = service.metadata.name.clone()?;
        let spec = service.spec.as_ref()?;
        let selector = spec.selector.clone().unwrap_or_default();
        let selected = |one: &&Template| one.namespace == namespace && is_selected(&selector, &one.labels);
        let mut workloads: Vec<_> = behind_proxies.iter().copied().filter(selected).collect();
        let annotations = service.metadata.annotations.as_ref();
        let asked_for = annotations.and_then(|all| all.get(ANNOTATION_DISCOVER)).is_some_and(|value| value == "true");
        let without_proxies = workloads.is_empty();
        if without_proxies && asked_for {
            workloads = templates.iter().filter(selected).collect();
        } else if without_proxies {
            return None;
        }
        let slices = known.slices.get(&(namespace.clone(), name.clone())).map_or(&[][..], Vec::as_slice);
        let kube_service = KubeService {
            reference: ClusterObjectRef::new(&name, &namespace, place.cluster),
            labels: service.metadata.labels.clone().unwrap_or_default(),
            ports: ports(service, slices),
            subsets: subsets(&workloads),
            service_accounts: workloads
                .iter()
                .map(|one| one.service_account.clone())
                .filter(|name| !name.is_empty())
                .collect(),
            endpoints: endpoints(&known, objects, service, slices, &selector),
            workload_selector_labels: selector,
            without_proxies,
        };
        Some(place.object(&[&name, &namespace, place.cluster], Destination { kube_service, mesh: place.mesh.clone() }))
    };
    objects.services.iter().filter_map(destination).collect()
}

/// What endpoints are looked up in.
struct Known<'a> {
    pods: BTreeMap<(&'a str, &'a str), &'a Pod>,
    nodes: BTreeMap<&'a str, &'a Node>,
    slices: BTreeMap<(String, String), Vec<&'a EndpointSlice>>,
}

impl<'a> Known<'a> {
    fn new(objects: &'a ClusterObjects) -> Self {
        let pods = objects
            .pods
            .iter()
            .filter_map(|pod| Some(((pod.metadata.namespace.as_deref()?, pod.metadata.name.as_deref()?), pod)));
        let nodes = objects.nodes.iter().filter_map(|node| Some((node.metadata.name.as_deref()?, node)));
        let mut slices: BTreeMap<(String, String), Vec<&EndpointSlice>> = BTreeMap::new();
        for slice in &objects.endpoint_slices {
            let name = slice.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_SERVICE));
            if let (Some(name), Some(namespace)) = (name, &slice.metadata.namespace) {
                slices.entry((namespace.clone(), name.clone())).or_default().push(slice);
            }
        }
        Self { pods: pods.collect(), nodes: nodes.collect(), slices }
    }

    /// `region/zone/subzone` of a node, without empty parts at the end.
    fn locality(&self, node: &str) -> String {
        let labels = self.nodes.get(node).and_then(|node| node.metadata.labels.as_ref());
        let part = |label: &str| labels.and_then(|labels| labels.get(label)).map_or("", String::as_str);
        [LABEL_REGION, LABEL_ZONE, LABEL_SUBZONE].map(part).join("/").trim_end_matches('/').to_owned()
    }
}

/// Every label of the workloads with all its values, also where there is only one.
fn subsets(workloads: &[&Template]) -> BTreeMap<String, BTreeSet<String>> {
    let mut subsets: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (key, value) in workloads.iter().flat_map(|one| &one.labels) {
        subsets.entry(key.clone()).or_default().insert(value.clone());
    }
    subsets
}

fn ports(service: &Service, slices: &[&EndpointSlice]) -> Vec<ServicePort> {
    let all = service.spec.as_ref().and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
    let port = |port: &k8s_openapi::api::core::v1::ServicePort| {
        let number = u16::try_from(port.port).ok()?;
        let target_port = match &port.target_port {
            None => Some(number),
            Some(IntOrString::Int(target)) => u16::try_from(*target).ok(),
            // A name may mean another number in every pod.
            Some(IntOrString::String(_)) => the_same_everywhere(port.name.as_deref(), slices),
        };
        Some(ServicePort {
            port: number,
            name: port.name.clone().unwrap_or_default(),
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            app_protocol: port.app_protocol.clone().unwrap_or_default(),
            target_port,
        })
    };
    all.filter_map(port).collect()
}

fn the_same_everywhere(name: Option<&str>, slices: &[&EndpointSlice]) -> Option<u16> {
    let numbers: BTreeSet<u16> = slices.iter().filter_map(|slice| slice_port(slice, name)).collect();
    match numbers.into_iter().collect::<Vec<_>>().as_slice() {
        [only] => Some(*only),
        _ => None,
    }
}

fn slice_port(slice: &EndpointSlice, name: Option<&str>) -> Option<u16> {
    let own = |port: &str| port == name.unwrap_or_default();
    let port = slice.ports.iter().flatten().find(|port| own(port.name.as_deref().unwrap_or_default()))?;
    u16::try_from(port.port?).ok()
}

fn endpoints(
    known: &Known<'_>,
    objects: &ClusterObjects,
    service: &Service,
    slices: &[&EndpointSlice],
    selector: &Labels,
) -> Vec<Endpoint> {
    let own_ports = || service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let mut found = BTreeSet::new();
    for slice in slices.iter().filter(|slice| slice.address_type == "IPv4") {
        let ports: BTreeMap<_, _> = own_ports()
            .filter_map(|port| Some((port.port.to_string(), slice_port(slice, port.name.as_deref())?)))
            .collect();
        for endpoint in slice.endpoints.iter().flatten() {
            found.extend(of_slice(known, slice, endpoint, &ports));
        }
    }
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    let here = objects.workload_entries.iter().filter(|entry| entry.metadata.namespace == namespace);
    for entry in here.filter(|entry| is_selected(selector, &entry.spec.labels)) {
        // A name would have to be resolved where it is called from; addresses only.
        if entry.spec.address.parse::<Ipv4Addr>().is_err() {
            continue;
        }
        let number = |port: &k8s_openapi::api::core::v1::ServicePort| {
            let named = port.name.as_ref().and_then(|name| entry.spec.ports.get(name)).copied();
            let target = match &port.target_port {
                Some(IntOrString::Int(target)) => u32::try_from(*target).ok(),
                _ => u32::try_from(port.port).ok(),
            };
            Some((port.port.to_string(), u16::try_from(named.or(target)?).ok()?))
        };
        found.insert(Endpoint {
            ip_address: entry.spec.address.clone(),
            labels: meaningful(&entry.spec.labels),
            ports: own_ports().filter_map(number).collect(),
            locality: entry.spec.locality.clone(),
        });
    }
    found.into_iter().collect()
}

fn of_slice(
    known: &Known<'_>,
    slice: &EndpointSlice,
    endpoint: &SliceEndpoint,
    ports: &BTreeMap<String, u16>,
) -> Option<Endpoint> {
    if endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) == Some(false) {
        return None;
    }
    let target = endpoint.target_ref.as_ref().and_then(|target| target.name.as_deref());
    let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
    let pod = target.and_then(|name| known.pods.get(&(namespace, name)));
    let labels = pod.and_then(|pod| pod.metadata.labels.as_ref());
    Some(Endpoint {
        ip_address: endpoint.addresses.first()?.clone(),
        labels: labels.map(meaningful).unwrap_or_default(),
        ports: ports.clone(),
        locality: known.locality(endpoint.node_name.as_deref().unwrap_or_default()),
    })
}
