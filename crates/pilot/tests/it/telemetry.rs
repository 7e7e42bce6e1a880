//! Access logs over gRPC: where MeshConfig names a service and the service is there, and nowhere else. And who waits for the
//! control plane's account hears of a change.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::accesslog::v3::access_log;
use envoy_types::pb::envoy::config::core::v3::grpc_service::TargetSpecifier;
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
use envoy_types::pb::envoy::extensions::access_loggers::grpc::v3::HttpGrpcAccessLogConfig;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use pilot::ads::status::{ProxyStatus, Registry};
use pilot::debug::{self, Sources};
use pilot::model::Mesh;
use pilot::model::store::Store;
use pilot::translate::{Proxy, Translation};
use prost::Message as _;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, settings};
use crate::translate::{BOOKINFO, GATEWAYS};

/// The management plane's agent, in both clusters.
pub(crate) const AGENT: &str = "
cluster: cluster1
---
kind: Service
metadata: {name: hub-agent, namespace: meshproof-hub}
spec: {clusterIP: 10.96.0.99, selector: {app: hub-agent}, ports: [{name: grpc-access-log, port: 9977, targetPort: 9977}]}
---
kind: Pod
metadata: {name: hub-agent-1, namespace: meshproof-hub, labels: {app: hub-agent}}
spec: {nodeName: node1, serviceAccountName: hub-agent, containers: [{name: hub-agent}]}
status: {podIP: 10.244.0.99}
";

/// Names of the loggers of every HTTP connection manager, with the values of their tags.
fn loggers(translation: &Translation) -> Vec<Vec<String>> {
    let filters =
        translation.listeners.iter().flat_map(|listener| &listener.filter_chains).flat_map(|chain| &chain.filters);
    let managers = filters.filter_map(|filter| match &filter.config_type {
        Some(ConfigType::TypedConfig(config)) if config.type_url.ends_with("HttpConnectionManager") => {
            Some(HttpConnectionManager::decode(config.value.as_slice()).unwrap())
        }
        _ => None,
    });
    managers.map(|manager| manager.access_log.iter().map(described).collect()).collect()
}

fn described(log: &envoy_types::pb::envoy::config::accesslog::v3::AccessLog) -> String {
    let Some(access_log::ConfigType::TypedConfig(config)) = &log.config_type else { return log.name.clone() };
    let Ok(config) = HttpGrpcAccessLogConfig::decode(config.value.as_slice()) else { return log.name.clone() };
    let common = config.common_config.unwrap_or_default();
    let Some(TargetSpecifier::EnvoyGrpc(receiver)) =
        common.grpc_service.as_ref().and_then(|service| service.target_specifier.clone())
    else {
        panic!("no gRPC service: {common:?}");
    };
    assert_eq!(receiver.authority, "hub-agent.meshproof-hub.svc.cluster.local:9977");
    let tags: Vec<String> = common.custom_tags.iter().map(|tag| tag.tag.clone()).collect();
    format!("{} {} {}", log.name, common.log_name, tags.join(","))
}

#[test]
fn every_proxy_tells_the_agent_where_there_is_one() {
    for (role, namespace, pod) in [("sidecar", "bookinfo", "productpage-v1"), ("router", "istio-system", "ingress-1")] {
        let without = Fixture::read(&[BOOKINFO, GATEWAYS]).translate(role, "cluster1", namespace, pod);
        assert!(loggers(&without).iter().all(Vec::is_empty), "{pod} has nobody to tell");
        let with = Fixture::read(&[BOOKINFO, GATEWAYS, AGENT]).translate(role, "cluster1", namespace, pod);
        let loggers = loggers(&with);
        assert!(!loggers.is_empty());
        for of_manager in &loggers {
            assert_eq!(of_manager.len(), 1, "{pod}: {of_manager:?}");
            assert!(of_manager[0].starts_with("envoy.access_loggers.http_grpc http_envoy_accesslog reporter"));
        }
        let clusters: Vec<&str> = with.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
        assert!(clusters.contains(&"outbound|9977||hub-agent.meshproof-hub.svc.cluster.local"));
    }
}

async fn ask(port: u16, query: &str) -> Value {
    let body = debug::client::get(port, &format!("/debug/syncz{query}")).await.unwrap();
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn who_waits_hears_of_the_next_change() {
    let store = Store::new(settings("cluster1"));
    let registry = Arc::new(Registry::default());
    let (_serving, serves) = watch::channel(true);
    let sources = Sources { snapshots: store.snapshots(), registry: Arc::clone(&registry), serves };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(debug::serve(listener, debug::router(sources), CancellationToken::new()));
    let fixture = Fixture::read(&[BOOKINFO]);
    let publish = |number| {
        store.publish_mesh(Mesh {
            number,
            settings: Arc::clone(store.settings()),
            state: Arc::new(fixture.state("cluster1")),
            config_versions: Arc::default(),
        });
    };
    publish(1);
    let revision = |answer: &Value| answer["revision"].as_str().unwrap().to_owned();
    let first = revision(&ask(port, "").await);
    let unchanged = ask(port, &format!("?after={first}&seconds=0")).await;
    assert_eq!(revision(&unchanged), first, "nothing new in time");
    let query = format!("?after={first}&seconds=60");
    let (second, ()) = tokio::join!(ask(port, &query), async {
        tokio::task::yield_now().await;
        publish(2);
    });
    assert_eq!(second["snapshot"], 2);
    let query = format!("?after={}&seconds=60", revision(&second));
    let node = fixture.node("sidecar", "cluster1", "bookinfo", "productpage-v1");
    let status = ProxyStatus {
        proxy: Proxy::from_node(&node).unwrap(),
        connection: 1,
        connected: true,
        types: Default::default(),
        acknowledged: Default::default(),
        resources: Arc::default(),
        problems: Vec::new(),
        acknowledged_at: None,
    };
    let waiting = tokio::time::timeout(Duration::from_secs(20), async {
        tokio::join!(ask(port, &query), async { registry.set(status.clone()) }).0
    });
    let third = waiting.await.unwrap();
    assert_eq!(third["proxies"][0]["pod"], "productpage-v1");
    let acknowledged = third["proxies"][0]["acknowledgedAt"].clone();
    assert!(acknowledged.is_string(), "{acknowledged}");
    registry.set(status);
    assert_eq!(ask(port, "").await["proxies"][0]["acknowledgedAt"], acknowledged, "it acknowledged nothing more");
    assert_eq!(revision(&ask(port, "").await), revision(&third), "what tells nothing new wakes nobody");
}
