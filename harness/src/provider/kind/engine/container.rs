//! Containers on several networks, with few rights, and the nodes that kind has made.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, NetworkConnectRequest,
    NetworkDisconnectRequest, NetworkingConfig,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, ListContainersOptionsBuilder, StartContainerOptions, StopContainerOptions,
};
use docker_support::Kind;

use super::{Engine, Error, refused};
use crate::provider::kind::CLUSTER;

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
    /// Networks and its address on each; Docker chooses one where none is named.
    pub networks: Vec<(String, Option<Ipv4Addr>)>,
    /// Capabilities; all others are dropped.
    pub capabilities: Vec<String>,
    /// Settings of the kernel, of its network namespace.
    pub sysctls: HashMap<String, String>,
    /// Labels besides those of the run.
    pub labels: HashMap<String, String>,
}

impl Engine {
    /// Creates and starts a container. One that cannot be started is removed.
    ///
    /// # Errors
    /// [`Error::Docker`].
    pub async fn start(&self, container: &Container) -> Result<(), Error> {
        self.create(&container.name, self.body(container)).await?;
        let started = async {
            // Engines before API 1.44 take one network when a container is made.
            for (name, address) in container.networks.iter().skip(1) {
                self.connect(&container.name, name, *address).await?;
            }
            self.start_again(&container.name).await
        };
        match started.await {
            Ok(()) => Ok(()),
            Err(error) => {
                self.remove_container(&container.name).await?;
                Err(error)
            }
        }
    }

    fn body(&self, container: &Container) -> ContainerCreateBody {
        let host = HostConfig {
            network_mode: container.networks.first().map(|(name, _)| name.clone()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: Some(container.capabilities.clone()),
            sysctls: Some(container.sysctls.clone()),
            ..HostConfig::default()
        };
        let endpoints = container.networks.first().map(|(name, address)| (name.clone(), endpoint(*address)));
        ContainerCreateBody {
            image: Some(container.image.clone()),
            entrypoint: (!container.entrypoint.is_empty()).then(|| container.entrypoint.clone()),
            cmd: Some(container.arguments.clone()),
            labels: Some(self.labels().into_iter().chain(container.labels.clone()).collect()),
            networking_config: Some(NetworkingConfig { endpoints_config: Some(endpoints.into_iter().collect()) }),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        }
    }

    pub(super) async fn create(&self, name: &str, body: ContainerCreateBody) -> Result<(), Error> {
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        let created = self.docker().await?.create_container(Some(options), body).await;
        created.map(drop).map_err(refused(format!("create container {name}")))
    }

    /// Puts a container on a network, at an address or at one that Docker chooses.
    ///
    /// # Errors
    /// [`Error::Docker`].
    pub async fn connect(&self, container: &str, network: &str, address: Option<Ipv4Addr>) -> Result<(), Error> {
        let request =
            NetworkConnectRequest { container: container.to_owned(), endpoint_config: Some(endpoint(address)) };
        let action = format!("connect {container} to the network {network}");
        self.docker().await?.connect_network(network, request).await.map_err(refused(action))
    }

    /// Starts a container that is there. One that runs stays as it is.
    ///
    /// # Errors
    /// [`Error::Docker`].
    pub async fn start_again(&self, name: &str) -> Result<(), Error> {
        let started = self.docker().await?.start_container(name, None::<StartContainerOptions>).await;
        started.map_err(refused(format!("start container {name}")))
    }

    /// Takes a container off a network. One that is not on it stays as it is.
    ///
    /// # Errors
    /// [`Error::Docker`].
    pub async fn disconnect(&self, container: &str, network: &str) -> Result<(), Error> {
        let settings = self.inspect(container).await?.and_then(|found| found.network_settings);
        if !settings.and_then(|settings| settings.networks).is_some_and(|networks| networks.contains_key(network)) {
            return Ok(());
        }
        let request = NetworkDisconnectRequest { container: container.to_owned(), force: None };
        let action = format!("disconnect {container} from the network {network}");
        self.docker().await?.disconnect_network(network, request).await.map_err(refused(action))
    }

    /// Stops a container, in its own time. One that does not run stays as it is.
    ///
    /// # Errors
    /// [`Error::Docker`].
    pub async fn stop(&self, name: &str) -> Result<(), Error> {
        let stopped = self.docker().await?.stop_container(name, None::<StopContainerOptions>).await;
        stopped.map_err(refused(format!("stop container {name}")))
    }

    /// Removes a container, running or not. One that is not there counts as removed.
    ///
    /// # Errors
    /// [`Error::Docker`].
    pub async fn remove_container(&self, name: &str) -> Result<(), Error> {
        self.remove(Kind::Container, name).await
    }

    /// Names of the containers of a kind cluster's nodes, whoever made it.
    ///
    /// # Errors
    /// [`Error::Docker`].
    pub async fn nodes(&self, kind_name: &str) -> Result<Vec<String>, Error> {
        let filter = HashMap::from([("label".to_owned(), vec![format!("{CLUSTER}={kind_name}")])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filter).build();
        let list = self.docker().await?.list_containers(Some(options)).await.map_err(refused("list containers"))?;
        let names = list.into_iter().filter_map(|one| one.names?.into_iter().next());
        Ok(names.map(|name| name.trim_start_matches('/').to_owned()).collect())
    }
}

fn endpoint(address: Option<Ipv4Addr>) -> EndpointSettings {
    let fixed = |address: Ipv4Addr| EndpointIpamConfig {
        ipv4_address: Some(address.to_string()),
        ..EndpointIpamConfig::default()
    };
    EndpointSettings { ipam_config: address.map(fixed), ..EndpointSettings::default() }
}
