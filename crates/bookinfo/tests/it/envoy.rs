//! Every protocol through a real Envoy, as plainly configured as can be: what the probe sees is what Envoy did.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bookinfo::streams::{self, First, Kind};
use bookinfo::{line, server, services};
use eventually::poll;
use requirements::{Capability, require};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::support::{Server, World, probe, serve};

/// An Envoy before an echo; ended when dropped.
struct Proxied {
    envoy: Child,
    _folder: TempDir,
    _echo: Server,
    http: SocketAddr,
    tcp: SocketAddr,
    first: SocketAddr,
}

impl Proxied {
    async fn start() -> Self {
        let echo = serve(services::echo::router(World::default().app("echo", "v1", "cluster1"))).await;
        let (lines, greeting) = (serve_lines(First::Client).await, serve_lines(First::Server).await);
        let [http, tcp, first] = [free_port().await, free_port().await, free_port().await];
        let config = json!({ "static_resources": {
            "listeners": [
                listener("http", http, &http_filter()),
                listener("tcp", tcp, &tcp_filter("lines")),
                listener("first", first, &tcp_filter("greeting")),
            ],
            "clusters": [
                cluster("http1", Some(echo.address), false),
                cluster("http2", Some(echo.address), true),
                cluster("nobody", None, false),
                cluster("lines", Some(lines), false),
                cluster("greeting", Some(greeting), false),
            ],
        } });
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("envoy.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let mut command = Command::new(requirements::envoy().unwrap());
        command.args(["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "error", "-c"]).arg(file);
        let envoy = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let proxied = Self { envoy, _folder: folder, _echo: echo, http, tcp, first };
        for address in [http, tcp, first] {
            poll("Envoy listens", Duration::from_secs(20), Duration::from_millis(20), async || {
                TcpStream::connect(address).await
            })
            .await
            .unwrap();
        }
        proxied
    }
}

impl Drop for Proxied {
    fn drop(&mut self) {
        let _ = self.envoy.kill();
        let _ = self.envoy.wait();
    }
}

async fn serve_lines(first: First) -> SocketAddr {
    let listener = server::listen((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = World::default().app("echo", "v1", "cluster1");
    let name: Arc<str> = line::server(&app.served_by).into();
    tokio::spawn(streams::serve(listener, Kind::Lines(first), name, CancellationToken::new()));
    address
}

async fn free_port() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap()
}

fn address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}

fn listener(name: &str, at: SocketAddr, filter: &Value) -> Value {
    json!({ "name": name, "address": address(at), "filter_chains": [{ "filters": [filter] }] })
}

fn http_filter() -> Value {
    let route = |matches: Value, cluster: &str| json!({ "match": matches, "route": { "cluster": cluster } });
    let routes = [
        route(json!({ "prefix": "/nobody" }), "nobody"),
        route(json!({ "prefix": "/", "grpc": {} }), "http2"),
        route(json!({ "prefix": "/" }), "http1"),
    ];
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "http",
            "upgrade_configs": [{ "upgrade_type": "websocket" }],
            "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes }] },
            "http_filters": [{
                "name": "envoy.filters.http.router",
                "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
            }],
        },
    })
}

fn tcp_filter(cluster: &str) -> Value {
    json!({
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": cluster,
            "cluster": cluster,
        },
    })
}

fn cluster(name: &str, endpoint: Option<SocketAddr>, http2: bool) -> Value {
    let endpoints: Vec<_> =
        endpoint.into_iter().map(|endpoint| json!({ "endpoint": { "address": address(endpoint) } })).collect();
    let mut cluster = json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": endpoints }] },
    });
    if http2 {
        cluster["typed_extension_protocol_options"] = json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": {} },
            },
        });
    }
    cluster
}

#[tokio::test]
async fn every_protocol_passes_and_what_envoy_refuses_carries_its_flag() {
    require!(Capability::Envoy);
    let proxied = Proxied::start().await;
    let at = |scheme: &str, address: SocketAddr, path: &str| format!("{scheme}://{address}{path}");
    for (url, more) in [
        (at("http", proxied.http, "/"), &[][..]),
        (at("http", proxied.http, "/"), &["--http2"]),
        (at("grpc", proxied.http, ""), &[]),
        (at("grpc", proxied.http, ""), &["--stream"]),
        (at("ws", proxied.http, "/ws"), &[]),
        (at("tcp", proxied.tcp, ""), &[]),
        (at("tcp", proxied.first, ""), &["--server-first"]),
    ] {
        let args =
            [&["run", "--url", &url, "--requests", "50", "--connections", "2", "--samples", "50"], more].concat();
        let report = probe(&args).await;
        assert_eq!(
            (&report["answered"], &report["byStatus"]["200"]),
            (&json!(50), &json!(50)),
            "{url} {more:?}: {report}"
        );
        let group = &report["groups"][0];
        assert_eq!((&group["pod"], &group["count"]), (&json!("echo-v1-pod"), &json!(50)), "{url} {more:?}: {report}");
        assert_eq!(report["samples"]["rows"].as_array().unwrap().len(), 50);
    }
    let report = probe(&["run", "--url", &at("http", proxied.http, "/nobody"), "--requests", "3"]).await;
    let group = &report["groups"][0];
    assert_eq!((&group["status"], &group["responseFlags"]), (&json!(503), &json!("UH")), "{report}");
}
