//! Starts `bookinfo probe` inside a pod or on a virtual machine and reads the one JSON document it prints.

use std::time::Duration;

use serde::Deserialize;

use super::place::Place;
pub use super::place::Source;
pub use super::request::{Protocol, Request};
pub use super::samples::{ErrorSample, Group, Samples, StatusSample};
use crate::cluster::Error;

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

/// Sends requests from a source, and waits for the end.
///
/// # Errors
/// Where there is no such pod, the program does not end in time or prints something else.
pub async fn send(source: &Source, request: &Request) -> Result<Samples, Error> {
    let command = request.command();
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let (place, samples) = run::<Samples>(source, &command, request.deadline()).await?;
    // Without a number the duration decides, and then the probe knows best how many there were.
    let asked = request.requests.filter(|_| request.duration.is_none());
    samples.check(asked).map_err(|message| place.failed(&command.join(" "), message))?;
    Ok(samples)
}

/// Opens a TCP connection from a source, and sends a plain HTTP request over it where asked.
///
/// # Errors
/// As [`send`].
pub async fn connect(
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
    run(source, &command, timeout * 2 + Duration::from_secs(10)).await.map(|(_, connection)| connection)
}

async fn run<T: for<'de> Deserialize<'de>>(
    source: &Source,
    command: &[&str],
    deadline: Duration,
) -> Result<(Place, T), Error> {
    let place = source.place().await?;
    let output = place.run(command, deadline).await?;
    match serde_json::from_slice(&output.stdout) {
        Ok(read) => Ok((place, read)),
        Err(error) => Err(place.failed(&command.join(" "), format!("unexpected output: {error}"))),
    }
}
