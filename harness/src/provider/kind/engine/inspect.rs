//! What one asks about a single container. One that is not there is no error.

use std::net::Ipv4Addr;

use bollard::models::ContainerInspectResponse;

use super::{Engine, Error};

impl Engine {
    /// Whether there is such a container, and it runs.
    ///
    /// # Errors
    /// [`Error::Docker`].
    pub async fn is_running(&self, container: &str) -> Result<bool, Error> {
        let state = self.inspect(container).await?.and_then(|found| found.state);
        Ok(state.and_then(|state| state.running).unwrap_or_default())
    }

    /// The address of a container on a network.
    ///
    /// # Errors
    /// [`Error::Docker`].
    pub async fn address(&self, container: &str, network: &str) -> Result<Option<Ipv4Addr>, Error> {
        let settings = self.inspect(container).await?.and_then(|found| found.network_settings);
        let endpoints = settings.and_then(|settings| settings.networks).unwrap_or_default();
        Ok(endpoints.get(network).and_then(|endpoint| endpoint.ip_address.as_ref()?.parse().ok()))
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
