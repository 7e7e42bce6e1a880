//! The listeners, routes and clusters of a gateway: HTTP servers with their virtual services, plain or with TLS, and mutual
//! TLS that is passed through to the service that its server name names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::TrafficDirection;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::{FilterChain, FilterChainMatch, Listener};
use envoy_types::pb::envoy::config::route::v3::virtual_host::TlsRequirementType;
use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use mesh_types::gateway::{Gateway, Server, ServerTlsMode};
use mesh_types::service_entry::Resolution;
use mesh_types::{Object, host, names};

use super::authorization::Authorization;
use super::destination::Destination;
use super::http::{self, Routes};
use super::lookup::selects;
use super::route::{self, Scope};
use super::telemetry::Reporter;
use super::{Context, cluster, endpoint, gateway_tls, pb, policy};
use crate::model::TargetPort;

/// What a gateway gets beside the clusters that every proxy has.
#[derive(Default)]
pub(super) struct Translated {
    pub(super) clusters: Vec<Cluster>,
    pub(super) endpoints: Vec<ClusterLoadAssignment>,
    pub(super) listeners: Vec<Listener>,
    pub(super) routes: Vec<RouteConfiguration>,
    pub(super) secrets: Vec<Secret>,
}

/// A server with the resource that it stands in.
type Opened = (Arc<Object<Gateway>>, Server);

/// What is opened on one port of the pod.
#[derive(Default)]
struct Opening {
    plain: Vec<Opened>,
    encrypted: Vec<Opened>,
    auto_pass_through: BTreeSet<String>,
}

pub(super) fn translate(context: &mut Context<'_>) -> Translated {
    let mut translated = Translated::default();
    let authorization = Authorization::of(context);
    for (port, opening) in openings(context) {
        if opening.plain.is_empty() {
            encrypted(context, port, &opening, &authorization, &mut translated);
            continue;
        }
        if !opening.encrypted.is_empty() || !opening.auto_pass_through.is_empty() {
            context.problem("Gateway", format!("port {port} is opened for both HTTP and TLS; HTTP is served"));
        }
        let name = format!("http.{port}");
        translated.listeners.push(http_listener(context, port, &name, &authorization));
        translated.routes.push(routes(context, name, port, &opening.plain));
    }
    translated.secrets.sort_by(|left, right| left.name.cmp(&right.name));
    translated.secrets.dedup_by(|left, right| left.name == right.name);
    translated
}

fn openings(context: &mut Context<'_>) -> BTreeMap<u16, Opening> {
    let mut found: BTreeMap<u16, Opening> = BTreeMap::new();
    let gateways =
        context.state.configs.gateways.iter().filter(|gateway| selects(&gateway.spec.selector, &context.proxy.labels));
    for gateway in gateways.cloned().collect::<Vec<_>>() {
        for server in &gateway.spec.servers {
            let Ok(number) = u16::try_from(server.port.number) else { continue };
            let mode = server.tls.as_ref().and_then(|tls| tls.mode);
            let http = ["HTTP", "HTTP2", "GRPC", "GRPC-WEB"].contains(&server.port.protocol.to_uppercase().as_str());
            for port in target_ports(context, number) {
                let opened = || (Arc::clone(&gateway), server.clone());
                let opening = found.entry(port).or_default();
                match mode {
                    Some(ServerTlsMode::AutoPassthrough) => {
                        opening.auto_pass_through.extend(server.hosts.iter().map(|name| bare_host(name).to_owned()));
                    }
                    Some(ServerTlsMode::Passthrough) => opening.encrypted.push(opened()),
                    Some(_) if gateway_tls::terminates(server) => opening.encrypted.push(opened()),
                    None if http => opening.plain.push(opened()),
                    _ => context.problem(
                        gateway.reference(),
                        format!("server on port {number}: this combination of protocol and TLS mode is not served"),
                    ),
                }
            }
        }
    }
    found
}

/// The listener of a port on which TLS is spoken: a chain for every server that terminates it, and for every server name
/// that is passed through.
fn encrypted(
    context: &mut Context<'_>,
    port: u16,
    opening: &Opening,
    authorization: &Authorization,
    translated: &mut Translated,
) {
    let mut chains = pass_through_chains(context, &opening.auto_pass_through, translated);
    let mut taken = BTreeSet::new();
    for (gateway, server) in &opening.encrypted {
        if !gateway_tls::terminates(server) {
            chains.extend(gateway_tls::pass_through(context, gateway, server, &mut taken));
            continue;
        }
        let name = gateway_tls::routes_name(port, gateway, server);
        let filter = http::gateway(
            &format!("outbound_0.0.0.0_{port}"),
            Routes::Discovered(name.clone()),
            authorization,
            context.telemetry.http(Reporter::Source, ""),
        );
        match gateway_tls::chain(context, server, &mut taken, filter) {
            Ok((chain, secrets)) => {
                chains.push(chain);
                translated.secrets.extend(secrets);
                translated.routes.push(routes(context, name, port, &[(Arc::clone(gateway), server.clone())]));
            }
            Err(message) => {
                context.problem(gateway.reference(), format!("server on port {}: {message}", server.port.number));
            }
        }
    }
    // Envoy refuses a listener without chains, and would go on with what it was told before.
    if chains.is_empty() {
        context.problem("Gateway", format!("nothing matches the hosts on port {port}, so it is not opened"));
        return;
    }
    translated.listeners.push(pass_through_listener(port, chains));
}

/// The ports of the pod that a port of the gateway's Service leads to; the same port where no Service says otherwise.
fn target_ports(context: &Context<'_>, number: u16) -> BTreeSet<u16> {
    let mut targets = BTreeSet::new();
    for service in context.state.services.values().filter(|service| service.namespace == context.proxy.namespace) {
        let Some(own) = service.clusters.get(&context.proxy.cluster) else { continue };
        if own.selector.is_empty() || !selects(&own.selector, &context.proxy.labels) {
            continue;
        }
        match own.targets.get(&number) {
            Some(TargetPort::Number(target)) => drop(targets.insert(*target)),
            Some(TargetPort::Name(name)) => targets.extend(context.proxy.ports.get(name)),
            None => {}
        }
    }
    if targets.is_empty() {
        targets.insert(number);
    }
    targets
}

/// Whether a host of a gateway of one namespace is for virtual services of another: `other/host`, `*/host`, or `./host`,
/// which is for the gateway's own.
pub(super) fn admits(entry: &str, gateway: &str, rule: &str) -> bool {
    match entry.split_once('/') {
        Some((".", _)) => rule == gateway,
        Some((namespace, _)) => namespace == "*" || namespace == rule,
        None => true,
    }
}

/// The host without the namespace that may stand before it.
pub(super) fn bare_host(host: &str) -> &str {
    host.split_once('/').map_or(host, |(_, bare)| bare)
}

fn http_listener(context: &Context<'_>, port: u16, routes: &str, authorization: &Authorization) -> Listener {
    let name = format!("0.0.0.0_{port}");
    let filter = http::gateway(
        &format!("outbound_{name}"),
        Routes::Discovered(routes.to_owned()),
        authorization,
        context.telemetry.http(Reporter::Source, ""),
    );
    Listener {
        address: Some(pb::address("0.0.0.0", port)),
        filter_chains: vec![FilterChain { filters: vec![filter], ..Default::default() }],
        traffic_direction: TrafficDirection::Outbound as i32,
        name,
        ..Default::default()
    }
}

fn routes(context: &mut Context<'_>, name: String, port: u16, servers: &[Opened]) -> RouteConfiguration {
    let configuration = name;
    let mut hosts: BTreeMap<String, VirtualHost> = BTreeMap::new();
    for (gateway, server) in servers {
        let name = format!("{}/{}", gateway.metadata.namespace, gateway.metadata.name);
        let number = u16::try_from(server.port.number).unwrap_or(port);
        let scope = Scope { gateway: name.clone(), port: number };
        for rule in context.virtual_services(&name) {
            for wanted in &rule.spec.hosts {
                let wanted = host::resolve_short_name(wanted, &rule.metadata.namespace, &context.settings.domain);
                let served = server
                    .hosts
                    .iter()
                    .filter(|entry| admits(entry, &gateway.metadata.namespace, &rule.metadata.namespace))
                    .filter_map(|entry| host::intersection(bare_host(entry), &wanted));
                for domain in served.map(str::to_owned).collect::<BTreeSet<_>>() {
                    let routes = route::custom(context, &scope, &rule);
                    let host = hosts.entry(domain.clone()).or_insert_with(|| virtual_host(&domain, number, server));
                    // Virtual services of one host add up, the oldest first.
                    host.routes.extend(routes);
                }
            }
        }
    }
    let mut hosts: Vec<VirtualHost> = hosts.into_values().collect();
    if hosts.is_empty() {
        hosts.push(VirtualHost {
            name: format!("blackhole:{port}"),
            domains: vec!["*".to_owned()],
            ..Default::default()
        });
    }
    route::configuration(configuration, hosts)
}

fn virtual_host(domain: &str, port: u16, server: &Server) -> VirtualHost {
    let mut host = route::virtual_host(format!("{domain}:{port}"), vec![domain.to_owned()], Vec::new());
    if server.tls.as_ref().and_then(|tls| tls.https_redirect) == Some(true) {
        host.require_tls = TlsRequirementType::All as i32;
    }
    host
}

fn pass_through_listener(port: u16, filter_chains: Vec<FilterChain>) -> Listener {
    Listener {
        name: format!("0.0.0.0_{port}"),
        address: Some(pb::address("0.0.0.0", port)),
        filter_chains,
        listener_filters: vec![pb::listener_filter(http::TLS_INSPECTOR, TlsInspector::default())],
        traffic_direction: TrafficDirection::Outbound as i32,
        ..Default::default()
    }
}

/// One chain and one cluster for every destination whose host the gateway exposes. A server name that no chain has is
/// refused by closing the connection.
fn pass_through_chains(
    context: &mut Context<'_>,
    hosts: &BTreeSet<String>,
    translated: &mut Translated,
) -> Vec<FilterChain> {
    let mut chains = Vec::new();
    for service in context.services() {
        let exposed = hosts.iter().any(|pattern| host::matches(pattern, &service.host));
        let resolution = service.entry.as_ref().map(|entry| entry.resolution);
        // What lies outside the mesh takes no mutual TLS, and what is not resolved has no endpoint to go to.
        let reachable = !service.external() && !matches!(resolution, Some(Resolution::None | Resolution::DynamicDns));
        if !exposed || service.cluster_local || !reachable {
            continue;
        }
        let rule = context.rule(service);
        for destination in Destination::all(service, &rule) {
            let name = names::sni_name(destination.port.number, destination.subset_name(), &service.host);
            chains.push(FilterChain {
                filter_chain_match: Some(FilterChainMatch {
                    server_names: vec![name.clone()],
                    application_protocols: names::ALPN_ALL_ISTIO.map(str::to_owned).to_vec(),
                    ..Default::default()
                }),
                filters: vec![http::tcp_proxy(&name, &name)],
                ..Default::default()
            });
            if translated.clusters.iter().any(|known| known.name == name) {
                continue;
            }
            let endpoints = endpoint::pass_through(context, &destination, &name);
            let mut cluster = match resolution {
                Some(Resolution::Dns | Resolution::DnsRoundRobin) => {
                    cluster::resolved(context, &destination, endpoints)
                }
                _ => {
                    translated.endpoints.push(endpoints);
                    cluster::discovered(&name)
                }
            };
            policy::apply(&mut cluster, &destination);
            // The gateway sees an opaque stream, whatever the port says.
            cluster::set_http_options(&mut cluster, None);
            translated.clusters.push(cluster);
        }
    }
    chains
}
