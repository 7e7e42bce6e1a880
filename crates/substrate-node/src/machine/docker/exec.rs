//! Commands in a container, with their streams. A command ends with its session: what it is told comes in pieces (see
//! [`crate::machine::inside`]), and a stream that ends without saying so means that nobody is there any more.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use docker_support::Error;
use docker_support::bollard::container::LogOutput;
use docker_support::bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use futures::{Stream, StreamExt as _};
use substrate_config::machine::MACHINE_INIT;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::StreamReader;
use tokio_util::sync::PollSender;

use super::Container;
use crate::machine::inside::{COMMAND, Command};
use crate::machine::runtime::Place;
use crate::runtime::{ExecSession, ExecSpec, StartError};

/// So many pieces may wait on their way.
const WAITING: usize = 16;
/// Longest piece of a command's input.
const LONGEST_PIECE: usize = 32 * 1024;
/// The engine may tell the end of a command's streams before the end of the command.
const ENDING: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(10);

/// The place beside a program in a container.
pub(super) struct Beside {
    container: Container,
    environment: Vec<(String, String)>,
    capabilities: Vec<String>,
}

impl Beside {
    pub(super) fn new(container: Container, environment: Vec<(String, String)>, capabilities: Vec<String>) -> Self {
        Self { container, environment, capabilities }
    }

    async fn start(&self, spec: ExecSpec) -> Result<ExecSession, Error> {
        let docker = self.container.engine.docker();
        let options = CreateExecOptions {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(vec![MACHINE_INIT, COMMAND]),
            ..CreateExecOptions::default()
        };
        let created = docker.create_exec(&self.container.id, options).await;
        let id = created.map_err(Error::refused("make a command in a container"))?.id;
        let started = docker.start_exec(&id, None::<StartExecOptions>).await;
        let started = started.map_err(Error::refused("run a command in a container"))?;
        let StartExecResults::Attached { output, input } = started else {
            let problem = io::Error::other("the command was started without its streams");
            return Err(Error::refused("run a command in a container")(problem.into()));
        };
        let command = Command {
            command: spec.command,
            environment: self.environment.clone(),
            capabilities: self.capabilities.clone(),
            stdin: spec.stdin,
        };
        let (send, pieces) = mpsc::channel(WAITING);
        let first = serde_json::to_vec(&command).expect("invariant: plain data serialises");
        send.try_send(first).expect("invariant: the channel is empty");
        tokio::spawn(carry(pieces, input));
        let (stdout, stdout_pieces) = mpsc::channel(WAITING);
        let (stderr, stderr_pieces) = mpsc::channel(WAITING);
        let (ended, end) = oneshot::channel();
        tokio::spawn(async move {
            divide(output, stdout, stderr).await;
            // Nobody may want to know.
            let _unheard = ended.send(());
        });
        let container = self.container.clone();
        let alive = send.clone();
        Ok(ExecSession {
            stdin: spec.stdin.then(|| Box::new(Input { pieces: PollSender::new(send) }) as _),
            stdout: Box::new(StreamReader::new(ReceiverStream::new(stdout_pieces).map(Ok::<Bytes, io::Error>))),
            stderr: Some(Box::new(StreamReader::new(ReceiverStream::new(stderr_pieces).map(Ok::<Bytes, io::Error>)))),
            resize: None,
            exit: Box::pin(async move {
                // As long as this waits, the command has somebody.
                let _alive = alive;
                let _ended = end.await;
                exit_code(container, id).await
            }),
        })
    }
}

#[async_trait]
impl Place for Beside {
    async fn exec(&self, spec: ExecSpec) -> Result<ExecSession, StartError> {
        if spec.command.is_empty() {
            return Err(StartError::NoCommand);
        }
        if spec.tty {
            let message = "no terminals are given on a machine that is a container".to_owned();
            return Err(StartError::Setup { what: "a terminal".to_owned(), message });
        }
        self.start(spec).await.map_err(|error| StartError::Helper(io::Error::other(error)))
    }
}

/// Carries pieces to the command until the last sender is gone, and then closes its input.
async fn carry(mut pieces: mpsc::Receiver<Vec<u8>>, mut input: Pin<Box<dyn AsyncWrite + Send>>) {
    while let Some(piece) = pieces.recv().await {
        let length = u32::try_from(piece.len()).expect("invariant: pieces are short");
        let framed = [&length.to_be_bytes()[..], &piece].concat();
        let written = async {
            input.write_all(&framed).await?;
            input.flush().await
        };
        // The command has ended; its streams tell.
        if written.await.is_err() {
            break;
        }
    }
    let _closed = input.shutdown().await;
}

/// Divides what the engine carries into both streams. Whoever does not read one of them any more misses it.
async fn divide(
    mut output: Pin<Box<dyn Stream<Item = Result<LogOutput, docker_support::bollard::errors::Error>> + Send>>,
    stdout: mpsc::Sender<Bytes>,
    stderr: mpsc::Sender<Bytes>,
) {
    while let Some(Ok(piece)) = output.next().await {
        let _unread = match piece {
            LogOutput::StdErr { message } => stderr.send(message).await,
            LogOutput::StdOut { message } | LogOutput::Console { message } => stdout.send(message).await,
            LogOutput::StdIn { .. } => Ok(()),
        };
    }
}

async fn exit_code(container: Container, id: String) -> io::Result<i32> {
    let docker = container.engine.docker().clone();
    let code = eventually::poll("the end of a command", ENDING, STEP, move || {
        let (docker, id) = (docker.clone(), id.clone());
        async move {
            match docker.inspect_exec(&id).await {
                Ok(exec) if exec.running == Some(false) => {
                    exec.exit_code.ok_or_else(|| "it has no exit code".to_owned())
                }
                Ok(_) => Err("it runs".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        }
    });
    let code = code.await.map_err(io::Error::other)?;
    Ok(i32::try_from(code).unwrap_or(255))
}

/// The command's standard input.
struct Input {
    pieces: PollSender<Vec<u8>>,
}

impl Input {
    fn send(&mut self, context: &mut Context<'_>, piece: &[u8]) -> Poll<io::Result<usize>> {
        let closed = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        ready!(self.pieces.poll_reserve(context)).map_err(closed)?;
        self.pieces.send_item(piece.to_vec()).map_err(closed)?;
        Poll::Ready(Ok(piece.len()))
    }
}

impl AsyncWrite for Input {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match bytes {
            // An empty piece would be the end.
            [] => Poll::Ready(Ok(0)),
            _ => self.send(context, &bytes[..bytes.len().min(LONGEST_PIECE)]),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.send(context, &[]).map_ok(drop)
    }
}

impl Drop for Input {
    /// Dropping the input is its end, as for a pipe.
    fn drop(&mut self) {
        if let Some(pieces) = self.pieces.get_ref().cloned()
            && !self.pieces.is_closed()
        {
            tokio::spawn(async move { pieces.send(Vec::new()).await });
        }
    }
}
