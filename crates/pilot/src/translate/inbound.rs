//! The listener of connections to the application: which of them must, may or must not be mutual TLS.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3::TrafficDirection;
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, FilterChainMatch, Listener};
use envoy_types::pb::envoy::config::route::v3 as route;
use envoy_types::pb::envoy::extensions::filters::listener::http_inspector::v3::HttpInspector;
use envoy_types::pb::envoy::extensions::filters::listener::original_dst::v3::OriginalDst;
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use mesh_types::names;
use mesh_types::peer_authentication::MutualTlsMode;

use super::authorization::Authorization;
use super::http::{self, Routes};
use super::lookup::{Modes, selects};
use super::telemetry::Reporter;
use super::{Context, pb, tls};
use crate::model::{Protocol, Service, ServicePort, TargetPort};

/// A port of the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InboundPort {
    /// Port of the pod.
    pub(super) port: u16,
    /// What is spoken on it.
    pub(super) protocol: Protocol,
    /// Port of the service that leads to it.
    service_port: u16,
    /// Host of that service.
    host: String,
}

/// The ports of the application that services lead to. Services are found by their selectors and not by endpoints, so
/// that the ports are open before the pod is ready.
pub(super) fn ports(context: &Context<'_>) -> Vec<InboundPort> {
    let mut found: BTreeMap<u16, InboundPort> = BTreeMap::new();
    // The services of clusters before ServiceEntries, whatever their names.
    let mut services = context.services();
    services.sort_by_key(|service| service.entry.is_some());
    for service in services.into_iter().filter(|service| service.namespace == context.proxy.namespace) {
        for port in &service.ports {
            let Some(target) = target(context, service, port) else { continue };
            let inbound = InboundPort {
                port: target,
                protocol: port.protocol,
                service_port: port.number,
                host: service.host.clone(),
            };
            found.entry(target).or_insert(inbound);
        }
    }
    found.into_values().collect()
}

/// The port of the proxy's own application that a port of a service leads to.
fn target(context: &Context<'_>, service: &Service, port: &ServicePort) -> Option<u16> {
    let chosen = |selector: &BTreeMap<String, String>| !selector.is_empty() && selects(selector, &context.proxy.labels);
    // A WorkloadEntry has its own word on the ports of services.
    let given = context.proxy.workload_entry.as_ref().and_then(|_| context.proxy.ports.get(&port.name).copied());
    if let Some(entry) = &service.entry {
        let chosen = entry.selector.as_ref().is_some_and(chosen);
        return given.or_else(|| entry.targets.get(&port.number).copied()).filter(|_| chosen);
    }
    let own = service.clusters.get(&context.proxy.cluster).filter(|own| chosen(&own.selector))?;
    if given.is_some() {
        return given;
    }
    match own.targets.get(&port.number)? {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Name(name) => {
            let unnamed = context.proxy.workload_entry.as_ref().map(|_| port.number);
            context.proxy.ports.get(name).copied().or(unnamed)
        }
    }
}

pub(super) fn listener(context: &Context<'_>, ports: &[InboundPort]) -> Listener {
    let modes = Modes::of(context.settings, &context.state.configs, &context.proxy.namespace, &context.proxy.labels);
    let trust_domains = &context.settings.client_trust_domains();
    let mut chains = vec![black_hole()];
    let authorization = Authorization::of(context);
    let passthrough = passthrough(context, &authorization);
    let everything = Chains { trust_domains, port: None, target: &passthrough };
    chains.extend(everything.of(modes.default));
    for port in ports {
        let target = application(context, port, &authorization);
        chains.extend(Chains { trust_domains, port: Some(port.port), target: &target }.of(modes.port(port.port)));
    }
    let named = modes.ports.iter().filter(|(port, _)| !ports.iter().any(|known| known.port == **port));
    for (port, mode) in named {
        chains.extend(Chains { trust_domains, port: Some(*port), target: &passthrough }.of(*mode));
    }
    Listener {
        name: "virtualInbound".to_owned(),
        address: Some(pb::address("0.0.0.0", names::PORT_INBOUND)),
        filter_chains: chains,
        listener_filters: vec![
            pb::listener_filter("envoy.filters.listener.original_dst", OriginalDst::default()),
            pb::listener_filter(http::TLS_INSPECTOR, TlsInspector::default()),
            pb::listener_filter(http::HTTP_INSPECTOR, HttpInspector::default()),
        ],
        listener_filters_timeout: Some(pb::seconds(0)),
        continue_on_listener_filters_timeout: true,
        traffic_direction: TrafficDirection::Inbound as i32,
        ..Default::default()
    }
}

fn black_hole() -> FilterChain {
    FilterChain {
        name: "virtualInbound-blackhole".to_owned(),
        filter_chain_match: Some(FilterChainMatch {
            destination_port: Some(pb::uint(names::PORT_INBOUND.into())),
            ..Default::default()
        }),
        filters: vec![http::tcp_proxy("BlackHoleCluster", "BlackHoleCluster")],
        ..Default::default()
    }
}

/// Where a connection goes once it is let in.
struct Target {
    protocol: Protocol,
    tcp_name: String,
    http_name: String,
    tcp: Vec<Filter>,
    http: Filter,
}

fn application(context: &Context<'_>, port: &InboundPort, authorization: &Authorization) -> Target {
    let cluster = names::inbound_cluster(port.port);
    let name = format!("0.0.0.0_{}", port.port);
    let retry = (port.protocol != Protocol::Http2).then(|| route::RetryPolicy {
        retry_on: "reset-before-request".to_owned(),
        num_retries: Some(pb::uint(2)),
        ..Default::default()
    });
    let routes = routes(
        &cluster,
        &format!("inbound|http|{}", port.service_port),
        &format!("{}:{}/*", port.host, port.service_port),
        retry,
    );
    Target {
        protocol: port.protocol,
        tcp_name: name.clone(),
        tcp: opaque(context, authorization, &cluster, &port.host),
        http: http::inbound(
            &format!("inbound_{name}"),
            Routes::Inline(Box::new(routes)),
            authorization,
            context.telemetry.http(Reporter::Destination, &port.host),
        ),
        http_name: name,
    }
}

fn passthrough(context: &Context<'_>, authorization: &Authorization) -> Target {
    let cluster = "InboundPassthroughCluster";
    let routes = routes(cluster, "inbound|http|0", ":0/*", None);
    Target {
        protocol: Protocol::Auto,
        tcp_name: "virtualInbound".to_owned(),
        http_name: "virtualInbound-catchall-http".to_owned(),
        tcp: opaque(context, authorization, cluster, ""),
        http: http::inbound(
            cluster,
            Routes::Inline(Box::new(routes)),
            authorization,
            context.telemetry.http(Reporter::Destination, ""),
        ),
    }
}

/// Passes a connection on to a cluster where it is allowed.
fn opaque(context: &Context<'_>, authorization: &Authorization, cluster: &str, service: &str) -> Vec<Filter> {
    let logs = context.telemetry.tcp(Reporter::Destination, service);
    authorization.network_filters().into_iter().chain([http::logged_tcp_proxy(cluster, logs)]).collect()
}

fn routes(
    cluster: &str,
    host: &str,
    operation: &str,
    retry_policy: Option<route::RetryPolicy>,
) -> route::RouteConfiguration {
    let action = route::RouteAction {
        cluster_specifier: Some(route::route_action::ClusterSpecifier::Cluster(cluster.to_owned())),
        timeout: Some(pb::seconds(0)),
        max_stream_duration: Some(route::route_action::MaxStreamDuration {
            max_stream_duration: Some(pb::seconds(0)),
            grpc_timeout_header_max: Some(pb::seconds(0)),
            ..Default::default()
        }),
        retry_policy,
        ..Default::default()
    };
    let everything = route::RouteMatch {
        path_specifier: Some(route::route_match::PathSpecifier::Prefix("/".to_owned())),
        ..Default::default()
    };
    let only = route::Route {
        name: "default".to_owned(),
        r#match: Some(everything),
        decorator: Some(route::Decorator { operation: operation.to_owned(), ..Default::default() }),
        action: Some(route::route::Action::Route(action)),
        ..Default::default()
    };
    let host = route::VirtualHost {
        name: host.to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![only],
        ..Default::default()
    };
    route::RouteConfiguration {
        name: cluster.to_owned(),
        virtual_hosts: vec![host],
        validate_clusters: Some(pb::boolean(false)),
        ..Default::default()
    }
}

/// Builds the filter chains of a port, or of every port that has none of its own.
struct Chains<'a> {
    trust_domains: &'a [String],
    port: Option<u16>,
    target: &'a Target,
}

impl Chains<'_> {
    fn of(&self, mode: MutualTlsMode) -> Vec<FilterChain> {
        let strict = mode == MutualTlsMode::Strict;
        let plain = matches!(mode, MutualTlsMode::Permissive | MutualTlsMode::Unset);
        let disabled = mode == MutualTlsMode::Disable;
        match self.target.protocol {
            Protocol::Http | Protocol::Http2 if strict => vec![self.tls(true, &[])],
            Protocol::Http | Protocol::Http2 if disabled => vec![self.raw(true, &[])],
            Protocol::Http | Protocol::Http2 => vec![self.tls(true, &names::ALPN_ALL_ISTIO), self.raw(true, &[])],
            Protocol::Tcp if strict => vec![self.tls(false, &[])],
            Protocol::Tcp if disabled => vec![self.raw(false, &[])],
            Protocol::Tcp => vec![self.tls(false, &names::ALPN_ALL_ISTIO), self.foreign_tls(), self.raw(false, &[])],
            Protocol::Auto if strict => vec![self.tls(true, &names::ALPN_ISTIO_HTTP), self.tls(false, &[])],
            Protocol::Auto if plain => vec![
                self.tls(true, &names::ALPN_ISTIO_HTTP),
                self.raw(true, &names::ALPN_PLAINTEXT_HTTP),
                self.tls(false, &names::ALPN_ISTIO_TCP),
                self.raw(false, &[]),
                self.foreign_tls(),
            ],
            Protocol::Auto => {
                vec![self.raw(true, &names::ALPN_PLAINTEXT_HTTP), self.raw(false, &[]), self.foreign_tls()]
            }
        }
    }

    /// Mutual TLS, terminated here.
    fn tls(&self, http: bool, alpn: &[&str]) -> FilterChain {
        FilterChain { transport_socket: Some(tls::server(self.trust_domains, http)), ..self.chain(http, "tls", alpn) }
    }

    /// Plain text.
    fn raw(&self, http: bool, alpn: &[&str]) -> FilterChain {
        self.chain(http, "raw_buffer", alpn)
    }

    /// TLS of the application itself, passed on as it is.
    fn foreign_tls(&self) -> FilterChain {
        self.chain(false, "tls", &[])
    }

    fn chain(&self, http: bool, transport: &str, alpn: &[&str]) -> FilterChain {
        let target = self.target;
        let (name, filters) =
            if http { (&target.http_name, vec![target.http.clone()]) } else { (&target.tcp_name, target.tcp.clone()) };
        FilterChain {
            name: name.clone(),
            filter_chain_match: Some(FilterChainMatch {
                destination_port: self.port.map(|port| pb::uint(port.into())),
                transport_protocol: transport.to_owned(),
                application_protocols: alpn.iter().map(|name| (*name).to_owned()).collect(),
                ..Default::default()
            }),
            filters,
            ..Default::default()
        }
    }
}
