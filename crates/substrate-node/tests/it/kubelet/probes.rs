//! Probes of every kind, against a server that can be made sick.

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use kube::api::ListParams;
use requirements::{Capability, require};
use serde_json::{Value, json};

use super::cluster::{Cluster, is_ready};

fn server(name: &str, probes: Value) -> Value {
    let mut container = json!({"name": "main", "image": "server:1", "args": ["8080"], "ports": [{"name": "web", "containerPort": 8080}]});
    for (key, value) in probes.as_object().expect("probes are an object") {
        container[key] = value.clone();
    }
    json!({"metadata": {"name": name}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}})
}

#[tokio::test]
async fn readiness_comes_and_goes_with_the_answers() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let cluster = Cluster::start().await;
    let checks = [
        ("http", json!({"httpGet": {"path": "/health", "port": "web"}})),
        ("grpc", json!({"grpc": {"port": 8080}})),
        ("command", json!({"exec": {"command": ["test", "!", "-e", "/tmp/sick"]}})),
        ("tcp", json!({"tcpSocket": {"port": "web"}})),
    ];
    for (name, check) in &checks {
        let mut probe = check.clone();
        probe["periodSeconds"] = json!(1);
        probe["failureThreshold"] = json!(1);
        cluster.create::<Pod>(server(name, json!({"readinessProbe": probe}))).await;
    }
    for (name, _) in &checks {
        cluster.ready(name).await;
    }
    for (name, _) in &checks[..3] {
        cluster.shell(name, "main", "touch /tmp/sick").await;
        cluster.until(name, "unready", |pod: Option<&Pod>| pod.is_some_and(|pod| !is_ready(pod))).await;
        cluster.shell(name, "main", "rm /tmp/sick").await;
        cluster.ready(name).await;
    }
    let events: Api<Event> = Api::namespaced(cluster.client.clone(), "default");
    let told = events.list(&ListParams::default().fields("reason=Unhealthy,involvedObject.name=http")).await.unwrap();
    let message = told.items.last().and_then(|event| event.message.clone());
    assert_eq!(message.as_deref(), Some("Readiness probe failed: HTTP probe failed with statuscode: 503"));
}

#[tokio::test]
async fn a_container_that_is_not_alive_is_restarted() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let cluster = Cluster::start().await;
    let probe = json!({"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1});
    cluster
        .create::<Pod>(server(
            "sick",
            json!({"livenessProbe": probe, "readinessProbe": probe, "startupProbe": {
        "tcpSocket": {"port": 8080}, "periodSeconds": 1}}),
        ))
        .await;
    cluster.ready("sick").await;
    cluster.shell("sick", "main", "touch /tmp/sick").await;
    let restarted = |pod: Option<&Pod>| {
        let statuses = pod.and_then(|pod| pod.status.as_ref()?.container_statuses.clone()).unwrap_or_default();
        statuses.first().is_some_and(|status| status.restart_count == 1 && status.ready)
    };
    let pod = cluster.until("sick", "restarted and ready", restarted).await.unwrap();
    let status = pod.status.unwrap().container_statuses.unwrap().remove(0);
    assert_eq!(status.last_state.unwrap().terminated.unwrap().exit_code, 137);
}

#[tokio::test]
async fn a_container_that_never_starts_up_is_ended() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let cluster = Cluster::start().await;
    let probe = json!({"tcpSocket": {"port": 9}, "periodSeconds": 1, "failureThreshold": 2});
    let mut object = server("late", json!({"startupProbe": probe}));
    object["spec"]["restartPolicy"] = json!("Never");
    cluster.create::<Pod>(object).await;
    cluster.until("late", "Failed", super::cluster::has_phase("Failed")).await;
}
