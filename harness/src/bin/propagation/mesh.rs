//! The meshes that are measured: their proxies, and what their control planes tell of them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams};
use meshproof::cluster::{Cluster, PodPort, is_meshed};
use meshproof::install::mesh::rolled_out;
use serde::Deserialize;
use serde_json::json;

/// Namespace and name of the workload that there are more of, where there are too few proxies.
const MORE: (&str, &str) = ("bookinfo", "probe");
/// Longest time for new proxies to hold everything.
const CONNECTED: Duration = Duration::from_secs(60);

/// What a control plane tells (`/debug/syncz`).
#[derive(Debug, Deserialize)]
pub(crate) struct Account {
    /// Configuration by `Kind/namespace/name`.
    pub(crate) resources: BTreeMap<String, Held>,
    /// Proxies that are or were connected.
    pub(crate) proxies: Vec<Proxy>,
}

/// A configuration object that a control plane holds.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Held {
    pub(crate) resource_version: String,
    pub(crate) snapshot: u64,
    pub(crate) published: Timestamp,
}

/// What a proxy holds.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Proxy {
    pub(crate) connected: bool,
    pub(crate) acknowledged_at: Timestamp,
    types: BTreeMap<String, Acked>,
}

#[derive(Debug, Deserialize)]
struct Acked {
    acked: u64,
}

impl Proxy {
    /// The newest snapshot of which it has acknowledged everything.
    pub(crate) fn acked(&self) -> u64 {
        self.types.values().map(|one| one.acked).min().unwrap_or_default()
    }
}

/// Asks the control plane of a cluster, once.
pub(crate) async fn ask(cluster: &Cluster) -> anyhow::Result<Account> {
    let pods = cluster.pods("istio-system", "app=istiod").await?;
    let pod = pods.first().and_then(|pod| pod.metadata.name.clone());
    let pod = pod.with_context(|| format!("{} has no control plane", cluster.name()))?;
    let place = PodPort { namespace: "istio-system", pod: &pod, port: 15014 };
    let answer = cluster.ask(place, "/debug/syncz", Duration::from_secs(10)).await?;
    serde_json::from_str(&answer).with_context(|| format!("{}: {answer:.200}", cluster.name()))
}

/// Starts as many pods as are lacking, evenly over the clusters, and waits until all proxies are connected. Returns how many
/// there are.
pub(crate) async fn grow(clusters: &[Cluster], wanted: usize) -> anyhow::Result<usize> {
    let mut present = 0;
    for cluster in clusters {
        present += proxies(cluster).await?;
    }
    let lacking = wanted.saturating_sub(present);
    for (index, cluster) in clusters.iter().enumerate() {
        // The first clusters take what does not divide evenly.
        let more = lacking / clusters.len() + usize::from(index < lacking % clusters.len());
        if more > 0 {
            scale(cluster, more).await?;
        }
    }
    let mut count = 0;
    for cluster in clusters {
        count += connected(cluster).await?;
    }
    Ok(count)
}

async fn proxies(cluster: &Cluster) -> anyhow::Result<usize> {
    let pods: Api<Pod> = Api::all(cluster.client());
    let listed = pods.list(&ListParams::default()).await?;
    Ok(listed.items.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none() && is_meshed(pod)).count())
}

async fn scale(cluster: &Cluster, more: usize) -> anyhow::Result<()> {
    let (namespace, name) = MORE;
    let deployments: Api<Deployment> = Api::namespaced(cluster.client(), namespace);
    let now = deployments.get(name).await?.spec.replicas.unwrap_or(1);
    let replicas = i64::from(now) + i64::try_from(more)?;
    let change = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
    deployments.patch(name, &PatchParams::default(), &change).await?;
    rolled_out(cluster, namespace, name).await?;
    Ok(())
}

async fn connected(cluster: &Cluster) -> anyhow::Result<usize> {
    let what = format!("the proxies of {} to be connected", cluster.name());
    let look = async || {
        let wanted = proxies(cluster).await.map_err(|error| format!("{error:#}"))?;
        let account = ask(cluster).await.map_err(|error| format!("{error:#}"))?;
        let connected = account.proxies.iter().filter(|proxy| proxy.connected).count();
        if connected == wanted { Ok(wanted) } else { Err(format!("{connected} of {wanted}")) }
    };
    Ok(eventually::poll(what, CONNECTED, Duration::from_millis(200), look).await?)
}
