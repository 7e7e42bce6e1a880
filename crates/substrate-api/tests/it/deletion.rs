//! Deletion: grace for pods, finalizers, propagation, preconditions, collections, namespaces.

use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use serde_json::{Value, json};

use crate::world::{World, pod, raw, refusal, try_create, value};

#[tokio::test]
async fn a_placed_pod_ends_when_its_node_says_so() {
    let world = World::start().await;
    let api = world.api("v1", "Pod", "default");
    world.create("v1", "Pod", "default", pod("p")).await;
    let binding = json!({"target": {"kind": "Node", "name": "n"}});
    let (code, _) =
        raw(&world.client, "POST", "/api/v1/namespaces/default/pods/p/binding", "application/json", binding.clone())
            .await;
    assert_eq!(code, 201);
    let (code, _) =
        raw(&world.client, "POST", "/api/v1/namespaces/default/pods/p/binding", "application/json", binding).await;
    assert_eq!(code, 409, "a pod is bound once");
    api.delete("p", &DeleteParams::default().grace_period(20)).await.unwrap();
    let ending = value(&api.get("p").await.unwrap());
    assert_eq!(ending["spec"]["nodeName"], "n");
    assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], 20);
    api.delete("p", &DeleteParams::default().grace_period(0)).await.unwrap();
    assert_eq!(refusal(api.get("p").await).0, 404);
}

#[tokio::test]
async fn a_pod_without_a_node_goes_at_once() {
    let world = World::start().await;
    world.create("v1", "Pod", "default", pod("p")).await;
    let api = world.api("v1", "Pod", "default");
    api.delete("p", &DeleteParams::default()).await.unwrap();
    assert_eq!(refusal(api.get("p").await).0, 404);
}

#[tokio::test]
async fn finalizers_hold_an_object() {
    let world = World::start().await;
    let api = world.api("v1", "ConfigMap", "default");
    world.create("v1", "ConfigMap", "default", json!({"metadata": {"name": "a", "finalizers": ["x.io/y"]}})).await;
    api.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(api.get("a").await.unwrap().metadata.deletion_timestamp.is_some());
    let add = Patch::Merge(json!({"metadata": {"finalizers": ["x.io/y", "x.io/z"]}}));
    assert_eq!(refusal(api.patch("a", &PatchParams::default(), &add).await).0, 422);
    let none = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    api.patch("a", &PatchParams::default(), &none).await.unwrap();
    assert_eq!(refusal(api.get("a").await).0, 404);
}

#[tokio::test]
async fn propagation_is_written_down_for_the_garbage_collector() {
    let world = World::start().await;
    let api = world.api("v1", "ConfigMap", "default");
    for (name, policy, finalizer) in
        [("f", PropagationPolicy::Foreground, "foregroundDeletion"), ("o", PropagationPolicy::Orphan, "orphan")]
    {
        world.create("v1", "ConfigMap", "default", json!({"metadata": {"name": name}})).await;
        let params = DeleteParams { propagation_policy: Some(policy), ..DeleteParams::default() };
        api.delete(name, &params).await.unwrap();
        assert_eq!(api.get(name).await.unwrap().metadata.finalizers.unwrap(), [finalizer]);
    }
}

#[tokio::test]
async fn preconditions_protect_a_successor() {
    let world = World::start().await;
    world.create("v1", "ConfigMap", "default", json!({"metadata": {"name": "a"}})).await;
    let preconditions = Preconditions { uid: Some("other".to_owned()), resource_version: None };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    assert_eq!(refusal(world.api("v1", "ConfigMap", "default").delete("a", &params).await).0, 409);
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let world = World::start().await;
    let api = world.api("v1", "ConfigMap", "default");
    for name in ["a", "b"] {
        world.create("v1", "ConfigMap", "default", json!({"metadata": {"name": name, "labels": {"n": name}}})).await;
    }
    api.delete_collection(&DeleteParams::default(), &ListParams::default().labels("n=a")).await.unwrap();
    let left = api.list(&ListParams::default()).await.unwrap();
    assert_eq!(left.items.len(), 1);
}

#[tokio::test]
async fn a_namespace_waits_for_its_finalizer_and_takes_nothing_new() {
    let world = World::start().await;
    let api = world.api("v1", "Namespace", "");
    world.create("v1", "Namespace", "", json!({"metadata": {"name": "demo"}})).await;
    api.delete("demo", &DeleteParams::default()).await.unwrap();
    let mut namespace = value(&api.get("demo").await.unwrap());
    assert_eq!(namespace["status"]["phase"], "Terminating");
    let late = try_create(&world.client, "v1", "ConfigMap", "demo", json!({"metadata": {"name": "a"}})).await;
    let (code, _, message) = refusal(late);
    assert_eq!(code, 403);
    assert_eq!(
        message,
        "configmaps \"a\" is forbidden: unable to create new content in namespace demo because it is being terminated"
    );
    namespace["spec"]["finalizers"] = json!([]);
    let (code, _) = raw(&world.client, "PUT", "/api/v1/namespaces/demo/finalize", "application/json", namespace).await;
    assert_eq!(code, 200);
    assert_eq!(refusal(api.get("demo").await).0, 404);
    let (code, status) = raw(&world.client, "DELETE", "/api/v1/namespaces/default", "", Value::Null).await;
    assert_eq!(
        (code, &status["message"]),
        (403, &json!("namespaces \"default\" is forbidden: this namespace may not be deleted"))
    );
}

#[tokio::test]
async fn an_eviction_deletes_the_pod() {
    let world = World::start().await;
    world.create("v1", "Pod", "default", pod("p")).await;
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    let (code, _) =
        raw(&world.client, "POST", "/api/v1/namespaces/default/pods/p/eviction", "application/json", eviction).await;
    assert_eq!(code, 201);
    assert_eq!(refusal(world.api("v1", "Pod", "default").get("p").await).0, 404);
}
