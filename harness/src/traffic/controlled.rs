//! A program in a pod or on a machine that says when it begins, goes on until it is told to end, and then writes what came of it.
//!
//! It ends with its handle, and with this process: that ends the connection, and with it the program's standard input.

use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

use super::place::{Place, Streams};
use crate::cluster::Error;

/// How long a program may take to begin: a look-up of a name may be a part of it.
const BEGIN: Duration = Duration::from_secs(20);

/// A program that runs in a pod or on a machine.
pub(crate) struct Controlled {
    place: Place,
    command: String,
    stdin: Box<dyn AsyncWrite + Send + Unpin>,
    output: JoinHandle<Result<Vec<u8>, String>>,
    started_at: String,
}

/// What the program says when it begins.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Begun {
    started_at: String,
}

impl Controlled {
    /// Starts a command. When this returns, it has said that it began.
    ///
    /// # Errors
    /// Where it does not start.
    pub(crate) async fn start(place: Place, command: &[String]) -> Result<Self, Error> {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let begin = async {
            let Streams { stdin, stdout, end } = place.start(&words).await?;
            let mut stdout = BufReader::new(stdout);
            let mut line = String::new();
            stdout.read_line(&mut line).await.map_err(|error| error.to_string())?;
            match serde_json::from_str::<Begun>(&line) {
                Ok(begun) => Ok((stdin, stdout, end, begun)),
                // It ended before it began: its words and its exit status say why.
                Err(_) => match read(stdout, end).await {
                    Ok(_) => Err(format!("it began with `{}`", line.trim())),
                    Err(message) => Err(message),
                },
            }
        };
        let begun: Result<_, String> = tokio::time::timeout(BEGIN, begin)
            .await
            .unwrap_or_else(|_| Err(format!("it did not begin within {BEGIN:?}")));
        let command = words.join(" ");
        let (stdin, stdout, end, begun) = begun.map_err(|message| place.failed(&command, message))?;
        let output = tokio::spawn(read(stdout, end));
        Ok(Self { place, command, stdin, output, started_at: begun.started_at })
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
        self.place.failed(&self.command, message)
    }
}

/// What is left of standard output, when the program ended with exit code 0.
async fn read(
    mut stdout: impl AsyncRead + Unpin,
    end: AbortOnDropHandle<Result<(i32, String), String>>,
) -> Result<Vec<u8>, String> {
    let mut output = Vec::new();
    stdout.read_to_end(&mut output).await.map_err(|error| error.to_string())?;
    let (code, words) = end.await.map_err(|error| error.to_string())??;
    if code == 0 { Ok(output) } else { Err(format!("exit code {code}: {}", words.trim())) }
}

impl Drop for Controlled {
    /// The task holds the connection.
    fn drop(&mut self) {
        self.output.abort();
    }
}
