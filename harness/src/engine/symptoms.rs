//! Asks again what was not answered, a few times, and reads what the proxies on the way count meanwhile. It tells where
//! to look, after a verdict and before the clean-up; it changes no verdict.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::try_join_all;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::context::{Environment, Error};
use super::measure;
use crate::check::proxies;
use crate::check::symptoms::{COUNTERS, Proxy, Role, Sends, signs};
use crate::cluster::{Cluster, chain, is_meshed};
use crate::install::remote_secret::ISTIO_SYSTEM;
use crate::report::figures::{Sign, Situation};
use crate::scenario::plan::Traffic;
use crate::topology::Workload;
use crate::traffic::probe::{self, Request};

/// Longest time for all of it.
const DEADLINE: Duration = Duration::from_secs(10);
/// How many requests are sent, all at once: a service on two clusters leaves one of them out once in 4,000 times.
const REQUESTS: u32 = 12;
/// Longest time for one answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Adds what it finds to a situation.
pub(super) async fn look(environment: &Environment, traffic: &Traffic, from: &Workload, situation: &mut Situation) {
    let unseen = match tokio::time::timeout(DEADLINE, ask_again(environment, traffic, from)).await {
        Ok(Ok(found)) => {
            situation.signs.extend(found);
            return;
        }
        Ok(Err(error)) => chain(&error),
        Err(_) => format!("it took longer than {} s", DEADLINE.as_secs()),
    };
    situation.unseen.push(format!("what proxies count of {}: {unseen}", traffic.url));
}

async fn ask_again(environment: &Environment, traffic: &Traffic, from: &Workload) -> Result<Vec<Sign>, Error> {
    let mut found = on_the_way(environment, traffic, from).await?;
    let (name, namespace) = service(traffic, from);
    let host = format!("|{name}.{namespace}.");
    let before = counted(environment, &found).await?;
    let request = Request {
        requests: Some(u64::from(REQUESTS)),
        connections: REQUESTS,
        rate: None,
        new_connection_per_request: true,
        timeout: TIMEOUT.min(traffic.timeout),
        ..measure::request(traffic)
    };
    let samples = probe::send(&environment.source(from)?, &request).await?;
    if samples.counts(|_| String::new()).values().sum::<u64>() == samples.requests {
        // It is answered now: what is counted now says nothing of what was.
        return Ok(Vec::new());
    }
    let after = counted(environment, &found).await?;
    for (place, (before, after)) in found.iter_mut().zip(before.into_iter().zip(after)) {
        // A client's counters of other services are those of its other callers.
        let of_service = |name: &str| place.proxy.role != Role::Client || name.contains(&host);
        let grown = after.into_iter().filter(|(name, _)| of_service(name)).map(|(name, now)| {
            let then = before.get(&name).copied().unwrap_or(0);
            (name, now.checked_sub(then).unwrap_or(now))
        });
        place.proxy.growth = grown.collect();
    }
    let sends = sends(environment, traffic, from).await?;
    let proxies: Vec<Proxy> = found.into_iter().map(|place| place.proxy).collect();
    Ok(signs(&proxies, &sends))
}

/// A proxy, and how to ask it.
struct Place {
    namespace: String,
    proxy: Proxy,
}

/// The client's proxy, those of the pods that are asked, and the gateways that may be between them.
async fn on_the_way(environment: &Environment, traffic: &Traffic, from: &Workload) -> Result<Vec<Place>, Error> {
    let mut all = Vec::new();
    let (name, namespace) = service(traffic, from);
    for cluster in environment.clusters() {
        let own = cluster.name() == from.cluster;
        if own {
            all.extend(meshed(cluster, &from.namespace, &from.selector(), Role::Client).await?);
        } else {
            all.extend(meshed(cluster, ISTIO_SYSTEM, "istio=eastwestgateway", Role::Gateway).await?);
        }
        if let Some(selector) = selector(cluster, name, namespace).await? {
            all.extend(meshed(cluster, namespace, &selector, Role::Server).await?);
        }
    }
    Ok(all)
}

/// Pods with a proxy; a client asks the first of its pods only.
async fn meshed(cluster: &Cluster, namespace: &str, labels: &str, role: Role) -> Result<Vec<Place>, Error> {
    let pods = cluster.pods(namespace, labels).await?;
    let most = if role == Role::Client { 1 } else { usize::MAX };
    let meshed = pods.iter().take(most).filter(|pod| is_meshed(pod));
    let place = |pod: &k8s_openapi::api::core::v1::Pod| Place {
        namespace: namespace.to_owned(),
        proxy: Proxy { role, cluster: cluster.name().to_owned(), pod: pod.name_any(), growth: BTreeMap::new() },
    };
    Ok(meshed.map(place).collect())
}

/// Name and namespace of the Service that is asked.
fn service<'step>(traffic: &'step Traffic, from: &'step Workload) -> (&'step str, &'step str) {
    let mut labels = traffic.host().split('.');
    let name = labels.next().unwrap_or_default();
    (name, labels.next().unwrap_or(&from.namespace))
}

/// The label selector of a Service; `None` where there is no such one, or it selects nothing.
async fn selector(cluster: &Cluster, name: &str, namespace: &str) -> Result<Option<String>, Error> {
    let manifest =
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": namespace } });
    let found = cluster.get(&manifest).await?;
    let labels = found.and_then(|found| found.data["spec"]["selector"].as_object().cloned()).unwrap_or_default();
    let pairs: Vec<String> =
        labels.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
    Ok((!pairs.is_empty()).then(|| pairs.join(",")))
}

async fn counted(environment: &Environment, places: &[Place]) -> Result<Vec<BTreeMap<String, u64>>, Error> {
    let asked = places.iter().map(|place| async move {
        let cluster = environment.cluster(&place.proxy.cluster)?;
        Ok::<_, Error>(proxies::counters_of(cluster, &place.namespace, &place.proxy.pod, COUNTERS).await?)
    });
    try_join_all(asked).await
}

/// What the client's proxy is set to send; a client without one sends what it speaks.
async fn sends(environment: &Environment, traffic: &Traffic, from: &Workload) -> Result<Sends, Error> {
    if !from.sidecar {
        return Ok(if traffic.protocol.is_encrypted() { Sends::Unknown } else { Sends::PlainText });
    }
    let cluster = environment.cluster(&from.cluster)?;
    let pods = cluster.pods(&from.namespace, &from.selector()).await?;
    let Some(pod) = pods.first() else { return Ok(Sends::Unknown) };
    let (name, namespace) = service(traffic, from);
    let path = format!("config_dump?resource=dynamic_active_clusters&name_regex=outbound.*{name}.{namespace}.*");
    let text = proxies::request(cluster, &from.namespace, &pod.name_any(), &path).await?;
    let dump: Value =
        serde_json::from_str(&text).map_err(|error| Error::NoDocument { place: path, message: error.to_string() })?;
    Ok(Sends::read(&dump, &format!("{name}.{namespace}."), traffic.port()))
}
