//! What is whose: foreign objects stay as they are, the hub's are put right, what nobody wants any more is deleted.

use hub_manager::plane::Plane;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::world::{
    DISCOVERY, HUB, ISTIO, MULTICLUSTER, bookinfo, has, join, management, manager, one_cluster, policy, register,
    routed, status, timeout, until, yaml,
};

const SLICE: &str = "discovery.k8s.io/v1";

fn foreign() -> Value {
    json!({ "apiVersion": ISTIO, "kind": "VirtualService", "metadata": { "name": "reviews", "namespace": "bookinfo" },
        "spec": { "hosts": ["reviews"], "http": [{ "timeout": "9s", "route": [{ "destination": { "host": "reviews" } }] }] } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_object_is_left_as_it_is_and_told() {
    let (management, one) = one_cluster().await;
    let before = one.create(foreign()).await;
    let manager = manager(&management).await;
    management.create(timeout("quick", 2)).await;
    let told = policy(&management, "quick", "INVALID").await;
    assert!(told["errors"][0].as_str().unwrap().contains("VirtualService bookinfo/reviews in cluster1"), "{told}");
    assert_snapshot!("policy_with_a_foreign_object", yaml(&told));
    let now = one.get(ISTIO, "VirtualService", "bookinfo", "reviews").await.unwrap();
    assert_eq!(now["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);

    one.delete(ISTIO, "VirtualService", "bookinfo", "reviews").await;
    routed(&one, Some("2s")).await;
    policy(&management, "quick", "ACCEPTED").await;
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_edits_or_deletes_is_put_right() {
    let (management, one) = one_cluster().await;
    let manager = manager(&management).await;
    management.create(timeout("quick", 2)).await;
    routed(&one, Some("2s")).await;

    let edit =
        json!({ "spec": { "http": [{ "timeout": "7s", "route": [{ "destination": { "host": "elsewhere" } }] }] } });
    one.patch(ISTIO, "VirtualService", "bookinfo", "reviews", edit).await;
    routed(&one, Some("2s")).await;

    one.patch(ISTIO, "VirtualService", "bookinfo", "reviews", json!({ "spec": { "exportTo": ["."] } })).await;
    until("the added field to be gone", async || {
        let route = one.get(ISTIO, "VirtualService", "bookinfo", "reviews").await.unwrap();
        if route["spec"]["exportTo"] == json!(["."]) { Err(route.to_string()) } else { Ok(()) }
    })
    .await;

    one.delete(ISTIO, "VirtualService", "bookinfo", "reviews").await;
    routed(&one, Some("2s")).await;
    manager.stop().await;
}

/// Waits until `reviews` of cluster1 has so many endpoints.
async fn endpoints(management: &crate::cluster::Cluster, expected: usize) {
    until(&format!("{expected} endpoints"), async || {
        let found = management.get(DISCOVERY, "Destination", HUB, "reviews--bookinfo--cluster1").await;
        let endpoints = found.unwrap_or_default()["spec"]["kubeService"]["endpoints"].as_array().map_or(0, Vec::len);
        if endpoints == expected { Ok(()) } else { Err(format!("there are {endpoints}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_longer_wanted_of_an_object_goes() {
    let (management, one) = one_cluster().await;
    let manager = manager(&management).await;
    management.create(timeout("quick", 2)).await;
    routed(&one, Some("2s")).await;
    let other = json!({ "spec": { "policy": { "requestTimeout": null, "retries": { "attempts": 3 } } } });
    management.patch(crate::world::NETWORKING, "TrafficPolicy", "bookinfo", "quick", other).await;
    until("the timeout to be gone", async || {
        let route = one.get(ISTIO, "VirtualService", "bookinfo", "reviews").await.unwrap_or_default();
        let http = &route["spec"]["http"][0];
        if http["retries"]["attempts"] == 3 && http.get("timeout").is_none() { Ok(()) } else { Err(route.to_string()) }
    })
    .await;

    let slice = json!({ "apiVersion": SLICE, "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "name": "reviews-1", "namespace": "bookinfo", "labels": { "kubernetes.io/service-name": "reviews" } },
        "endpoints": [{ "addresses": ["10.0.0.1"], "conditions": { "ready": true } }], "ports": [{ "port": 9080 }] });
    one.create(slice).await;
    endpoints(&management, 1).await;
    one.patch(SLICE, "EndpointSlice", "bookinfo", "reviews-1", json!({ "endpoints": [] })).await;
    endpoints(&management, 0).await;
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_left_from_before_is_collected_at_a_start() {
    let (management, one) = one_cluster().await;
    let mut left = foreign();
    let plane = Plane::of(&management.client, HUB).await;
    let labels = json!({ "hub.meshproof.dev/owner": plane.identity });
    left["metadata"] = json!({ "name": "left", "namespace": "bookinfo", "labels": labels });
    one.create(left.clone()).await;
    left["metadata"] =
        json!({ "name": "other", "namespace": "bookinfo", "labels": { "hub.meshproof.dev/owner": "another-hub" } });
    one.create(left).await;
    let manager = manager(&management).await;
    has(&one, ISTIO, "VirtualService", &["bookinfo/other"]).await;
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_leaves_keeps_nothing_of_the_hub() {
    let (management, one) = one_cluster().await;
    join(&management, &["cluster1"]).await;
    let manager = manager(&management).await;
    management.create(timeout("quick", 2)).await;
    routed(&one, Some("2s")).await;
    let held = |status: &Value| status["state"] == "ACTIVE";
    let told = status(&management, (MULTICLUSTER, "KubernetesCluster", HUB, "cluster1"), held).await;
    assert_snapshot!("cluster_that_answers", yaml(&told));

    management.delete(MULTICLUSTER, "KubernetesCluster", HUB, "cluster1").await;
    has(&management, MULTICLUSTER, "KubernetesCluster", &[]).await;
    for kind in ["VirtualService", "DestinationRule", "ServiceEntry", "Gateway"] {
        assert_eq!(crate::world::names(&one, ISTIO, kind).await, Vec::<String>::new(), "{kind}");
    }
    for kind in ["Mesh", "Workload", "Destination"] {
        has(&management, DISCOVERY, kind, &[]).await;
    }
    let warned = |status: &Value| status["targets"] == 0;
    let told = status(&management, ("networking.meshproof.dev/v1", "TrafficPolicy", "bookinfo", "quick"), warned).await;
    assert_eq!(told["warnings"], json!(["no destination is selected"]));
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_leaves_while_no_manager_runs_is_not_found_again() {
    let (management, _one) = one_cluster().await;
    let first = manager(&management).await;
    has(&management, DISCOVERY, "Mesh", &["meshproof-hub/istiod--istio-system--cluster1"]).await;
    first.stop().await;
    management.delete(MULTICLUSTER, "KubernetesCluster", HUB, "cluster1").await;

    let second = manager(&management).await;
    has(&management, MULTICLUSTER, "KubernetesCluster", &[]).await;
    for kind in ["Mesh", "Workload", "Destination"] {
        has(&management, DISCOVERY, kind, &[]).await;
    }
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_by_hand_is_respected() {
    let (management, one) = one_cluster().await;
    let manager = manager(&management).await;
    has(&management, DISCOVERY, "Destination", &["meshproof-hub/reviews--bookinfo--cluster1"]).await;
    let by_hand = json!({ "apiVersion": DISCOVERY, "kind": "Destination", "metadata": { "name": "machine", "namespace": HUB },
        "spec": { "kubeService": { "ref": { "name": "details", "namespace": "bookinfo", "clusterName": "cluster1" },
            "ports": [{ "port": 9080, "name": "http", "protocol": "TCP" }] },
            "mesh": { "name": "istiod--istio-system--cluster1", "namespace": HUB } } });
    management.create(by_hand).await;
    let host = |status: &Value| status["localFqdn"] == "details.bookinfo.svc.cluster.local";
    status(&management, (DISCOVERY, "Destination", HUB, "machine"), host).await;
    one.delete("v1", "Service", "bookinfo", "reviews").await;
    has(&management, DISCOVERY, "Destination", &["meshproof-hub/machine"]).await;
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_planes_of_one_name_over_a_cluster_leave_each_others_objects() {
    let (first, second, shared) = tokio::join!(management(), management(), bookinfo("cluster1", 1));
    for management in [&first, &second] {
        register(management, "cluster1", &shared.kubeconfig()).await;
    }
    let manager_of_first = manager(&first).await;
    first.create(timeout("quick", 2)).await;
    routed(&shared, Some("2s")).await;
    // The second collects its garbage at its start, and wants an object that the first has.
    let manager_of_second = manager(&second).await;
    second.create(timeout("slow", 9)).await;
    let told = policy(&second, "slow", "INVALID").await;
    assert!(told["errors"][0].as_str().unwrap().contains("VirtualService bookinfo/reviews in cluster1"), "{told}");
    routed(&shared, Some("2s")).await;
    policy(&first, "quick", "ACCEPTED").await;

    second.delete(MULTICLUSTER, "KubernetesCluster", HUB, "cluster1").await;
    has(&second, MULTICLUSTER, "KubernetesCluster", &[]).await;
    routed(&shared, Some("2s")).await;
    // What the first gives up another may have.
    register_again(&second).await;
    first.delete(crate::world::NETWORKING, "TrafficPolicy", "bookinfo", "quick").await;
    routed(&shared, Some("9s")).await;
    policy(&second, "slow", "ACCEPTED").await;
    manager_of_first.stop().await;
    routed(&shared, Some("9s")).await;
    manager_of_second.stop().await;
}

/// Registers a cluster again whose Secret is still there.
async fn register_again(management: &crate::cluster::Cluster) {
    let registration = json!({ "apiVersion": MULTICLUSTER, "kind": "KubernetesCluster",
        "metadata": { "name": "cluster1", "namespace": HUB }, "spec": { "secretName": "cluster1" } });
    management.create(registration).await;
}
