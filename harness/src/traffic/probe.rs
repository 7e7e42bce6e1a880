//! Starts `bookinfo probe` inside a pod over the Kubernetes exec API and reads the one JSON document it prints.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::ResourceExt as _;
use serde::{Deserialize, Serialize};

use crate::cluster::{Cluster, Error};

/// Where traffic comes from.
#[derive(Clone, Debug)]
pub struct Source {
    /// Namespace of the probe pod.
    pub namespace: String,
    /// Label selector of the probe pod.
    pub selector: String,
    /// Container that holds the program `bookinfo`.
    pub container: String,
}

/// What to send.
#[derive(Clone, Debug)]
pub struct Request {
    /// Absolute `http` URL as the pod resolves it.
    pub url: String,
    /// How many requests.
    pub requests: u64,
    /// How many connections at a time.
    pub connections: u32,
    /// Additional headers.
    pub headers: BTreeMap<String, String>,
    /// Longest time for one answer.
    pub timeout: Duration,
    /// Whether each request gets a connection of its own.
    pub new_connection_per_request: bool,
    /// Requests started a second, whether or not earlier ones were answered; `None` sends the next after an answer.
    pub rate: Option<u32>,
}

/// What came back, counted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Samples {
    /// Requests that were started.
    pub requests: u64,
    /// Requests that got an HTTP answer, whatever its status.
    pub answered: u64,
    /// Wall time of the run in milliseconds.
    pub duration_ms: f64,
    /// Answers by HTTP status.
    pub by_status: BTreeMap<String, u64>,
    /// Requests without an answer, by class.
    pub errors: BTreeMap<String, u64>,
    /// A few distinct error texts.
    pub error_samples: Vec<ErrorSample>,
    /// Answers by who gave them.
    pub groups: Vec<Group>,
    /// Milliseconds by quantile; `None` without an answer.
    pub latency_ms: Option<BTreeMap<String, f64>>,
}

/// One text of errors that agree.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ErrorSample {
    /// Class, as in [`Samples::errors`].
    pub class: String,
    /// The system's words.
    pub text: String,
    /// How many.
    pub count: u64,
}

/// Answers that agree in everything that was observed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Group {
    /// HTTP status.
    pub status: u16,
    /// Version of the workload that answered, where the answer says so.
    pub version: Option<String>,
    /// Its cluster.
    pub cluster: Option<String>,
    /// Its network.
    pub network: Option<String>,
    /// Its pod.
    pub pod: Option<String>,
    /// SPIFFE id of the caller as the server saw it; `None` where the server saw no mutual TLS.
    pub peer: Option<String>,
    /// SPIFFE id that the server presented.
    pub server: Option<String>,
    /// How many.
    pub count: u64,
}

/// Outcome of one attempt to open a TCP connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// `connected`, `connected-then-closed`, `refused`, `timeout`, `unreachable`, `error`.
    pub outcome: String,
    /// What the other side did with a plain HTTP request, where one was sent.
    #[serde(default)]
    pub http: Option<HttpAnswer>,
}

/// What came of a plain HTTP request over a connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpAnswer {
    /// `answered`, `reset`, `closed`, `timeout`, `protocol`.
    pub outcome: String,
    /// Who answered, where the answer says so.
    #[serde(default)]
    pub served_by: Option<ServedBy>,
}

/// The pod that answered.
#[derive(Clone, Debug, Deserialize)]
pub struct ServedBy {
    /// Its cluster.
    pub cluster: Option<String>,
    /// Its name.
    pub pod: Option<String>,
}

impl Samples {
    /// Requests without an answer.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Whether the figures agree with each other and with what was asked for; a verdict on fewer requests than planned
    /// would be none.
    fn check(&self, asked: u64) -> Result<(), String> {
        let grouped: u64 = self.groups.iter().map(|group| group.count).sum();
        let answered: u64 = self.by_status.values().sum();
        if self.requests != asked {
            let cause = self.error_samples.first().map(|sample| format!(": {}", sample.text)).unwrap_or_default();
            return Err(format!("the probe sent {} requests of {asked}{cause}", self.requests));
        }
        if answered != self.answered || grouped != answered || answered + self.failed() != self.requests {
            return Err(format!(
                "the probe's figures disagree: {} requests, {answered} answers, {grouped} of them told apart, {} errors",
                self.requests,
                self.failed()
            ));
        }
        Ok(())
    }

    /// Counts by a property of the answering workload; only answers of status 200.
    #[must_use]
    pub fn counts(&self, key: impl Fn(&Group) -> String) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for group in self.groups.iter().filter(|group| group.status == 200) {
            *counts.entry(key(group)).or_insert(0) += group.count;
        }
        counts
    }
}

/// Sends requests from the probe pod of a cluster.
///
/// # Errors
/// Where there is no such pod, the program does not end in time or prints something else.
pub async fn send(cluster: &Cluster, source: &Source, request: &Request) -> Result<Samples, Error> {
    let requests = request.requests.to_string();
    let connections = request.connections.to_string();
    let timeout = format!("{}ms", request.timeout.as_millis());
    let headers: Vec<String> = request.headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut command = vec!["bookinfo", "probe", "run", "--url", &request.url, "--requests", &requests];
    command.extend(["--connections", &connections, "--timeout", &timeout]);
    for header in &headers {
        command.extend(["--header", header]);
    }
    let rate = request.rate.map(|rate| rate.to_string());
    if let Some(rate) = &rate {
        command.extend(["--rate", rate]);
    }
    if request.new_connection_per_request {
        command.push("--new-connection-per-request");
    }
    // A closed loop ends at the latest when every request of every connection has timed out.
    let rounds = request.requests.div_ceil(u64::from(request.connections.max(1)));
    let deadline = request.timeout * u32::try_from(rounds).unwrap_or(u32::MAX).min(20) + Duration::from_secs(60);
    let samples: Samples = run(cluster, source, &command, deadline).await?;
    samples.check(request.requests).map_err(|message| Error::Object { cluster: cluster.name().to_owned(), message })?;
    Ok(samples)
}

/// Opens a TCP connection from the probe pod, and sends a plain HTTP request over it where asked.
///
/// # Errors
/// As [`send`].
pub async fn connect(
    cluster: &Cluster,
    source: &Source,
    address: &str,
    timeout: Duration,
    plaintext_http: bool,
) -> Result<Connection, Error> {
    let timeout_text = format!("{}ms", timeout.as_millis());
    let mut command = vec!["bookinfo", "probe", "connect", "--address", address, "--timeout", &timeout_text];
    if plaintext_http {
        command.push("--plaintext-http");
    }
    run(cluster, source, &command, timeout * 2 + Duration::from_secs(10)).await
}

async fn run<T: for<'de> Deserialize<'de>>(
    cluster: &Cluster,
    source: &Source,
    command: &[&str],
    deadline: Duration,
) -> Result<T, Error> {
    let pods = cluster.pods(&source.namespace, &source.selector).await?;
    let pod = pods.first().ok_or_else(|| Error::Object {
        cluster: cluster.name().to_owned(),
        message: format!("no pod with {} in namespace {} to send traffic from", source.selector, source.namespace),
    })?;
    let pod = pod.name_any();
    let output = cluster.exec(&source.namespace, &pod, &source.container, command, deadline).await?;
    serde_json::from_slice(&output.stdout).map_err(|error| Error::Exec {
        cluster: cluster.name().to_owned(),
        pod: format!("{}/{pod}", source.namespace),
        command: command.join(" "),
        message: format!("unexpected output: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Samples {
        let groups = vec![Group { status: 200, version: Some("v1".to_owned()), count: 9, ..Group::default() }];
        Samples {
            requests: 10,
            answered: 9,
            by_status: BTreeMap::from([("200".to_owned(), 9)]),
            errors: BTreeMap::from([("reset".to_owned(), 1)]),
            groups,
            ..Samples::default()
        }
    }

    #[test]
    fn figures_that_agree_are_taken() {
        assert_eq!(samples().check(10), Ok(()));
    }

    #[test]
    fn fewer_requests_than_asked_for_are_no_measurement() {
        assert!(samples().check(11).is_err());
    }

    #[test]
    fn answers_that_nobody_gave_are_no_measurement() {
        let mut samples = samples();
        samples.groups.clear();
        assert!(samples.check(10).is_err());
    }
}
