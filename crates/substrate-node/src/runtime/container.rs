//! A running container, as the node agent sees it.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use jiff::Timestamp;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use tokio::net::unix::pipe;
use tokio::sync::watch;

use super::child::{Child, send_signal};
use super::helper::{Enter, Launch, Program, Request};
use super::logs::{LogProgress, LogWriter};
use super::{ContainerSpec, DEFAULT_PATH, ExecSession, ExecSpec, ExitStatus, StartError, exec, init};

/// A container that has been started. Clones are handles on the same container; dropping them does not end it.
#[derive(Clone)]
pub struct Container {
    inner: Arc<Inner>,
}

struct Inner {
    spec: ContainerSpec,
    pid: i32,
    process: OwnedFd,
    started_at: Timestamp,
    exit: watch::Receiver<Option<ExitStatus>>,
    log: watch::Receiver<LogProgress>,
}

impl Container {
    /// Starts a container in the pod's network namespace and returns once its program runs.
    ///
    /// # Errors
    /// [`StartError`]; nothing of the container is left then, but for an empty log file.
    pub async fn spawn(spec: ContainerSpec, network: BorrowedFd<'_>) -> Result<Self, StartError> {
        let spec = complete(spec);
        init::check_capabilities(&spec.capabilities)?;
        let network = network.try_clone_to_owned()?;
        // On a task of its own: a caller that gives up half-way does not leave a half-started container.
        tokio::spawn(start(spec, network)).await.map_err(io::Error::other)?
    }

    /// The id from the spec.
    pub fn id(&self) -> &str {
        &self.inner.spec.id
    }

    /// Process id of the program, in the supervisor's PID namespace.
    pub fn pid(&self) -> i32 {
        self.inner.pid
    }

    /// When the program was started.
    pub fn started_at(&self) -> Timestamp {
        self.inner.started_at
    }

    /// How it ended; `None` while it runs.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.inner.exit.borrow().clone()
    }

    /// Waits for the end: of the program, of everything it started, and of its log.
    pub async fn wait(&self) -> ExitStatus {
        let mut exit = self.inner.exit.clone();
        let status = exit.wait_for(Option::is_some).await.ok().and_then(|status| status.clone());
        // The sender always sends before it goes; only a runtime that is shutting down drops it early.
        status.unwrap_or_else(|| ended(137, Some(libc::SIGKILL), self.inner.started_at))
    }

    /// Sends a signal to the program. As PID 1 of its namespace it is not hurt by signals that it does not handle,
    /// except SIGKILL.
    ///
    /// # Errors
    /// `ESRCH` after its end.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        send_signal(&self.inner.process, signal)
    }

    /// How far the log has been written, for readers that follow it.
    pub fn log_progress(&self) -> watch::Receiver<LogProgress> {
        self.inner.log.clone()
    }

    /// Runs a command in the container, with the container's environment, directory and capabilities.
    ///
    /// # Errors
    /// [`StartError::NotRunning`] after its end, otherwise what prevented the start.
    pub async fn exec(&self, exec: ExecSpec) -> Result<ExecSession, StartError> {
        if self.exit_status().is_some() {
            return Err(StartError::NotRunning(self.inner.spec.id.clone()));
        }
        let mut program = Program { command: exec.command.clone(), ..program(&self.inner.spec) };
        if exec.tty && !program.environment.iter().any(|(name, _)| name == "TERM") {
            program.environment.push(("TERM".to_owned(), "xterm".to_owned()));
        }
        let process = self.inner.process.try_clone()?;
        exec::start(exec, program, self.inner.pid, process).await
    }
}

async fn start(spec: ContainerSpec, network: OwnedFd) -> Result<Container, StartError> {
    let (log, progress) = LogWriter::create(&spec.log_file).map_err(|error| StartError::Setup {
        what: format!("log file {}", spec.log_file.display()),
        message: error.to_string(),
    })?;
    let (stdout, stdout_writer) = pipe2(OFlag::O_CLOEXEC).map_err(io::Error::from)?;
    let (stderr, stderr_writer) = pipe2(OFlag::O_CLOEXEC).map_err(io::Error::from)?;
    let launch = Launch {
        enter: Enter::New { network },
        request: Request::Init(Box::new(spec.clone())),
        stdin: None,
        stdout: stdout_writer,
        stderr: stderr_writer,
    };
    let pump = tokio::spawn(log.pump(receiver(stdout)?, receiver(stderr)?));
    let child = launch.start().await?;
    let started_at = Timestamp::now();
    let (exit_sender, exit) = watch::channel(None);
    let inner = Inner { spec, pid: child.pid().as_raw(), process: child.handle()?, started_at, exit, log: progress };
    tokio::spawn(supervise(child, pump, started_at, exit_sender));
    Ok(Container { inner: Arc::new(inner) })
}

async fn supervise(
    mut child: Child,
    pump: tokio::task::JoinHandle<io::Result<()>>,
    started_at: Timestamp,
    exit: watch::Sender<Option<ExitStatus>>,
) {
    let (code, signal) = child.wait().await.unwrap_or_else(|error| {
        tracing::error!(%error, "cannot wait for a container");
        (255, None)
    });
    let status = ended(code, signal, started_at);
    // With PID 1 everything in the namespace ends, so both pipes are closed: the log is complete very soon.
    match pump.await {
        Ok(Err(error)) => tracing::warn!(%error, "the log of a container is incomplete"),
        Err(error) => tracing::error!(%error, "the log pump of a container failed"),
        Ok(Ok(())) => {}
    }
    exit.send_replace(Some(status));
}

fn ended(code: i32, signal: Option<i32>, started_at: Timestamp) -> ExitStatus {
    ExitStatus { code, signal, started_at, finished_at: Timestamp::now() }
}

pub(super) fn receiver(descriptor: OwnedFd) -> io::Result<pipe::Receiver> {
    pipe::Receiver::from_owned_fd(descriptor)
}

fn program(spec: &ContainerSpec) -> Program {
    Program {
        command: spec.command.clone(),
        environment: spec.environment.clone(),
        working_directory: spec.working_directory.clone(),
        capabilities: spec.capabilities.clone(),
    }
}

/// Adds the variables that every container runtime sets.
fn complete(mut spec: ContainerSpec) -> ContainerSpec {
    let defaults = [("PATH", DEFAULT_PATH), ("HOME", "/root"), ("HOSTNAME", &spec.hostname.clone())];
    for (name, value) in defaults {
        if !spec.environment.iter().any(|(present, _)| present == name) {
            spec.environment.push((name.to_owned(), value.to_owned()));
        }
    }
    spec
}
