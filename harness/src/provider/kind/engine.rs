//! What this provider asks of Docker: networks, containers, commands in them, and the removal of all that carries a label.

mod inspect;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, Ipam, IpamConfig, NetworkConnectRequest,
    NetworkCreateRequest, NetworkingConfig,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, RemoveVolumeOptionsBuilder, StartContainerOptions,
    WaitContainerOptions,
};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::OnceCell;

use crate::topology::Ipv4Cidr;

/// Label of everything that is made, with the run's id.
pub const RUN: &str = "meshproof.dev/run";
/// Label of everything that is made, with the name of the environment.
pub const ENVIRONMENT: &str = "meshproof.dev/environment";

/// Docker did not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not answer at all.
    #[error("Docker cannot be used")]
    Connect(#[source] bollard::errors::Error),
    /// It refuses, or the connection broke.
    #[error("Docker cannot {action}")]
    Refused {
        /// What was asked.
        action: String,
        /// Its words.
        #[source]
        source: bollard::errors::Error,
    },
    /// A command in a container failed.
    #[error("`{command}` in container {container} ended with {code}: {said}")]
    Command {
        /// The container.
        container: String,
        /// The command.
        command: String,
        /// Its exit code.
        code: i64,
        /// What it said.
        said: String,
    },
}

impl Error {
    /// Whether a network was refused because another one has some of its addresses.
    #[must_use]
    pub fn is_overlap(&self) -> bool {
        let Self::Refused { source: bollard::errors::Error::DockerResponseServerError { message, .. }, .. } = self
        else {
            return false;
        };
        message.contains("overlaps")
    }
}

/// A network to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub subnet: Ipv4Cidr,
    /// The address that Docker takes for itself.
    pub gateway: Ipv4Addr,
    /// The part of the subnet that Docker gives addresses of by itself.
    pub dynamic: Ipv4Cidr,
}

/// A container to be started.
#[derive(Clone, Debug, Default)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its image, which is there.
    pub image: String,
    /// In place of the image's own entrypoint, where it is not empty.
    pub entrypoint: Vec<String>,
    /// Arguments.
    pub arguments: Vec<String>,
    /// Networks and its address on each.
    pub networks: Vec<(String, Ipv4Addr)>,
    /// Capabilities; all others are dropped.
    pub capabilities: Vec<String>,
    /// Settings of the kernel, of its network namespace.
    pub sysctls: HashMap<String, String>,
}

/// A Docker engine, and the labels of what is made there. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    docker: Arc<OnceCell<Docker>>,
    labels: HashMap<String, String>,
}

fn refused(action: impl Into<String>) -> impl FnOnce(bollard::errors::Error) -> Error {
    let action = action.into();
    move |source| Error::Refused { action, source }
}

impl Engine {
    /// The engine that Docker's own command line would take; it is asked when it is first needed.
    #[must_use]
    pub fn new(run_id: &str, environment: &str) -> Self {
        let labels = [(RUN, run_id), (ENVIRONMENT, environment)];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { docker: Arc::default(), labels: labels.into() }
    }

    /// The same, asked now.
    ///
    /// # Errors
    /// [`Error::Connect`].
    pub async fn connect(run_id: &str, environment: &str) -> Result<Self, Error> {
        let engine = Self::new(run_id, environment);
        engine.docker().await?;
        Ok(engine)
    }

    /// The client, for what is not asked often enough to have a name here. It speaks the newest version that both know.
    ///
    /// # Errors
    /// [`Error::Connect`].
    pub async fn docker(&self) -> Result<&Docker, Error> {
        let connect = async || Docker::connect_with_defaults()?.negotiate_version().await;
        self.docker.get_or_try_init(connect).await.map_err(Error::Connect)
    }

    /// Makes a bridge of its own.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn create_network(&self, network: &Network) -> Result<(), Error> {
        let pool = IpamConfig {
            subnet: Some(network.subnet.to_string()),
            gateway: Some(network.gateway.to_string()),
            ip_range: Some(network.dynamic.to_string()),
            ..IpamConfig::default()
        };
        let request = NetworkCreateRequest {
            name: network.name.clone(),
            driver: Some("bridge".to_owned()),
            ipam: Some(Ipam { config: Some(vec![pool]), ..Ipam::default() }),
            labels: Some(self.labels.clone()),
            ..NetworkCreateRequest::default()
        };
        let action = format!("create the network {} with {}", network.name, network.subnet);
        self.docker().await?.create_network(request).await.map(drop).map_err(refused(action))
    }

    /// Creates and starts a container. One that cannot be started is removed.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn start(&self, container: &Container) -> Result<(), Error> {
        let host = HostConfig {
            network_mode: container.networks.first().map(|(name, _)| name.clone()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: Some(container.capabilities.clone()),
            sysctls: Some(container.sysctls.clone()),
            ..HostConfig::default()
        };
        let endpoints = container.networks.first().map(|(name, address)| (name.clone(), endpoint(*address)));
        let body = ContainerCreateBody {
            image: Some(container.image.clone()),
            entrypoint: (!container.entrypoint.is_empty()).then(|| container.entrypoint.clone()),
            cmd: Some(container.arguments.clone()),
            labels: Some(self.labels.clone()),
            networking_config: Some(NetworkingConfig { endpoints_config: Some(endpoints.into_iter().collect()) }),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        };
        self.create(&container.name, body).await?;
        let started = async {
            // Engines before API 1.44 take one network when a container is made.
            for (name, address) in container.networks.iter().skip(1) {
                let request = NetworkConnectRequest {
                    container: container.name.clone(),
                    endpoint_config: Some(endpoint(*address)),
                };
                let action = format!("connect {} to the network {name}", container.name);
                self.docker().await?.connect_network(name, request).await.map_err(refused(action))?;
            }
            let action = format!("start container {}", container.name);
            self.docker()
                .await?
                .start_container(&container.name, None::<StartContainerOptions>)
                .await
                .map_err(refused(action))
        };
        match started.await {
            Ok(()) => Ok(()),
            Err(error) => {
                self.remove_container(&container.name).await?;
                Err(error)
            }
        }
    }

    async fn create(&self, name: &str, body: ContainerCreateBody) -> Result<(), Error> {
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        let created = self.docker().await?.create_container(Some(options), body).await;
        created.map(drop).map_err(refused(format!("create container {name}")))
    }

    /// Runs a program of an image once, in the network of a container that runs, and returns what it wrote.
    ///
    /// # Errors
    /// [`Error::Refused`], and [`Error::Command`] where it fails.
    pub async fn run_in_network_of(&self, container: &str, image: &str, command: &[&str]) -> Result<String, Error> {
        let name = format!("{container}-helper");
        let host = HostConfig {
            network_mode: Some(format!("container:{container}")),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: Some(vec!["NET_ADMIN".to_owned()]),
            ..HostConfig::default()
        };
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(command.iter().map(|word| (*word).to_owned()).collect()),
            labels: Some(self.labels.clone()),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        };
        self.create(&name, body).await?;
        let done = self.run_created(&name, container, command).await;
        self.remove_container(&name).await?;
        done
    }

    async fn run_created(&self, name: &str, container: &str, command: &[&str]) -> Result<String, Error> {
        let action = || format!("run `{}` in the network of {container}", command.join(" "));
        self.docker().await?.start_container(name, None::<StartContainerOptions>).await.map_err(refused(action()))?;
        let ended = self.docker().await?.wait_container(name, None::<WaitContainerOptions>).try_next().await;
        let code = match ended {
            Ok(ended) => ended.map_or(0, |ended| ended.status_code),
            Err(bollard::errors::Error::DockerContainerWaitError { code, .. }) => code,
            Err(source) => return Err(refused(action())(source)),
        };
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
        let logs: Vec<LogOutput> =
            self.docker().await?.logs(name, Some(options)).try_collect().await.map_err(refused(action()))?;
        result(container, command, code, said(&logs))
    }

    /// Runs a command in a container and returns what it wrote.
    ///
    /// # Errors
    /// [`Error::Refused`], and [`Error::Command`] where it fails.
    pub async fn exec(&self, container: &str, command: &[&str]) -> Result<String, Error> {
        let action = || format!("run `{}` in container {container}", command.join(" "));
        let options = CreateExecOptions {
            cmd: Some(command.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..CreateExecOptions::default()
        };
        let exec = self.docker().await?.create_exec(container, options).await.map_err(refused(action()))?;
        let started = self.docker().await?.start_exec(&exec.id, None).await.map_err(refused(action()))?;
        let mut logs = Vec::new();
        if let StartExecResults::Attached { mut output, .. } = started {
            while let Some(part) = output.next().await {
                logs.push(part.map_err(refused(action()))?);
            }
        }
        let ended = self.docker().await?.inspect_exec(&exec.id).await.map_err(refused(action()))?;
        result(container, command, ended.exit_code.unwrap_or_default(), said(&logs))
    }

    /// Removes a container, running or not. One that is not there counts as removed.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn remove_container(&self, name: &str) -> Result<(), Error> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        gone(self.docker().await?.remove_container(name, Some(options)).await)
            .map_err(refused(format!("remove container {name}")))
    }

    /// Removes a network. One that is not there counts as removed.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn remove_network(&self, name: &str) -> Result<(), Error> {
        gone(self.docker().await?.remove_network(name).await).map_err(refused(format!("remove the network {name}")))
    }

    /// Removes every container, network and volume with this run's labels, and says how many of each there were.
    ///
    /// # Errors
    /// The first that cannot be removed; the rest is still tried.
    pub async fn sweep(&self) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        let mut failed = None;
        let mut count = |number: &mut usize, result: Result<(), Error>| match result {
            Ok(()) => *number += 1,
            Err(error) => failed = failed.take().or(Some(error)),
        };
        for name in self.containers().await? {
            count(&mut swept.containers, self.remove_container(&name).await);
        }
        for name in self.networks().await? {
            count(&mut swept.networks, self.remove_network(&name).await);
        }
        for name in self.volumes().await? {
            let options = RemoveVolumeOptionsBuilder::default().build();
            let removed = gone(self.docker().await?.remove_volume(&name, Some(options)).await);
            count(&mut swept.volumes, removed.map_err(refused(format!("remove the volume {name}"))));
        }
        failed.map_or(Ok(swept), Err)
    }

    /// Ids of all containers with this run's labels.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn containers(&self) -> Result<Vec<String>, Error> {
        let options = ListContainersOptionsBuilder::default().all(true).filters(&self.filter()).build();
        let list = self.docker().await?.list_containers(Some(options)).await.map_err(refused("list containers"))?;
        Ok(list.into_iter().filter_map(|one| one.id).collect())
    }

    /// Names of all networks with this run's labels.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn networks(&self) -> Result<Vec<String>, Error> {
        let options = ListNetworksOptionsBuilder::default().filters(&self.filter()).build();
        let list = self.docker().await?.list_networks(Some(options)).await.map_err(refused("list networks"))?;
        Ok(list.into_iter().filter_map(|one| one.name).collect())
    }

    /// Names of the containers of a kind cluster's nodes, whoever made it.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn nodes(&self, kind_name: &str) -> Result<Vec<String>, Error> {
        let filter = HashMap::from([("label".to_owned(), vec![format!("{}={kind_name}", super::CLUSTER)])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filter).build();
        let list = self.docker().await?.list_containers(Some(options)).await.map_err(refused("list containers"))?;
        let names = list.into_iter().filter_map(|one| one.names?.into_iter().next());
        Ok(names.map(|name| name.trim_start_matches('/').to_owned()).collect())
    }

    async fn volumes(&self) -> Result<Vec<String>, Error> {
        let options = ListVolumesOptionsBuilder::default().filters(&self.filter()).build();
        let list = self.docker().await?.list_volumes(Some(options)).await.map_err(refused("list volumes"))?;
        Ok(list.volumes.unwrap_or_default().into_iter().map(|one| one.name).collect())
    }

    /// The subnets of all networks that there are, whoever made them.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn subnets(&self) -> Result<Vec<Ipv4Cidr>, Error> {
        let options = ListNetworksOptionsBuilder::default().build();
        let list = self.docker().await?.list_networks(Some(options)).await.map_err(refused("list networks"))?;
        let pools = list.into_iter().filter_map(|one| one.ipam?.config).flatten();
        Ok(pools.filter_map(|pool| pool.subnet?.parse().ok()).collect())
    }

    fn filter(&self) -> HashMap<String, Vec<String>> {
        let labels = self.labels.iter().map(|(name, value)| format!("{name}={value}"));
        [("label".to_owned(), labels.collect())].into()
    }
}

/// How much was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Containers.
    pub containers: usize,
    /// Networks.
    pub networks: usize,
    /// Volumes.
    pub volumes: usize,
}

fn endpoint(address: Ipv4Addr) -> EndpointSettings {
    let address = EndpointIpamConfig { ipv4_address: Some(address.to_string()), ..EndpointIpamConfig::default() };
    EndpointSettings { ipam_config: Some(address), ..EndpointSettings::default() }
}

fn gone(result: Result<(), bollard::errors::Error>) -> Result<(), bollard::errors::Error> {
    match result {
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
        result => result,
    }
}

fn said(logs: &[LogOutput]) -> (String, String) {
    let mut said = (String::new(), String::new());
    for part in logs {
        match part {
            LogOutput::StdErr { message } => said.1.push_str(&String::from_utf8_lossy(message)),
            LogOutput::StdOut { message } | LogOutput::Console { message } => {
                said.0.push_str(&String::from_utf8_lossy(message));
            }
            LogOutput::StdIn { .. } => {}
        }
    }
    said
}

fn result(container: &str, command: &[&str], code: i64, said: (String, String)) -> Result<String, Error> {
    let (out, complaint) = said;
    if code == 0 {
        return Ok(out);
    }
    let said = if complaint.trim().is_empty() { out } else { complaint };
    Err(Error::Command {
        container: container.to_owned(),
        command: command.join(" "),
        code,
        said: said.trim().to_owned(),
    })
}
