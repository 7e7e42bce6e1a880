//! Networks: bridges with addresses that are not Docker's choice.

use std::net::Ipv4Addr;

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use docker_support::Kind;

use super::{Engine, Error, refused};
use crate::topology::Ipv4Cidr;

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

impl Engine {
    /// Makes a bridge of its own.
    ///
    /// # Errors
    /// [`Error::Docker`].
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
            labels: Some(self.labels()),
            ..NetworkCreateRequest::default()
        };
        let action = format!("create the network {} with {}", network.name, network.subnet);
        self.docker().await?.create_network(request).await.map(drop).map_err(refused(action))
    }

    /// Removes a network. One that is not there counts as removed.
    ///
    /// # Errors
    /// [`Error::Docker`].
    pub async fn remove_network(&self, name: &str) -> Result<(), Error> {
        self.remove(Kind::Network, name).await
    }

    /// Names of all networks of this run.
    ///
    /// # Errors
    /// [`Error::Docker`].
    pub async fn networks(&self) -> Result<Vec<String>, Error> {
        let networks = self.things().await?.into_iter().filter(|thing| thing.kind == Kind::Network);
        Ok(networks.map(|thing| thing.name).collect())
    }

    /// The subnets of all networks that there are, whoever made them.
    ///
    /// # Errors
    /// [`Error::Docker`].
    pub async fn subnets(&self) -> Result<Vec<Ipv4Cidr>, Error> {
        Ok(self.connected().await?.subnets().await?.iter().filter_map(|subnet| subnet.parse().ok()).collect())
    }
}
