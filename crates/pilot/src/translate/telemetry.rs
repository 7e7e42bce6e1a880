//! Access logs over gRPC, to the services that MeshConfig names (Istio's extension providers `envoyHttpAls` and `envoyTcpAls`). A
//! service that the proxy does not know is left out, because Envoy refuses a log that leads to no cluster.
//!
//! Envoy tells neither who it is for in a request nor whom it reached over mutual TLS; tags say both.

use std::collections::BTreeMap;
use std::time::Duration;

use envoy_types::pb::envoy::config::accesslog::v3 as log;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::access_loggers::grpc::v3::{
    CommonGrpcAccessLogConfig, HttpGrpcAccessLogConfig, TcpGrpcAccessLogConfig,
};
use envoy_types::pb::envoy::r#type::tracing::v3::{CustomTag, custom_tag};
use envoy_types::util::pack_any;
use mesh_types::names;
use mesh_types::telemetry::{TAG_OWN, TAG_PEER, TAG_REPORTER, TAG_SERVICE};

use super::pb;
use crate::model::mesh_config::AccessLogService;
use crate::model::{Service, Settings};

/// How long the proxy collects before it sends.
const FLUSH: Duration = Duration::from_millis(200);
/// How much it collects before it sends.
const BUFFER: u32 = 16 << 10;

/// Which side of a request the proxy is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reporter {
    /// The client's, or a gateway.
    Source,
    /// The server's.
    Destination,
}

/// The services that a proxy sends its access logs to.
#[derive(Clone, Debug, Default)]
pub(super) struct Telemetry {
    http: Vec<Receiver>,
    tcp: Vec<Receiver>,
}

#[derive(Clone, Debug)]
struct Receiver {
    cluster: String,
    authority: String,
    log: String,
}

impl Telemetry {
    pub(super) fn of(settings: &Settings, visible: &BTreeMap<&str, &Service>) -> Self {
        let receiver = |service: &AccessLogService, log: &str| {
            let known = visible.get(service.host())?;
            known.ports.iter().find(|port| port.number == service.port)?;
            Some(Receiver {
                cluster: names::outbound_cluster(service.port, "", &known.host),
                // Envoy would take the name of the cluster, whose `|` no HTTP/2 server takes for a host.
                authority: format!("{}:{}", known.host, service.port),
                log: if service.log_name.is_empty() { log.to_owned() } else { service.log_name.clone() },
            })
        };
        let providers = || settings.mesh_config.access_log_providers();
        Self {
            http: providers()
                .filter_map(|provider| receiver(provider.envoy_http_als.as_ref()?, "http_envoy_accesslog"))
                .collect(),
            tcp: providers()
                .filter_map(|provider| receiver(provider.envoy_tcp_als.as_ref()?, "tcp_envoy_accesslog"))
                .collect(),
        }
    }

    /// Logs of requests; `service` is the host that they are for, where the listener knows it.
    pub(super) fn http(&self, reporter: Reporter, service: &str) -> Vec<log::AccessLog> {
        let of = |receiver: &Receiver| {
            let config = HttpGrpcAccessLogConfig {
                common_config: Some(common(receiver, reporter, service)),
                // Tells gRPC from other requests.
                additional_request_headers_to_log: vec!["content-type".to_owned()],
                ..Default::default()
            };
            named("envoy.access_loggers.http_grpc", pack_any(config))
        };
        self.http.iter().map(of).collect()
    }

    /// Logs of TCP connections.
    pub(super) fn tcp(&self, reporter: Reporter, service: &str) -> Vec<log::AccessLog> {
        let of = |receiver: &Receiver| {
            let config = TcpGrpcAccessLogConfig { common_config: Some(common(receiver, reporter, service)) };
            named("envoy.access_loggers.tcp_grpc", pack_any(config))
        };
        self.tcp.iter().map(of).collect()
    }
}

fn named(name: &str, config: envoy_types::pb::google::protobuf::Any) -> log::AccessLog {
    log::AccessLog {
        name: name.to_owned(),
        filter: None,
        config_type: Some(log::access_log::ConfigType::TypedConfig(config)),
    }
}

fn common(receiver: &Receiver, reporter: Reporter, service: &str) -> CommonGrpcAccessLogConfig {
    let literal = |tag: &str, value: &str| CustomTag {
        tag: tag.to_owned(),
        r#type: Some(custom_tag::Type::Literal(custom_tag::Literal { value: value.to_owned() })),
    };
    let mut tags = vec![literal(
        TAG_REPORTER,
        match reporter {
            Reporter::Source => "source",
            Reporter::Destination => "destination",
        },
    )];
    if !service.is_empty() {
        tags.push(literal(TAG_SERVICE, service));
    }
    if reporter == Reporter::Source {
        for (tag, value) in [(TAG_PEER, "%UPSTREAM_PEER_URI_SAN%"), (TAG_OWN, "%UPSTREAM_LOCAL_URI_SAN%")] {
            tags.push(CustomTag { tag: tag.to_owned(), r#type: Some(custom_tag::Type::Value(value.to_owned())) });
        }
    }
    let envoy = core::grpc_service::EnvoyGrpc {
        cluster_name: receiver.cluster.clone(),
        authority: receiver.authority.clone(),
        ..Default::default()
    };
    CommonGrpcAccessLogConfig {
        log_name: receiver.log.clone(),
        grpc_service: Some(core::GrpcService {
            target_specifier: Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(envoy)),
            ..Default::default()
        }),
        transport_api_version: core::ApiVersion::V3 as i32,
        buffer_flush_interval: Some(pb::duration(FLUSH)),
        buffer_size_bytes: Some(pb::uint(BUFFER)),
        custom_tags: tags,
        ..Default::default()
    }
}
