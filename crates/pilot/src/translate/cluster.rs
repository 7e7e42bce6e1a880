//! CDS: one cluster for every destination of a service, the clusters of the application, and Istio's well-known ones.

use std::collections::HashMap;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3 as envoy;
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CustomClusterType, DiscoveryType, EdsClusterConfig, LbPolicy,
};
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::extensions::clusters::common::dns::v3::DnsLookupFamily;
use envoy_types::pb::envoy::extensions::clusters::dns::v3::DnsCluster;
use envoy_types::pb::envoy::extensions::upstreams::http::v3 as upstream;
use envoy_types::util::pack_any;
use mesh_types::destination_rule::{ClientTlsMode, SimpleLoadBalancer};
use mesh_types::names;
use mesh_types::node::NodeType;
use mesh_types::service_entry::Resolution;

use super::destination::Destination;
use super::inbound::InboundPort;
use super::tls::Expectation;
use super::{Context, endpoint, pb, policy, tls};
use crate::model::Protocol;

/// Key of Envoy's per-cluster settings of HTTP.
pub(super) const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// Address that the proxy calls its own application from, so that the capture rules leave the call alone.
const INBOUND_SOURCE: &str = "127.0.0.6";

/// Mark of the proxy's own sockets, by which the capture rules know them where the user id does not tell.
const SOCKET_MARK: i64 = 1337;
const SOL_SOCKET: i64 = 1;
const SO_MARK: i64 = 36;

/// The clusters of all services, and their endpoints.
#[derive(Default)]
pub(super) struct Outbound {
    pub(super) clusters: Vec<Cluster>,
    pub(super) endpoints: Vec<ClusterLoadAssignment>,
}

pub(super) fn outbound(context: &mut Context<'_>) -> Outbound {
    let mut outbound = Outbound::default();
    for service in context.services() {
        let resolution = service.entry.as_ref().map(|entry| entry.resolution);
        if resolution == Some(Resolution::DynamicDns) {
            continue;
        }
        let rule = context.rule(service);
        let identities = context.identities(service);
        for destination in Destination::all(service, &rule) {
            let name = names::outbound_cluster(destination.port.number, destination.subset_name(), &service.host);
            let headless = service.clusters.get(&context.proxy.cluster).is_some_and(|cluster| cluster.headless);
            let balancer = destination.policy.load_balancer.as_ref().and_then(|balancer| balancer.simple);
            // A headless name resolves to pods, and the caller has chosen one; so it has where nothing is resolved.
            let chosen = headless || resolution == Some(Resolution::None);
            let original = (chosen && context.proxy.node_type == NodeType::Sidecar)
                || balancer == Some(SimpleLoadBalancer::Passthrough);
            let mut cluster = match resolution {
                _ if original => original_destination(&name),
                Some(Resolution::Dns | Resolution::DnsRoundRobin) => {
                    resolved(context, &destination, endpoint::assignment(context, &destination, &name))
                }
                _ => discovered(&name),
            };
            cluster.metadata = Some(pb::metadata("istio", "service", &service.host));
            policy::apply(&mut cluster, &destination);
            secure(context, &mut cluster, &destination, &identities, original);
            warn_of_ejection(context, &destination);
            if cluster.eds_cluster_config.is_some() {
                outbound.endpoints.push(endpoint::assignment(context, &destination, &name));
            }
            outbound.clusters.push(cluster);
        }
    }
    outbound
}

/// A cluster whose endpoints come over EDS.
pub(super) fn discovered(name: &str) -> Cluster {
    Cluster {
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds as i32)),
        eds_cluster_config: Some(EdsClusterConfig { eds_config: Some(pb::ads()), service_name: name.to_owned() }),
        ..base(name)
    }
}

/// A cluster whose endpoints are names that the proxy resolves.
pub(super) fn resolved(
    context: &Context<'_>,
    destination: &Destination<'_>,
    endpoints: ClusterLoadAssignment,
) -> Cluster {
    let single = destination.service.entry.as_ref().is_some_and(|entry| entry.resolution == Resolution::DnsRoundRobin);
    let config = DnsCluster {
        dns_refresh_rate: Some(pb::duration(context.settings.dns_refresh_rate)),
        respect_dns_ttl: true,
        dns_lookup_family: DnsLookupFamily::V4Only as i32,
        // Envoy takes this only with an endpoint, of which there is then exactly one.
        all_addresses_in_single_endpoint: single && !endpoints.endpoints.is_empty(),
        ..Default::default()
    };
    Cluster {
        cluster_discovery_type: Some(ClusterDiscoveryType::ClusterType(CustomClusterType {
            name: "envoy.cluster.dns".to_owned(),
            typed_config: Some(pack_any(config)),
        })),
        load_assignment: Some(endpoints.clone()),
        ..base(&endpoints.cluster_name)
    }
}

/// A cluster that connects to the address that the caller asked for.
pub(super) fn original_destination(name: &str) -> Cluster {
    Cluster {
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::OriginalDst as i32)),
        lb_policy: LbPolicy::ClusterProvided as i32,
        ..base(name)
    }
}

fn base(name: &str) -> Cluster {
    let unlimited = || Some(pb::uint(u32::MAX));
    let thresholds = envoy::circuit_breakers::Thresholds {
        max_connections: unlimited(),
        max_pending_requests: unlimited(),
        max_requests: unlimited(),
        max_retries: unlimited(),
        track_remaining: true,
        ..Default::default()
    };
    Cluster {
        name: name.to_owned(),
        alt_stat_name: format!("{name};"),
        connect_timeout: Some(pb::seconds(10)),
        lb_policy: LbPolicy::LeastRequest as i32,
        common_lb_config: Some(envoy::cluster::CommonLbConfig::default()),
        circuit_breakers: Some(envoy::CircuitBreakers { thresholds: vec![thresholds], ..Default::default() }),
        ..Default::default()
    }
}

/// Envoy ejects a host only where the share of ejected ones stays within the limit, by default a tenth: of a few hosts
/// none, and nobody fails over.
fn warn_of_ejection(context: &mut Context<'_>, destination: &Destination<'_>) {
    let Some(outlier) = &destination.policy.outlier_detection else { return };
    let share = outlier.max_ejection_percent.unwrap_or(10);
    let hosts = context.endpoints(destination).count();
    if hosts > 0 && share < 100 && 100 / hosts > usize::try_from(share).unwrap_or_default() {
        let message = format!(
            "outlierDetection of {}: maxEjectionPercent {share} lets none of its {hosts} endpoints be ejected",
            names::outbound_cluster(destination.port.number, destination.subset_name(), &destination.service.host)
        );
        context.problem(format!("DestinationRule of {}", destination.service.host), message);
    }
}

fn secure(
    context: &Context<'_>,
    cluster: &mut Cluster,
    destination: &Destination<'_>,
    identities: &[String],
    original: bool,
) {
    let host = &destination.service.host;
    let explicit = destination.policy.tls.clone();
    let http2 = destination.port.protocol == Protocol::Http2;
    let mut expectation = Expectation {
        sni: names::sni_name(destination.port.number, destination.subset_name(), host),
        identities: identities.to_vec(),
        http2,
    };
    match explicit.as_ref().map(|tls| tls.mode) {
        Some(ClientTlsMode::Disable) => {}
        Some(ClientTlsMode::Simple | ClientTlsMode::Mutual) => {
            let tls = explicit.unwrap_or_default();
            let named = destination.service.entry.as_ref().map(|entry| entry.subject_alt_names.as_slice());
            let names =
                if tls.subject_alt_names.is_empty() { named.unwrap_or_default() } else { &tls.subject_alt_names };
            cluster.transport_socket = Some(tls::outside(&tls, names, host, http2));
        }
        Some(ClientTlsMode::IstioMutual) => {
            let tls = explicit.unwrap_or_default();
            expectation.sni = tls.sni.unwrap_or(expectation.sni);
            if !tls.subject_alt_names.is_empty() {
                expectation.identities = tls.subject_alt_names;
            }
            cluster.transport_socket = Some(tls::client(&expectation));
        }
        None if destination.service.external() => {}
        None if original => {
            let mut endpoints = context.endpoints(destination).peekable();
            let some = endpoints.peek().is_some();
            if some && endpoints.all(|one| endpoint::takes_mutual_tls(context, destination, one)) {
                cluster.transport_socket = Some(tls::client(&expectation));
            }
        }
        None => cluster.transport_socket_matches = tls::matches(&expectation),
    }
}

fn refused(name: &str) -> Cluster {
    Cluster { cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Static as i32)), ..base(name) }
}

/// Settings of HTTP for a protocol.
pub(super) fn http_options(protocol: Protocol) -> Option<upstream::HttpProtocolOptions> {
    use upstream::http_protocol_options::{
        ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig, explicit_http_config::ProtocolConfig,
    };
    let options = match protocol {
        Protocol::Tcp => return None,
        Protocol::Http => UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(ProtocolConfig::HttpProtocolOptions(core::Http1ProtocolOptions::default())),
        }),
        Protocol::Http2 => UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(core::Http2ProtocolOptions::default())),
        }),
        Protocol::Auto => UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
            http_protocol_options: Some(core::Http1ProtocolOptions::default()),
            http2_protocol_options: Some(core::Http2ProtocolOptions::default()),
            ..Default::default()
        }),
    };
    Some(upstream::HttpProtocolOptions { upstream_protocol_options: Some(options), ..Default::default() })
}

pub(super) fn set_http_options(cluster: &mut Cluster, options: Option<upstream::HttpProtocolOptions>) {
    let entry = options.map(|options| (HTTP_OPTIONS.to_owned(), pack_any(options)));
    cluster.typed_extension_protocol_options = entry.into_iter().collect::<HashMap<_, _>>();
}

/// The clusters of the application beside the proxy, one for each of its ports.
pub(super) fn inbound(context: &Context<'_>, ports: &[InboundPort]) -> Vec<Cluster> {
    let cluster = |port: &InboundPort| {
        let mut cluster = application(context, &names::inbound_cluster(port.port));
        set_http_options(&mut cluster, http_options(port.protocol));
        cluster
    };
    ports.iter().map(cluster).collect()
}

fn application(context: &Context<'_>, name: &str) -> Cluster {
    let mark = core::SocketOption {
        description: "exempt from capture".to_owned(),
        level: SOL_SOCKET,
        name: SO_MARK,
        state: core::socket_option::SocketState::StatePrebind as i32,
        value: Some(core::socket_option::Value::IntValue(SOCKET_MARK)),
        ..Default::default()
    };
    Cluster {
        upstream_bind_config: Some(core::BindConfig {
            source_address: Some(pb::socket_address(INBOUND_SOURCE, 0)),
            socket_options: if context.proxy.captured { vec![mark] } else { Vec::new() },
            ..Default::default()
        }),
        // The longest duration that Envoy takes: addresses of the application are kept for ever.
        cleanup_interval: Some(pb::duration(Duration::from_secs(9_223_372_035))),
        ..original_destination(name)
    }
}

/// The clusters that every sidecar has.
pub(super) fn well_known(context: &Context<'_>) -> Vec<Cluster> {
    let mut passthrough = original_destination("PassthroughCluster");
    let mut inbound = application(context, "InboundPassthroughCluster");
    for cluster in [&mut passthrough, &mut inbound] {
        set_http_options(cluster, http_options(Protocol::Auto));
        cluster.alt_stat_name = String::new();
    }
    let mut clusters = vec![passthrough, inbound];
    clusters.extend(black_hole());
    clusters
}

/// The cluster that goes nowhere.
pub(super) fn black_hole() -> Vec<Cluster> {
    vec![Cluster { alt_stat_name: String::new(), ..refused("BlackHoleCluster") }]
}
