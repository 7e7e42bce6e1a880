//! `pods/log`: the container that is meant, and errors in the node's words.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use serde_json::json;

use crate::world::{World, pod, raw, refusal};

pub(crate) async fn place(world: &World, name: &str) {
    let path = format!("/api/v1/namespaces/default/pods/{name}/binding");
    let (code, _) =
        raw(&world.client, "POST", &path, "application/json", json!({"target": {"kind": "Node", "name": "n"}})).await;
    assert_eq!(code, 201);
}

#[tokio::test]
async fn logs_come_from_the_node() {
    let world = World::start().await;
    world.create("v1", "Pod", "default", pod("p")).await;
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), "default");
    let (code, _, message) = refusal(pods.logs("p", &LogParams::default()).await);
    assert_eq!((code, message.as_str()), (400, "pod p does not have a host assigned"));
    place(&world, "p").await;
    let params = LogParams { tail_lines: Some(3), ..LogParams::default() };
    assert_eq!(pods.logs("p", &params).await.unwrap(), "p c\ntail Some(3)\n");
    let params = LogParams { limit_bytes: Some(2), ..LogParams::default() };
    assert_eq!(pods.logs("p", &params).await.unwrap(), "p ");
    let (code, _, message) = refusal(pods.logs("p", &LogParams { previous: true, ..LogParams::default() }).await);
    assert_eq!((code, message.as_str()), (400, "previous terminated container \"c\" in pod \"p\" not found"));
    let wrong = LogParams { container: Some("x".to_owned()), ..LogParams::default() };
    assert_eq!(refusal(pods.logs("p", &wrong).await).2, "container x is not valid for pod p");
}

#[tokio::test]
async fn one_of_several_containers_must_be_named() {
    let world = World::start().await;
    let mut two = pod("p");
    two["spec"]["containers"] = json!([{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]);
    world.create("v1", "Pod", "default", two).await;
    place(&world, "p").await;
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), "default");
    let (_, _, message) = refusal(pods.logs("p", &LogParams::default()).await);
    assert_eq!(message, "a container name must be specified for pod p, choose one of: [a b]");
}
