//! Hosts outside every cluster: a namespace on a network, programs in it that are kept running, a disk that outlives a
//! reboot. No object of Kubernetes stands for one.
//!
//! `netns` plays a host by namespaces of the world (`disk` is what it finds again after a reboot, `program` keeps one program
//! running), `docker` by a container of a Docker engine, in which `inside` is the first process. Here is the life of a host,
//! whatever plays it.

mod again;
mod disk;
pub mod docker;
pub mod inside;
mod netns;
mod program;
mod runtime;

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use substrate_config::machine::{
    MachineAction, MachineAnswer, MachineConfig, MachineProgram, MachineRuntime, ProgramStatus,
};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::Mutex;

use crate::fabric::{self, MachineNetwork};
use crate::kubelet::{ImageTable, UnknownImage};
use crate::runtime::{ExecSession, ExecSpec, StartError, logs};
use docker::{Docker, DockerError, Shim};
use netns::Netns;
use runtime::{Place, Power, Runtime};

/// How long programs may take to end when they are asked to.
const STOPPING: Duration = Duration::from_secs(10);
/// A command that runs for longer is killed: whoever asked has other things to do.
const COMMAND: Duration = Duration::from_secs(60);
/// So much of what a command or a program writes is handed on.
const OUTPUT: u64 = 1 << 20;

/// Why something was not done with a host.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// A program's image is none.
    #[error("machine {machine:?}, program {program:?}: {source}")]
    Image {
        /// The host.
        machine: String,
        /// The program.
        program: String,
        /// Which image, and what to do.
        source: UnknownImage,
    },
    /// Its configuration cannot be.
    #[error("machine {machine:?}: {problem}")]
    Config {
        /// The host.
        machine: String,
        /// Why.
        problem: String,
    },
    /// It is on, or off, already.
    #[error("machine {machine:?} {problem}")]
    State {
        /// The host.
        machine: String,
        /// How it is.
        problem: &'static str,
    },
    /// There is no such program.
    #[error("machine {machine:?} has no program {program:?}; it has {known}")]
    NoProgram {
        /// The host.
        machine: String,
        /// What was asked for.
        program: String,
        /// What it has.
        known: String,
    },
    /// Its network.
    #[error(transparent)]
    Network(#[from] fabric::Error),
    /// Its disk.
    #[error("machine {machine:?}: {path}: {source}")]
    Disk {
        /// The host.
        machine: String,
        /// Which file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The container that plays it.
    #[error("machine {machine:?}: {source}")]
    Docker {
        /// The host.
        machine: String,
        /// The cause.
        source: DockerError,
    },
    /// A command in it.
    #[error("machine {machine:?}: {source}")]
    Command {
        /// The host.
        machine: String,
        /// The cause.
        source: StartError,
    },
}

/// A host.
pub struct Machine {
    config: MachineConfig,
    runtime: Box<dyn Runtime>,
    logs: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    starts: u64,
    running: Option<Box<dyn Power>>,
}

impl Machine {
    /// A host that is off. `disk` and `logs` are folders of its own; `shim` is needed by one that is a container.
    ///
    /// # Errors
    /// [`MachineError`] for a configuration that cannot be.
    pub fn new(
        config: &MachineConfig,
        network: Arc<MachineNetwork>,
        images: &ImageTable,
        shim: Option<&Arc<Shim>>,
        disk: PathBuf,
        logs: &Path,
    ) -> Result<Self, MachineError> {
        let refuse = |problem: &str| MachineError::Config { machine: config.name.clone(), problem: problem.to_owned() };
        let names: BTreeMap<_, _> = config.programs.iter().map(|program| (&program.name, ())).collect();
        if names.len() != config.programs.len() {
            return Err(refuse("two of its programs have one name"));
        }
        let runtime: Box<dyn Runtime> = match &config.runtime {
            MachineRuntime::Netns => Box::new(Netns::new(config, network, images, disk, logs)?),
            MachineRuntime::Docker { image, user_defined_network } => {
                let shim = shim.ok_or_else(|| refuse("it is a container, and no `dockerSocket` is named"))?;
                let image = (image.as_str(), user_defined_network.as_ref());
                Box::new(Docker::new(config, image, network, images, Arc::clone(shim), logs)?)
            }
        };
        Ok(Self { config: config.clone(), runtime, logs: logs.to_owned(), state: Mutex::default() })
    }

    /// Does what is asked, and answers.
    ///
    /// # Errors
    /// [`MachineError`].
    pub async fn act(&self, action: MachineAction) -> Result<MachineAnswer, MachineError> {
        // One after the other: a host that is being stopped cannot be started.
        let mut state = self.state.lock().await;
        match action {
            MachineAction::Write { files } => self.runtime.write(&files).await?,
            MachineAction::Start => self.start(&mut state).await?,
            MachineAction::Stop => self.running(&mut state)?.stop().await?,
            MachineAction::Kill => self.running(&mut state)?.kill().await?,
            MachineAction::Reboot => {
                self.running(&mut state)?.stop().await?;
                self.start(&mut state).await?;
            }
            MachineAction::KillProgram { program } => {
                let (running, index) = self.on(&state, &program)?;
                running.keep_off(index, true).await?;
            }
            MachineAction::StartProgram { program } => {
                let (running, index) = self.on(&state, &program)?;
                running.keep_off(index, false).await?;
            }
            MachineAction::Exec { program, command } => {
                let place = self.place(&state, &program)?;
                // It may take its time, and the host may lose its power meanwhile.
                drop(state);
                return self.exec(&*place, command).await;
            }
            MachineAction::Logs { program } => return self.logs(&state, &program).await,
            MachineAction::Status => {}
        }
        Ok(self.status(&state))
    }

    async fn start(&self, state: &mut State) -> Result<(), MachineError> {
        match state.running.take() {
            Some(running) if running.is_on() => {
                state.running = Some(running);
                return Err(self.is("runs already"));
            }
            // Somebody else has ended it; what it still occupies is given back.
            Some(ended) => ended.kill().await?,
            None => {}
        }
        state.running = Some(self.runtime.start(state.starts + 1).await?);
        state.starts += 1;
        Ok(())
    }

    fn running(&self, state: &mut State) -> Result<Box<dyn Power>, MachineError> {
        state.running.take().ok_or_else(|| self.is("does not run"))
    }

    fn index(&self, program: &str) -> Result<usize, MachineError> {
        self.config.programs.iter().position(|one| one.name == program).ok_or_else(|| {
            let known: Vec<&str> = self.config.programs.iter().map(|one| one.name.as_str()).collect();
            let known = known.join(", ");
            MachineError::NoProgram { machine: self.config.name.clone(), program: program.to_owned(), known }
        })
    }

    /// Runs a command beside a program of a host for as long as the caller has its streams.
    ///
    /// # Errors
    /// [`MachineError`].
    pub async fn attach(&self, program: &str, command: Vec<String>, stdin: bool) -> Result<ExecSession, MachineError> {
        let place = self.place(&*self.state.lock().await, program)?;
        let spec = ExecSpec { command, stdin, ..ExecSpec::default() };
        place.exec(spec).await.map_err(|source| self.refused(source))
    }

    fn refused(&self, source: StartError) -> MachineError {
        MachineError::Command { machine: self.config.name.clone(), source }
    }

    /// A host that is on, and which of its programs this is.
    fn on<'a>(&self, state: &'a State, program: &str) -> Result<(&'a dyn Power, usize), MachineError> {
        let index = self.index(program)?;
        let running = state.running.as_deref().ok_or_else(|| self.is("does not run"))?;
        Ok((running, index))
    }

    /// The place beside a program that runs.
    fn place(&self, state: &State, program: &str) -> Result<Box<dyn Place>, MachineError> {
        let (running, index) = self.on(state, program)?;
        let place = running.beside(index);
        place.ok_or_else(|| self.refused(StartError::NotRunning(format!("{}/{program}", self.config.name))))
    }

    async fn exec(&self, place: &dyn Place, command: Vec<String>) -> Result<MachineAnswer, MachineError> {
        let spec = ExecSpec { command, ..ExecSpec::default() };
        let session = place.exec(spec).await.map_err(|source| self.refused(source))?;
        let (stdout, stderr) = (session.stdout, session.stderr);
        let written = async {
            tokio::join!(text(stdout), async {
                match stderr {
                    Some(stderr) => text(stderr).await,
                    None => String::new(),
                }
            })
        };
        let ended = async { tokio::join!(written, session.exit) };
        let Ok(((stdout, stderr), code)) = tokio::time::timeout(COMMAND, ended).await else {
            return Err(self.refused(StartError::TimedOut(COMMAND)));
        };
        let code = code.map_err(|source| self.refused(source.into()))?;
        Ok(MachineAnswer::Output { code, stdout, stderr })
    }

    async fn logs(&self, state: &State, program: &str) -> Result<MachineAnswer, MachineError> {
        let index = self.index(program)?;
        let mut text = String::new();
        let newest = state.running.as_ref().map_or(0, |running| running.programs()[index].starts);
        for start in 1..=newest {
            let base = self.logs.join(format!("{program}.log"));
            let path = program::log_file(&program::log_file(&base, state.starts), start);
            // A start that failed has left no log.
            let Ok(stream) =
                logs::read_logs(&path, logs::LogOptions { limit_bytes: Some(OUTPUT), ..Default::default() }, None)
            else {
                continue;
            };
            let pieces: Vec<_> = stream.collect().await;
            for piece in pieces {
                let failed =
                    |source| MachineError::Disk { machine: self.config.name.clone(), path: path.clone(), source };
                text.push_str(&String::from_utf8_lossy(&piece.map_err(failed)?));
            }
        }
        Ok(MachineAnswer::Logs { text })
    }

    fn status(&self, state: &State) -> MachineAnswer {
        let running = state.running.as_ref().filter(|running| running.is_on());
        let programs = match running {
            Some(running) => running.programs(),
            None => self.config.programs.iter().map(|program| ProgramStatus::off(&program.name)).collect(),
        };
        MachineAnswer::Status { running: running.is_some(), starts: state.starts, programs }
    }

    fn is(&self, problem: &'static str) -> MachineError {
        MachineError::State { machine: self.config.name.clone(), problem }
    }
}

/// A program with what its image brings along, and the files of that image on this machine.
fn resolved(
    config: &MachineConfig,
    program: &MachineProgram,
    images: &ImageTable,
) -> Result<(MachineProgram, BTreeMap<PathBuf, PathBuf>), MachineError> {
    let found = images.resolve(&program.image).map_err(|source| MachineError::Image {
        machine: config.name.clone(),
        program: program.name.clone(),
        source,
    })?;
    let mut resolved = program.clone();
    if resolved.command.is_empty() {
        resolved.command.clone_from(&found.entrypoint);
    }
    resolved.environment = found.environment.clone();
    resolved.environment.extend(program.environment.clone());
    Ok((resolved, found.files.clone()))
}

/// What a host knows of itself.
fn own_hosts(address: Ipv4Addr, name: &str) -> String {
    format!("127.0.0.1\tlocalhost\n{address}\t{name}\n")
}

async fn text(stream: Box<dyn AsyncRead + Send + Unpin>) -> String {
    let mut bytes = Vec::new();
    let mut stream = stream.take(OUTPUT);
    // What came before a stream broke is worth as much as the rest.
    let _broken = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}
