//! Garbage collection and the deletion of namespaces.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, PropagationPolicy,
};
use kube::core::GroupVersionKind;
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::world::{World, deployment};

async fn rolled_out(world: &World) -> Deployment {
    world.create::<Deployment>(deployment("web", 2)).await;
    let is_available = |deployment: Option<&Deployment>| {
        deployment
            .and_then(|deployment| deployment.status.as_ref())
            .is_some_and(|status| status.available_replicas == Some(2))
    };
    world.until("web", is_available).await.unwrap()
}

async fn counts(world: &World) -> (usize, usize) {
    let of_web = ListParams::default().labels("app=web");
    let sets = world.api::<ReplicaSet>("default").list(&of_web).await.unwrap().items.len();
    (sets, world.api::<Pod>("default").list(&of_web).await.unwrap().items.len())
}

async fn until_counts(world: &World, expected: (usize, usize)) {
    let step = Duration::from_millis(5);
    let reached = eventually::poll("dependents", Duration::from_secs(20), step, async || {
        let counts = counts(world).await;
        if counts == expected { Ok(()) } else { Err(format!("{counts:?} (sets, pods)")) }
    });
    reached.await.unwrap();
}

fn with(policy: PropagationPolicy) -> DeleteParams {
    DeleteParams { propagation_policy: Some(policy), ..DeleteParams::default() }
}

#[tokio::test]
async fn in_the_background_the_owner_goes_first() {
    let world = World::with_node().await;
    rolled_out(&world).await;
    world.api::<Deployment>("default").delete("web", &DeleteParams::default()).await.unwrap();
    until_counts(&world, (0, 0)).await;
}

#[tokio::test]
async fn in_the_foreground_the_owner_goes_last() {
    let world = World::with_node().await;
    let deployment = rolled_out(&world).await;
    // A pod that does not go as long as somebody holds it.
    let pods = world.api::<Pod>("default");
    let held = pods.list(&ListParams::default().labels("app=web")).await.unwrap().items[0].name_any();
    let finalizers = |list: Value| json!({"metadata": {"finalizers": list}});
    pods.patch(&held, &PatchParams::default(), &Patch::Merge(&finalizers(json!(["example.com/hold"])))).await.unwrap();
    let deployments = world.api::<Deployment>("default");
    deployments.delete("web", &with(PropagationPolicy::Foreground)).await.unwrap();
    until_counts(&world, (1, 1)).await;
    assert!(deployments.get("web").await.is_ok(), "the owner waits for the pod that is held");
    pods.patch(&held, &PatchParams::default(), &Patch::Merge(&finalizers(json!([])))).await.unwrap();
    world.until("web", conditions::is_deleted::<Deployment>(&deployment.metadata.uid.unwrap())).await;
    assert_eq!(counts(&world).await, (0, 0));
}

#[tokio::test]
async fn orphans_stay_and_lose_their_owner() {
    let world = World::with_node().await;
    let deployment = rolled_out(&world).await;
    world.api::<Deployment>("default").delete("web", &with(PropagationPolicy::Orphan)).await.unwrap();
    world.until("web", conditions::is_deleted::<Deployment>(&deployment.metadata.uid.unwrap())).await;
    assert_eq!(counts(&world).await, (1, 2));
    let sets = world.api::<ReplicaSet>("default").list(&ListParams::default()).await.unwrap();
    assert_eq!(sets.items[0].owner_references(), []);
}

#[tokio::test]
async fn what_names_an_owner_that_never_was_goes() {
    let world = World::with_node().await;
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "ghost", "uid": "00000000-0000-0000-0000-000000000000"}]);
    world.create::<ConfigMap>(json!({"metadata": {"name": "haunted", "ownerReferences": owner}})).await;
    world.until("haunted", |map: Option<&ConfigMap>| map.is_none()).await;
}

fn widgets(world: &World) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("example.com", "v1", "Widget"));
    Api::namespaced_with(world.client.clone(), "shop", &kind)
}

async fn define_widgets(world: &World) {
    let definition = json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                          "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    });
    let definitions: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    definitions.create(&PostParams::default(), &serde_json::from_value(definition).unwrap()).await.unwrap();
    await_condition(definitions, "widgets.example.com", conditions::is_crd_established()).await.unwrap();
}

#[tokio::test]
async fn a_namespace_goes_with_everything_in_it_and_waits_for_finalizers() {
    let world = World::with_node().await;
    define_widgets(&world).await;
    world.create_namespace("shop").await;
    let mut object = deployment("web", 2);
    object["metadata"]["namespace"] = json!("shop");
    object["spec"]["template"]["spec"]["serviceAccountName"] = json!("default");
    world.create::<Deployment>(object).await;
    let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "finalizers": ["example.com/hold"]}});
    widgets(&world).create(&PostParams::default(), &serde_json::from_value(widget).unwrap()).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let namespace = namespaces.delete("shop", &DeleteParams::default()).await.unwrap();
    let uid = namespace.left().unwrap().metadata.uid.unwrap();
    let step = Duration::from_millis(5);
    let waiting = eventually::poll("the rest of the namespace to go", Duration::from_secs(20), step, async || {
        let pods = world.api::<Pod>("shop").list(&ListParams::default()).await.unwrap().items.len();
        let deployments = world.api::<Deployment>("shop").list(&ListParams::default()).await.unwrap().items.len();
        if (pods, deployments) == (0, 0) { Ok(()) } else { Err(format!("{pods} pods, {deployments} deployments")) }
    });
    waiting.await.unwrap();
    assert!(namespaces.get_opt("shop").await.unwrap().is_some(), "the held widget keeps the namespace");
    let patch = json!({"metadata": {"finalizers": null}});
    widgets(&world).patch("w", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    let gone = await_condition(namespaces, "shop", conditions::is_deleted::<Namespace>(&uid));
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the namespace goes").unwrap();
}

#[tokio::test]
async fn a_kind_that_goes_at_the_same_time_does_not_keep_a_namespace() {
    let world = World::with_node().await;
    define_widgets(&world).await;
    world.create_namespace("shop").await;
    // Goes as soon as the collector knows the kind.
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "ghost", "uid": "00000000-0000-0000-0000-000000000000"}]);
    let widget =
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "ownerReferences": owner}});
    let widget =
        widgets(&world).create(&PostParams::default(), &serde_json::from_value(widget).unwrap()).await.unwrap();
    let uid = widget.metadata.uid.unwrap();
    let gone = await_condition(widgets(&world), "w", conditions::is_deleted::<DynamicObject>(&uid));
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the widget goes").unwrap();
    let definitions: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    definitions.delete("widgets.example.com", &DeleteParams::default()).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let namespace = namespaces.delete("shop", &DeleteParams::default()).await.unwrap();
    let uid = namespace.left().unwrap().metadata.uid.unwrap();
    let gone = await_condition(namespaces, "shop", conditions::is_deleted::<Namespace>(&uid));
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the namespace goes").unwrap();
}
