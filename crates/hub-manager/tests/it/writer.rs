//! A writer by itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use hub::output::OutputKind;
use hub::progress::Progress;
use hub_manager::kinds::{Key, ResourceKind};
use hub_manager::metrics::Metrics;
use hub_manager::write::{Command, Manifest, Outcomes, Settings, Wanted, Writer};
use serde_json::json;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::world::{HUB, ISTIO, names};

struct Nobody;

impl Outcomes<()> for Nobody {
    fn written(&self, _: &(), _: &Key, _: Option<String>) {}
    fn progress(&self, _: &(), _: u64, _: Progress) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wanted_no_longer_is_not_made_also_where_it_was_not_there_yet() {
    let cluster = Cluster::start("cluster1").await;
    cluster.create(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "ns" } })).await;
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
    writer.tell(Command::Connected(cluster.client.clone()));
    writer.tell(Command::Listed(kind, BTreeMap::new()));
    let manifest = json!({ "apiVersion": ISTIO, "kind": "ServiceEntry",
        "metadata": { "name": "entry", "namespace": "ns", "labels": { "hub.meshproof.dev/owner": HUB } },
        "spec": { "hosts": ["a.example.org"], "ports": [{ "number": 80, "name": "http", "protocol": "HTTP" }], "resolution": "DNS" } });
    let wanted =
        Wanted { manifest: Some(Manifest::Own(Arc::new(manifest))), owner: (), revision: 1, since: Instant::now() };
    writer.tell(Command::Want(vec![(Key::new(OutputKind::ServiceEntry, "ns", "entry"), wanted)]));
    writer.tell(Command::WantAll(String::new(), BTreeMap::new()));
    writer.done().await;
    assert_eq!(names(&cluster, ISTIO, "ServiceEntry").await, Vec::<String>::new());
}
