//! Envoy's HTTP connection manager as Istio sets it up, and the plain TCP proxy.

use envoy_types::pb::envoy::config::accesslog::v3::AccessLog;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::listener::v3::Filter;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::extensions::filters::common::set_filter_state::v3 as filter_state;
use envoy_types::pb::envoy::extensions::filters::http::cors::v3::Cors;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::HttpFault;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::http::set_filter_state::v3::Config as SetFilterState;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager as manager;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter,
};
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3 as tcp;

use super::authorization::Authorization;
use super::{access_log, pb};
use crate::model::Protocol;

pub(super) const HTTP_INSPECTOR: &str = "envoy.filters.listener.http_inspector";
pub(super) const TLS_INSPECTOR: &str = "envoy.filters.listener.tls_inspector";
pub(super) const FAULT: &str = "envoy.filters.http.fault";
pub(super) const CORS: &str = "envoy.filters.http.cors";
/// Name of the filter that stands in for Istio's `istio.alpn`, which upstream Envoy does not have.
pub(super) const ALPN: &str = "istio.alpn";

/// Where a manager finds its routes.
pub(super) enum Routes {
    /// Over RDS, by this name.
    Discovered(String),
    /// In the listener itself.
    Inline(Box<RouteConfiguration>),
}

impl Routes {
    fn specifier(self) -> manager::RouteSpecifier {
        match self {
            Self::Discovered(name) => {
                manager::RouteSpecifier::Rds(hcm::Rds { config_source: Some(pb::ads()), route_config_name: name })
            }
            Self::Inline(routes) => manager::RouteSpecifier::RouteConfig(*routes),
        }
    }
}

/// The manager of requests that leave the proxy's pod.
pub(super) fn outbound(stat_prefix: &str, routes: Routes, logs: Vec<AccessLog>) -> Filter {
    let mut manager = base(stat_prefix, routes);
    manager.access_log = logs;
    manager.http_filters = client_filters();
    manager.use_remote_address = Some(pb::boolean(false));
    filter(manager)
}

/// The manager of requests that enter a gateway.
pub(super) fn gateway(
    stat_prefix: &str,
    routes: Routes,
    authorization: &Authorization,
    logs: Vec<AccessLog>,
) -> Filter {
    let mut manager = base(stat_prefix, routes);
    guard(&mut manager, authorization, client_filters());
    manager.access_log.extend(logs);
    manager.use_remote_address = Some(pb::boolean(true));
    manager.server_name = "istio-envoy".to_owned();
    manager.forward_client_cert_details = manager::ForwardClientCertDetails::SanitizeSet as i32;
    manager.set_current_client_cert_details = Some(certificate_details());
    filter(manager)
}

/// The manager of requests to the application.
pub(super) fn inbound(
    stat_prefix: &str,
    routes: Routes,
    authorization: &Authorization,
    logs: Vec<AccessLog>,
) -> Filter {
    let mut manager = base(stat_prefix, routes);
    guard(&mut manager, authorization, vec![router()]);
    manager.access_log.extend(logs);
    manager.server_name = "istio-envoy".to_owned();
    manager.forward_client_cert_details = manager::ForwardClientCertDetails::AppendForward as i32;
    manager.set_current_client_cert_details = Some(certificate_details());
    filter(manager)
}

/// Puts authorization before the filters, and a log of what it refuses.
fn guard(manager: &mut HttpConnectionManager, authorization: &Authorization, filters: Vec<HttpFilter>) {
    let guards = authorization.http_filters();
    if !guards.is_empty() {
        manager.access_log = vec![access_log::refused()];
    }
    manager.http_filters = guards.into_iter().chain(filters).collect();
}

fn certificate_details() -> manager::SetCurrentClientCertDetails {
    manager::SetCurrentClientCertDetails {
        subject: Some(pb::boolean(true)),
        dns: true,
        uri: true,
        ..Default::default()
    }
}

fn base(stat_prefix: &str, routes: Routes) -> HttpConnectionManager {
    HttpConnectionManager {
        codec_type: manager::CodecType::Auto as i32,
        stat_prefix: stat_prefix.to_owned(),
        route_specifier: Some(routes.specifier()),
        stream_idle_timeout: Some(pb::seconds(0)),
        upgrade_configs: vec![manager::UpgradeConfig { upgrade_type: "websocket".to_owned(), ..Default::default() }],
        normalize_path: Some(pb::boolean(true)),
        path_with_escaped_slashes_action: manager::PathWithEscapedSlashesAction::KeepUnchanged as i32,
        ..Default::default()
    }
}

fn filter(manager: HttpConnectionManager) -> Filter {
    pb::filter("envoy.filters.network.http_connection_manager", manager)
}

fn client_filters() -> Vec<HttpFilter> {
    vec![
        pb::http_filter(ALPN, alpn(Protocol::Http)),
        pb::http_filter(FAULT, HttpFault::default()),
        pb::http_filter(CORS, Cors {}),
        router(),
    ]
}

fn router() -> HttpFilter {
    pb::http_filter("envoy.filters.http.router", Router::default())
}

/// Tells the server over ALPN that the stream inside mutual TLS is HTTP.
pub(super) fn alpn(protocol: Protocol) -> SetFilterState {
    use filter_state::filter_state_value::{Key, SharedWithUpstream, Value};
    let protocols = match protocol {
        Protocol::Http2 => "istio-h2,istio,h2",
        // Nothing that the server could select: it then finds the version out by itself.
        Protocol::Auto => "istio-http/1.1,istio",
        Protocol::Http | Protocol::Tcp => "istio-http/1.1,istio,http/1.1",
    };
    let text = core::DataSource {
        specifier: Some(core::data_source::Specifier::InlineString(protocols.to_owned())),
        ..Default::default()
    };
    let format = core::substitution_format_string::Format::TextFormatSource(text);
    let value = filter_state::FilterStateValue {
        key: Some(Key::ObjectKey("envoy.network.application_protocols".to_owned())),
        value: Some(Value::FormatString(core::SubstitutionFormatString { format: Some(format), ..Default::default() })),
        shared_with_upstream: SharedWithUpstream::Once as i32,
        ..Default::default()
    };
    SetFilterState { on_request_headers: vec![value], clear_route_cache: false }
}

/// Passes a connection on to a cluster.
pub(super) fn tcp_proxy(stat_prefix: &str, cluster: &str) -> Filter {
    let specifier = tcp::tcp_proxy::ClusterSpecifier::Cluster(cluster.to_owned());
    let stat_prefix = stat_prefix.to_owned();
    proxy(tcp::TcpProxy { stat_prefix, cluster_specifier: Some(specifier), ..Default::default() })
}

/// Passes a connection on to the cluster of a service, and tells of it.
pub(super) fn told_tcp_proxy(cluster: &str, logs: Vec<AccessLog>) -> Filter {
    let specifier = tcp::tcp_proxy::ClusterSpecifier::Cluster(cluster.to_owned());
    let stat_prefix = cluster.to_owned();
    proxy(tcp::TcpProxy { stat_prefix, cluster_specifier: Some(specifier), access_log: logs, ..Default::default() })
}

/// Passes connections on to clusters by weight.
pub(super) fn weighted_tcp_proxy(shares: &[(String, u32)]) -> Filter {
    use tcp::tcp_proxy::weighted_cluster::ClusterWeight;
    if let [(only, _)] = shares {
        return tcp_proxy(only, only);
    }
    let clusters =
        shares.iter().map(|(name, weight)| ClusterWeight { name: name.clone(), weight: *weight, ..Default::default() });
    let weighted = tcp::tcp_proxy::WeightedCluster { clusters: clusters.collect() };
    proxy(tcp::TcpProxy {
        stat_prefix: shares.first().map(|(name, _)| name.clone()).unwrap_or_default(),
        cluster_specifier: Some(tcp::tcp_proxy::ClusterSpecifier::WeightedClusters(weighted)),
        ..Default::default()
    })
}

/// Passes a connection on to the application's cluster, and logs who made it.
pub(super) fn logged_tcp_proxy(cluster: &str, logs: Vec<AccessLog>) -> Filter {
    let specifier = tcp::tcp_proxy::ClusterSpecifier::Cluster(cluster.to_owned());
    proxy(tcp::TcpProxy {
        stat_prefix: cluster.to_owned(),
        cluster_specifier: Some(specifier),
        access_log: [access_log::accepted()].into_iter().chain(logs).collect(),
        ..Default::default()
    })
}

fn proxy(proxy: tcp::TcpProxy) -> Filter {
    pb::filter("envoy.filters.network.tcp_proxy", proxy)
}
