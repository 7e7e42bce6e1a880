//! Hosts that are namespaces of the world, with the local programs that images stand for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use substrate_config::machine::{MachineConfig, MachineFile, ProgramStatus};
use tokio_util::sync::CancellationToken;

use super::disk::Disk;
use super::program::{Program, log_file};
use super::runtime::{Place, Power, Runtime};
use super::{MachineError, STOPPING, resolved};
use crate::fabric::{MachineNetwork, PodNetwork};
use crate::kubelet::ImageTable;
use crate::runtime::{Container, ContainerSpec, ExecSession, ExecSpec, StartError};

/// See the module.
pub(super) struct Netns {
    config: MachineConfig,
    network: Arc<MachineNetwork>,
    specs: Vec<ContainerSpec>,
    disk: Disk,
}

struct Running {
    network: Arc<PodNetwork>,
    programs: Vec<Program>,
    power: CancellationToken,
}

impl Netns {
    pub(super) fn new(
        config: &MachineConfig,
        network: Arc<MachineNetwork>,
        images: &ImageTable,
        disk: PathBuf,
        logs: &Path,
    ) -> Result<Self, MachineError> {
        let disk = Disk::create(&config.name, disk, &config.directories)?;
        let specs = config.programs.iter().map(|program| {
            let (program, files) = resolved(config, program, images)?;
            Ok(ContainerSpec {
                id: format!("{}/{}", config.name, program.name),
                hostname: config.name.clone(),
                files,
                mounts: disk.mounts(),
                command: program.command,
                environment: program.environment.into_iter().collect(),
                working_directory: None,
                capabilities: program.capabilities,
                resolv_conf: config.resolv_conf.clone(),
                hosts: String::new(),
                read_only_root: false,
                log_file: logs.join(format!("{}.log", program.name)),
            })
        });
        let specs = specs.collect::<Result<Vec<_>, MachineError>>()?;
        Ok(Self { config: config.clone(), network, specs, disk })
    }

    fn hosts(&self) -> Result<String, MachineError> {
        Ok(super::own_hosts(self.network.address(), &self.config.name) + &self.disk.hosts()?)
    }
}

#[async_trait]
impl Runtime for Netns {
    async fn write(&self, files: &[MachineFile]) -> Result<(), MachineError> {
        self.disk.write(files)
    }

    async fn start(&self, number: u64) -> Result<Box<dyn Power>, MachineError> {
        let network = Arc::new(self.network.plug_in().await?);
        let hosts = self.hosts()?;
        let power = CancellationToken::new();
        let mut programs: Vec<Program> = Vec::new();
        for (spec, program) in self.specs.iter().zip(&self.config.programs) {
            let log_file = log_file(&spec.log_file, number);
            let spec = ContainerSpec { hosts: hosts.clone(), log_file, ..spec.clone() };
            let before = programs.last().map(Program::ready);
            programs.push(Program::start(spec, program, Arc::clone(&network), before, power.clone()));
        }
        Ok(Box::new(Running { network, programs, power }))
    }
}

#[async_trait]
impl Power for Running {
    fn is_on(&self) -> bool {
        true
    }

    fn programs(&self) -> Vec<ProgramStatus> {
        self.programs.iter().map(Program::status).collect()
    }

    async fn keep_off(&self, program: usize, off: bool) -> Result<(), MachineError> {
        match self.programs.get(program) {
            Some(program) if off => program.kill().await,
            Some(program) => program.let_go(),
            None => {}
        }
        Ok(())
    }

    fn beside(&self, program: usize) -> Option<Box<dyn Place>> {
        Some(Box::new(self.programs.get(program)?.container()?))
    }

    async fn stop(self: Box<Self>) -> Result<(), MachineError> {
        self.power.cancel();
        join_all(self.programs.into_iter().map(|program| program.stop(STOPPING))).await;
        release(self.network).await;
        Ok(())
    }

    /// The link goes first, so that no end of a connection is told to anybody.
    async fn kill(self: Box<Self>) -> Result<(), MachineError> {
        self.power.cancel();
        self.network.unplug().await?;
        join_all(self.programs.into_iter().map(|program| program.stop(Duration::ZERO))).await;
        release(self.network).await;
        Ok(())
    }
}

#[async_trait]
impl Place for Container {
    async fn exec(&self, spec: ExecSpec) -> Result<ExecSession, StartError> {
        Self::exec(self, spec).await
    }
}

/// The last user gives it back.
async fn release(network: Arc<PodNetwork>) {
    if let Ok(network) = Arc::try_unwrap(network) {
        network.release().await;
    }
}
