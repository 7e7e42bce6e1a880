//! The listeners of connections that the application makes, and the routes of those that are HTTP.

use std::collections::{BTreeMap, BTreeSet};

use envoy_types::pb::envoy::config::core::v3::TrafficDirection;
use envoy_types::pb::envoy::config::listener::v3::{FilterChain, FilterChainMatch, Listener};
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::extensions::filters::listener::http_inspector::v3::HttpInspector;
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use mesh_types::names;

use super::http::{self, Routes};
use super::telemetry::Reporter;
use super::{Context, pb, route};
use crate::model::{Protocol, Service, ServicePort};

type Ports<'a> = BTreeMap<u16, Vec<(&'a Service, &'a ServicePort)>>;

pub(super) fn listeners(context: &mut Context<'_>) -> (Vec<Listener>, Vec<RouteConfiguration>) {
    let mut listeners = vec![capture()];
    let mut routes = Vec::new();
    let mut http_ports = Ports::new();
    let mut anywhere = Ports::new();
    for service in context.services() {
        for port in &service.ports {
            let addresses = addresses(context, service);
            match port.protocol {
                Protocol::Http | Protocol::Http2 => http_ports.entry(port.number).or_default().push((service, port)),
                // What has no address is known by its port alone.
                Protocol::Tcp | Protocol::Auto if addresses.is_empty() => {
                    if service.entry.is_some() {
                        anywhere.entry(port.number).or_default().push((service, port));
                    }
                }
                Protocol::Tcp => listeners.extend(addresses.iter().map(|address| tcp(context, service, port, address))),
                Protocol::Auto => {
                    routes.push(route::detected(context, service, port));
                    listeners.extend(addresses.iter().map(|address| detected(context, service, port, address)));
                }
            }
        }
    }
    for (port, services) in anywhere {
        if http_ports.contains_key(&port) {
            for (service, _) in services {
                let message =
                    format!("port {port} is used by HTTP services; without an address nothing tells it apart");
                context.problem(reference(service), message);
            }
        } else {
            listeners.push(any_address(context, port, &services));
        }
    }
    for (port, services) in http_ports {
        listeners.push(http_port(context, port));
        routes.push(route::of_port(context, port, &services));
    }
    (distinct(context, listeners), routes)
}

fn reference(service: &Service) -> String {
    let kind = if service.entry.is_some() { "ServiceEntry" } else { "Service" };
    format!("{kind}/{}/{}", service.namespace, service.name)
}

/// Two entries may be given one address; the first keeps it, since Envoy knows a listener by its name.
fn distinct(context: &mut Context<'_>, mut listeners: Vec<Listener>) -> Vec<Listener> {
    let mut taken = BTreeSet::new();
    listeners.retain(|listener| {
        let first = taken.insert(listener.name.clone());
        if !first {
            let message = "several services have this address and port; the first by name is reached";
            context.problem(format!("listener {}", listener.name), message);
        }
        first
    });
    listeners
}

/// A port of services without addresses: the server name tells those apart that speak TLS, and one may have the rest.
fn any_address(context: &mut Context<'_>, port: u16, services: &[(&Service, &ServicePort)]) -> Listener {
    let mut chains = Vec::new();
    let mut rest = None;
    for (service, own) in services {
        let cluster = names::outbound_cluster(own.number, "", &service.host);
        let chain = FilterChain { filters: vec![http::tcp_proxy(&cluster, &cluster)], ..Default::default() };
        if own.tls {
            let condition = FilterChainMatch { server_names: vec![service.host.clone()], ..Default::default() };
            chains.push(FilterChain { filter_chain_match: Some(condition), ..chain });
        } else if rest.is_none() {
            rest = Some(chain);
        } else {
            let message = format!("port {port} has another service without an address; nothing tells them apart");
            context.problem(reference(service), message);
        }
    }
    let inspector = pb::listener_filter(http::TLS_INSPECTOR, TlsInspector::default());
    Listener {
        listener_filters: if chains.is_empty() { Vec::new() } else { vec![inspector] },
        listener_filters_timeout: Some(pb::seconds(0)),
        continue_on_listener_filters_timeout: true,
        filter_chains: chains,
        default_filter_chain: Some(rest.unwrap_or_else(passthrough)),
        ..virtual_listener(format!("0.0.0.0_{port}"), "0.0.0.0", port)
    }
}

/// The listener that every captured connection comes to first. It hands over to the listener of the address that the
/// connection was made to; what no listener has leaves the mesh as it is.
fn capture() -> Listener {
    let loop_guard = FilterChain {
        name: "virtualOutbound-blackhole".to_owned(),
        filter_chain_match: Some(FilterChainMatch {
            destination_port: Some(pb::uint(names::PORT_OUTBOUND.into())),
            ..Default::default()
        }),
        filters: vec![http::tcp_proxy("BlackHoleCluster", "BlackHoleCluster")],
        ..Default::default()
    };
    let rest = FilterChain { name: "virtualOutbound-catchall-tcp".to_owned(), ..passthrough() };
    Listener {
        name: "virtualOutbound".to_owned(),
        address: Some(pb::address("0.0.0.0", names::PORT_OUTBOUND)),
        use_original_dst: Some(pb::boolean(true)),
        filter_chains: vec![loop_guard, rest],
        traffic_direction: TrafficDirection::Outbound as i32,
        ..Default::default()
    }
}

fn passthrough() -> FilterChain {
    FilterChain {
        name: "PassthroughFilterChain".to_owned(),
        filters: vec![http::tcp_proxy("PassthroughCluster", "PassthroughCluster")],
        ..Default::default()
    }
}

/// Addresses by which a caller of the proxy's cluster reaches a service: its own, or those of the pods behind a
/// headless one.
pub(super) fn addresses(context: &Context<'_>, service: &Service) -> Vec<String> {
    if let Some(entry) = &service.entry {
        return entry.addresses_for(context.proxy.captures_dns);
    }
    let Some(own) = service.clusters.get(&context.proxy.cluster) else { return Vec::new() };
    if !own.headless {
        return own.addresses.clone();
    }
    let endpoints = context.state.endpoints.get(&service.key()).into_iter().flat_map(|ports| ports.values().flatten());
    let local: BTreeSet<&String> = endpoints
        .filter(|endpoint| endpoint.cluster == context.proxy.cluster)
        .map(|endpoint| &endpoint.address)
        .collect();
    local.into_iter().cloned().collect()
}

fn virtual_listener(name: String, address: &str, port: u16) -> Listener {
    Listener {
        name,
        address: Some(pb::address(address, port)),
        bind_to_port: Some(pb::boolean(false)),
        traffic_direction: TrafficDirection::Outbound as i32,
        ..Default::default()
    }
}

fn tcp(context: &Context<'_>, service: &Service, port: &ServicePort, address: &str) -> Listener {
    let cluster = names::outbound_cluster(port.number, "", &service.host);
    let logs = context.telemetry.tcp(Reporter::Source, &service.host);
    let chain = FilterChain { filters: vec![http::told_tcp_proxy(&cluster, logs)], ..Default::default() };
    Listener {
        filter_chains: vec![chain],
        ..virtual_listener(format!("{address}_{}", port.number), address, port.number)
    }
}

/// HTTP where the proxy finds HTTP, else the rest.
fn inspected(context: &Context<'_>, listener: Listener, routes: &str, rest: FilterChain) -> Listener {
    let stat_prefix = format!("outbound_{}", listener.name);
    let plain_http = FilterChainMatch {
        transport_protocol: "raw_buffer".to_owned(),
        application_protocols: names::ALPN_PLAINTEXT_HTTP.map(str::to_owned).to_vec(),
        ..Default::default()
    };
    let chain = FilterChain {
        filter_chain_match: Some(plain_http),
        filters: vec![http::outbound(
            &stat_prefix,
            Routes::Discovered(routes.to_owned()),
            context.telemetry.http(Reporter::Source, ""),
        )],
        ..Default::default()
    };
    Listener {
        filter_chains: vec![chain],
        default_filter_chain: Some(rest),
        listener_filters: vec![pb::listener_filter(http::HTTP_INSPECTOR, HttpInspector::default())],
        listener_filters_timeout: Some(pb::seconds(0)),
        continue_on_listener_filters_timeout: true,
        ..listener
    }
}

fn http_port(context: &Context<'_>, port: u16) -> Listener {
    let listener = virtual_listener(format!("0.0.0.0_{port}"), "0.0.0.0", port);
    inspected(context, listener, &port.to_string(), passthrough())
}

fn detected(context: &Context<'_>, service: &Service, port: &ServicePort, address: &str) -> Listener {
    let cluster = names::outbound_cluster(port.number, "", &service.host);
    let logs = context.telemetry.tcp(Reporter::Source, &service.host);
    let rest = FilterChain { filters: vec![http::told_tcp_proxy(&cluster, logs)], ..Default::default() };
    let listener = virtual_listener(format!("{address}_{}", port.number), address, port.number);
    inspected(context, listener, &format!("{}:{}", service.host, port.number), rest)
}
