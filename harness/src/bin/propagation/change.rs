//! One change after the other: applied, written by the management plane, published by the control planes, acknowledged by the
//! proxies.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use futures::StreamExt as _;
use jiff::Timestamp;
use kube::api::{Api, DynamicObject};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::watcher;
use mesh_types::hub::{Kind, names};
use meshproof::cluster::Cluster;
use meshproof::management::resources;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::PATIENCE;
use crate::mesh::{self, Account};

/// Name of the policy.
const POLICY: &str = "propagation";
/// The timeouts of the changes' routes begin here, in seconds: by its timeout a route tells which change it carries, and no
/// request waits for so long.
const FIRST: u32 = 1_000;

/// One change, in milliseconds. The stages together are `propagation`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sample {
    /// From the request to its answer, the webhook of the management plane included.
    pub(crate) apply: f64,
    /// From the answer of the API server until every proxy concerned has acknowledged.
    pub(crate) propagation: f64,
    /// From that answer until the last object was seen written in the clusters of the meshes.
    pub(crate) applied_to_written: f64,
    /// From there until the last control plane published it.
    pub(crate) written_to_published: f64,
    /// From there until the last proxy acknowledged it.
    pub(crate) published_to_acknowledged: f64,
    /// From there until the policy's status was seen to be `ACTIVE`.
    pub(crate) acknowledged_to_active: f64,
}

/// Something that a watch saw.
#[derive(Debug)]
enum Seen {
    /// A route that carries a change, in a cluster, by `Kind/namespace/name`, with its version.
    Route { cluster: usize, name: String, version: String, change: u32, at: Timestamp },
    /// The policy is in force as of a generation.
    Active { generation: i64, at: Timestamp },
}

/// Objects of a change, by cluster and name, with the version and the moment of the first sight.
type Writes = BTreeMap<(usize, String), (String, Timestamp)>;

/// Where changes are made and seen.
pub(crate) struct Desk {
    management: Cluster,
    meshed: Vec<Cluster>,
    seen: mpsc::UnboundedReceiver<Seen>,
    /// Objects that every change writes.
    expected: Vec<(usize, String)>,
    next: u32,
    _watches: JoinSet<()>,
}

impl Desk {
    /// Watches the management cluster and the clusters of the meshes.
    pub(crate) async fn open(management: Cluster, meshed: &[Cluster]) -> anyhow::Result<Self> {
        let (sender, seen) = mpsc::unbounded_channel();
        let mut watches = JoinSet::new();
        let policies = resources::api(&management, Kind::TrafficPolicy);
        watches.spawn(follow(policies, sender.clone(), active));
        let routes = ApiResource::from_gvk(&GroupVersionKind::gvk("networking.istio.io", "v1", "VirtualService"));
        for (cluster, place) in meshed.iter().enumerate() {
            let api = Api::all_with(place.client(), &routes);
            watches.spawn(follow(api, sender.clone(), move |object, at| route(cluster, object, at)));
        }
        let (expected, meshed) = (Vec::new(), meshed.to_vec());
        Ok(Self { management, meshed, seen, expected, next: 0, _watches: watches })
    }

    /// Makes the policy, and learns what it comes to.
    pub(crate) async fn warm_up(&mut self) -> anyhow::Result<()> {
        let (_, generation) = self.apply().await?;
        let (writes, _) = self.in_force(generation).await?;
        ensure!(!writes.is_empty(), "the policy wrote no VirtualService: are services `reviews` there?");
        self.expected = writes.into_keys().collect();
        Ok(())
    }

    /// The objects that each change writes, by cluster.
    pub(crate) fn writes(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut writes = BTreeMap::<_, Vec<_>>::new();
        for (cluster, name) in &self.expected {
            writes.entry(self.meshed[*cluster].name()).or_default().push(name.as_str());
        }
        writes
    }

    /// Makes the next change and waits until everybody has it.
    pub(crate) async fn measure(&mut self) -> anyhow::Result<Sample> {
        let sent = Timestamp::now();
        let (answered, generation) = self.apply().await?;
        let (writes, active) = self.in_force(generation).await?;
        let missing: Vec<_> = self.expected.iter().filter(|name| !writes.contains_key(*name)).collect();
        ensure!(missing.is_empty(), "the policy is ACTIVE, and these were not written: {missing:?}");
        let written = writes.values().map(|(_, at)| *at).max().context("nothing was written")?;
        let (mut published, mut acknowledged) = (Timestamp::MIN, Timestamp::MIN);
        for (index, cluster) in self.meshed.iter().enumerate() {
            let own = writes.iter().filter(|((of, _), _)| *of == index);
            let own: Vec<_> = own.map(|((_, name), (version, _))| (name.as_str(), version.as_str())).collect();
            let times = told(&mesh::ask(cluster).await?, &own).with_context(|| cluster.name().to_owned())?;
            published = published.max(times.0);
            acknowledged = acknowledged.max(times.1);
        }
        Ok(Sample {
            apply: between(sent, answered),
            propagation: between(answered, acknowledged),
            applied_to_written: between(answered, written),
            written_to_published: between(written, published),
            published_to_acknowledged: between(published, acknowledged),
            acknowledged_to_active: between(acknowledged, active),
        })
    }

    /// Takes the policy away.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        Ok(self.management.delete(&policy(self.next)).await?)
    }

    /// Applies the next change. Returns when the API server had answered, and the generation that it gave.
    async fn apply(&mut self) -> anyhow::Result<(Timestamp, i64)> {
        self.next += 1;
        let object = self.management.apply(&policy(self.next)).await?;
        let answered = Timestamp::now();
        Ok((answered, object.metadata.generation.context("the policy has no generation")?))
    }

    /// Waits until the policy is in force; what was written for it until then, and when it was said to be in force.
    async fn in_force(&mut self, wanted: i64) -> anyhow::Result<(Writes, Timestamp)> {
        let mut writes = Writes::new();
        let look = async {
            loop {
                match self.seen.recv().await {
                    Some(Seen::Route { cluster, name, version, change, at }) if change == FIRST + self.next => {
                        let first = writes.get(&(cluster, name.clone())).map_or(at, |(_, first)| *first);
                        writes.insert((cluster, name), (version, first));
                    }
                    Some(Seen::Active { generation, at }) if generation == wanted => return Ok(at),
                    Some(_) => {}
                    None => bail!("the watches ended"),
                }
            }
        };
        let patience = format!("change {} is not in force after {} s", self.next, PATIENCE.as_secs());
        let active = tokio::time::timeout(PATIENCE, look).await.context(patience)??;
        Ok((writes, active))
    }
}

/// When a control plane published these objects and the last proxy acknowledged them. An acknowledgement that is not there yet,
/// though the policy is said to be in force, is an error.
fn told(account: &Account, objects: &[(&str, &str)]) -> anyhow::Result<(Timestamp, Timestamp)> {
    let (mut snapshot, mut published) = (0, Timestamp::MIN);
    for (name, version) in objects {
        let held = account.resources.get(*name).with_context(|| format!("the control plane has no {name}"))?;
        ensure!(held.resource_version == *version, "{name} is {}, not {version}", held.resource_version);
        snapshot = snapshot.max(held.snapshot);
        published = published.max(held.published);
    }
    let mut acknowledged = Timestamp::MIN;
    for proxy in account.proxies.iter().filter(|proxy| proxy.connected) {
        // It may have a later snapshot; then this is too late rather than too early.
        ensure!(proxy.acked() >= snapshot, "a proxy has snapshot {} of {snapshot}", proxy.acked());
        acknowledged = acknowledged.max(proxy.acknowledged_at);
    }
    Ok((published, acknowledged))
}

/// Shifts `reviews` of every cluster, as no change did before.
fn policy(change: u32) -> Value {
    let weight = 1 + change % 99;
    let service = |cluster: &str| json!({ "name": "reviews", "namespace": "bookinfo", "clusterName": cluster });
    json!({
        "apiVersion": "networking.meshproof.dev/v1", "kind": "TrafficPolicy",
        "metadata": { "name": POLICY, "namespace": names::NAMESPACE },
        "spec": {
            "destinationSelector": [{ "kubeServiceRefs": { "services": [service("cluster1"), service("cluster2")] } }],
            "policy": {
                "requestTimeout": format!("{}s", FIRST + change),
                "trafficShift": { "destinations": [
                    { "weight": weight, "kubeService": service("cluster1") },
                    { "weight": 100 - weight, "kubeService": service("cluster2") },
                ] },
            },
        },
    })
}

fn active(object: &DynamicObject, at: Timestamp) -> Option<Seen> {
    let status = &object.data["status"];
    let ours = object.metadata.name.as_deref() == Some(POLICY) && status["state"] == "ACTIVE";
    Some(Seen::Active { generation: status["observedGeneration"].as_i64().filter(|_| ours)?, at })
}

fn route(cluster: usize, object: &DynamicObject, at: Timestamp) -> Option<Seen> {
    let timeout = object.data["spec"]["http"][0]["timeout"].as_str()?;
    let change = timeout.strip_suffix('s')?.parse().ok()?;
    let metadata = &object.metadata;
    let (namespace, name) = (metadata.namespace.as_deref()?, metadata.name.as_deref()?);
    let name = format!("VirtualService/{namespace}/{name}");
    Some(Seen::Route { cluster, name, version: metadata.resource_version.clone()?, change, at })
}

/// Tells what a watch sees, until nobody listens.
async fn follow(
    api: Api<DynamicObject>,
    tell: mpsc::UnboundedSender<Seen>,
    read: impl Fn(&DynamicObject, Timestamp) -> Option<Seen>,
) {
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()));
    while let Some(event) = events.next().await {
        let at = Timestamp::now();
        match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                if read(&object, at).is_some_and(|seen| tell.send(seen).is_err()) {
                    return;
                }
            }
            Ok(_) => {}
            Err(error) => eprintln!("note: a watch begins anew: {error}"),
        }
    }
}

fn between(from: Timestamp, to: Timestamp) -> f64 {
    let elapsed = to.duration_since(from);
    elapsed.as_secs_f64() * 1e3
}
