//! Convergence: every proxy concerned holds the configuration that carries a change, told by the control plane and
//! agreed to by the proxies' own acknowledgements. Nothing is measured before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;

use crate::cluster::{Cluster, Error as ClusterError, PodPort, is_meshed};
use crate::install::remote_secret::ISTIO_SYSTEM;

pub mod whole;

/// Where the control plane answers questions about itself, by Istio's documentation of its ports.
const MONITORING: u16 = 15014;
/// Between two looks at the control plane.
const STEP: Duration = Duration::from_millis(20);

/// The control plane's account of what each proxy holds (`/debug/syncz`).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncStatus {
    /// Number of the newest snapshot.
    pub snapshot: u64,
    /// Clusters that the control plane watches besides its own.
    #[serde(default)]
    pub clusters: Vec<WatchedCluster>,
    /// Configuration by `Kind/namespace/name`.
    #[serde(default)]
    pub resources: BTreeMap<String, ResourceStatus>,
    /// Every proxy that is or was connected.
    #[serde(default)]
    pub proxies: Vec<ProxyStatus>,
}

/// A cluster that is watched through a remote secret.
#[derive(Clone, Debug, Deserialize)]
pub struct WatchedCluster {
    /// Its id.
    pub id: String,
    /// Whether its objects have been read completely.
    pub synced: bool,
}

/// Where a piece of configuration entered the snapshots.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceStatus {
    /// The version of the object that the snapshot holds.
    pub resource_version: String,
    /// First snapshot that holds it.
    pub snapshot: u64,
}

/// What one proxy holds.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyStatus {
    /// Pod name.
    pub pod: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Whether its stream is open.
    pub connected: bool,
    /// By type: `cds`, `eds`, `lds`, `rds`.
    #[serde(default)]
    pub types: BTreeMap<String, TypeStatus>,
}

/// What one proxy holds of one type.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TypeStatus {
    /// The newest snapshot that was sent, or that changed nothing here.
    pub sent: u64,
    /// Everything up to this snapshot is acknowledged.
    pub acked: u64,
    /// Text of the last rejection, where it still stands.
    #[serde(default)]
    pub error: Option<String>,
    /// How often it refused something on its present connection.
    #[serde(default)]
    pub rejections: u64,
}

/// What must have arrived.
#[derive(Clone, Debug, Default)]
pub struct Expectation {
    /// `Kind/namespace/name` and the resourceVersion that must be in force; `None` where the object must be gone.
    pub resources: BTreeMap<String, Option<String>>,
    /// Clusters that must be watched and read.
    pub watched: Vec<String>,
    /// Clusters that must no longer be watched.
    pub not_watched: Vec<String>,
    /// Pods that must be held as endpoints, exactly.
    pub endpoints: Vec<Endpoints>,
    /// Whether the newest snapshot must be acknowledged, whatever it is about.
    pub newest: bool,
}

/// The pods of a workload that are ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Their cluster.
    pub cluster: String,
    /// Their namespace.
    pub namespace: String,
    /// Name of the workload; its pods have names that begin with it.
    pub workload: String,
    /// Their names.
    pub pods: BTreeSet<String>,
}

/// The control plane's account of services and their endpoints (`/debug/endpointz`).
#[derive(Clone, Debug, Default, Deserialize)]
pub struct HeldEndpoints {
    /// The snapshot that they are of.
    pub snapshot: u64,
    /// By host and port.
    #[serde(default)]
    pub services: BTreeMap<String, BTreeMap<String, Vec<HeldEndpoint>>>,
}

/// An endpoint as the control plane holds it.
#[derive(Clone, Debug, Deserialize)]
pub struct HeldEndpoint {
    /// Its cluster.
    pub cluster: String,
    /// Its namespace.
    pub namespace: String,
    /// Its pod.
    pub pod: String,
}

/// It did not arrive, or a proxy refused it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The control plane could not be asked.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Its answer was not understood.
    #[error("{cluster}: the control plane's answer is not understood: {message}")]
    Answer {
        /// Cluster.
        cluster: String,
        /// Cause.
        message: String,
    },
    /// A proxy refused the configuration: the mesh failed, not the environment.
    #[error("{cluster}: {message}")]
    Rejected {
        /// Cluster.
        cluster: String,
        /// Which proxy and its words.
        message: String,
    },
    /// Connections over the configuration of before could still carry requests.
    #[error(transparent)]
    Draining(#[from] super::draining::Error),
    /// Too slow.
    #[error("{cluster}: {source}")]
    TimedOut {
        /// Cluster.
        cluster: String,
        /// What was awaited and seen.
        #[source]
        source: eventually::TimedOut,
    },
}

/// Proof of convergence, for the report.
#[derive(Clone, Debug)]
pub struct Converged {
    /// Snapshot that every proxy holds.
    pub snapshot: u64,
    /// How many proxies acknowledged it.
    pub proxies: usize,
}

/// Whether a cluster has a control plane, running or not.
///
/// # Errors
/// Where the cluster cannot be asked.
pub async fn has_mesh(cluster: &Cluster) -> Result<bool, ClusterError> {
    let deployments: kube::Api<k8s_openapi::api::apps::v1::Deployment> =
        kube::Api::namespaced(cluster.client(), ISTIO_SYSTEM);
    let found = deployments.get_opt("istiod").await;
    Ok(found.map_err(|source| cluster.api_error("look for a control plane".to_owned(), source))?.is_some())
}

/// Asks a cluster's control plane.
///
/// # Errors
/// [`Error::Cluster`] or [`Error::Answer`].
pub async fn sync_status(cluster: &Cluster) -> Result<SyncStatus, Error> {
    ask(cluster, "/debug/syncz").await
}

async fn ask<T: for<'de> Deserialize<'de>>(cluster: &Cluster, path: &str) -> Result<T, Error> {
    let pods = cluster.pods(ISTIO_SYSTEM, "app=istiod").await?;
    let pod = pods.first().and_then(|pod| pod.metadata.name.clone()).ok_or_else(|| Error::Answer {
        cluster: cluster.name().to_owned(),
        message: "no pod with app=istiod runs".to_owned(),
    })?;
    let debug = PodPort { namespace: ISTIO_SYSTEM, pod: &pod, port: MONITORING };
    let answer = cluster.ask(debug, path, Duration::from_secs(10)).await?;
    serde_json::from_str(&answer)
        .map_err(|error| Error::Answer { cluster: cluster.name().to_owned(), message: format!("{path}: {error}") })
}

/// Waits until every connected proxy of the cluster has acknowledged what is expected, and no connection is left of what
/// was in force before. `remotes` are other clusters that its control plane serves.
///
/// # Errors
/// [`Error::TimedOut`] with the proxies that lag or the rejection of one of them; [`Error::Draining`].
pub async fn converge(
    cluster: &Cluster,
    remotes: &[&Cluster],
    expectation: &Expectation,
    deadline: Duration,
) -> Result<Converged, Error> {
    let begun = tokio::time::Instant::now();
    let converged = acknowledged(cluster, remotes, expectation, deadline).await?;
    for served in [&[cluster], remotes].concat() {
        drained(served, deadline.saturating_sub(begun.elapsed())).await?;
    }
    Ok(converged)
}

/// Waits until no connection is left of what was in force before the newest configuration.
///
/// # Errors
/// [`Error::Draining`].
pub async fn drained(cluster: &Cluster, deadline: Duration) -> Result<(), Error> {
    Ok(super::draining::ended(cluster, deadline).await?)
}

/// Namespace and name of a pod.
pub(super) type PodName = (String, String);

/// Waits until every connected proxy of the cluster has acknowledged what is expected. Connections over what was in force
/// before may be there still. `remotes` are other clusters that its control plane serves.
///
/// # Errors
/// [`Error::TimedOut`] with the proxies that lag or the rejection of one of them.
pub async fn acknowledged(
    cluster: &Cluster,
    remotes: &[&Cluster],
    expectation: &Expectation,
    deadline: Duration,
) -> Result<Converged, Error> {
    let what = format!("every proxy of {} to acknowledge the configuration", cluster.name());
    eventually::poll(what, deadline, STEP, async || {
        let mut expected = Vec::new();
        for served in [&[cluster], remotes].concat() {
            let pods = meshed_pods(served).await.map_err(|error| crate::cluster::chain(&error))?;
            expected.extend(pods.iter().map(|(namespace, pod)| format!("{namespace}/{pod}")));
        }
        // First the endpoints: what is acknowledged is of this snapshot or a later one then.
        let held = match expectation.endpoints.is_empty() {
            true => HeldEndpoints::default(),
            false => ask(cluster, "/debug/endpointz").await.map_err(|error| crate::cluster::chain(&error))?,
        };
        let status = sync_status(cluster).await.map_err(|error| crate::cluster::chain(&error))?;
        match judge(&status, expectation, &held, cluster.name(), &expected) {
            Ok(converged) => Ok(Ok(converged)),
            Err(Missing::Rejected(message)) => Ok(Err(message)),
            Err(Missing::Late(missing)) => Err(missing),
        }
    })
    .await
    .map_err(|source| Error::TimedOut { cluster: cluster.name().to_owned(), source })?
    .map_err(|message| Error::Rejected { cluster: cluster.name().to_owned(), message })
}

/// Running pods with a proxy: those that must be connected, whatever the control plane knows of.
pub(super) async fn meshed_pods(cluster: &Cluster) -> Result<Vec<PodName>, ClusterError> {
    let api: kube::Api<k8s_openapi::api::core::v1::Pod> = kube::Api::all(cluster.client());
    let listed = api
        .list(&kube::api::ListParams::default())
        .await
        .map_err(|source| cluster.api_error("list pods".to_owned(), source))?;
    let meshed = listed.items.into_iter().filter(|pod| {
        let running = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
        running && pod.metadata.deletion_timestamp.is_none() && is_meshed(pod)
    });
    Ok(meshed.map(|pod| (pod.metadata.namespace.unwrap_or_default(), pod.metadata.name.unwrap_or_default())).collect())
}

/// Why it is not converged.
#[derive(Debug, PartialEq, Eq)]
enum Missing {
    /// It may still come.
    Late(String),
    /// It will not.
    Rejected(String),
}

impl From<String> for Missing {
    fn from(text: String) -> Self {
        Self::Late(text)
    }
}

/// Whether the expectation holds, else what is missing in one line. Pure.
fn judge(
    status: &SyncStatus,
    expectation: &Expectation,
    held: &HeldEndpoints,
    own: &str,
    expected: &[String],
) -> Result<Converged, Missing> {
    let mut needed = if expectation.newest { status.snapshot } else { 0 };
    for (name, version) in &expectation.resources {
        let held = status.resources.get(name);
        match (version, held) {
            (None, None) => needed = needed.max(status.snapshot),
            (None, Some(_)) => return Err(format!("the control plane still holds {name}").into()),
            (Some(_), None) => return Err(format!("the control plane does not hold {name}").into()),
            (Some(version), Some(held)) if &held.resource_version == version => needed = needed.max(held.snapshot),
            (Some(version), Some(held)) => {
                return Err(
                    format!("{name} is held at version {}, expected is {version}", held.resource_version).into()
                );
            }
        }
    }
    for id in &expectation.watched {
        if !status.clusters.iter().any(|cluster| &cluster.id == id && cluster.synced) {
            return Err(format!("cluster {id} is not watched or not read yet").into());
        }
        needed = needed.max(status.snapshot);
    }
    for id in &expectation.not_watched {
        if status.clusters.iter().any(|cluster| &cluster.id == id) {
            return Err(format!("cluster {id} is still watched").into());
        }
        needed = needed.max(status.snapshot);
    }
    let is_read = |wanted: &&Endpoints| {
        wanted.cluster == own || status.clusters.iter().any(|cluster| cluster.id == wanted.cluster)
    };
    for wanted in expectation.endpoints.iter().filter(is_read) {
        held.agrees_with(wanted)?;
        needed = needed.max(held.snapshot);
    }
    let connected: Vec<&ProxyStatus> = status.proxies.iter().filter(|proxy| proxy.connected).collect();
    if connected.is_empty() {
        return Err("no proxy is connected".to_owned().into());
    }
    let is_connected =
        |name: &&String| connected.iter().any(|proxy| **name == format!("{}/{}", proxy.namespace, proxy.pod));
    let absent: Vec<&str> = expected.iter().filter(|name| !is_connected(name)).map(String::as_str).collect();
    if !absent.is_empty() {
        return Err(format!("not connected: {}", absent.join(", ")).into());
    }
    if let Some(refusal) = connected.iter().find_map(|proxy| refusal(proxy, needed)) {
        return Err(Missing::Rejected(refusal));
    }
    let lagging: Vec<String> = connected.iter().filter_map(|proxy| lag(proxy, needed)).collect();
    if lagging.is_empty() {
        return Ok(Converged { snapshot: needed, proxies: connected.len() });
    }
    Err(format!("snapshot {needed} is not acknowledged by {}", lagging.join(", ")).into())
}

impl HeldEndpoints {
    /// Whether exactly the wanted pods are held of a workload, else which are not.
    fn agrees_with(&self, wanted: &Endpoints) -> Result<(), String> {
        let all = self.services.values().flat_map(BTreeMap::values).flatten();
        let held: BTreeSet<&str> = all
            .filter(|one| one.cluster == wanted.cluster && one.namespace == wanted.namespace)
            .map(|one| one.pod.as_str())
            .filter(|pod| pod.strip_prefix(wanted.workload.as_str()).is_some_and(|rest| rest.starts_with('-')))
            .collect();
        let of = format!("of {}/{}", wanted.cluster, wanted.workload);
        if let Some(missing) = wanted.pods.iter().find(|pod| !held.contains(pod.as_str())) {
            return Err(format!("the control plane does not hold the endpoint {missing} {of}"));
        }
        match held.into_iter().find(|pod| !wanted.pods.contains(*pod)) {
            Some(stale) => Err(format!("the control plane still holds the endpoint {stale} {of}")),
            None => Ok(()),
        }
    }
}

/// The words of a proxy that was sent what is needed and refused it. A refusal of something older may be healed by it.
fn refusal(proxy: &ProxyStatus, needed: u64) -> Option<String> {
    proxy.types.iter().find_map(|(kind, held)| {
        let error = held.error.as_ref().filter(|_| held.sent >= needed && held.acked < needed)?;
        Some(format!("{}/{} rejected {kind}: {error}", proxy.namespace, proxy.pod))
    })
}

fn lag(proxy: &ProxyStatus, needed: u64) -> Option<String> {
    let name = format!("{}/{}", proxy.namespace, proxy.pod);
    if proxy.types.is_empty() {
        return Some(format!("{name} (has asked for nothing yet)"));
    }
    proxy
        .types
        .iter()
        .find_map(|(kind, held)| (held.acked < needed).then(|| format!("{name} ({kind} at {})", held.acked)))
}

#[cfg(test)]
mod tests;
