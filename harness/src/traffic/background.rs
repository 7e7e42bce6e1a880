//! Traffic in the background: started, left to itself while the mesh is changed, stopped, and read.
//!
//! ```text
//! let request = Request { rate: Some(500), max_connections: Some(200), samples: 1_000_000, ..Request::to(url) };
//! let traffic = background::start(cluster, &source, &request).await?; // requests leave from here on
//! …                                                                   // the event
//! let samples = traffic.stop().await?;                                // every request, with its times
//! ```
//!
//! The run in the pod ends with its handle: dropping it ends the connection, and with it the probe's standard input.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams, AttachedProcess};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::task::JoinHandle;

use super::probe::{self, Request, Samples, Source};
use crate::cluster::{Cluster, Error, chain};

/// How long a run may take to begin: a look-up of the name is a part of it.
const BEGIN: Duration = Duration::from_secs(20);
/// How long a stopped run may take to write its report, after its last requests have timed out.
const REPORT: Duration = Duration::from_secs(30);

/// A run that goes on in a pod until it is stopped.
pub struct Background {
    run: Run,
    stdin: Box<dyn AsyncWrite + Send + Unpin>,
    output: JoinHandle<Result<Vec<u8>, String>>,
    request: Request,
    started_at: String,
}

/// Where a run is, for messages.
struct Run {
    cluster: String,
    pod: String,
    command: String,
}

impl Run {
    fn failed(&self, message: impl Into<String>) -> Error {
        let (cluster, pod, command) = (self.cluster.clone(), self.pod.clone(), self.command.clone());
        Error::Exec { cluster, pod, command, message: message.into() }
    }
}

/// What the probe says when it begins.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Begun {
    started_at: String,
}

/// Starts a run in the pod of a source. When this returns, sending has begun.
///
/// # Errors
/// Where there is no such pod, or the program does not start.
pub async fn start(cluster: &Cluster, source: &Source, request: &Request) -> Result<Background, Error> {
    let pod = probe::pod(cluster, source).await?;
    let mut command = request.command();
    command.push("--controlled".to_owned());
    let run = Run {
        cluster: cluster.name().to_owned(),
        pod: format!("{}/{pod}", source.namespace),
        command: command.join(" "),
    };
    let api: Api<Pod> = Api::namespaced(cluster.client(), &source.namespace);
    let parameters = AttachParams::default().container(&source.container).stdin(true).stderr(true);
    let begin = async {
        let mut process = api.exec(&pod, command, &parameters).await.map_err(|error| chain(&error))?;
        let stdin = process.stdin().ok_or("there is no standard input")?;
        let mut stdout = BufReader::new(process.stdout().ok_or("there is no standard output")?);
        let mut line = String::new();
        stdout.read_line(&mut line).await.map_err(|error| error.to_string())?;
        match serde_json::from_str::<Begun>(&line) {
            Ok(begun) => Ok((process, stdin, stdout, begun)),
            // It ended before it began: its words and its exit status say why.
            Err(_) => match read(process, stdout).await {
                Ok(_) => Err(format!("it began with `{}`", line.trim())),
                Err(message) => Err(message),
            },
        }
    };
    let begun: Result<_, String> =
        tokio::time::timeout(BEGIN, begin).await.unwrap_or_else(|_| Err(format!("it did not begin within {BEGIN:?}")));
    let (process, stdin, stdout, begun) = begun.map_err(|message| run.failed(message))?;
    Ok(Background {
        run,
        stdin: Box::new(stdin),
        output: tokio::spawn(read(process, stdout)),
        request: request.clone(),
        started_at: begun.started_at,
    })
}

/// What is left of standard output, when the program ended with exit code 0.
async fn read(mut process: AttachedProcess, mut stdout: impl AsyncRead + Unpin) -> Result<Vec<u8>, String> {
    let status = process.take_status().ok_or("there is no exit status")?;
    let mut stderr = process.stderr().ok_or("there is no standard error")?;
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let (read, read_errors) = tokio::join!(stdout.read_to_end(&mut output), stderr.read_to_end(&mut errors));
    read.and(read_errors).map_err(|error| error.to_string())?;
    let status = status.await.ok_or("the connection ended without an exit status")?;
    if status.status.as_deref() == Some("Success") {
        return Ok(output);
    }
    let words = String::from_utf8_lossy(&errors);
    Err(format!("{}: {}", status.message.unwrap_or_default(), words.trim()))
}

impl Background {
    /// The moment that the run's times count from, RFC 3339 in UTC, by the clock of the pod's machine.
    #[must_use]
    pub fn started_at(&self) -> &str {
        &self.started_at
    }

    /// Whether it has ended by itself: by its number of requests or its duration, or because something went wrong.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.output.is_finished()
    }

    /// Ends it, waits for requests in flight, and gives the whole report.
    ///
    /// # Errors
    /// Where the run ended badly before, or its report does not come or is not whole.
    pub async fn stop(mut self) -> Result<Samples, Error> {
        // A run that is over reads nothing any more, which is no error.
        let _ = self.stdin.write_all(b"stop\n").await;
        let _ = self.stdin.shutdown().await;
        let deadline = self.request.timeout + REPORT;
        self.report(deadline).await
    }

    /// Waits for its own end, by its number of requests or its duration.
    ///
    /// # Errors
    /// As [`Self::stop`]; also where it does not end in the time that it may take.
    pub async fn wait(self) -> Result<Samples, Error> {
        let deadline = self.request.deadline();
        self.report(deadline).await
    }

    async fn report(mut self, deadline: Duration) -> Result<Samples, Error> {
        let ended = tokio::time::timeout(deadline, &mut self.output);
        let ended = ended.await.map_err(|_| self.run.failed(format!("no report within {deadline:?}")))?;
        let output = ended.map_err(|error| error.to_string()).and_then(|output| output);
        let output = output.map_err(|message| self.run.failed(message))?;
        let samples: Samples =
            serde_json::from_slice(&output).map_err(|error| self.run.failed(format!("unexpected output: {error}")))?;
        samples.check(None).map_err(|message| self.run.failed(message))?;
        Ok(samples)
    }
}

impl Drop for Background {
    /// The task holds the connection.
    fn drop(&mut self) {
        self.output.abort();
    }
}
