//! Envoy accepts what is translated.

use std::process::Command;

use envoy_types::pb::envoy::config::bootstrap::v3::Bootstrap;
use envoy_types::pb::envoy::config::bootstrap::v3::bootstrap::{DynamicResources, StaticResources};
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, Listener, filter};
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::extensions::filters::http::cors::v3::Cors;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::HttpFault;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::http::set_filter_state::v3::Config as SetFilterState;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, http_filter,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3 as upstream;
use envoy_types::util::pack_any;
use pilot::translate::Translation;
use prost::{Message, Name};
use requirements::{Capability, require};

use crate::authorization::AUTHORIZATION;
use crate::entries::ENTRIES;
use crate::fixture::Fixture;
use crate::gateway_tls::GATEWAY_TLS;
use crate::policy::POLICIES;
use crate::translate::{BOOKINFO, BREADTH, GATEWAYS, POLICY};

fn static_cluster(name: &str) -> Cluster {
    let http2 = upstream::HttpProtocolOptions {
        upstream_protocol_options: Some(upstream::http_protocol_options::UpstreamProtocolOptions::ExplicitHttpConfig(
            upstream::http_protocol_options::ExplicitHttpConfig {
                protocol_config: Some(
                    upstream::http_protocol_options::explicit_http_config::ProtocolConfig::Http2ProtocolOptions(
                        core::Http2ProtocolOptions::default(),
                    ),
                ),
            },
        )),
        ..Default::default()
    };
    Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Static as i32)),
        typed_extension_protocol_options: [(
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned(),
            pack_any(http2),
        )]
        .into(),
        ..Default::default()
    }
}

fn ads_config() -> core::ApiConfigSource {
    let envoy = core::grpc_service::EnvoyGrpc { cluster_name: "xds-grpc".to_owned(), ..Default::default() };
    core::ApiConfigSource {
        api_type: core::api_config_source::ApiType::DeltaGrpc as i32,
        transport_api_version: core::ApiVersion::V3 as i32,
        grpc_services: vec![core::GrpcService {
            target_specifier: Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(envoy)),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Routes are only judged where a listener has them, so each configuration gets one.
fn route_listener(index: usize, routes: RouteConfiguration) -> Listener {
    fn filter<T: Name + Message>(name: &str, config: T) -> HttpFilter {
        HttpFilter {
            name: name.to_owned(),
            config_type: Some(http_filter::ConfigType::TypedConfig(pack_any(config))),
            ..Default::default()
        }
    }
    let manager = HttpConnectionManager {
        stat_prefix: "routes".to_owned(),
        route_specifier: Some(RouteSpecifier::RouteConfig(routes)),
        http_filters: vec![
            filter("istio.alpn", SetFilterState::default()),
            filter("envoy.filters.http.fault", HttpFault::default()),
            filter("envoy.filters.http.cors", Cors {}),
            filter("envoy.filters.http.router", Router::default()),
        ],
        ..Default::default()
    };
    let filters = vec![Filter {
        name: "envoy.filters.network.http_connection_manager".to_owned(),
        config_type: Some(filter::ConfigType::TypedConfig(pack_any(manager))),
    }];
    let port = u32::try_from(20_000 + index).unwrap();
    let socket = core::SocketAddress {
        address: "127.0.0.1".to_owned(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port)),
        ..Default::default()
    };
    Listener {
        name: format!("routes-{index}"),
        address: Some(core::Address { address: Some(core::address::Address::SocketAddress(socket)) }),
        filter_chains: vec![FilterChain { filters, ..Default::default() }],
        ..Default::default()
    }
}

fn bootstrap(translation: Translation) -> Bootstrap {
    let mut clusters = translation.clusters;
    clusters.extend([static_cluster("xds-grpc"), static_cluster("sds-grpc")]);
    let mut listeners = translation.listeners;
    listeners.extend(translation.routes.into_iter().enumerate().map(|(index, routes)| route_listener(index, routes)));
    Bootstrap {
        node: Some(core::Node { id: "test".to_owned(), cluster: "test".to_owned(), ..Default::default() }),
        static_resources: Some(StaticResources { clusters, listeners, ..Default::default() }),
        dynamic_resources: Some(DynamicResources { ads_config: Some(ads_config()), ..Default::default() }),
        ..Default::default()
    }
}

fn assert_accepted(name: &str, translation: Translation) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bootstrap.pb");
    std::fs::write(&path, bootstrap(translation).encode_to_vec()).unwrap();
    let output =
        Command::new(requirements::envoy().unwrap()).args(["--mode", "validate", "-c"]).arg(&path).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(!log.contains("deprecated"), "{name}: {log}");
}

#[test]
fn envoy_accepts_every_translation() {
    require!(Capability::Envoy);
    for (name, policies) in [
        ("plain", ""),
        ("shift", POLICY),
        ("breadth", BREADTH),
        ("authorization", AUTHORIZATION),
        ("entries", ENTRIES),
        ("gateway TLS", GATEWAY_TLS),
        ("policies", POLICIES),
    ] {
        let fixture = Fixture::read(&[BOOKINFO, GATEWAYS, policies]);
        assert_accepted(
            &format!("{name}: sidecar"),
            fixture.translate("sidecar", "cluster1", "bookinfo", "productpage-v1"),
        );
        assert_accepted(
            &format!("{name}: other sidecar"),
            fixture.translate("sidecar", "cluster2", "bookinfo", "reviews-v3"),
        );
        assert_accepted(
            &format!("{name}: east-west"),
            fixture.translate("router", "cluster1", "istio-system", "eastwest-1"),
        );
        assert_accepted(
            &format!("{name}: ingress"),
            fixture.translate("router", "cluster1", "istio-system", "ingress-1"),
        );
    }
    for mode in ["STRICT", "PERMISSIVE", "DISABLE"] {
        let policy = format!(
            "kind: PeerAuthentication\nmetadata: {{name: p, namespace: bookinfo}}\nspec: {{selector: {{matchLabels: {{app: productpage}}}}, mtls: {{mode: {mode}}}, portLevelMtls: {{\"7000\": {{mode: {mode}}}}}}}\n"
        );
        assert_accepted(
            mode,
            Fixture::read(&[BOOKINFO, &policy]).translate("sidecar", "cluster1", "bookinfo", "productpage-v1"),
        );
    }
}

#[test]
fn envoy_refuses_what_is_wrong() {
    require!(Capability::Envoy);
    let mut translation = Fixture::read(&[BOOKINFO]).translate("sidecar", "cluster1", "bookinfo", "productpage-v1");
    let host = translation.routes[0].virtual_hosts[0].clone();
    translation.routes[0].virtual_hosts.push(host);
    let refused = std::panic::catch_unwind(|| assert_accepted("a virtual host twice", translation));
    assert!(refused.is_err(), "the check would accept anything");
}
