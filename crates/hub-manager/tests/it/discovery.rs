//! What is discovered and federated.

use serde_json::{Value, json};

use crate::world::{
    DISCOVERY, HUB, ISTIO, MULTICLUSTER, NETWORKING, bookinfo, has, join, management, manager, reason, register, status,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clusters_are_discovered_and_know_each_other_once_they_are_joined() {
    let (management, one, two) = tokio::join!(management(), bookinfo("cluster1", 1), bookinfo("cluster2", 2));
    register(&management, "cluster1", &one.kubeconfig()).await;
    register(&management, "cluster2", &two.kubeconfig()).await;
    let manager = manager(&management).await;

    let meshes = ["meshproof-hub/istiod--istio-system--cluster1", "meshproof-hub/istiod--istio-system--cluster2"];
    has(&management, DISCOVERY, "Mesh", &meshes).await;
    let destinations = ["meshproof-hub/reviews--bookinfo--cluster1", "meshproof-hub/reviews--bookinfo--cluster2"];
    has(&management, DISCOVERY, "Destination", &destinations).await;
    let active = |status: &Value| status["state"] == "ACTIVE";
    status(&management, (MULTICLUSTER, "KubernetesCluster", HUB, "cluster1"), active).await;

    join(&management, &["cluster1", "cluster2"]).await;
    for (cluster, own, other) in [(&one, "cluster1", "cluster2"), (&two, "cluster2", "cluster1")] {
        // For its own gateway, and for its own callers.
        let served = format!("bookinfo/reviews.bookinfo.svc.{own}.global");
        let called = format!("istio-system/reviews.bookinfo.svc.{other}.global");
        has(cluster, ISTIO, "ServiceEntry", &[&served, &called]).await;
    }
    let accepted = |status: &Value| {
        status["state"] == "ACCEPTED" && status["federatedDestinations"] == 2 && reason(status, "Written") == "Written"
    };
    let told = status(&management, (NETWORKING, "VirtualMesh", HUB, "all"), accepted).await;
    let acknowledged = told["conditions"].as_array().unwrap().iter().find(|one| one["type"] == "Acknowledged").unwrap();
    assert_eq!(acknowledged["status"], "Unknown", "nobody tells of proxies: {told}");
    assert!(acknowledged["message"].as_str().unwrap().contains("no pod of the hub's agent"), "{told}");

    management.delete(NETWORKING, "VirtualMesh", HUB, "all").await;
    has(&one, ISTIO, "ServiceEntry", &[]).await;
    has(&two, ISTIO, "ServiceEntry", &[]).await;
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_is_written_where_it_belongs() {
    let (management, one, two) = tokio::join!(management(), bookinfo("cluster1", 1), bookinfo("cluster2", 2));
    register(&management, "cluster1", &one.kubeconfig()).await;
    register(&management, "cluster2", &two.kubeconfig()).await;
    join(&management, &["cluster1", "cluster2"]).await;
    let manager = manager(&management).await;
    let to = |weight: u32, cluster: &str, version: &str| {
        json!({ "weight": weight, "kubeService": { "name": "reviews", "namespace": "bookinfo", "clusterName": cluster,
            "subset": { "version": version } } })
    };
    management
        .create(json!({ "apiVersion": NETWORKING, "kind": "TrafficPolicy", "metadata": { "name": "shift", "namespace": "bookinfo" },
            "spec": { "destinationSelector": [{ "kubeServiceRefs": { "services": [
                { "name": "reviews", "namespace": "bookinfo", "clusterName": "cluster1" }] } }],
                "policy": { "trafficShift": { "destinations": [to(75, "cluster2", "v3"), to(25, "cluster1", "v1")] } } } }))
        .await;
    has(&one, ISTIO, "VirtualService", &["bookinfo/reviews"]).await;
    let route = one.get(ISTIO, "VirtualService", "bookinfo", "reviews").await.unwrap();
    let hosts: Vec<_> =
        route["spec"]["http"][0]["route"].as_array().unwrap().iter().map(|to| &to["destination"]["host"]).collect();
    assert_eq!(hosts, ["reviews.bookinfo.svc.cluster2.global", "reviews.bookinfo.svc.cluster.local"]);
    let accepted = |status: &Value| status["state"] == "ACCEPTED" && status["targets"] == 1;
    status(&management, (NETWORKING, "TrafficPolicy", "bookinfo", "shift"), accepted).await;
    management.delete(NETWORKING, "TrafficPolicy", "bookinfo", "shift").await;
    has(&one, ISTIO, "VirtualService", &[]).await;
    manager.stop().await;
}
