//! Starts this program again inside other namespaces, and talks to it until it has become something else.
//!
//! The supervisor's half of the protocol; [`super::init`] is the other. The request goes over a socket that is the
//! new process's standard input: a length, the JSON text, and descriptors beside the first byte. Answers come back
//! on the same socket as one JSON document; end of file after [`Answer::Executing`] means that the program runs.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;
use tokio::sync::oneshot;

use super::StartError;
use super::child::Child;
use crate::message;

/// What the new process is asked to do. The first argument of its command line names it too, for humans.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Become the first process of a container.
    Init(Box<super::ContainerSpec>),
    /// Become one more process of a running container.
    Exec(ExecRequest),
}

/// A command for a running container.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ExecRequest {
    /// Process id of the container's first process, as the supervisor sees it.
    pub(super) container: i32,
    pub(super) program: Program,
    /// Standard input is a terminal, which becomes the controlling one.
    pub(super) tty: bool,
    /// A descriptor for standard input comes with the request.
    pub(super) stdin: bool,
}

/// A program and what it starts with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Program {
    pub(super) command: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) working_directory: Option<std::path::PathBuf>,
    pub(super) capabilities: Vec<String>,
}

/// What the new process says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// Everything is set up; the next thing is the program, or [`Answer::Failed`].
    Executing,
    /// It cannot be done.
    Failed(Failure),
}

/// The errors that arise in the new process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Failure {
    NoCommand,
    CommandNotFound { program: String },
    NotExecutable { program: String, message: String },
    WorkingDirectory { directory: String, message: String },
    Setup { what: String, message: String },
}

impl From<Failure> for StartError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoCommand => Self::NoCommand,
            Failure::CommandNotFound { program } => Self::CommandNotFound { program },
            Failure::NotExecutable { program, message } => Self::NotExecutable { program, message },
            Failure::WorkingDirectory { directory, message } => Self::WorkingDirectory { directory, message },
            Failure::Setup { what, message } => Self::Setup { what, message },
        }
    }
}

/// Where the new process lives.
pub(super) enum Enter {
    /// In a new PID namespace, and in this network namespace.
    New { network: OwnedFd },
    /// In the PID, network, UTS and IPC namespaces of the process behind this pidfd.
    Existing { process: OwnedFd },
}

/// Everything for one start.
pub(super) struct Launch {
    pub(super) enter: Enter,
    pub(super) request: Request,
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// Longest time from start to the program; only a machine in trouble needs more than some milliseconds.
const START_DEADLINE: Duration = Duration::from_secs(30);

impl Launch {
    /// Starts the process and waits until its program runs.
    pub(super) async fn start(self) -> Result<Child, StartError> {
        let Self { enter, request, stdin, stdout, stderr } = self;
        let role = match &request {
            Request::Init(_) => super::init::CONTAINER_INIT,
            Request::Exec(_) => super::init::CONTAINER_EXEC,
        };
        let request = serde_json::to_vec(&request).map_err(io::Error::from)?;
        let (ours, theirs) = UnixStream::pair()?;
        let (reply, started) = oneshot::channel();
        // A thread of its own: it can enter a PID namespace for its children only once, and is of no use afterwards.
        std::thread::Builder::new().name("launch".to_owned()).spawn(move || {
            let spawned = spawn(&enter, role, theirs, stdout, stderr).map(|pid| {
                // A process that has already ended does not read; the reason follows from its silence below.
                message::send(&ours, &request, stdin.as_ref().map(AsFd::as_fd)).ok();
                (pid, ours)
            });
            drop(reply.send(spawned));
        })?;
        let (pid, control) = started.await.map_err(io::Error::other)??;
        let mut child = Child::adopt(pid)?;
        match tokio::time::timeout(START_DEADLINE, read_answers(control)).await {
            Err(_) => Err(StartError::TimedOut(START_DEADLINE)),
            Ok(Ok(())) => Ok(child),
            Ok(Err(error)) => {
                child.wait().await?;
                Err(error)
            }
        }
    }
}

/// Runs on the thread that is used once.
fn spawn(enter: &Enter, role: &str, control: UnixStream, stdout: OwnedFd, stderr: OwnedFd) -> io::Result<u32> {
    match enter {
        Enter::New { network } => {
            setns(network.as_fd(), CloneFlags::CLONE_NEWNET)?;
            unshare(CloneFlags::CLONE_NEWPID)?;
        }
        Enter::Existing { process } => {
            let namespaces = CloneFlags::CLONE_NEWPID
                | CloneFlags::CLONE_NEWNET
                | CloneFlags::CLONE_NEWUTS
                | CloneFlags::CLONE_NEWIPC;
            setns(process.as_fd(), namespaces)?;
        }
    }
    let child = Command::new("/proc/self/exe")
        .arg(role)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(control)))
        .stdout(Stdio::from(stdout))
        .stderr(Stdio::from(stderr))
        .spawn()?;
    Ok(child.id())
}

async fn read_answers(control: UnixStream) -> Result<(), StartError> {
    control.set_nonblocking(true)?;
    let mut text = Vec::new();
    tokio::net::UnixStream::from_std(control)?.read_to_end(&mut text).await?;
    let mut executing = false;
    for answer in serde_json::Deserializer::from_slice(&text).into_iter::<Answer>() {
        match answer.map_err(io::Error::from)? {
            Answer::Executing => executing = true,
            Answer::Failed(failure) => return Err(failure.into()),
        }
    }
    if executing {
        return Ok(());
    }
    Err(StartError::Setup {
        what: "the container's first process".to_owned(),
        message: "it ended before it could say why; its standard error may tell".to_owned(),
    })
}
