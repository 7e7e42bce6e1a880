//! A real Envoy sends its access log; the agent counts, and tells who listens.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::accesslog::v3::access_log_service_server::AccessLogServiceServer;
use http_body_util::{BodyExt as _, Empty};
use hub_agent::admin::{self, Sources};
use hub_agent::telemetry::AccessLogs;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use requirements::{Capability, require};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

const PATIENCE: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(20);

/// As the control plane names them. Without an authority Envoy sends the name of the cluster, which is none.
const CLUSTER: &str = "outbound|9977||hub-agent.meshproof-hub.svc.cluster.local";
const AUTHORITY: &str = "hub-agent.meshproof-hub.svc.cluster.local:9977";

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// An Envoy that answers by itself, and logs as the control plane tells proxies to.
fn envoy(directory: &Path) -> Running {
    let pipe = |name: &str| json!({ "pipe": { "path": directory.join(name) } });
    let literal = |tag: &str, value: &str| json!({ "tag": tag, "literal": { "value": value } });
    let common = json!({
        "log_name": "http_envoy_accesslog",
        "transport_api_version": "V3",
        "grpc_service": { "envoy_grpc": { "cluster_name": CLUSTER, "authority": AUTHORITY } },
        "buffer_flush_interval": "0.05s",
        "custom_tags": [
            literal("reporter", "destination"),
            literal("destination_service", "reviews.bookinfo.svc.cluster.local"),
            { "tag": "nothing", "value": "%UPSTREAM_PEER_URI_SAN%" },
        ],
    });
    let log = json!({
        "name": "envoy.access_loggers.http_grpc",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
            "common_config": common,
            "additional_request_headers_to_log": ["content-type"],
        },
    });
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "test",
        "access_log": [log],
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [
            { "match": { "prefix": "/reviews" }, "direct_response": { "status": 200 } },
            { "match": { "prefix": "/" }, "direct_response": { "status": 503 } },
        ] }] },
        "http_filters": [{ "name": "envoy.filters.http.router", "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" } }],
    });
    let http2 = json!({ "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": { "http2_protocol_options": {} },
    } });
    let node = json!({ "id": "sidecar~10.0.0.2~reviews-v1-1.bookinfo~bookinfo.svc.cluster.local", "cluster": "reviews", "metadata": {
        "CLUSTER_ID": "cluster1", "NAME": "reviews-v1-1", "NAMESPACE": "bookinfo", "LABELS": { "app": "reviews", "version": "v1" },
    } });
    let bootstrap = json!({ "node": node, "static_resources": {
        "listeners": [{
            "name": "test",
            "address": pipe("requests"),
            "filter_chains": [{ "filters": [{ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager }] }],
        }],
        "clusters": [{
            "name": CLUSTER,
            "type": "STATIC",
            "typed_extension_protocol_options": http2,
            "load_assignment": { "cluster_name": CLUSTER, "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": pipe("agent") } }] }] },
        }],
    } });
    let path = directory.join("bootstrap.json");
    std::fs::write(&path, bootstrap.to_string()).unwrap();
    let log = std::fs::File::create(directory.join("envoy.log")).unwrap();
    let mut command = Command::new(requirements::envoy().unwrap());
    command.args(["--concurrency", "1", "--disable-hot-restart", "-l", "warning", "-c"]).arg(path);
    Running(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap())
}

async fn request(directory: &Path, path: &str) -> Result<u16, String> {
    let words = |error: &dyn std::error::Error| error.to_string();
    let stream = UnixStream::connect(directory.join("requests")).await.map_err(|error| words(&error))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| words(&error))?;
    tokio::spawn(connection);
    let request = hyper::Request::get(path).header("host", "reviews:9080").body(Empty::<Bytes>::new()).unwrap();
    Ok(sender.send_request(request).await.map_err(|error| words(&error))?.status().as_u16())
}

/// The listener of the agent's answers to the plane.
async fn admin(access_logs: AccessLogs) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, acknowledged) = watch::channel(Arc::default());
    tokio::spawn(async move {
        axum::serve(listener, admin::router(Sources { acknowledged, access_logs })).await.unwrap();
        drop(sender);
    });
    port
}

async fn get(port: u16, path: &str) -> hyper::Response<hyper::body::Incoming> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::get(path).header("host", "agent").body(Empty::<Bytes>::new()).unwrap();
    sender.send_request(request).await.unwrap()
}

#[tokio::test]
async fn what_envoy_tells_is_counted_and_handed_on() {
    require!(Capability::Envoy);
    let directory = tempfile::tempdir().unwrap();
    let access_logs = AccessLogs::new(Arc::new(|_| None));
    let incoming = UnixListenerStream::new(UnixListener::bind(directory.path().join("agent")).unwrap());
    let service = AccessLogServiceServer::new(access_logs.clone());
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
    let port = admin(access_logs).await;
    let mut lines = get(port, "/v1/access-log").await.into_body();
    let _envoy = envoy(directory.path());
    let answers = eventually::poll("Envoy to answer", PATIENCE, STEP, async || {
        request(directory.path(), "/reviews/1?token=secret").await
    });
    assert_eq!(answers.await.unwrap(), 200);
    assert_eq!(request(directory.path(), "/other").await.unwrap(), 503);
    let frame = tokio::time::timeout(PATIENCE, lines.frame()).await.unwrap().unwrap().unwrap();
    let line: Value =
        serde_json::from_slice(frame.data_ref().unwrap().split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    assert_eq!(line["path"], "/reviews/1", "{line}");
    assert_eq!(line["labels"]["destination_app"], "reviews");
    assert!(line["durationMilliseconds"].is_number(), "{line}");
    let counted = eventually::poll("both requests to be counted", PATIENCE, STEP, async || {
        let body = get(port, "/metrics").await.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        let has = |code: &str| {
            text.lines().any(|line| {
                line.starts_with("istio_requests_total{")
                    && line.contains("destination_workload=\"reviews-v1-1\"")
                    && line.contains(&format!("response_code=\"{code}\""))
                    && line.ends_with(" 1")
            })
        };
        if has("200") && has("503") { Ok(()) } else { Err(text) }
    });
    counted.await.unwrap();
}
