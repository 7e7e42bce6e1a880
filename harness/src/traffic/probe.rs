//! Starts `bookinfo probe` inside a pod over the Kubernetes exec API and reads the one JSON document it prints.

use std::time::Duration;

use kube::ResourceExt as _;
use serde::Deserialize;

pub use super::request::{Protocol, Request, Source};
pub use super::samples::{ErrorSample, Group, Samples, StatusSample};
use crate::cluster::{Cluster, Error};

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

/// Sends requests from the probe pod of a cluster, and waits for the end.
///
/// # Errors
/// Where there is no such pod, the program does not end in time or prints something else.
pub async fn send(cluster: &Cluster, source: &Source, request: &Request) -> Result<Samples, Error> {
    let command = request.command();
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let samples: Samples = run(cluster, source, &command, request.deadline()).await?;
    // Without a number the duration decides, and then the probe knows best how many there were.
    let asked = request.requests.filter(|_| request.duration.is_none());
    let whole = samples.check(asked);
    whole.map_err(|message| Error::Object { cluster: cluster.name().to_owned(), message })?;
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

/// A pod that matches the source.
pub(super) async fn pod(cluster: &Cluster, source: &Source) -> Result<String, Error> {
    let pods = cluster.pods(&source.namespace, &source.selector).await?;
    let pod = pods.first().ok_or_else(|| Error::Object {
        cluster: cluster.name().to_owned(),
        message: format!("no pod with {} in namespace {} to send traffic from", source.selector, source.namespace),
    })?;
    Ok(pod.name_any())
}

async fn run<T: for<'de> Deserialize<'de>>(
    cluster: &Cluster,
    source: &Source,
    command: &[&str],
    deadline: Duration,
) -> Result<T, Error> {
    let pod = pod(cluster, source).await?;
    let output = cluster.exec(&source.namespace, &pod, &source.container, command, deadline).await?;
    serde_json::from_slice(&output.stdout).map_err(|error| Error::Exec {
        cluster: cluster.name().to_owned(),
        pod: format!("{}/{pod}", source.namespace),
        command: command.join(" "),
        message: format!("unexpected output: {error}"),
    })
}
