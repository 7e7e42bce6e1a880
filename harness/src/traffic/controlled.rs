//! A program in a pod that says when it begins, goes on until it is told to end, and then writes what came of it.
//!
//! It ends with its handle, and with this process: that ends the connection, and with it the program's standard input.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams, AttachedProcess};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::task::JoinHandle;

use crate::cluster::{Cluster, Error, chain};

/// How long a program may take to begin: a look-up of a name may be a part of it.
const BEGIN: Duration = Duration::from_secs(20);

/// A program that runs in a pod.
pub(crate) struct Controlled {
    place: Place,
    stdin: Box<dyn AsyncWrite + Send + Unpin>,
    output: JoinHandle<Result<Vec<u8>, String>>,
    started_at: String,
}

/// Where a program is, for messages.
struct Place {
    cluster: String,
    pod: String,
    command: String,
}

/// What the program says when it begins.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Begun {
    started_at: String,
}

impl Controlled {
    /// Starts a command in a container. When this returns, it has said that it began.
    ///
    /// # Errors
    /// Where it does not start.
    pub(crate) async fn start(
        cluster: &Cluster,
        namespace: &str,
        pod: &str,
        container: &str,
        command: Vec<String>,
    ) -> Result<Self, Error> {
        let place =
            Place { cluster: cluster.name().to_owned(), pod: format!("{namespace}/{pod}"), command: command.join(" ") };
        let api: Api<Pod> = Api::namespaced(cluster.client(), namespace);
        let parameters = AttachParams::default().container(container).stdin(true).stderr(true);
        let begin = async {
            let mut process = api.exec(pod, command, &parameters).await.map_err(|error| chain(&error))?;
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
        let begun: Result<_, String> = tokio::time::timeout(BEGIN, begin)
            .await
            .unwrap_or_else(|_| Err(format!("it did not begin within {BEGIN:?}")));
        let (process, stdin, stdout, begun) = begun.map_err(|message| place.failed(message))?;
        let output = tokio::spawn(read(process, stdout));
        Ok(Self { place, stdin: Box::new(stdin), output, started_at: begun.started_at })
    }

    /// The moment that it began, RFC 3339 in UTC, by the clock of the pod's machine.
    pub(crate) fn started_at(&self) -> &str {
        &self.started_at
    }

    /// Whether it has ended by itself.
    pub(crate) fn is_over(&self) -> bool {
        self.output.is_finished()
    }

    /// Tells it to end. It may still have things to do.
    pub(crate) async fn stop(&mut self) {
        // A program that is over reads nothing any more, which is no error.
        let _ = self.stdin.write_all(b"stop\n").await;
        let _ = self.stdin.shutdown().await;
    }

    /// What it wrote at its end, as JSON.
    ///
    /// # Errors
    /// Where it does not end in time, ended badly, or wrote something else.
    pub(crate) async fn report<T: for<'de> Deserialize<'de>>(&mut self, deadline: Duration) -> Result<T, Error> {
        let ended = tokio::time::timeout(deadline, &mut self.output);
        let ended = ended.await.map_err(|_| self.failed(format!("no report within {deadline:?}")))?;
        let output = ended.map_err(|error| error.to_string()).and_then(|output| output);
        let output = output.map_err(|message| self.failed(message))?;
        serde_json::from_slice(&output).map_err(|error| self.failed(format!("unexpected output: {error}")))
    }

    /// An error about this program.
    pub(crate) fn failed(&self, message: impl Into<String>) -> Error {
        self.place.failed(message)
    }
}

impl Place {
    fn failed(&self, message: impl Into<String>) -> Error {
        let (cluster, pod, command) = (self.cluster.clone(), self.pod.clone(), self.command.clone());
        Error::Exec { cluster, pod, command, message: message.into() }
    }
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

impl Drop for Controlled {
    /// The task holds the connection.
    fn drop(&mut self) {
        self.output.abort();
    }
}
