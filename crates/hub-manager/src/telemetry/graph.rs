//! Who calls whom, from the metrics of all clusters. Pure.
//!
//! The client's proxy counts a call, because it knows its own side and the service; the server's counts only calls from clients that
//! have no proxy, so that no call is counted twice. Behind a gateway to another cluster the client's proxy knows the service and the
//! identity, and not the workload: the call then goes to the service.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Answers, merge};

const UNKNOWN: &str = "unknown";

/// The graph.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Graph {
    /// Who calls or is called.
    pub nodes: Vec<Node>,
    /// Who calls whom.
    pub edges: Vec<Edge>,
    /// Clusters whose agents did not answer, with the reason.
    pub missing: BTreeMap<String, String>,
}

/// Who calls or is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// `cluster/namespace/workload`, or `service/host`.
    pub id: String,
    /// `workload`, `service`, or `unknown`.
    pub kind: &'static str,
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Cluster; empty for a service.
    pub cluster: String,
}

/// Calls from one to another.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Edge {
    /// Id of the caller.
    pub source: String,
    /// Id of who is called.
    pub destination: String,
    /// `http`, `grpc` or `tcp`.
    pub protocol: String,
    /// Requests, or connections.
    pub requests: f64,
    /// Of them, those that failed: status 5xx, or no answer.
    pub failed: f64,
    /// Share of the caller's requests, 0 to 1.
    pub share: f64,
    /// Share of the requests over mutual TLS, 0 to 1.
    pub mutual_tls: f64,
}

#[derive(Default)]
struct Counts {
    requests: f64,
    failed: f64,
    secure: f64,
}

type Labels = BTreeMap<String, String>;

/// The graph of what agents answered.
pub fn of(answers: &Answers) -> Graph {
    let mut nodes = BTreeSet::new();
    let mut counts: BTreeMap<(String, String, String), Counts> = BTreeMap::new();
    for text in answers.values().flatten() {
        for metric in ["istio_requests_total", "istio_tcp_connections_closed_total"] {
            for (labels, value) in merge::samples(text, metric) {
                let Some((source, destination)) = ends(&labels) else { continue };
                let protocol = label(&labels, "request_protocol").to_owned();
                let key = (source.id.clone(), destination.id.clone(), protocol);
                nodes.extend([source, destination]);
                let counts = counts.entry(key).or_default();
                counts.requests += value;
                counts.failed += if has_failed(&labels) { value } else { 0.0 };
                counts.secure += if label(&labels, "connection_security_policy") == "mutual_tls" { value } else { 0.0 };
            }
        }
    }
    let mut of_source: BTreeMap<String, f64> = BTreeMap::new();
    for ((source, ..), counts) in &counts {
        *of_source.entry(source.clone()).or_default() += counts.requests;
    }
    let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
    let edges = counts.into_iter().map(|((source, destination, protocol), counts)| Edge {
        share: share(counts.requests, of_source[&source]),
        mutual_tls: share(counts.secure, counts.requests),
        requests: counts.requests,
        failed: counts.failed,
        source,
        destination,
        protocol,
    });
    let failed = |(cluster, answer): (&String, &Result<String, String>)| {
        answer.as_ref().err().map(|error| (cluster.clone(), error.clone()))
    };
    Graph {
        edges: edges.collect(),
        nodes: nodes.into_iter().collect(),
        missing: answers.iter().filter_map(failed).collect(),
    }
}

fn label<'a>(labels: &'a Labels, name: &str) -> &'a str {
    labels.get(name).map_or(UNKNOWN, String::as_str)
}

fn has_failed(labels: &Labels) -> bool {
    let code = label(labels, "response_code");
    code.starts_with('5') || code == "0"
}

/// Both ends of a call, where this report is the one that counts.
fn ends(labels: &Labels) -> Option<(Node, Node)> {
    let source = workload(labels, "source");
    let destination = workload(labels, "destination");
    if label(labels, "reporter") == "source" {
        return Some((source?, destination.or_else(|| service(labels))?));
    }
    // Whoever has an identity or a workload has a proxy, which tells of the call itself.
    let stranger = source.is_none() && label(labels, "source_principal") == UNKNOWN;
    let unknown = Node {
        id: UNKNOWN.to_owned(),
        kind: UNKNOWN,
        name: UNKNOWN.to_owned(),
        namespace: String::new(),
        cluster: String::new(),
    };
    stranger.then_some((unknown, destination?))
}

fn workload(labels: &Labels, side: &str) -> Option<Node> {
    let part = |name: &str| label(labels, &format!("{side}_{name}")).to_owned();
    let (name, namespace, cluster) = (part("workload"), part("workload_namespace"), part("cluster"));
    (name != UNKNOWN).then(|| Node {
        id: format!("{cluster}/{namespace}/{name}"),
        kind: "workload",
        name,
        namespace,
        cluster,
    })
}

fn service(labels: &Labels) -> Option<Node> {
    let host = label(labels, "destination_service");
    (host != UNKNOWN).then(|| Node {
        id: format!("service/{host}"),
        kind: "service",
        name: label(labels, "destination_service_name").to_owned(),
        namespace: label(labels, "destination_service_namespace").to_owned(),
        cluster: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(
        reporter: &str,
        source: &str,
        principal: &str,
        destination: &str,
        code: &str,
        tls: &str,
        count: u32,
    ) -> String {
        let namespace = |name: &str| if name == UNKNOWN { UNKNOWN } else { "bookinfo" };
        let cluster = |name: &str| if name == UNKNOWN { UNKNOWN } else { "cluster1" };
        format!(
            "istio_requests_total{{connection_security_policy=\"{tls}\",destination_cluster=\"{}\",destination_service=\"reviews.bookinfo.svc.cluster.local\",destination_service_name=\"reviews\",destination_service_namespace=\"bookinfo\",destination_workload=\"{destination}\",destination_workload_namespace=\"{}\",reporter=\"{reporter}\",request_protocol=\"http\",response_code=\"{code}\",source_cluster=\"{}\",source_principal=\"{principal}\",source_workload=\"{source}\",source_workload_namespace=\"{}\"}} {count}\n",
            cluster(destination),
            namespace(destination),
            cluster(source),
            namespace(source),
        )
    }

    #[test]
    fn a_call_is_counted_once_with_its_share_and_security() {
        let text = [
            line("source", "productpage", "id", "reviews-v1", "200", "mutual_tls", 60),
            line("source", "productpage", "id", "reviews-v1", "503", "unknown", 15),
            // To the other cluster.
            line("source", "productpage", "id", UNKNOWN, "200", "mutual_tls", 25),
            // The same calls, as the servers saw them.
            line("destination", "productpage", "id", "reviews-v1", "200", "mutual_tls", 60),
            line("destination", UNKNOWN, "id", "reviews-v3", "200", "mutual_tls", 25),
            // Somebody without a proxy.
            line("destination", UNKNOWN, UNKNOWN, "reviews-v1", "200", "none", 7),
        ];
        let gone = ("cluster2".to_owned(), Err("no agent is ready".to_owned()));
        let graph = of(&Answers::from([("cluster1".to_owned(), Ok(text.concat())), gone]));
        let edge = |destination: &str, requests, failed, share, mutual_tls| Edge {
            source: "cluster1/bookinfo/productpage".to_owned(),
            destination: destination.to_owned(),
            protocol: "http".to_owned(),
            requests,
            failed,
            share,
            mutual_tls,
        };
        let local = "cluster1/bookinfo/reviews-v1";
        let expected = [
            edge(local, 75.0, 15.0, 0.75, 0.8),
            edge("service/reviews.bookinfo.svc.cluster.local", 25.0, 0.0, 0.25, 1.0),
            Edge { source: UNKNOWN.to_owned(), ..edge(local, 7.0, 0.0, 1.0, 0.0) },
        ];
        assert_eq!(graph.edges, expected);
        assert_eq!(graph.nodes.len(), 4);
        assert_eq!(graph.missing["cluster2"], "no agent is ready");
    }
}
