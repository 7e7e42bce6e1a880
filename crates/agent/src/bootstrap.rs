//! Envoy's bootstrap as a pure function of the settings and the node.

use serde_json::{Value, json};

use crate::settings::{PROXY_MARK, Settings};

const SOL_SOCKET: i32 = 1;
const SO_MARK: i32 = 36;

/// The complete bootstrap.
#[must_use]
pub fn bootstrap(settings: &Settings, node: &Value) -> Value {
    let mut document = common(settings, node);
    if settings.captures_dns {
        // Envoy's sockets for DNS carry no mark, so they would be captured, and find virtual addresses in place of real.
        document["typed_dns_resolver_config"] = json!({
            "name": "envoy.network.dns_resolver.cares",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
                "resolvers": [socket("127.0.0.1", settings.ports.dns_upstream)],
            },
        });
    }
    document
}

fn common(settings: &Settings, node: &Value) -> Value {
    json!({
        "application_log_config": {"log_format": {"text_format": "%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t"}},
        "node": node,
        "layered_runtime": {"layers": [
            {"name": "global config", "static_layer": {
                "overload.global_downstream_max_connections": "2147483647",
                "re2.max_program_size.error_level": "32768",
            }},
            {"name": "admin", "admin_layer": {}},
        ]},
        "admin": {"address": socket("127.0.0.1", settings.ports.admin), "profile_path": "/dev/null"},
        "cluster_manager": cluster_manager(settings),
        "dynamic_resources": {
            "lds_config": ads(),
            "cds_config": ads(),
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "set_node_on_first_message_only": true,
                "transport_api_version": "V3",
                "grpc_services": [{
                    "envoy_grpc": {
                        "cluster_name": "xds-grpc",
                        // The agent holds a stream open while the control plane is away, so Envoy needs no long pauses.
                        "retry_policy": {"retry_back_off": {"base_interval": "0.1s", "max_interval": "2s"}},
                    },
                }],
            },
        },
        "static_resources": {
            "clusters": [
                loopback_cluster("prometheus_stats", settings.ports.admin),
                loopback_cluster("agent", settings.ports.status),
                uds_cluster("sds-grpc", &settings.paths.sds.to_string_lossy()),
                uds_cluster("xds-grpc", &settings.paths.xds().to_string_lossy()),
            ],
            "listeners": [
                listener(settings.ports.prometheus, "stats", "/stats/prometheus", "prometheus_stats"),
                listener(settings.ports.health, "agent", "/healthz/ready", "agent"),
            ],
        },
    })
}

fn ads() -> Value {
    json!({"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"})
}

fn socket(address: &str, port: u16) -> Value {
    json!({"socket_address": {"address": address, "port_value": port}})
}

fn cluster_manager(settings: &Settings) -> Value {
    if !settings.mark_sockets {
        return json!({});
    }
    json!({"upstream_bind_config": {"socket_options": [{
        "description": "capture leaves connections of the proxy alone by this mark",
        "level": SOL_SOCKET,
        "name": SO_MARK,
        "int_value": PROXY_MARK,
        "state": "STATE_PREBIND",
    }]}})
}

fn loopback_cluster(name: &str, port: u16) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "0.250s",
        "lb_policy": "ROUND_ROBIN",
        "load_assignment": assignment(name, &socket("127.0.0.1", port)),
    })
}

fn uds_cluster(name: &str, path: &str) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "lb_policy": "ROUND_ROBIN",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }},
        "circuit_breakers": {"thresholds": [
            {"priority": "DEFAULT", "max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000},
            {"priority": "HIGH", "max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000},
        ]},
        "load_assignment": assignment(name, &json!({"pipe": {"path": path}})),
    })
}

fn assignment(name: &str, address: &Value) -> Value {
    json!({"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]})
}

fn listener(port: u16, prefix: &str, path: &str, cluster: &str) -> Value {
    json!({
        "address": socket("0.0.0.0", port),
        "ignore_global_conn_limit": true,
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "codec_type": "AUTO",
                "stat_prefix": prefix,
                "route_config": {"virtual_hosts": [{"name": "backend", "domains": ["*"], "routes": [
                    {"match": {"prefix": path}, "route": {"cluster": cluster}},
                ]}]},
                "http_filters": [{
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
                }],
            },
        }]}],
    })
}

/// Envoy's command line, without the program.
#[must_use]
pub fn arguments(settings: &Settings) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "--drain-strategy",
        "immediate",
        "--local-address-ip-version",
        "v4",
        "--file-flush-interval-msec",
        "1000",
        "--disable-hot-restart",
        "--allow-unknown-static-fields",
        "--component-log-level",
        "misc:error",
    ]
    .map(str::to_owned)
    .into();
    arguments.extend(["-c".to_owned(), settings.paths.bootstrap().to_string_lossy().into_owned()]);
    arguments.extend(["--drain-time-s".to_owned(), settings.drain_duration.as_secs().to_string()]);
    arguments.extend(["-l".to_owned(), settings.log_level.clone()]);
    arguments.extend(["--concurrency".to_owned(), settings.concurrency.to_string()]);
    arguments
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::node::node;
    use crate::settings::Role;

    fn settings(role: Role) -> Settings {
        let environment = [("POD_NAME", "a-0"), ("POD_NAMESPACE", "ns"), ("INSTANCE_IP", "10.0.0.1")];
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Settings::from_environment(role, None, &environment).unwrap()
    }

    #[test]
    fn bootstrap_of_a_sidecar() {
        let settings = settings(Role::Sidecar);
        let node = node(&settings, &BTreeMap::new(), &BTreeMap::new());
        insta::assert_json_snapshot!(bootstrap(&settings, &node));
        insta::assert_json_snapshot!(arguments(&settings));
    }

    #[test]
    fn envoy_asks_the_resolvers_where_dns_is_captured() {
        let mut settings = settings(Role::Sidecar);
        assert_eq!(bootstrap(&settings, &json!({})).get("typed_dns_resolver_config"), None);
        settings.captures_dns = true;
        let document = bootstrap(&settings, &json!({}));
        let resolvers = &document["typed_dns_resolver_config"]["typed_config"]["resolvers"];
        assert_eq!(resolvers, &json!([{"socket_address": {"address": "127.0.0.1", "port_value": 15055}}]));
    }

    #[test]
    fn a_gateway_marks_nothing() {
        assert_eq!(bootstrap(&settings(Role::Router), &json!({}))["cluster_manager"], json!({}));
    }
}
