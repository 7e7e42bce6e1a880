//! Lists: selectors, pages of one consistent moment, tables, metadata only.

use kube::api::ListParams;
use serde_json::{Value, json};

use crate::world::{World, pod, raw, refusal};

async fn with_maps(count: usize) -> World {
    let world = World::start().await;
    for index in 0..count {
        let object = json!({"metadata": {"name": format!("m{index}"), "labels": {"parity": if index % 2 == 0 { "even" } else { "odd" }}}});
        world.create("v1", "ConfigMap", "default", object).await;
    }
    world
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn get(world: &World, path: &str) -> (u16, Value) {
    raw(&world.client, "GET", path, "application/json", Value::Null).await
}

#[tokio::test]
async fn pages_show_one_moment() {
    let world = with_maps(5).await;
    let (_, first) = get(&world, &format!("{MAPS}?limit=2")).await;
    assert_eq!((names(&first), &first["metadata"]["remainingItemCount"]), (vec!["m0", "m1"], &json!(3)));
    world.api("v1", "ConfigMap", "default").delete("m3", &Default::default()).await.unwrap();
    world.create("v1", "ConfigMap", "default", json!({"metadata": {"name": "m31"}})).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let (_, second) = get(&world, &format!("{MAPS}?limit=2&continue={token}")).await;
    assert_eq!(names(&second), ["m2", "m3"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().unwrap();
    let (_, third) = get(&world, &format!("{MAPS}?limit=2&continue={token}")).await;
    assert_eq!((names(&third), &third["metadata"]["continue"]), (vec!["m4"], &Value::Null));
    let (code, status) = get(&world, &format!("{MAPS}?continue=x")).await;
    assert_eq!((code, &status["message"]), (400, &json!("continue key is not valid")));
}

#[tokio::test]
async fn an_exact_revision_can_be_listed_and_a_future_one_cannot() {
    let world = with_maps(2).await;
    let (_, before) = get(&world, MAPS).await;
    let revision = before["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    world.api("v1", "ConfigMap", "default").delete("m0", &Default::default()).await.unwrap();
    let (_, then) = get(&world, &format!("{MAPS}?resourceVersion={revision}&resourceVersionMatch=Exact")).await;
    assert_eq!(names(&then), ["m0", "m1"]);
    let (code, status) = get(&world, &format!("{MAPS}?resourceVersion=99999")).await;
    assert_eq!((code, &status["reason"]), (504, &json!("Timeout")));
}

#[tokio::test]
async fn selectors_choose() {
    let world = with_maps(4).await;
    let api = world.api("v1", "ConfigMap", "default");
    let count = |params: ListParams| {
        let api = api.clone();
        async move { api.list(&params).await.unwrap().items.len() }
    };
    assert_eq!(count(ListParams::default().labels("parity=even")).await, 2);
    assert_eq!(count(ListParams::default().labels("parity in (odd),parity!=even")).await, 2);
    assert_eq!(count(ListParams::default().fields("metadata.name=m3")).await, 1);
    assert_eq!(count(ListParams::default().fields("metadata.name!=m3")).await, 3);
    let refused = refusal(api.list(&ListParams::default().fields("data.x=1")).await);
    assert_eq!(refused, (400, "BadRequest".into(), "field label not supported: data.x".into()));
}

#[tokio::test]
async fn lists_are_shown_as_tables_and_as_metadata() {
    let world = World::start().await;
    world.create("v1", "Pod", "default", pod("p")).await;
    let ask = async |accept: &str| {
        let request = http::Request::get("/api/v1/namespaces/default/pods")
            .header("accept", accept)
            .body(Vec::new().into())
            .unwrap();
        let response = world.client.send(request).await.unwrap();
        let bytes = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        serde_json::from_slice::<Value>(&bytes).unwrap()
    };
    let table = ask("application/json;as=Table;v=v1;g=meta.k8s.io").await;
    assert_eq!((&table["kind"], &table["rows"][0]["cells"][0]), (&json!("Table"), &json!("p")));
    let metadata = ask("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io").await;
    assert_eq!((&metadata["kind"], &metadata["items"][0]["spec"]), (&json!("PartialObjectMetadataList"), &Value::Null));
    assert_eq!(ask("application/vnd.kubernetes.protobuf").await["code"], 406);
}
