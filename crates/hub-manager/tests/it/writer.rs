//! A writer by itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;
use hub::output::OutputKind;
use hub::progress::Progress;
use hub_manager::kinds::{Key, ResourceKind};
use hub_manager::metrics::Metrics;
use hub_manager::write::observation::Observation;
use hub_manager::write::{Command, Manifest, Outcomes, Settings, Wanted, Writer};
use kube::Client;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::spy::Spy;
use crate::world::{HUB, ISTIO, names, until};

struct Nobody;

impl Outcomes<()> for Nobody {
    fn written(&self, _: &(), _: &Key, _: Option<String>) {}
    fn progress(&self, _: &(), _: u64, _: Progress) {}
}

const NOTHING: &[&str] = &[];

/// A writer of ServiceEntries into a cluster in which it has found none.
fn writer(client: Client) -> Writer<()> {
    let kind = ResourceKind::from(OutputKind::ServiceEntry);
    let writer = Writer::start(Settings {
        cluster: "cluster1".to_owned(),
        owner: HUB.to_owned(),
        part: |_| "",
        unheard: [kind].into(),
        kinds: vec![kind],
        outcomes: Arc::new(Nobody),
        metrics: Arc::new(Metrics::default()),
    });
    writer.tell(Command::Connected(client));
    writer.tell(Command::Listed(kind, BTreeMap::new()));
    writer
}

async fn cluster() -> Cluster {
    let cluster = Cluster::start("cluster1").await;
    cluster.create(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "ns" } })).await;
    cluster
}

/// An entry of somebody.
fn entry(owner: &str, host: &str) -> Value {
    json!({ "apiVersion": ISTIO, "kind": "ServiceEntry",
        "metadata": { "name": "entry", "namespace": "ns", "labels": { "hub.meshproof.dev/owner": owner } },
        "spec": { "hosts": [host], "ports": [{ "number": 80, "name": "http", "protocol": "HTTP" }], "resolution": "DNS" } })
}

fn key() -> Key {
    Key::new(OutputKind::ServiceEntry, "ns", "entry")
}

/// The entry of the hub is wanted with this host.
fn want(host: &str) -> Command<()> {
    let manifest = Some(Manifest::Own(Arc::new(entry(HUB, host))));
    Command::Want(vec![(key(), Wanted { manifest, owner: (), revision: 1, since: Instant::now() })])
}

async fn hosts(cluster: &Cluster) -> Value {
    let found = cluster.get(ISTIO, "ServiceEntry", "ns", "entry").await.unwrap_or_default();
    found["spec"]["hosts"].clone()
}

/// Waits until a writer can do nothing more about the entry, and says why.
async fn failure(writer: &Writer<()>) -> String {
    until("a failure", async || {
        let inspection = writer.inspect().await;
        inspection.failures.values().next().cloned().ok_or_else(|| format!("{inspection:?}"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wanted_no_longer_is_not_made_also_where_it_was_not_there_yet() {
    let cluster = cluster().await;
    let writer = writer(cluster.client.clone());
    writer.tell(want("a.example.org"));
    writer.tell(Command::WantAll(String::new(), BTreeMap::new()));
    writer.done().await;
    assert_eq!(names(&cluster, ISTIO, "ServiceEntry").await, NOTHING);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_became_anothers_since_it_was_seen_is_neither_written_nor_deleted() {
    let cluster = cluster().await;
    let seen = cluster.create(entry(HUB, "a.example.org")).await;
    let there = || Command::Seen(key(), Some(Box::new(Observation::of(&seen))));
    let handed_over = json!({ "metadata": { "labels": { "hub.meshproof.dev/owner": "another" } } });
    cluster.patch(ISTIO, "ServiceEntry", "ns", "entry", handed_over).await;

    let writing = writer(cluster.client.clone());
    writing.tell(there());
    writing.tell(want("b.example.org"));
    let reason = failure(&writing).await;
    assert!(reason.contains("another management plane (another)"), "{reason}");
    assert_eq!(hosts(&cluster).await, json!(["a.example.org"]));

    let deleting = writer(cluster.client.clone());
    deleting.tell(there());
    deleting.tell(Command::WantAll(String::new(), BTreeMap::new()));
    deleting.done().await;
    assert_eq!(hosts(&cluster).await, json!(["a.example.org"]));
}

/// The answer to a look says that somebody's object is there, and comes after the watch has told that it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_went_while_it_was_looked_at_is_in_nobodys_way() {
    let cluster = cluster().await;
    cluster.create(entry("another", "a.example.org")).await;
    let (client, spy) = Spy::on(&cluster.client, |method, path| *method == Method::GET && path.ends_with("/entry"));
    let writer = writer(client);
    spy.hold(true);
    writer.tell(want("b.example.org"));
    until("the answer to a look", async || if spy.answered() > 0 { Ok(()) } else { Err("none") }).await;
    cluster.delete(ISTIO, "ServiceEntry", "ns", "entry").await;
    writer.tell(Command::Seen(key(), None));
    // What was told before is taken in by now.
    writer.inspect().await;
    spy.hold(false);
    writer.done().await;
    assert_eq!(hosts(&cluster).await, json!(["b.example.org"]));
}
