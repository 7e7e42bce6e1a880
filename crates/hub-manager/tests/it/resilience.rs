//! What fails is told, held up nowhere else, and made good.

use std::time::Duration;

use http::Method;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::spy::Spy;
use crate::world::{
    DISCOVERY, HUB, ISTIO, MULTICLUSTER, bookinfo, has, join, management, manager, manager_with, names, one_cluster,
    policy, register, routed, status, timeout, until, yaml,
};

fn role(rules: Value) -> Value {
    json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": "hub" }, "rules": rules })
}

/// A user of a cluster with these rights.
async fn grant(cluster: &crate::cluster::Cluster, rules: Value) -> String {
    cluster.create(role(rules)).await;
    cluster
        .create(json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": { "name": "hub" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "hub" },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "hub" }] }))
        .await;
    cluster.kubeconfig_of("hub")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_is_refused_is_told_and_made_good() {
    let (management, one) = tokio::join!(management(), bookinfo("cluster1", 1));
    let read = json!({ "apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"] });
    let write = json!({ "apiGroups": ["networking.istio.io"], "resources": ["*"], "verbs": ["*"] });
    let kubeconfig = grant(&one, json!([read])).await;
    register(&management, "cluster1", &kubeconfig).await;
    let manager = manager(&management).await;
    management.create(timeout("quick", 2)).await;
    let told = policy(&management, "quick", "FAILED").await;
    assert_snapshot!("policy_that_cannot_be_written", yaml(&told));

    one.patch("rbac.authorization.k8s.io/v1", "ClusterRole", "", "hub", json!({ "rules": [read, write] })).await;
    routed(&one, Some("2s")).await;
    let written = |status: &Value| crate::world::reason(status, "Acknowledged") == "NobodyTells";
    let told =
        status(&management, ("networking.meshproof.dev/v1", "TrafficPolicy", "bookinfo", "quick"), written).await;
    assert_snapshot!("policy_that_nobody_tells_about", yaml(&told));
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_does_not_answer_holds_up_nobody_and_is_made_good() {
    let (management, one, mut two) = tokio::join!(management(), bookinfo("cluster1", 1), bookinfo("cluster2", 2));
    register(&management, "cluster1", &one.kubeconfig()).await;
    register(&management, "cluster2", &two.kubeconfig()).await;
    join(&management, &["cluster1", "cluster2"]).await;
    let manager = manager(&management).await;
    let served = "bookinfo/reviews.bookinfo.svc.cluster2.global";
    let called = "istio-system/reviews.bookinfo.svc.cluster1.global";
    has(&two, ISTIO, "ServiceEntry", &[served, called]).await;

    two.fall_silent();
    let failed = |status: &Value| status["state"] == "FAILED";
    let told = status(&management, (MULTICLUSTER, "KubernetesCluster", HUB, "cluster2"), failed).await;
    assert!(told["errors"][0].as_str().unwrap().starts_with("the API server does not answer"), "{told}");
    management.create(timeout("quick", 2)).await;
    routed(&one, Some("2s")).await;
    has(&two, ISTIO, "ServiceEntry", &[served, called]).await;
    let meshes = names(&management, "discovery.meshproof.dev/v1", "Mesh").await;
    assert_eq!(meshes.len(), 2, "what cannot be seen is not gone");
    // What is to be done there meanwhile is told, and done later.
    management.delete("networking.meshproof.dev/v1", "VirtualMesh", HUB, "all").await;
    has(&one, ISTIO, "ServiceEntry", &[]).await;

    two.answer().await;
    has(&two, ISTIO, "ServiceEntry", &[]).await;
    let active = |status: &Value| status["state"] == "ACTIVE";
    status(&management, (MULTICLUSTER, "KubernetesCluster", HUB, "cluster2"), active).await;
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_from_what_is_there_writes_nothing() {
    let (management, one, two) = tokio::join!(management(), bookinfo("cluster1", 1), bookinfo("cluster2", 2));
    register(&management, "cluster1", &one.kubeconfig()).await;
    register(&management, "cluster2", &two.kubeconfig()).await;
    join(&management, &["cluster1", "cluster2"]).await;
    management.create(timeout("quick", 2)).await;
    let first = manager(&management).await;
    routed(&one, Some("2s")).await;
    policy(&management, "quick", "ACCEPTED").await;
    let told =
        |status: &Value| status["federatedDestinations"] == 2 && crate::world::reason(status, "Written") == "Written";
    status(&management, ("networking.meshproof.dev/v1", "VirtualMesh", HUB, "all"), told).await;
    first.stop().await;

    let versions =
        async || {
            let mut versions = Vec::new();
            for cluster in [&management, &one, &two] {
                for (group, kind) in [
                    (ISTIO, "VirtualService"),
                    (ISTIO, "DestinationRule"),
                    (ISTIO, "ServiceEntry"),
                    (ISTIO, "Gateway"),
                    ("discovery.meshproof.dev/v1", "Mesh"),
                    ("discovery.meshproof.dev/v1", "Workload"),
                    ("discovery.meshproof.dev/v1", "Destination"),
                    ("networking.meshproof.dev/v1", "TrafficPolicy"),
                    ("networking.meshproof.dev/v1", "VirtualMesh"),
                    (MULTICLUSTER, "KubernetesCluster"),
                ] {
                    let all = cluster.list(group, kind).await;
                    versions.extend(all.iter().map(|one| {
                        format!("{kind} {} {}", one["metadata"]["name"], one["metadata"]["resourceVersion"])
                    }));
                }
            }
            versions
        };
    let before = versions().await;
    let second = manager(&management).await;
    // Something that comes last, so that everything before it has been done.
    until("both clusters to be read", async || {
        let all = second.directory.all();
        if all.values().filter(|one| one.mesh.is_some()).count() == 2 { Ok(()) } else { Err(format!("{all:?}")) }
    })
    .await;
    // The first status that is written comes after everything that a start might write.
    let mut later = timeout("later", 2);
    later["spec"]["destinationSelector"][0]["kubeServiceRefs"]["services"][0]["name"] = "nobody".into();
    management.create(later).await;
    policy(&management, "later", "ACCEPTED").await;
    let after: Vec<_> = versions().await.into_iter().filter(|one| !one.contains("\"later\"")).collect();
    similar_asserts::assert_eq!(before, after);
    assert_eq!((second.metrics.writes(), second.metrics.statuses()), (0, 1), "{}", second.metrics.print());
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kubeconfig_that_cannot_be_used_is_told() {
    let (management, _one) = one_cluster().await;
    register(&management, "cluster9", "- this is no kubeconfig").await;
    let manager = manager(&management).await;
    let failed = |status: &Value| status["state"] == "FAILED";
    let told = status(&management, (MULTICLUSTER, "KubernetesCluster", HUB, "cluster9"), failed).await;
    assert_eq!(crate::world::reason(&told, "Connected"), "NoKubeconfig");
    assert_snapshot!("cluster_without_a_kubeconfig", yaml(&told));
    let active = |status: &Value| status["state"] == "ACTIVE";
    status(&management, (MULTICLUSTER, "KubernetesCluster", HUB, "cluster1"), active).await;
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_that_cannot_be_held_is_tried_once_at_a_time() {
    let (management, _one) = one_cluster().await;
    let is_held =
        |method: &Method, path: &str| *method == Method::PATCH && path.ends_with("/kubernetesclusters/cluster1");
    let (client, spy) = Spy::on(&management.client, is_held);
    spy.refuse(true);
    let manager = manager_with(client).await;
    until("a try", async || if spy.count() > 0 { Ok(()) } else { Err("none") }).await;
    for number in 0..30 {
        let seen = json!({ "metadata": { "annotations": { "seen": number.to_string() } } });
        management.patch(MULTICLUSTER, "KubernetesCluster", HUB, "cluster1", seen).await;
    }
    let before = spy.count();
    // One try a second, whatever was seen meanwhile.
    let _passed = tokio::time::timeout(Duration::from_secs(3), std::future::pending::<()>()).await;
    let tries = spy.count() - before;
    assert!((1..=4).contains(&tries) && before <= 4, "{before} tries, and {tries} in three seconds");
    spy.refuse(false);
    until("it to be held", async || {
        let one = management.get(MULTICLUSTER, "KubernetesCluster", HUB, "cluster1").await.unwrap();
        if one["metadata"]["finalizers"].is_array() { Ok(()) } else { Err(one["metadata"].to_string()) }
    })
    .await;
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_that_are_taken_away_are_told_and_what_is_given_back_is_watched_again() {
    let (management, mut one) = tokio::join!(management(), bookinfo("cluster1", 1));
    let all = json!({ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] });
    let kubeconfig = grant(&one, json!([all])).await;
    register(&management, "cluster1", &kubeconfig).await;
    let manager = manager(&management).await;
    let in_state = |wanted: &'static str| move |status: &Value| status["state"] == wanted;
    let registration = (MULTICLUSTER, "KubernetesCluster", HUB, "cluster1");
    status(&management, registration, in_state("ACTIVE")).await;

    let services =
        json!({ "apiGroups": [""], "resources": ["pods", "nodes", "namespaces", "configmaps"], "verbs": ["*"] });
    let groups = ["apps", "discovery.k8s.io", "networking.istio.io", "security.istio.io", "certificates.meshproof.dev"];
    let others = json!({ "apiGroups": groups, "resources": ["*"], "verbs": ["*"] });
    let fewer = json!({ "rules": [services, others] });
    one.patch("rbac.authorization.k8s.io/v1", "ClusterRole", "", "hub", fewer).await;
    // Watches end after a while, as connections do; what is watched again is judged by the rights of the moment.
    one.fall_silent();
    one.answer().await;
    let told = status(&management, registration, in_state("FAILED")).await;
    assert!(told["errors"][0].as_str().unwrap().starts_with("objects of kind Service cannot be read"), "{told}");
    one.delete("v1", "Service", "bookinfo", "reviews").await;
    one.patch("rbac.authorization.k8s.io/v1", "ClusterRole", "", "hub", json!({ "rules": [all] })).await;
    status(&management, registration, in_state("ACTIVE")).await;
    has(&management, DISCOVERY, "Destination", &[]).await;
    manager.stop().await;
}
