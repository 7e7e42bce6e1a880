//! Server-side apply and the other patches, through the API.

use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::world::{World, raw, refusal, value};

fn map(data: serde_json::Value) -> Patch<serde_json::Value> {
    Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}))
}

#[tokio::test]
async fn apply_creates_changes_removes_and_owns() {
    let world = World::start().await;
    let api = world.api("v1", "ConfigMap", "default");
    let ann = PatchParams::apply("ann");
    let created = value(&api.patch("a", &ann, &map(json!({"x": "1", "y": "1"}))).await.unwrap());
    assert_eq!(created["metadata"]["managedFields"][0]["operation"], "Apply");
    let changed = value(&api.patch("a", &ann, &map(json!({"x": "2"}))).await.unwrap());
    assert_eq!(changed["data"], json!({"x": "2"}), "what is no longer applied goes");
    let bob = PatchParams::apply("bob");
    let (code, _, message) = refusal(api.patch("a", &bob, &map(json!({"x": "3"}))).await);
    assert_eq!(code, 409);
    assert_eq!(message, "Apply failed with 1 conflict: conflict with \"ann\": .data.x");
    let forced = value(&api.patch("a", &bob.force(), &map(json!({"x": "3"}))).await.unwrap());
    assert_eq!(forced["data"]["x"], "3");
}

#[tokio::test]
async fn an_apply_that_changes_nothing_writes_nothing() {
    let world = World::start().await;
    let api = world.api("v1", "ConfigMap", "default");
    let ann = PatchParams::apply("ann");
    let first = api.patch("a", &ann, &map(json!({"x": "1"}))).await.unwrap();
    let second = api.patch("a", &ann, &map(json!({"x": "1"}))).await.unwrap();
    assert_eq!(first.metadata.resource_version, second.metadata.resource_version);
}

#[tokio::test]
async fn strategic_patches_merge_lists_by_key() {
    let world = World::start().await;
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"app": "d"}},
        "template": {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]}}}});
    world.create("apps/v1", "Deployment", "default", deployment).await;
    let patch =
        Patch::Strategic(json!({"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "b:2"}]}}}}));
    let api = world.api("apps/v1", "Deployment", "default");
    let patched = value(&api.patch("d", &PatchParams::default(), &patch).await.unwrap());
    let containers = &patched["spec"]["template"]["spec"]["containers"];
    assert_eq!((containers.as_array().unwrap().len(), &containers[1]["image"]), (2, &json!("b:2")));
}

#[tokio::test]
async fn a_json_patch_tests_and_fails_with_reason() {
    let world = World::start().await;
    world.create("v1", "ConfigMap", "default", json!({"metadata": {"name": "a"}, "data": {"x": "1"}})).await;
    let path = "/api/v1/namespaces/default/configmaps/a";
    let good =
        json!([{"op": "test", "path": "/data/x", "value": "1"}, {"op": "replace", "path": "/data/x", "value": "2"}]);
    let (code, object) = raw(&world.client, "PATCH", path, "application/json-patch+json", good.clone()).await;
    assert_eq!((code, &object["data"]["x"]), (200, &json!("2")));
    let (code, status) = raw(&world.client, "PATCH", path, "application/json-patch+json", good).await;
    assert_eq!((code, &status["reason"]), (422, &json!("Invalid")));
    let (code, _) = raw(&world.client, "PATCH", path, "application/json", json!({})).await;
    assert_eq!(code, 415);
}
