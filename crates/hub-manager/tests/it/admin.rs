//! What the manager tells over HTTP about itself.

use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hub_manager::admin::{Sources, router};
use hub_manager::clusters::Agents;
use hub_manager::telemetry;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::world::{HUB, manager, one_cluster, policy, routed, timeout};

async fn get(port: u16, path: &str) -> (u16, String) {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::get(path).header("host", "manager").body(Empty::<Bytes>::new()).unwrap();
    let response = tokio::time::timeout(Duration::from_secs(10), sender.send_request(request)).await.unwrap().unwrap();
    let status = response.status().as_u16();
    (status, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_is_told_without_secrets_and_only_while_it_leads() {
    let (management, one) = one_cluster().await;
    let manager = manager(&management).await;
    management.create(timeout("quick", 2)).await;
    routed(&one, Some("2s")).await;
    policy(&management, "quick", "ACCEPTED").await;
    let (view, views) = watch::channel(Some(manager.view()));
    let (_ready, ready) = watch::channel(true);
    let telemetry = telemetry::Sources { agents: Agents::default(), namespace: HUB.to_owned() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = router(Sources { view: views, ready, telemetry });
    tokio::spawn(async move { axum::serve(listener, router).await });

    let (status, text) = get(port, "/v1/snapshot").await;
    assert_eq!(status, 200, "{text}");
    let snapshot: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(snapshot["inputs"]["TrafficPolicy"][0]["metadata"]["name"], "quick");
    let outputs = snapshot["outputs"]["cluster1"].as_array().unwrap();
    assert!(outputs.iter().any(|object| object["kind"] == "VirtualService"), "{outputs:?}");
    assert_eq!(snapshot["clusters"]["cluster1"]["state"], "ACTIVE");
    assert!(one.kubeconfig().contains("client-key-data"), "there is a secret that could be told");
    assert!(!text.contains("client-key-data") && !text.contains("certificate-authority-data"), "{text}");
    let (_, meshes) = get(port, "/v1/meshes").await;
    assert_eq!(serde_json::from_str::<Value>(&meshes).unwrap()[0]["cluster"], "cluster1");
    let (_, metrics) = get(port, "/metrics").await;
    assert!(metrics.contains("hub_writes_total{cluster=\"cluster1\",result=\"success\"} 1"), "{metrics}");
    assert_eq!(get(port, "/ready").await.0, 200);

    view.send_replace(None);
    for path in ["/v1/snapshot", "/v1/clusters", "/v1/graph", "/metrics"] {
        assert_eq!(get(port, path).await.0, 503, "{path}");
    }
    manager.stop().await;
}
