//! Checked measurements of who reaches whom.

use std::time::Duration;

use serde::Serialize;

use super::Expectation;
use crate::scenario::keys::serialize_duration;
use crate::topology::Workload;
use crate::traffic::probe::Protocol;

/// Every source asks every service.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reachability {
    /// The workloads whose pods send.
    pub from: Vec<Workload>,
    /// What they ask.
    pub to: Vec<Target>,
    /// Longest time for one answer.
    #[serde(serialize_with = "serialize_duration")]
    pub timeout: Duration,
    /// What must hold; at least one.
    pub expectations: Vec<Expectation>,
}

/// A port of a Service, and the clusters where it has pods.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Name of the Service.
    pub service: String,
    /// Its namespace.
    pub namespace: String,
    /// The port.
    pub port: u16,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Where it has pods. Within a cluster any of them stands for all: a gateway passes connections on, not requests.
    pub clusters: Vec<String>,
    /// How many requests each source sends.
    pub requests: u64,
}

impl Target {
    /// What the pods ask for. Every server of the applications answers it with who it is.
    #[must_use]
    pub fn url(&self) -> String {
        let path = match self.protocol {
            Protocol::Http1 | Protocol::Http2 | Protocol::Https => "/health",
            Protocol::WebSocket => "/ws",
            Protocol::Grpc | Protocol::GrpcStream | Protocol::Tcp | Protocol::TcpServerFirst | Protocol::Tls => "",
        };
        format!("http://{}.{}.svc.cluster.local:{}{path}", self.service, self.namespace, self.port)
    }

    /// How many requests leave no cluster out by chance: each workload gets at least half of an equal share of them, and
    /// misses all of them once in a million times.
    #[must_use]
    pub fn requests_for(workloads: usize) -> u64 {
        let share = 0.5 / workloads.max(1) as f64;
        (1e-6_f64.ln() / (1.0 - share).ln()).ceil() as u64
    }
}

impl Reachability {
    /// Every target on each of its clusters, in the order of the columns of the matrix.
    pub fn destinations(&self) -> impl Iterator<Item = (&Target, &String)> {
        self.to.iter().flat_map(|target| target.clusters.iter().map(move |cluster| (target, cluster)))
    }

    /// How many requests all sources send.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.to.iter().map(|target| target.requests).sum::<u64>() * self.from.len() as u64
    }
}

/// Pairs that are not to reach each other. What is not said does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exception {
    /// Which sources.
    pub from: Side,
    /// Which destinations.
    pub to: Side,
}

/// Properties of a source or a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Side {
    /// Its cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Its namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The port that it is asked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl Exception {
    /// Whether it is about this pair.
    #[must_use]
    pub fn covers(&self, from: &Workload, to: &Target, cluster: &str) -> bool {
        self.from.is(&from.cluster, &from.namespace, &from.name, None)
            && self.to.is(cluster, &to.namespace, &to.service, Some(to.port))
    }
}

impl Side {
    fn is(&self, cluster: &str, namespace: &str, name: &str, port: Option<u16>) -> bool {
        let fits = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        fits(&self.cluster, cluster)
            && fits(&self.namespace, namespace)
            && fits(&self.name, name)
            && (self.port.is_none() || self.port == port)
    }
}

impl std::fmt::Display for Exception {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "from {} to {}", self.from, self.to)
    }
}

impl std::fmt::Display for Side {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let port = self.port.map(|port| format!("port {port}"));
        let namespace = self.namespace.as_ref().map(|namespace| format!("namespace {namespace}"));
        let parts = [self.name.clone(), port, namespace, self.cluster.clone()];
        let words: Vec<String> = parts.into_iter().flatten().collect();
        formatter.write_str(&if words.is_empty() { "everywhere".to_owned() } else { words.join(" of ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_with_half_of_its_share_is_missed_once_in_a_million_times() {
        for workloads in 1..6 {
            let requests = i32::try_from(Target::requests_for(workloads)).expect("few");
            let missed = (1.0 - 0.5 / workloads as f64).powi(requests);
            assert!(missed <= 1e-6, "{workloads}: {missed}");
            assert!(requests < 170, "{workloads}: {requests}");
        }
    }
}
