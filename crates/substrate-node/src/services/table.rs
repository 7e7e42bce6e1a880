//! The translation table of a cluster: which addresses and ports stand for which endpoints. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{EndpointPort, EndpointSlice};

/// Every Service that has a virtual address, sorted by namespace and name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceTable {
    /// The Services.
    pub services: Vec<ServiceEntry>,
}

/// One Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEntry {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// ClusterIPs, LoadBalancer ingress addresses and external addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// `sessionAffinity: ClientIP`: the same client address gets the same endpoint while the endpoints stay.
    pub client_affinity: bool,
    /// Its ports, in the order of the spec.
    pub ports: Vec<PortEntry>,
}

/// One port of a Service and what is behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortEntry {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Port on the Service's addresses.
    pub port: u16,
    /// Port on the node's address.
    pub node_port: Option<u16>,
    /// Ready endpoints, sorted. Connections are refused when there are none.
    pub endpoints: Vec<SocketAddrV4>,
}

/// Transport protocol of a Service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP, the default.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Label that ties an EndpointSlice to its Service.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";

impl ServiceTable {
    /// Builds the table. Headless and ExternalName Services have no entry; ports of other protocols are left out.
    pub fn build<'a>(
        services: impl IntoIterator<Item = &'a Service>,
        slices: impl IntoIterator<Item = &'a EndpointSlice>,
    ) -> Self {
        let slices = slices_by_service(slices);
        let mut entries: Vec<_> = services
            .into_iter()
            .filter_map(|service| {
                let key = (service.metadata.namespace.as_deref()?, service.metadata.name.as_deref()?);
                entry(key, service, slices.get(&key).map_or(&[], Vec::as_slice))
            })
            .collect();
        entries.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
        Self { services: entries }
    }
}

/// EndpointSlices by (namespace, Service name).
pub(crate) fn slices_by_service<'a>(
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
) -> BTreeMap<(&'a str, &'a str), Vec<&'a EndpointSlice>> {
    let mut by_service: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for slice in slices {
        let service = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME));
        if let (Some(namespace), Some(service)) = (slice.metadata.namespace.as_deref(), service) {
            by_service.entry((namespace, service.as_str())).or_default().push(slice);
        }
    }
    by_service
}

fn entry((namespace, name): (&str, &str), service: &Service, slices: &[&EndpointSlice]) -> Option<ServiceEntry> {
    let addresses = virtual_addresses(service);
    if addresses.is_empty() {
        return None;
    }
    let spec = service.spec.as_ref()?;
    let ports = spec.ports.iter().flatten().filter_map(|port| port_entry(port, slices)).collect();
    let client_affinity = spec.session_affinity.as_deref() == Some("ClientIP");
    Some(ServiceEntry { namespace: namespace.to_owned(), name: name.to_owned(), addresses, client_affinity, ports })
}

/// ClusterIPs first, then the addresses that clients outside use. Empty for headless Services.
fn virtual_addresses(service: &Service) -> Vec<Ipv4Addr> {
    let Some(spec) = &service.spec else { return Vec::new() };
    if spec.type_.as_deref() == Some("ExternalName") || spec.cluster_ip.as_deref() == Some("None") {
        return Vec::new();
    }
    let cluster_ips = spec.cluster_ip.iter().chain(spec.cluster_ips.iter().flatten());
    let external = spec.external_ips.iter().flatten();
    let ingress = service.status.iter().filter_map(|status| status.load_balancer.as_ref());
    let ingress = ingress.filter_map(|balancer| balancer.ingress.as_ref()).flatten();
    let ingress = ingress.filter_map(|ingress| ingress.ip.as_ref());
    let mut addresses = Vec::new();
    for address in cluster_ips.chain(external).chain(ingress).filter_map(|text| text.parse().ok()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

fn port_entry(port: &ServicePort, slices: &[&EndpointSlice]) -> Option<PortEntry> {
    let protocol = protocol(port.protocol.as_deref())?;
    let mut endpoints: Vec<_> = slices
        .iter()
        .filter(|slice| slice.address_type == "IPv4")
        .flat_map(|slice| slice_endpoints(slice, port.name.as_deref(), protocol))
        .collect();
    endpoints.sort_unstable();
    endpoints.dedup();
    let node_port = port.node_port.and_then(port_number);
    Some(PortEntry { protocol, port: port_number(port.port)?, node_port, endpoints })
}

/// The ready endpoints of one slice for the port with that name.
fn slice_endpoints(slice: &EndpointSlice, name: Option<&str>, protocol: Protocol) -> Vec<SocketAddrV4> {
    let Some(number) = slice.ports.iter().flatten().find_map(|port| slice_port(port, name, protocol)) else {
        return Vec::new();
    };
    let ready = slice.endpoints.iter().flatten().filter(|endpoint| {
        // `ready` is true unless said otherwise.
        endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
    });
    let addresses = ready.filter_map(|endpoint| endpoint.addresses.first());
    addresses.filter_map(|text| text.parse().ok()).map(|address| SocketAddrV4::new(address, number)).collect()
}

fn slice_port(port: &EndpointPort, name: Option<&str>, wanted: Protocol) -> Option<u16> {
    let same_name = port.name.as_deref().unwrap_or_default() == name.unwrap_or_default();
    (same_name && protocol(port.protocol.as_deref()) == Some(wanted)).then(|| port_number(port.port?)).flatten()
}

fn protocol(name: Option<&str>) -> Option<Protocol> {
    match name {
        None | Some("" | "TCP") => Some(Protocol::Tcp),
        Some("UDP") => Some(Protocol::Udp),
        Some(_) => None,
    }
}

fn port_number(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::fixtures;

    #[test]
    fn builds_entries_for_virtual_addresses_only() {
        let (services, slices) = fixtures::objects();
        insta::assert_debug_snapshot!(ServiceTable::build(&services, &slices));
    }
}
