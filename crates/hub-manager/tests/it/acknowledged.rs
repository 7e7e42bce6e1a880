//! A policy is active once every proxy has it, as the agent of its cluster tells over a port-forward.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use futures::StreamExt as _;
use insta::assert_snapshot;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;

use crate::cluster::Cluster;
use crate::world::{HUB, ISTIO, manager, one_cluster, policy, reason, routed, status, timeout, yaml};

const ROUTE: &str = "VirtualService/bookinfo/reviews";

/// Stands in for the agent: tells the line of the moment, and every later one.
struct Agent {
    lines: Arc<watch::Sender<String>>,
}

impl Agent {
    async fn start(cluster: &Cluster) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (lines, _) = watch::channel("{\"resources\":{}}\n".to_owned());
        let lines = Arc::new(lines);
        let told = Arc::clone(&lines);
        let stream = move || {
            let lines = WatchStream::new(told.subscribe()).map(Ok::<_, std::io::Error>);
            async move { Body::from_stream(lines) }
        };
        let router = Router::new().route("/v1/acknowledged", get(stream));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let pod = json!({ "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": format!("hub-agent-{port}"), "namespace": HUB, "labels": { "app.kubernetes.io/name": "meshproof-hub-agent" } },
            "spec": { "nodeName": "node1", "containers": [{ "name": "agent", "image": "meshproof/hub-agent:dev",
                "ports": [{ "containerPort": 9092 }] }] },
            "status": { "phase": "Running", "podIP": "10.0.0.9", "conditions": [{ "type": "Ready", "status": "True" }] } });
        cluster.create(pod).await;
        Self { lines }
    }

    fn tell(&self, entry: &Value) {
        self.lines.send_replace(format!("{}\n", json!({ "resources": entry })));
    }
}

async fn version(cluster: &Cluster) -> String {
    let route = cluster.get(ISTIO, "VirtualService", "bookinfo", "reviews").await.unwrap();
    route["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_is_active_once_every_proxy_has_it() {
    let (management, one) = one_cluster().await;
    let manager = manager(&management).await;
    management.create(timeout("quick", 2)).await;
    routed(&one, Some("2s")).await;
    let of = |wanted: &'static str| move |status: &Value| reason(status, "Acknowledged") == wanted;
    let name = ("networking.meshproof.dev/v1", "TrafficPolicy", "bookinfo", "quick");
    status(&management, name, of("NobodyTells")).await;
    // What it says first names nothing, which means that nobody has it.
    let agent = Agent::start(&one).await;
    let told = status(&management, name, of("Waiting")).await;
    assert_eq!(told["state"], "ACCEPTED", "{told}");

    let first = version(&one).await;
    agent.tell(
        &json!({ ROUTE: { "resourceVersion": first, "acknowledged": false, "waiting": ["a.bookinfo", "b.bookinfo"] } }),
    );
    let named = |status: &Value| status.to_string().contains("a.bookinfo and 1 more");
    let told = status(&management, name, named).await;
    assert_snapshot!("policy_that_proxies_lack", yaml(&told));

    agent.tell(&json!({ ROUTE: { "resourceVersion": first, "acknowledged": true } }));
    let told = policy(&management, "quick", "ACTIVE").await;
    assert_snapshot!("policy_that_every_proxy_has", yaml(&told));

    // Another state of it is not acknowledged by what was said about this one.
    let patch = json!({ "spec": { "policy": { "requestTimeout": "3s" } } });
    management.patch("networking.meshproof.dev/v1", "TrafficPolicy", "bookinfo", "quick", patch).await;
    routed(&one, Some("3s")).await;
    let told = status(&management, name, of("Waiting")).await;
    assert_eq!(told["state"], "ACCEPTED", "{told}");
    let refused = json!({ "resourceVersion": version(&one).await, "acknowledged": false, "refused": { "a.bookinfo": "no such cluster" } });
    agent.tell(&json!({ ROUTE: refused }));
    let told = status(&management, name, of("Refused")).await;
    assert!(told.to_string().contains("a.bookinfo refused it: no such cluster"), "{told}");
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_silence_of_its_cluster_the_agent_is_asked_again() {
    let (management, mut one) = one_cluster().await;
    let manager = manager(&management).await;
    let agent = Agent::start(&one).await;
    management.create(timeout("quick", 2)).await;
    routed(&one, Some("2s")).await;
    agent.tell(&json!({ ROUTE: { "resourceVersion": version(&one).await, "acknowledged": true } }));
    policy(&management, "quick", "ACTIVE").await;
    one.fall_silent();
    let name = ("multicluster.meshproof.dev/v1", "KubernetesCluster", HUB, "cluster1");
    status(&management, name, |status| status["state"] == "FAILED").await;
    let name = ("networking.meshproof.dev/v1", "TrafficPolicy", "bookinfo", "quick");
    status(&management, name, |status| reason(status, "Acknowledged") == "NobodyTells").await;
    // Nothing has changed meanwhile but that nobody was heard.
    one.answer().await;
    policy(&management, "quick", "ACTIVE").await;
    manager.stop().await;
}
