//! Hosts outside every cluster: a namespace on a network, programs in it that are kept running, a disk that outlives a
//! reboot. No object of Kubernetes stands for one.
//!
//! `disk` is what a host finds again after a reboot, `program` keeps one program running; here is the life of a host.

mod disk;
mod program;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use substrate_config::machine::{MachineAction, MachineAnswer, MachineConfig, ProgramStatus};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::fabric::{self, MachineNetwork, PodNetwork};
use crate::kubelet::{ImageTable, UnknownImage};
use crate::runtime::{Container, ContainerSpec, ExecSession, ExecSpec, StartError, logs};
use disk::Disk;
use program::Program;

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
    network: Arc<MachineNetwork>,
    specs: Vec<ContainerSpec>,
    disk: Disk,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    starts: u64,
    running: Option<Running>,
}

struct Running {
    network: Arc<PodNetwork>,
    programs: Vec<Program>,
    power: CancellationToken,
}

impl Machine {
    /// A host that is off. `disk` and `logs` are folders of its own.
    ///
    /// # Errors
    /// [`MachineError`] for a configuration that cannot be.
    pub fn new(
        config: &MachineConfig,
        network: Arc<MachineNetwork>,
        images: &ImageTable,
        disk: PathBuf,
        logs: &Path,
    ) -> Result<Self, MachineError> {
        let disk = Disk::create(&config.name, disk, &config.directories)?;
        let specs = config.programs.iter().map(|program| {
            let found = images.resolve(&program.image).map_err(|source| MachineError::Image {
                machine: config.name.clone(),
                program: program.name.clone(),
                source,
            })?;
            let command = if program.command.is_empty() { &found.entrypoint } else { &program.command };
            let mut environment = found.environment.clone();
            environment.extend(program.environment.clone());
            Ok(ContainerSpec {
                id: format!("{}/{}", config.name, program.name),
                hostname: config.name.clone(),
                files: found.files.clone(),
                mounts: disk.mounts(),
                command: command.clone(),
                environment: environment.into_iter().collect(),
                working_directory: None,
                capabilities: program.capabilities.clone(),
                resolv_conf: config.resolv_conf.clone(),
                hosts: String::new(),
                read_only_root: false,
                log_file: logs.join(format!("{}.log", program.name)),
            })
        });
        let specs = specs.collect::<Result<Vec<_>, MachineError>>()?;
        let names: BTreeMap<_, _> = config.programs.iter().map(|program| (&program.name, ())).collect();
        if names.len() != config.programs.len() {
            let problem = "two of its programs have one name".to_owned();
            return Err(MachineError::Config { machine: config.name.clone(), problem });
        }
        Ok(Self { config: config.clone(), network, specs, disk, state: Mutex::default() })
    }

    /// Does what is asked, and answers.
    ///
    /// # Errors
    /// [`MachineError`].
    pub async fn act(&self, action: MachineAction) -> Result<MachineAnswer, MachineError> {
        // One after the other: a host that is being stopped cannot be started.
        let mut state = self.state.lock().await;
        match action {
            MachineAction::Write { files } => self.disk.write(&files)?,
            MachineAction::Start => self.start(&mut state).await?,
            MachineAction::Stop => self.stop(&mut state).await?,
            MachineAction::Kill => self.kill(&mut state).await?,
            MachineAction::Reboot => {
                self.stop(&mut state).await?;
                self.start(&mut state).await?;
            }
            MachineAction::Exec { program, command } => {
                let container = self.container(&state, &program)?;
                // It may take its time, and the host may lose its power meanwhile.
                drop(state);
                return self.exec(&container, command).await;
            }
            MachineAction::Logs { program } => return self.logs(&state, &program).await,
            MachineAction::Status => {}
        }
        Ok(self.status(&state))
    }

    async fn start(&self, state: &mut State) -> Result<(), MachineError> {
        if state.running.is_some() {
            return Err(self.is("runs already"));
        }
        let network = Arc::new(self.network.plug_in().await?);
        let hosts = self.hosts()?;
        let power = CancellationToken::new();
        let mut programs: Vec<Program> = Vec::new();
        for (spec, program) in self.specs.iter().zip(&self.config.programs) {
            let spec = ContainerSpec { hosts: hosts.clone(), ..spec.clone() };
            let before = programs.last().map(Program::ready);
            programs.push(Program::start(spec, program.ready_port, Arc::clone(&network), before, power.clone()));
        }
        state.starts += 1;
        state.running = Some(Running { network, programs, power });
        Ok(())
    }

    async fn stop(&self, state: &mut State) -> Result<(), MachineError> {
        let Running { network, programs, power } = state.running.take().ok_or_else(|| self.is("does not run"))?;
        power.cancel();
        join_all(programs.into_iter().map(|program| program.stop(STOPPING))).await;
        release(network).await;
        Ok(())
    }

    /// The link goes first, so that no end of a connection is told to anybody.
    async fn kill(&self, state: &mut State) -> Result<(), MachineError> {
        let Running { network, programs, power } = state.running.take().ok_or_else(|| self.is("does not run"))?;
        power.cancel();
        network.unplug().await?;
        join_all(programs.into_iter().map(|program| program.stop(Duration::ZERO))).await;
        release(network).await;
        Ok(())
    }

    fn hosts(&self) -> Result<String, MachineError> {
        let own = format!("127.0.0.1\tlocalhost\n{}\t{}\n", self.network.address(), self.config.name);
        Ok(own + &self.disk.hosts()?)
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
        let container = self.container(&*self.state.lock().await, program)?;
        let spec = ExecSpec { command, stdin, ..ExecSpec::default() };
        container.exec(spec).await.map_err(|source| self.refused(source))
    }

    fn refused(&self, source: StartError) -> MachineError {
        MachineError::Command { machine: self.config.name.clone(), source }
    }

    /// The container of a program that runs.
    fn container(&self, state: &State, program: &str) -> Result<Container, MachineError> {
        let index = self.index(program)?;
        let running = state.running.as_ref().ok_or_else(|| self.is("does not run"))?;
        let container = running.programs[index].container();
        container.ok_or_else(|| self.refused(StartError::NotRunning(self.specs[index].id.clone())))
    }

    async fn exec(&self, container: &Container, command: Vec<String>) -> Result<MachineAnswer, MachineError> {
        let spec = ExecSpec { command, ..ExecSpec::default() };
        let session = container.exec(spec).await.map_err(|source| self.refused(source))?;
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
        let newest = state.running.as_ref().map_or(0, |running| running.programs[index].status().starts);
        for start in 1..=newest {
            let path = program::log_file(&self.specs[index].log_file, start);
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
        let off = |name: &String| ProgramStatus {
            name: name.clone(),
            running: false,
            ready: false,
            starts: 0,
            problem: None,
        };
        let programs = match &state.running {
            Some(running) => running.programs.iter().map(Program::status).collect(),
            None => self.config.programs.iter().map(|program| off(&program.name)).collect(),
        };
        let programs = programs_named(programs, &self.config);
        MachineAnswer::Status { running: state.running.is_some(), starts: state.starts, programs }
    }

    fn is(&self, problem: &'static str) -> MachineError {
        MachineError::State { machine: self.config.name.clone(), problem }
    }
}

fn programs_named(programs: Vec<ProgramStatus>, config: &MachineConfig) -> Vec<ProgramStatus> {
    let names = config.programs.iter().map(|program| program.name.clone());
    programs.into_iter().zip(names).map(|(status, name)| ProgramStatus { name, ..status }).collect()
}

/// The last user gives it back.
async fn release(network: Arc<PodNetwork>) {
    if let Ok(network) = Arc::try_unwrap(network) {
        network.release().await;
    }
}

async fn text(stream: Box<dyn AsyncRead + Send + Unpin>) -> String {
    let mut bytes = Vec::new();
    let mut stream = stream.take(OUTPUT);
    // What came before a stream broke is worth as much as the rest.
    let _broken = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}
