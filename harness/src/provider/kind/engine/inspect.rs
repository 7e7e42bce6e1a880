//! What one asks about a single container. One that is not there is no error.

use std::net::Ipv4Addr;

use bollard::models::{ContainerInspectResponse, EndpointSettings};

use super::{Engine, Error};
use crate::provider::kind::remembered::Seen;

impl Engine {
    /// Whether there is such a container, and it runs.
    ///
    /// # Errors
    /// [`Error::Docker`].
    pub async fn is_running(&self, container: &str) -> Result<bool, Error> {
        Ok(matches!(self.seen(container, None).await?, Seen::There { running: true, .. }))
    }

    /// The address of a container on a network.
    ///
    /// # Errors
    /// [`Error::Docker`].
    pub async fn address(&self, container: &str, network: &str) -> Result<Option<Ipv4Addr>, Error> {
        match self.seen(container, Some(network)).await? {
            Seen::There { address, .. } => Ok(address),
            Seen::Absent => Ok(None),
        }
    }

    /// How a container is, with its address on a network.
    ///
    /// # Errors
    /// [`Error::Docker`].
    pub async fn seen(&self, container: &str, network: Option<&str>) -> Result<Seen, Error> {
        Ok(self.inspect(container).await?.map_or(Seen::Absent, |found| seen(found, network)))
    }

    /// What Docker knows of a container.
    ///
    /// # Errors
    /// [`Error::Docker`].
    pub async fn inspect(&self, container: &str) -> Result<Option<ContainerInspectResponse>, Error> {
        let found = self.docker().await?.inspect_container(container, None).await;
        match found.map_err(docker_support::Error::refused(format!("inspect container {container}"))) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn seen(found: ContainerInspectResponse, network: Option<&str>) -> Seen {
    let endpoints = found.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
    let endpoint: Option<&EndpointSettings> = network.and_then(|network| endpoints.get(network));
    let address = |text: Option<&String>| text.and_then(|text| text.parse().ok());
    let fixed = endpoint.and_then(|endpoint| endpoint.ipam_config.as_ref());
    let state = found.state.unwrap_or_default();
    Seen::There {
        running: state.running.unwrap_or_default(),
        address: address(endpoint.and_then(|endpoint| endpoint.ip_address.as_ref())),
        fixed: address(fixed.and_then(|fixed| fixed.ipv4_address.as_ref())),
        started: state.started_at.unwrap_or_default(),
    }
}
