//! Makes the networks of an environment, with subnets that nobody else takes in the same moment.

use super::addresses::{self, Exhausted, MeshNetwork};
use super::engine::{Engine, Error as EngineError};
use crate::topology::{Ipv4Cidr, Topology};

/// Networks could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no room for them.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// Docker does not make them.
    #[error(transparent)]
    Docker(#[from] EngineError),
}

/// Makes a Docker network for each network of a topology. Where another run takes a subnet between the look and the making, the next
/// free one is taken.
///
/// # Errors
/// [`Error`]; those that were made before it carry the labels of the run.
pub async fn make(engine: &Engine, topology: &Topology, environment: &str) -> Result<Vec<MeshNetwork>, Error> {
    let mut lost: Vec<Ipv4Cidr> = Vec::new();
    loop {
        let used: Vec<Ipv4Cidr> = engine.subnets().await?.into_iter().chain(lost.iter().copied()).collect();
        let networks = addresses::networks(topology, environment, &used)?;
        match create(engine, &networks).await {
            Ok(()) => return Ok(networks),
            // Each round loses one subnet more, so that this ends.
            Err((subnet, EngineError::Docker(error))) if error.is_overlap() => lost.push(subnet),
            Err((_, error)) => return Err(error.into()),
        }
        for network in &networks {
            engine.remove_network(&network.docker.name).await?;
        }
    }
}

async fn create(engine: &Engine, networks: &[MeshNetwork]) -> Result<(), (Ipv4Cidr, EngineError)> {
    for network in networks {
        engine.create_network(&network.docker).await.map_err(|error| (network.docker.subnet, error))?;
    }
    Ok(())
}
