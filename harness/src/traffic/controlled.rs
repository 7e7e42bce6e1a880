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

/// A run of the probe that was started and sends nothing before it is told to begin.
pub(crate) struct Held(Speaking);

/// A program whose first lines are read.
struct Speaking {
    place: Place,
    command: String,
    stdin: Box<dyn AsyncWrite + Send + Unpin>,
    stdout: BufReader<Box<dyn AsyncRead + Send + Unpin>>,
    end: AbortOnDropHandle<Result<(i32, String), String>>,
}

/// What the program says when it begins.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Begun {
    started_at: String,
}

/// What a run says that waits for the word.
#[derive(Deserialize)]
struct Waiting {
    #[serde(rename = "held")]
    _held: bool,
}

impl Speaking {
    async fn start(place: Place, command: &[String]) -> Result<Self, Error> {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let command = words.join(" ");
        let started = tokio::time::timeout(BEGIN, place.start(&words)).await;
        match started.unwrap_or_else(|_| Err(format!("it did not start within {BEGIN:?}"))) {
            Ok(Streams { stdin, stdout, end }) => {
                Ok(Self { place, command, stdin, stdout: BufReader::new(stdout), end })
            }
            Err(message) => Err(place.failed(&command, message)),
        }
    }

    /// Reads a line, by which it says how far it is.
    async fn line<T: for<'de> Deserialize<'de>>(mut self) -> Result<(Self, T), Error> {
        let mut line = String::new();
        let read_line = tokio::time::timeout(BEGIN, self.stdout.read_line(&mut line)).await;
        match read_line.map_err(|_| format!("it did not begin within {BEGIN:?}")) {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(self.failed(error.to_string())),
            Err(message) => return Err(self.failed(message)),
        }
        if let Ok(said) = serde_json::from_str::<T>(&line) {
            return Ok((self, said));
        }
        // It ended before it began: its words and its exit status say why.
        let Self { place, command, stdout, end, .. } = self;
        let ended = tokio::time::timeout(BEGIN, read(stdout, end)).await;
        let message = match ended {
            Ok(Err(message)) => message,
            _ => format!("it began with `{}`", line.trim()),
        };
        Err(place.failed(&command, message))
    }

    fn failed(&self, message: impl Into<String>) -> Error {
        self.place.failed(&self.command, message)
    }
}

impl Held {
    /// Starts a command that is held. When this returns, it could begin at once.
    ///
    /// # Errors
    /// Where it does not start.
    pub(crate) async fn start(place: Place, command: &[String]) -> Result<Self, Error> {
        let (speaking, Waiting { .. }) = Speaking::start(place, command).await?.line().await?;
        Ok(Self(speaking))
    }

    /// Tells it to begin. When this returns, it has said that it did.
    ///
    /// # Errors
    /// Where it ended meanwhile.
    pub(crate) async fn begin(mut self) -> Result<Controlled, Error> {
        let told = async {
            self.0.stdin.write_all(b"start\n").await?;
            self.0.stdin.flush().await
        };
        if let Err(error) = told.await {
            return Err(self.0.failed(format!("it cannot be told to begin: {error}")));
        }
        Controlled::of(self.0).await
    }
}

impl Controlled {
    /// Starts a command. When this returns, it has said that it began.
    ///
    /// # Errors
    /// Where it does not start.
    pub(crate) async fn start(place: Place, command: &[String]) -> Result<Self, Error> {
        Self::of(Speaking::start(place, command).await?).await
    }

    async fn of(speaking: Speaking) -> Result<Self, Error> {
        let (Speaking { place, command, stdin, stdout, end }, begun) = speaking.line::<Begun>().await?;
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
