//! A virtual machine of a running world: what can be asked of it, and commands beside its programs.

use std::io;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use substrate_config::control::{Attached, ControlRequest, ControlResponse};
use substrate_config::machine::{MachineAction, MachineAnswer, MachineFile, ProgramStatus};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::cluster::Output;
use crate::links::Error;
use crate::links::connection::{Connection, unexpected};

/// A machine. Cheap to clone; holds no connection.
#[derive(Clone, Debug)]
pub struct Machine {
    name: String,
    socket: Utf8PathBuf,
}

/// How a machine is.
#[derive(Clone, Debug)]
pub struct Status {
    /// Whether it runs.
    pub running: bool,
    /// How often it was started.
    pub starts: u64,
    /// Its programs, in their order.
    pub programs: Vec<ProgramStatus>,
}

impl Machine {
    /// The machine of that name behind a control socket.
    #[must_use]
    pub fn new(name: &str, socket: &Utf8Path) -> Self {
        Self { name: name.to_owned(), socket: socket.to_owned() }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes files to its disk, all or none.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn write(&self, files: Vec<MachineFile>) -> Result<(), Error> {
        self.act(MachineAction::Write { files }).await.map(drop)
    }

    /// Starts it.
    ///
    /// # Errors
    /// [`Error`]; also where it runs.
    pub async fn start(&self) -> Result<Status, Error> {
        self.status_after(MachineAction::Start).await
    }

    /// Asks its programs to end, and stops it.
    ///
    /// # Errors
    /// [`Error`]; also where it does not run.
    pub async fn stop(&self) -> Result<Status, Error> {
        self.status_after(MachineAction::Stop).await
    }

    /// Cuts its power.
    ///
    /// # Errors
    /// [`Error`]; also where it does not run.
    pub async fn kill(&self) -> Result<Status, Error> {
        self.status_after(MachineAction::Kill).await
    }

    /// Stops it and starts it again.
    ///
    /// # Errors
    /// [`Error`]; also where it does not run.
    pub async fn reboot(&self) -> Result<Status, Error> {
        self.status_after(MachineAction::Reboot).await
    }

    /// Kills one of its programs, and keeps it off.
    ///
    /// # Errors
    /// [`Error`]; also where the machine does not run.
    pub async fn kill_program(&self, program: &str) -> Result<Status, Error> {
        self.status_after(MachineAction::KillProgram { program: program.to_owned() }).await
    }

    /// Starts a program that was killed.
    ///
    /// # Errors
    /// [`Error`]; also where the machine does not run.
    pub async fn start_program(&self, program: &str) -> Result<Status, Error> {
        self.status_after(MachineAction::StartProgram { program: program.to_owned() }).await
    }

    /// How it is.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn status(&self) -> Result<Status, Error> {
        self.status_after(MachineAction::Status).await
    }

    /// What a program has written since the last start of the machine.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn logs(&self, program: &str) -> Result<String, Error> {
        match self.act(MachineAction::Logs { program: program.to_owned() }).await? {
            MachineAnswer::Logs { text } => Ok(text),
            other => Err(unexpected(&ControlResponse::Machine { answer: other })),
        }
    }

    /// Runs a command beside a program to its end, and gives what it wrote. The command is killed where it takes too long.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Refused`] where it does not end within `deadline`.
    pub async fn exec(&self, program: &str, command: &[&str], deadline: Duration) -> Result<Output, Error> {
        let run = async {
            let (mut pieces, _connected) = self.attach(program, command, false).await?;
            let mut output = Output::default();
            loop {
                match pieces.next().await? {
                    Attached::Stdout { text } => output.stdout.extend(text.into_bytes()),
                    Attached::Stderr { text } => output.stderr.push_str(&text),
                    Attached::Exit { code } => return Ok(Output { code, ..output }),
                    Attached::Lost { message } => return Err(Error::Refused(message)),
                }
            }
        };
        let late = || Error::Refused(format!("{} did not end within {deadline:?} on {}", command.join(" "), self.name));
        tokio::time::timeout(deadline, run).await.unwrap_or_else(|_| Err(late()))
    }

    /// Runs a command beside a program: what it writes, and its input. Where it has no input it ends with that value.
    pub(crate) async fn attach(
        &self,
        program: &str,
        command: &[&str],
        stdin: bool,
    ) -> Result<(Pieces, OwnedWriteHalf), Error> {
        let mut connection = Connection::open(&self.socket).await?;
        let request = ControlRequest::Attach {
            name: self.name.clone(),
            program: program.to_owned(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            stdin,
        };
        match connection.ask(&request).await? {
            ControlResponse::Attached => {
                let (reader, stdin) = connection.into_parts();
                Ok((Pieces { socket: self.socket.clone(), reader }, stdin))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// A token of a service account of a cluster that has expired, signed by that cluster.
    ///
    /// # Errors
    /// [`Error`]; also where there is no such account.
    pub(super) async fn expired_token(
        &self,
        cluster: &str,
        (namespace, account): (&str, &str),
        audience: &str,
    ) -> Result<String, Error> {
        let mut connection = Connection::open(&self.socket).await?;
        let [cluster, namespace, account, audience] = [cluster, namespace, account, audience].map(str::to_owned);
        match connection.ask(&ControlRequest::ExpiredToken { cluster, namespace, account, audience }).await? {
            ControlResponse::Token { token } => Ok(token),
            other => Err(unexpected(&other)),
        }
    }

    async fn status_after(&self, action: MachineAction) -> Result<Status, Error> {
        match self.act(action).await? {
            MachineAnswer::Status { running, starts, programs } => Ok(Status { running, starts, programs }),
            other => Err(unexpected(&ControlResponse::Machine { answer: other })),
        }
    }

    async fn act(&self, action: MachineAction) -> Result<MachineAnswer, Error> {
        let mut connection = Connection::open(&self.socket).await?;
        match connection.ask(&ControlRequest::Machine { name: self.name.clone(), action }).await? {
            ControlResponse::Machine { answer } => Ok(answer),
            other => Err(unexpected(&other)),
        }
    }
}

/// What a command on a machine writes. The command ends with this value where it has no input.
#[derive(Debug)]
pub(crate) struct Pieces {
    socket: Utf8PathBuf,
    reader: BufReader<OwnedReadHalf>,
}

impl Pieces {
    /// What it wrote next, or how it ended.
    pub(crate) async fn next(&mut self) -> Result<Attached, Error> {
        let broken = |source| Error::Unreachable { socket: self.socket.clone(), source };
        let mut line = String::new();
        match self.reader.read_line(&mut line).await {
            Ok(0) => Err(broken(io::Error::new(io::ErrorKind::UnexpectedEof, "the command's connection was closed"))),
            Ok(_) => serde_json::from_str(&line).map_err(|error| broken(error.into())),
            Err(error) => Err(broken(error)),
        }
    }
}
