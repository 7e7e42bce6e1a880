//! CustomResourceDefinitions: resources appear, are validated, defaulted, printed and cleaned up.

use futures::StreamExt;
use kube::api::{ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use serde_json::{Value, json};

use crate::world::{World, raw, refusal, try_create, value};

fn definition() -> Value {
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "minimum": 1}, "color": {"type": "string", "default": "red", "enum": ["red", "blue"]},
            "replicas": {"type": "integer"}}},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}});
    let version = |name: &str, storage: bool| {
        json!({"name": name, "served": true, "storage": storage,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
        "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}]})
    };
    json!({"metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"]},
        "versions": [version("v1", true), version("v1beta1", false)]}})
}

const CRD: (&str, &str) = ("apiextensions.k8s.io/v1", "CustomResourceDefinition");

async fn with_widgets() -> World {
    let world = World::start().await;
    let created = world.create(CRD.0, CRD.1, "", definition()).await;
    let conditions = created["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|condition| condition["type"] == "Established" && condition["status"] == "True"));
    assert_eq!(created["status"]["storedVersions"], json!(["v1"]));
    world
}

fn widget(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn custom_objects_are_defaulted_pruned_validated_and_counted() {
    let world = with_widgets().await;
    let created =
        world.create("example.com/v1", "Widget", "default", widget("a", json!({"size": 2, "unknown": 1}))).await;
    assert_eq!(created["spec"], json!({"size": 2, "color": "red"}));
    let bad = try_create(
        &world.client,
        "example.com/v1",
        "Widget",
        "default",
        widget("b", json!({"size": 0, "color": "green"})),
    )
    .await;
    let (code, _, message) = refusal(bad);
    assert_eq!(code, 422);
    assert!(
        message.contains("spec.size: Invalid value: 0") && message.contains("spec.color: Unsupported value: \"green\""),
        "{message}"
    );
    let api = world.api("example.com/v1", "Widget", "default");
    let status = value(
        &api.patch_status("a", &PatchParams::default(), &Patch::Merge(json!({"status": {"replicas": 1}})))
            .await
            .unwrap(),
    );
    assert_eq!((&status["metadata"]["generation"], &status["status"]["replicas"]), (&json!(1), &json!(1)));
    let scaled =
        api.patch_scale("a", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 3}}))).await.unwrap();
    assert_eq!((scaled.spec.unwrap().replicas, scaled.status.unwrap().replicas), (Some(3), 1));
    assert_eq!(api.get("a").await.unwrap().metadata.generation, Some(2));
}

#[tokio::test]
async fn every_served_version_shows_the_same_objects() {
    let world = with_widgets().await;
    world.create("example.com/v1beta1", "Widget", "default", widget("a", json!({"size": 2}))).await;
    let seen = value(&world.api("example.com/v1", "Widget", "default").get("a").await.unwrap());
    assert_eq!(seen["apiVersion"], "example.com/v1");
    let beta = world.api("example.com/v1beta1", "Widget", "default");
    assert_eq!(value(&beta.get("a").await.unwrap())["apiVersion"], "example.com/v1beta1");
    let mut events = beta.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    match events.next().await.unwrap().unwrap() {
        WatchEvent::Added(object) => assert_eq!(object.types.unwrap().api_version, "example.com/v1beta1"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn discovery_openapi_and_tables_know_the_resource() {
    let world = with_widgets().await;
    let (_, resources) = raw(&world.client, "GET", "/apis/example.com/v1", "", Value::Null).await;
    assert_eq!(resources["resources"][0]["shortNames"], json!(["wd"]));
    let (code, document) = raw(&world.client, "GET", "/openapi/v3/apis/example.com/v1", "", Value::Null).await;
    assert_eq!(code, 200);
    assert!(document["paths"]["/apis/example.com/v1/namespaces/{namespace}/widgets/{name}"]["patch"].is_object());
    world.create("example.com/v1", "Widget", "default", widget("a", json!({"size": 2}))).await;
    let request = http::Request::get("/apis/example.com/v1/widgets")
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
        .body(Vec::new())
        .unwrap();
    let table: Value = world.client.request(request).await.unwrap();
    assert_eq!(table["rows"][0]["cells"], json!(["a", 2]));
}

#[tokio::test]
async fn a_definition_takes_its_objects_along() {
    let world = with_widgets().await;
    world.create("example.com/v1", "Widget", "default", widget("a", json!({"size": 2}))).await;
    let api = world.api(CRD.0, CRD.1, "");
    let mut events = api.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    api.delete("widgets.example.com", &Default::default()).await.unwrap();
    let gone = async {
        while let Some(event) = events.next().await {
            if matches!(event.unwrap(), WatchEvent::Deleted(_)) {
                return;
            }
        }
        panic!("the watch ended");
    };
    tokio::time::timeout(std::time::Duration::from_secs(5), gone).await.unwrap();
    let list = world.api("example.com/v1", "Widget", "default").list(&ListParams::default()).await;
    assert_eq!(refusal(list).0, 404);
    world.create(CRD.0, CRD.1, "", definition()).await;
    let list = world.api("example.com/v1", "Widget", "default").list(&ListParams::default()).await.unwrap();
    assert!(list.items.is_empty());
}

#[tokio::test]
async fn a_broken_definition_is_refused() {
    let world = World::start().await;
    let mut broken = definition();
    broken["metadata"]["name"] = json!("gadgets.example.com");
    broken["spec"]["versions"][1]["storage"] = json!(true);
    broken["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["type"] = json!("string");
    let (code, _, message) = refusal(try_create(&world.client, CRD.0, CRD.1, "", broken).await);
    assert_eq!(code, 422);
    for part in [
        "metadata.name: Invalid value",
        "must have exactly one version marked as storage version",
        "must be object at the root",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
}
