//! Endpoints and addresses of Services.

use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::world::World;

fn pod(name: &str, annotations: Value) -> Value {
    let container = json!({"name": "c", "image": "i", "ports": [{"name": "web", "containerPort": 8080}]});
    json!({"metadata": {"name": name, "labels": {"app": "web"}, "annotations": annotations}, "spec": {"containers": [container]}})
}

fn service(name: &str, type_: &str) -> Value {
    let ports = json!([{"name": "http", "port": 80, "targetPort": "web"}]);
    json!({"metadata": {"name": name}, "spec": {"type": type_, "selector": {"app": "web"}, "ports": ports}})
}

fn ready_addresses(count: usize) -> impl Fn(Option<&Endpoints>) -> bool {
    move |endpoints| {
        let subsets = endpoints.and_then(|endpoints| endpoints.subsets.clone()).unwrap_or_default();
        let ready: usize = subsets.iter().map(|subset| subset.addresses.as_ref().map_or(0, Vec::len)).sum();
        ready == count
    }
}

#[tokio::test]
async fn endpoints_follow_readiness() {
    let world = World::with_node().await;
    world.create::<Service>(service("web", "ClusterIP")).await;
    world.create::<Pod>(pod("ready", json!({}))).await;
    world.create::<Pod>(pod("slow", json!({"unready": "yes"}))).await;
    world.until("web", ready_addresses(1)).await;
    let has_address = |pod: Option<&Pod>| pod.is_some_and(|pod| pod.status.as_ref().unwrap().pod_ip.is_some());
    world.until("slow", has_address).await;
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let pods = world.api::<Pod>("default");
    pods.patch_status("slow", &PatchParams::default(), &Patch::Merge(&ready)).await.unwrap();
    world.until("web", ready_addresses(2)).await;
    let slices = world.api::<EndpointSlice>("default");
    let slices = slices.list(&ListParams::default().labels("kubernetes.io/service-name=web")).await.unwrap().items;
    assert_eq!(slices.len(), 1);
    assert_eq!(slices[0].ports.as_ref().unwrap()[0].port, Some(8080));
    let endpoints = slices[0].endpoints.as_ref().unwrap();
    assert!(endpoints.iter().all(|endpoint| endpoint.zone.as_deref() == Some("z1")));
    pods.delete("ready", &DeleteParams::default()).await.unwrap();
    world.until("web", ready_addresses(1)).await;
    world.api::<Service>("default").delete("web", &DeleteParams::default()).await.unwrap();
    world.until("web", |endpoints: Option<&Endpoints>| endpoints.is_none()).await;
}

#[tokio::test]
async fn addresses_are_given_kept_and_given_on() {
    let world = World::with_node().await;
    let address = |service: &Service| {
        let ingress = service.status.as_ref()?.load_balancer.as_ref()?.ingress.clone()?;
        ingress.first()?.ip.clone()
    };
    // At the same time, so that both look at the same free pool.
    let (one, two) = tokio::join!(
        world.create::<Service>(service("one", "LoadBalancer")),
        world.create::<Service>(service("two", "LoadBalancer")),
    );
    drop((one, two));
    let has_address = |service: Option<&Service>| service.is_some_and(|service| address(service).is_some());
    let one = world.until("one", has_address).await.unwrap();
    let two = world.until("two", has_address).await.unwrap();
    assert_ne!(address(&one), address(&two));
    world.create::<Service>(service("three", "LoadBalancer")).await;
    let services = world.api::<Service>("default");
    services.delete("one", &DeleteParams::default()).await.unwrap();
    let three = world.until("three", has_address).await.unwrap();
    assert_eq!(address(&three), address(&one), "the address that became free is given on");
    let patch = json!({"spec": {"type": "ClusterIP"}});
    services.patch("two", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    world.until("two", |service: Option<&Service>| service.is_some_and(|service| address(service).is_none())).await;
}
