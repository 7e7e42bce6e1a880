//! The first proven request across clusters: the end of a bring-up, and what its speed is measured by.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::topology::{Topology, Workload};
use crate::traffic::probe::{self, Request, Samples, Source};

/// How long the mesh may take to carry a request across after everything in it is ready.
const DEADLINE: Duration = Duration::from_secs(20);
/// Enough that a fair choice among a handful of workloads misses the other cluster once in a million times at most.
const REQUESTS: u64 = 64;

/// No proven request got across.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// None was answered beyond, although everything is ready: the mesh carries nothing.
    #[error(transparent)]
    NotCarried(eventually::TimedOut),
    /// At the end of the time requests could not even be sent.
    #[error(transparent)]
    NotSent(eventually::TimedOut),
    /// One was, by or to somebody else.
    #[error("mutual TLS is not what it should be: {0}")]
    Identity(String),
}

/// Who calls whom.
struct Route {
    from: Workload,
    to: Workload,
    host: String,
}

/// Sends requests from the probe of one cluster to a Service until one is answered on another cluster, over mutual TLS
/// between the expected identities. Returns a sentence of evidence, or `None` where the topology has no such pair.
///
/// # Errors
/// What was seen instead.
pub(super) async fn first_request(topology: &Topology, clusters: &[Cluster]) -> Result<Option<String>, Error> {
    let Some(route) = route(topology) else { return Ok(None) };
    let Some(cluster) = clusters.iter().find(|cluster| cluster.name() == route.from.cluster) else { return Ok(None) };
    let what = format!("an answer of {} on {} to {}", route.to.name, route.to.cluster, route.from.cluster);
    let mut sent = false;
    let look = async || {
        let samples = send(cluster, &route).await;
        sent = samples.is_ok();
        judge(&route, &samples.map_err(|error| crate::cluster::chain(&error))?)
    };
    let carried = eventually::poll(what, DEADLINE, Duration::from_millis(20), look).await;
    match carried {
        Ok(evidence) => evidence.map(Some).map_err(Error::Identity),
        Err(late) if sent => Err(Error::NotCarried(late)),
        Err(late) => Err(Error::NotSent(late)),
    }
}

fn route(topology: &Topology) -> Option<Route> {
    let workloads = topology.workloads();
    let from = workloads.iter().find(|workload| workload.sidecar && workload.port.is_none())?;
    let here = |workload: &&Workload| workload.cluster == from.cluster;
    let network = |workload: &Workload| topology.cluster(&workload.cluster).map(|cluster| &cluster.network);
    // A Service that is served there, and that exists here too where its name is to be resolved by the cluster's DNS.
    let to = workloads.iter().find(|workload| {
        !here(workload)
            && workload.sidecar
            && workload.port.is_some()
            && (topology.is_federated()
                || network(workload) != network(from)
                    && workloads.iter().filter(here).any(|local| local.app == workload.app))
    })?;
    let host = match topology.is_federated() {
        true => format!("{}.{}.svc.{}.global", to.app, to.namespace, to.cluster),
        false => format!("{}.{}", to.app, to.namespace),
    };
    Some(Route { from: from.clone(), to: to.clone(), host })
}

async fn send(cluster: &Cluster, route: &Route) -> Result<Samples, crate::cluster::Error> {
    let source = Source::Pod {
        cluster: cluster.clone(),
        namespace: route.from.namespace.clone(),
        selector: route.from.selector(),
        container: route.from.container.clone(),
    };
    let port = route.to.port.unwrap_or_default();
    let request = Request {
        requests: Some(REQUESTS),
        timeout: Duration::from_secs(2),
        ..Request::to(format!("http://{}:{port}/health", route.host))
    };
    probe::send(&source, &request).await
}

/// The inner error is final: an answer with a wrong identity will not become right by asking again.
fn judge(route: &Route, samples: &Samples) -> Result<Result<String, String>, String> {
    let beyond = samples.groups.iter().find(|group| group.cluster.as_ref() == Some(&route.to.cluster));
    let Some(group) = beyond else {
        return Err(format!(
            "{} answers, none of {}; statuses {:?}",
            samples.answered, route.to.cluster, samples.by_status
        ));
    };
    if group.peer.as_ref() == Some(&route.from.identity) && group.server.as_ref() == Some(&route.to.identity) {
        return Ok(Ok(format!(
            "{} of {} answered {} over mutual TLS",
            route.to.name, route.to.cluster, route.from.cluster
        )));
    }
    Ok(Err(format!(
        "an answer of {} came with client {:?} and server {:?}",
        route.to.cluster, group.peer, group.server
    )))
}
