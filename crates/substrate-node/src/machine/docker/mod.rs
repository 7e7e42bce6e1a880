//! Hosts that are containers of a Docker engine.
//!
//! A container has no network but the link that is plugged in, and one of the engine's where that is wanted; no mount, and nothing on its disk but its image and what was
//! written to the host. Its writable layer is the disk: it outlives a reboot. [`shim`] makes containers, plugs them in and
//! removes them; `session` hears what happens in one; `exec` runs commands in one.

mod archive;
mod exec;
mod session;
pub mod shim;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use docker_support::bollard;
use docker_support::bollard::query_parameters::{
    AttachContainerOptions, ContainerArchiveInfoOptions, KillContainerOptions, StopContainerOptions,
    UploadToContainerOptions,
};
use docker_support::{Engine, Error};
use substrate_config::machine::{
    MACHINE_INIT, MachineConfig, MachineFile, MachineProgram, ProgramStatus, UserDefinedNetwork,
};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Mutex, OnceCell};

use super::disk::{HOSTS, check_directories, check_files};
use super::inside::Boot;
use super::runtime::{Place, Power, Runtime};
use super::{MachineError, STOPPING, resolved};
use crate::fabric::{CableSocket, MachineNetwork};
use crate::kubelet::ImageTable;
use crate::runtime::DEFAULT_PATH;
use exec::Beside;
use session::Session;
pub use shim::Shim;

/// Between the end of the programs and that of their container.
const LAST_MOMENTS: Duration = Duration::from_secs(5);

/// Why a container does not play a host.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// The engine.
    #[error("{0}; {cure}", cure = .0.cure())]
    Engine(#[from] Error),
    /// The process that makes and removes containers.
    #[error("the process that looks after containers: {0}")]
    Shim(io::Error),
    /// It refused.
    #[error("{message}; {cure}")]
    Refused {
        /// Why.
        message: String,
        /// What to do.
        cure: String,
    },
    /// Programs are not in the image.
    #[error(
        "image {image} lacks {programs}; build one that has what is missing, or leave the machine's image out to have one built"
    )]
    LacksPrograms {
        /// The image.
        image: String,
        /// What is missing.
        programs: String,
    },
    /// The container ended, or did not take what it was told.
    #[error("its container does not listen: {0}")]
    Deaf(io::Error),
}

/// See the module.
pub(super) struct Docker {
    config: MachineConfig,
    image: String,
    network: Arc<MachineNetwork>,
    /// Another one, of the engine's.
    of_engine: Option<UserDefinedNetwork>,
    programs: Vec<MachineProgram>,
    shim: Arc<Shim>,
    logs: PathBuf,
    container: OnceCell<Container>,
    /// Lines that were added to the names of hosts.
    hosts: Mutex<String>,
}

/// A container that has been made.
#[derive(Clone)]
pub(super) struct Container {
    engine: Engine,
    id: String,
}

struct Running {
    container: Container,
    socket: CableSocket,
    session: Session,
    /// Programs as they are configured, for commands beside them.
    programs: Vec<MachineProgram>,
    name: String,
}

impl Docker {
    pub(super) fn new(
        config: &MachineConfig,
        (image, of_engine): (&str, Option<&UserDefinedNetwork>),
        network: Arc<MachineNetwork>,
        images: &ImageTable,
        shim: Arc<Shim>,
        logs: &Path,
    ) -> Result<Self, MachineError> {
        check_directories(&config.name, &config.directories)?;
        let complete = |program: &MachineProgram| match program.command.is_empty() {
            true => Ok(resolved(config, program, images)?.0),
            false => Ok(program.clone()),
        };
        let programs = config.programs.iter().map(complete).collect::<Result<_, MachineError>>()?;
        Ok(Self {
            config: config.clone(),
            image: image.to_owned(),
            network,
            of_engine: of_engine.cloned(),
            programs,
            shim,
            logs: logs.to_owned(),
            container: OnceCell::new(),
            hosts: Mutex::default(),
        })
    }

    fn failed(&self, source: impl Into<DockerError>) -> MachineError {
        MachineError::Docker { machine: self.config.name.clone(), source: source.into() }
    }

    /// Its container, which is made when it is needed for the first time.
    async fn container(&self) -> Result<&Container, MachineError> {
        self.container.get_or_try_init(|| self.make()).await.map_err(|error| self.failed(error))
    }

    async fn make(&self) -> Result<Container, DockerError> {
        let engine = Engine::connect(self.shim.socket()).await?;
        let capabilities = self.capabilities();
        let id = self.shim.create(&self.config.name, &self.image, &capabilities, self.of_engine.as_ref()).await?;
        let container = Container { engine, id };
        self.has_programs(&container).await?;
        let folders = archive::folders(&self.config.directories);
        container.upload(folders).await?;
        Ok(container)
    }

    /// Those of its programs, together.
    fn capabilities(&self) -> Vec<String> {
        let all: BTreeMap<_, _> =
            self.programs.iter().flat_map(|program| &program.capabilities).map(|name| (name.clone(), ())).collect();
        all.into_keys().collect()
    }

    /// Whether the image has what is to run.
    async fn has_programs(&self, container: &Container) -> Result<(), DockerError> {
        let mut missing = Vec::new();
        for (name, paths) in needed(&self.programs) {
            let mut found = false;
            for path in paths {
                found = found || container.has(&path).await?;
            }
            if !found {
                missing.push(name);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err(DockerError::LacksPrograms { image: self.image.clone(), programs: missing.join(", ") })
    }

    /// Starts the container, plugs it in and tells it what to run.
    async fn boot(&self, container: &Container, number: u64) -> Result<Session, DockerError> {
        let attached = container.attach().await?;
        let (output, mut input) = (attached.output, attached.input);
        let docker = container.engine.docker();
        docker.start_container(&container.id, None).await.map_err(Error::refused("start a container"))?;
        let (cable, router) = self.network.cable();
        self.shim.plug(&container.id, cable, router).await?;
        let boot = Boot {
            name: self.config.name.clone(),
            hosts: super::own_hosts(self.network.address(), &self.config.name) + &self.hosts.lock().await,
            resolv_conf: self.of_engine.is_none().then(|| self.config.resolv_conf.clone()),
            programs: self.programs.clone(),
        };
        let mut line = serde_json::to_vec(&boot).expect("invariant: plain data serialises");
        line.push(b'\n');
        input.write_all(&line).await.map_err(DockerError::Deaf)?;
        input.flush().await.map_err(DockerError::Deaf)?;
        let names = self.programs.iter().map(|program| program.name.clone()).collect();
        Ok(Session::start(names, (&self.logs, number), output, input))
    }
}

#[async_trait]
impl Runtime for Docker {
    async fn write(&self, files: &[MachineFile]) -> Result<(), MachineError> {
        check_files(&self.config.name, &self.config.directories, files)?;
        let (hosts, files): (Vec<_>, Vec<_>) = files.iter().partition(|file| file.path == HOSTS);
        if !files.is_empty() {
            let archive = archive::files(&self.config.directories, &files);
            self.container().await?.upload(archive).await.map_err(|error| self.failed(error))?;
        }
        if let Some(last) = hosts.last() {
            self.hosts.lock().await.clone_from(&last.content);
        }
        Ok(())
    }

    async fn start(&self, number: u64) -> Result<Box<dyn Power>, MachineError> {
        let container = self.container().await?;
        let socket = self.network.socket();
        match self.boot(container, number).await {
            Ok(session) => Ok(Box::new(Running {
                container: container.clone(),
                socket,
                session,
                programs: self.programs.clone(),
                name: self.config.name.clone(),
            })),
            Err(error) => {
                // It is the start's error that matters; what runs is removed with the world at the latest.
                let _unplugged = socket.unplug().await;
                let _killed = container.kill().await;
                Err(self.failed(error))
            }
        }
    }
}

impl Running {
    fn failed(&self, source: impl Into<DockerError>) -> MachineError {
        MachineError::Docker { machine: self.name.clone(), source: source.into() }
    }
}

#[async_trait]
impl Power for Running {
    fn is_on(&self) -> bool {
        self.session.is_on()
    }

    fn programs(&self) -> Vec<ProgramStatus> {
        self.session.programs()
    }

    async fn keep_off(&self, program: usize, off: bool) -> Result<(), MachineError> {
        self.session.keep_off(program, off).await.map_err(|error| self.failed(DockerError::Deaf(error)))
    }

    fn beside(&self, program: usize) -> Option<Box<dyn Place>> {
        if !self.session.programs().get(program)?.running {
            return None;
        }
        let environment = environment(&self.name, &self.programs[program].environment);
        let capabilities = self.programs[program].capabilities.clone();
        Some(Box::new(Beside::new(self.container.clone(), environment, capabilities)))
    }

    async fn stop(self: Box<Self>) -> Result<(), MachineError> {
        let stopped = self.container.stop(STOPPING + LAST_MOMENTS).await;
        self.socket.unplug().await?;
        stopped.map_err(|error| self.failed(error))?;
        self.session.ended().await;
        Ok(())
    }

    /// The link goes first, so that no end of a connection is told to anybody.
    async fn kill(self: Box<Self>) -> Result<(), MachineError> {
        self.socket.unplug().await?;
        self.container.kill().await.map_err(|error| self.failed(error))?;
        self.session.ended().await;
        Ok(())
    }
}

impl Container {
    async fn upload(&self, archive: Vec<u8>) -> Result<(), Error> {
        let options = UploadToContainerOptions { path: "/".to_owned(), ..Default::default() };
        let body = bollard::body_full(archive.into());
        let docker = self.engine.docker();
        let uploaded = docker.upload_to_container(&self.id, Some(options), body).await;
        uploaded.map_err(Error::refused("write files into a container"))
    }

    async fn attach(&self) -> Result<bollard::container::AttachContainerResults, Error> {
        let options = AttachContainerOptions {
            stream: true,
            stdin: true,
            stdout: true,
            stderr: true,
            ..AttachContainerOptions::default()
        };
        let docker = self.engine.docker();
        docker.attach_container(&self.id, Some(options)).await.map_err(Error::refused("attach to a container"))
    }

    /// Whether there is a file.
    async fn has(&self, path: &str) -> Result<bool, Error> {
        let options = ContainerArchiveInfoOptions { path: path.to_owned() };
        let found = self.engine.docker().get_container_archive_info(&self.id, Some(options)).await;
        match found.map_err(Error::refused(format!("look for {path} in a container"))) {
            Ok(_) => Ok(true),
            Err(error) if error.is_absent() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn stop(&self, patience: Duration) -> Result<(), Error> {
        let seconds = i32::try_from(patience.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptions { t: Some(seconds), ..StopContainerOptions::default() };
        let stopped = self.engine.docker().stop_container(&self.id, Some(options)).await;
        stopped.map_err(Error::refused("stop a container"))
    }

    /// One that does not run counts as killed.
    async fn kill(&self) -> Result<(), Error> {
        let options = KillContainerOptions { signal: "SIGKILL".to_owned() };
        let killed = self.engine.docker().kill_container(&self.id, Some(options)).await;
        match killed.map_err(Error::refused("kill a container")) {
            Err(error) if error.status() == Some(409) => Ok(()),
            other => other,
        }
    }
}

/// The whole environment of a program: what every container runtime sets, and its own.
pub(super) fn environment(name: &str, own: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let defaults = [("PATH", DEFAULT_PATH), ("HOME", "/root"), ("HOSTNAME", name)];
    let mut all: BTreeMap<String, String> = defaults.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    all.extend(own.clone());
    all.into_iter().collect()
}

/// What has to be in an image, each by its name and the places where it may be: the first process, what is to run, and what that
/// starts in turn.
fn needed(programs: &[MachineProgram]) -> BTreeMap<String, Vec<String>> {
    let all = programs.iter().flat_map(|program| {
        let names = program.command.first().into_iter().chain(&program.starts);
        names.map(|name| (name.clone(), candidates(program, name)))
    });
    all.chain([(MACHINE_INIT.to_owned(), vec![MACHINE_INIT.to_owned()])]).collect()
}

/// Where a program may be: as given where there is a slash in it, else in every folder of its search path.
fn candidates(program: &MachineProgram, command: &str) -> Vec<String> {
    if command.contains('/') {
        return vec![command.to_owned()];
    }
    let search = program.environment.get("PATH").map_or(DEFAULT_PATH, String::as_str);
    search.split(':').filter(|folder| !folder.is_empty()).map(|folder| format!("{folder}/{command}")).collect()
}
