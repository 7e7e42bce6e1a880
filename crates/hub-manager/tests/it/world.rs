//! A management cluster, registered clusters with bookinfo, and a manager.

use std::fmt::Display;
use std::time::Duration;

use base64::Engine as _;
use hub_manager::manager::Manager;
use hub_manager::plane::Plane;
use kube::Client;
use serde_json::{Value, json};

use crate::cluster::Cluster;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(20);

pub(crate) const HUB: &str = "meshproof-hub";
pub(crate) const NETWORKING: &str = "networking.meshproof.dev/v1";
pub(crate) const DISCOVERY: &str = "discovery.meshproof.dev/v1";
pub(crate) const ISTIO: &str = "networking.istio.io/v1";
pub(crate) const MULTICLUSTER: &str = "multicluster.meshproof.dev/v1";

const BOOKINFO: &str = include_str!("fixtures/bookinfo.yaml");

/// Waits until something holds.
pub(crate) async fn until<T, E: Display>(what: &str, observe: impl AsyncFnMut() -> Result<T, E>) -> T {
    eventually::poll(what, PATIENCE, STEP, observe).await.unwrap_or_else(|error| panic!("{error}"))
}

/// A management cluster.
pub(crate) async fn management() -> Cluster {
    let cluster = Cluster::start("management").await;
    cluster.create(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": HUB } })).await;
    cluster.create(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "bookinfo" } })).await;
    cluster
}

/// A cluster with a control plane, a gateway and bookinfo; its number tells its gateway's address.
pub(crate) async fn bookinfo(name: &str, number: usize) -> Cluster {
    let cluster = Cluster::start(name).await;
    cluster.create_all(&BOOKINFO.replace("GATEWAY", &format!("172.18.{number}.1"))).await;
    cluster
}

/// Registers a cluster with a kubeconfig.
pub(crate) async fn register(management: &Cluster, name: &str, kubeconfig: &str) {
    let data = base64::engine::general_purpose::STANDARD.encode(kubeconfig);
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "type": "meshproof.dev/kubeconfig",
        "metadata": { "name": name, "namespace": HUB }, "data": { "kubeconfig": data } });
    management.create(secret).await;
    let registration = json!({ "apiVersion": MULTICLUSTER, "kind": "KubernetesCluster",
        "metadata": { "name": name, "namespace": HUB }, "spec": { "secretName": name } });
    management.create(registration).await;
}

/// Makes the meshes of some clusters one.
pub(crate) async fn join(management: &Cluster, clusters: &[&str]) {
    let meshes: Vec<Value> = clusters
        .iter()
        .map(|cluster| json!({ "name": format!("istiod--istio-system--{cluster}"), "namespace": HUB }))
        .collect();
    let virtual_mesh = json!({ "apiVersion": NETWORKING, "kind": "VirtualMesh",
        "metadata": { "name": "all", "namespace": HUB },
        "spec": { "meshes": meshes, "federation": { "permissive": {} } } });
    management.create(virtual_mesh).await;
}

/// A manager that works.
pub(crate) async fn manager(management: &Cluster) -> Manager {
    manager_with(management.client.clone()).await
}

/// A manager that works with this client of the management cluster.
pub(crate) async fn manager_with(client: Client) -> Manager {
    let plane = Plane::of(&client, HUB).await;
    let manager = Manager::start(client, &plane);
    let mut began = manager.began.clone();
    let waited = tokio::time::timeout(PATIENCE, began.wait_for(|began| *began)).await;
    waited.expect("the work begins in time").expect("the manager works");
    manager
}

/// Names of the objects of a kind, sorted.
pub(crate) async fn names(cluster: &Cluster, api_version: &str, kind: &str) -> Vec<String> {
    let name = |object: &Value| {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        format!("{}/{}", text("namespace"), text("name"))
    };
    let mut names: Vec<_> = cluster.list(api_version, kind).await.iter().map(name).collect();
    names.sort();
    names
}

/// Waits until a cluster has objects of a kind with these names and no others.
pub(crate) async fn has(cluster: &Cluster, api_version: &str, kind: &str, expected: &[&str]) {
    until(&format!("{kind} {expected:?}"), async || {
        let names = names(cluster, api_version, kind).await;
        if names == expected { Ok(()) } else { Err(format!("{names:?}")) }
    })
    .await;
}

/// Waits until the status of a resource of the plane is as a function says, which otherwise says what it lacks; returns the
/// status without times.
pub(crate) async fn status(
    management: &Cluster,
    (api_version, kind, namespace, name): (&str, &str, &str, &str),
    expected: impl Fn(&Value) -> bool,
) -> Value {
    let mut status = until(&format!("the status of {kind} {name}"), async || {
        let object = management.get(api_version, kind, namespace, name).await.unwrap_or_default();
        let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        if current && expected(&object["status"]) {
            Ok(object["status"].clone())
        } else {
            Err(object["status"].to_string())
        }
    })
    .await;
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        assert!(condition["lastTransitionTime"].is_string(), "{condition}");
        condition.as_object_mut().unwrap().remove("lastTransitionTime");
    }
    status
}

/// Reason of a condition; empty where there is none.
pub(crate) fn reason(status: &Value, kind: &str) -> String {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let found = conditions.filter(|one| one["type"] == kind).find_map(|one| one["reason"].as_str());
    found.unwrap_or_default().to_owned()
}

/// A policy for `reviews` of cluster1 that gives its requests a time.
pub(crate) fn timeout(name: &str, seconds: u32) -> Value {
    json!({ "apiVersion": NETWORKING, "kind": "TrafficPolicy", "metadata": { "name": name, "namespace": "bookinfo" },
        "spec": { "destinationSelector": [{ "kubeServiceRefs": { "services": [
            { "name": "reviews", "namespace": "bookinfo", "clusterName": "cluster1" }] } }],
            "policy": { "requestTimeout": format!("{seconds}s") } } })
}

/// A management cluster and one registered cluster.
pub(crate) async fn one_cluster() -> (Cluster, Cluster) {
    let (management, one) = tokio::join!(management(), bookinfo("cluster1", 1));
    register(&management, "cluster1", &one.kubeconfig()).await;
    (management, one)
}

/// Waits until the route of `reviews` in a cluster has a timeout; none stands for no route.
pub(crate) async fn routed(cluster: &Cluster, expected: Option<&str>) {
    until(&format!("a timeout of {expected:?}"), async || {
        let route = cluster.get(ISTIO, "VirtualService", "bookinfo", "reviews").await.unwrap_or_default();
        let timeout = route["spec"]["http"][0]["timeout"].as_str();
        if timeout == expected { Ok(()) } else { Err(route.to_string()) }
    })
    .await;
}

/// The status of a policy in the namespace `bookinfo`, once it is in a state.
pub(crate) async fn policy(management: &Cluster, name: &str, state: &str) -> Value {
    status(management, (NETWORKING, "TrafficPolicy", "bookinfo", name), |status| status["state"] == state).await
}

/// A status as YAML.
pub(crate) fn yaml(status: &Value) -> String {
    // The order of fields is that in which they were first written.
    let mut status = status.clone();
    status.sort_all_objects();
    serde_saphyr::to_string(&status).unwrap()
}
