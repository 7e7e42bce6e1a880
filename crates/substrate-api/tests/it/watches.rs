//! Watches: where they begin, what they tell, and how they end.

use futures::StreamExt;
use serde_json::{Value, json};
use tokio_util::codec::{FramedRead, LinesCodec};
use tokio_util::io::StreamReader;

use crate::world::{World, raw};

type Events = futures::stream::BoxStream<'static, Value>;

async fn watch(world: &World, query: &str) -> Events {
    let request = http::Request::get(format!("/api/v1/namespaces/default/configmaps?watch=true&{query}"))
        .body(Vec::new().into())
        .unwrap();
    let response = world.client.send(request).await.unwrap();
    let body = http_body_util::BodyExt::into_data_stream(response.into_body());
    let reader = StreamReader::new(body.map(|chunk| chunk.map_err(std::io::Error::other)));
    FramedRead::new(reader, LinesCodec::new()).map(|line| serde_json::from_str(&line.unwrap()).unwrap()).boxed()
}

async fn next(events: &mut Events) -> (String, String) {
    let event = tokio::time::timeout(std::time::Duration::from_secs(5), events.next()).await.expect("an event in time");
    let event = event.expect("an event before the end");
    let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    (event["type"].as_str().unwrap().to_owned(), name)
}

async fn create(world: &World, name: &str, color: &str) {
    world.create("v1", "ConfigMap", "default", json!({"metadata": {"name": name, "labels": {"color": color}}})).await;
}

async fn paint(world: &World, name: &str, color: &str) {
    let path = format!("/api/v1/namespaces/default/configmaps/{name}");
    let patch = json!({"metadata": {"labels": {"color": color}}});
    assert_eq!(raw(&world.client, "PATCH", &path, "application/merge-patch+json", patch).await.0, 200);
}

fn event(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

#[tokio::test]
async fn a_watch_without_a_revision_starts_with_what_is_there() {
    let world = World::start().await;
    create(&world, "a", "red").await;
    let mut events = watch(&world, "").await;
    assert_eq!(next(&mut events).await, event("ADDED", "a"));
    create(&world, "b", "red").await;
    paint(&world, "a", "blue").await;
    world.api("v1", "ConfigMap", "default").delete("b", &Default::default()).await.unwrap();
    assert_eq!(next(&mut events).await, event("ADDED", "b"));
    assert_eq!(next(&mut events).await, event("MODIFIED", "a"));
    assert_eq!(next(&mut events).await, event("DELETED", "b"));
}

#[tokio::test]
async fn objects_enter_and_leave_a_selection() {
    let world = World::start().await;
    create(&world, "a", "red").await;
    let mut events = watch(&world, "labelSelector=color%3Dblue").await;
    paint(&world, "a", "blue").await;
    assert_eq!(next(&mut events).await, event("ADDED", "a"));
    paint(&world, "a", "red").await;
    assert_eq!(next(&mut events).await, event("DELETED", "a"));
}

#[tokio::test]
async fn a_watch_goes_on_after_a_revision() {
    let world = World::start().await;
    create(&world, "a", "red").await;
    let (_, list) = raw(&world.client, "GET", "/api/v1/namespaces/default/configmaps", "", Value::Null).await;
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    create(&world, "b", "red").await;
    let mut events = watch(&world, &format!("resourceVersion={revision}")).await;
    assert_eq!(next(&mut events).await, event("ADDED", "b"));
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark() {
    let world = World::start().await;
    create(&world, "a", "red").await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut events = watch(&world, query).await;
    assert_eq!(next(&mut events).await, event("ADDED", "a"));
    let bookmark = events.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    let path = "/api/v1/configmaps?watch=true&sendInitialEvents=true";
    assert_eq!(raw(&world.client, "GET", path, "", Value::Null).await.0, 422);
}

#[tokio::test]
async fn a_watch_ends_at_its_time_and_with_a_last_bookmark() {
    let world = World::start().await;
    let mut events = watch(&world, "timeoutSeconds=1&allowWatchBookmarks=true").await;
    assert_eq!(next(&mut events).await.0, "BOOKMARK");
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_revision_that_is_gone_is_expired() {
    let world = World::start().await;
    create(&world, "a", "red").await;
    // More changes than the window keeps.
    for index in 0..4200 {
        paint(&world, "a", &format!("c{index}")).await;
    }
    let path = "/api/v1/namespaces/default/configmaps?watch=true&resourceVersion=2";
    let (code, status) = raw(&world.client, "GET", path, "", Value::Null).await;
    assert_eq!((code, &status["reason"]), (410, &json!("Expired")));
}
