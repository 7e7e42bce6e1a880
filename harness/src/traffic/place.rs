//! Where commands run: in a container of a pod, or beside a program of a virtual machine.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, AttachParams, AttachedProcess};
use substrate_config::control::Attached;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_util::task::AbortOnDropHandle;

use crate::cluster::{Cluster, Error, Output, chain};
use crate::vm::machine::{Machine, Pieces};

/// Where traffic comes from.
#[derive(Clone)]
pub enum Source {
    /// A pod of a cluster.
    Pod {
        /// The cluster.
        cluster: Cluster,
        /// Its namespace.
        namespace: String,
        /// Its labels.
        selector: String,
        /// Container that holds the program `bookinfo`.
        container: String,
    },
    /// A virtual machine.
    Machine {
        /// Which.
        machine: Machine,
        /// A program whose image holds the program `bookinfo`.
        program: String,
    },
}

/// Where a command runs.
#[derive(Clone)]
pub(crate) enum Place {
    /// A container of a pod.
    Pod { cluster: Cluster, namespace: String, pod: String, container: String },
    /// Beside a program of a machine.
    Machine { machine: Machine, program: String },
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pod { cluster, pod, .. } => write!(formatter, "{}/{pod}", cluster.name()),
            Self::Machine { machine, program } => write!(formatter, "{}/{program}", machine.name()),
        }
    }
}

/// A command that runs: its input, its output, and its end: exit code and standard error.
pub(crate) struct Streams {
    pub(crate) stdin: Box<dyn AsyncWrite + Send + Unpin>,
    pub(crate) stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// The connection ends with it.
    pub(crate) end: AbortOnDropHandle<Result<(i32, String), String>>,
}

impl Source {
    /// A place that is meant.
    ///
    /// # Errors
    /// Where there is no such pod.
    pub(crate) async fn place(&self) -> Result<Place, Error> {
        match self.clone() {
            Self::Machine { machine, program } => Ok(Place::Machine { machine, program }),
            Self::Pod { cluster, namespace, selector, container } => {
                let pods = cluster.pods(&namespace, &selector).await?;
                let pod = pods.first().ok_or_else(|| Error::Object {
                    cluster: cluster.name().to_owned(),
                    message: format!("no pod with {selector} in namespace {namespace} to send traffic from"),
                })?;
                let pod = pod.name_any();
                Ok(Place::Pod { cluster, namespace, pod, container })
            }
        }
    }
}

impl Place {
    /// Runs a command that has to succeed.
    ///
    /// # Errors
    /// Where it cannot be started, does not end within `deadline`, or exits with another code than 0.
    pub(crate) async fn run(&self, command: &[&str], deadline: Duration) -> Result<Output, Error> {
        let output = self.run_any(command, deadline).await?;
        match output.code {
            0 => Ok(output),
            code => Err(self.failed(&command.join(" "), format!("exit code {code}: {}", output.last_words()))),
        }
    }

    /// Runs a command, whichever code it exits with.
    ///
    /// # Errors
    /// Where it cannot be started or does not end within `deadline`.
    pub(crate) async fn run_any(&self, command: &[&str], deadline: Duration) -> Result<Output, Error> {
        match self {
            Self::Pod { cluster, namespace, pod, container } => {
                cluster.exec_any(namespace, pod, container, command, deadline).await
            }
            Self::Machine { machine, program } => {
                let ran = machine.exec(program, command, deadline).await;
                ran.map_err(|error| self.failed(&command.join(" "), chain(&error)))
            }
        }
    }

    /// Starts a command that reads its input.
    ///
    /// # Errors
    /// Why it cannot be started.
    pub(crate) async fn start(&self, command: &[&str]) -> Result<Streams, String> {
        match self {
            Self::Pod { cluster, namespace, pod, container } => {
                let api: Api<Pod> = Api::namespaced(cluster.client(), namespace);
                let parameters = AttachParams::default().container(container).stdin(true).stderr(true);
                let process = api.exec(pod, command.iter().copied(), &parameters).await;
                of_pod(process.map_err(|error| chain(&error))?)
            }
            Self::Machine { machine, program } => {
                let attached = machine.attach(program, command, true).await;
                let (pieces, stdin) = attached.map_err(|error| chain(&error))?;
                Ok(of_machine(pieces, stdin))
            }
        }
    }

    /// An error about a command here.
    pub(crate) fn failed(&self, command: &str, message: impl Into<String>) -> Error {
        let (cluster, pod) = match self {
            Self::Pod { cluster, namespace, pod, .. } => (cluster.name(), format!("{namespace}/{pod}")),
            Self::Machine { machine, program } => (machine.name(), program.clone()),
        };
        Error::Exec { cluster: cluster.to_owned(), pod, command: command.to_owned(), message: message.into() }
    }
}

fn of_pod(mut process: AttachedProcess) -> Result<Streams, String> {
    let stdin = process.stdin().ok_or("there is no standard input")?;
    let stdout = process.stdout().ok_or("there is no standard output")?;
    let mut stderr = process.stderr().ok_or("there is no standard error")?;
    let end = async move {
        let status = process.take_status().ok_or("there is no exit status")?;
        let mut errors = Vec::new();
        stderr.read_to_end(&mut errors).await.map_err(|error| error.to_string())?;
        let status = status.await.ok_or("the connection ended without an exit status")?;
        let words = String::from_utf8_lossy(&errors).into_owned();
        match crate::cluster::exit_code(&status) {
            Some(code) => Ok((code, words)),
            None => Err(format!("{}: {}", status.message.unwrap_or_default(), words.trim())),
        }
    };
    Ok(Streams { stdin: Box::new(stdin), stdout: Box::new(stdout), end: AbortOnDropHandle::new(tokio::spawn(end)) })
}

fn of_machine(mut pieces: Pieces, stdin: impl AsyncWrite + Send + Unpin + 'static) -> Streams {
    const WAITING: usize = 1 << 16;
    let (stdout, mut written) = tokio::io::duplex(WAITING);
    let end = async move {
        let mut words = String::new();
        loop {
            match pieces.next().await.map_err(|error| chain(&error))? {
                Attached::Stdout { text } => {
                    written.write_all(text.as_bytes()).await.map_err(|error| error.to_string())?
                }
                Attached::Stderr { text } => words.push_str(&text),
                Attached::Exit { code } => return Ok((code, words)),
                Attached::Lost { message } => return Err(message),
            }
        }
    };
    Streams { stdin: Box::new(stdin), stdout: Box::new(stdout), end: AbortOnDropHandle::new(tokio::spawn(end)) }
}
