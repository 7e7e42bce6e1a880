//! A fault that is in force, for as long as its value lives.

use substrate_config::control::{ControlRequest, ControlResponse, FaultState, Healing};

use super::Error;
use super::connection::{Connection, unexpected};
use crate::provider::kind::router::RouterFault;

/// A fault. Dropping it lets it heal, without a word of how; see [`Fault::heal`].
#[derive(Debug)]
#[must_use = "the fault heals as soon as this value is dropped"]
pub struct Fault {
    on: On,
}

#[derive(Debug)]
enum On {
    /// In the embedded world, which reverts it when the connection ends.
    World { connection: Connection, lease: u64 },
    /// On a router between Docker networks.
    Router(RouterFault),
}

impl Fault {
    pub(super) fn new(connection: Connection, lease: u64) -> Self {
        Self { on: On::World { connection, lease } }
    }

    pub(super) fn on_router(fault: RouterFault) -> Self {
        Self { on: On::Router(fault) }
    }

    /// Whether it is still in force, and what it has touched so far.
    ///
    /// # Errors
    /// Where it cannot be asked.
    pub async fn state(&mut self) -> Result<FaultState, Error> {
        match &mut self.on {
            On::World { connection, lease } => ask(connection, &ControlRequest::Status { lease: *lease }).await,
            On::Router(fault) => Ok(fault.state().await?),
        }
    }

    /// Ends it and says what shows that it has ended. One that has reached its limit before has [`Healing::by`] say so:
    /// what was measured meanwhile was measured without it.
    ///
    /// # Errors
    /// [`Error::NotHealed`] where it should have ended and is still seen.
    pub async fn heal(self) -> Result<Healing, Error> {
        let state = match self.on {
            On::World { mut connection, lease } => ask(&mut connection, &ControlRequest::Revert { lease }).await?,
            On::Router(fault) => return Ok(fault.heal().await?),
        };
        match state {
            FaultState::Healed { healing } => Ok(healing),
            FaultState::NotHealed { message } => Err(Error::NotHealed(message)),
            FaultState::Active { .. } => Err(Error::NotHealed("it is still in force".to_owned())),
        }
    }
}

async fn ask(connection: &mut Connection, request: &ControlRequest) -> Result<FaultState, Error> {
    match connection.ask(request).await? {
        ControlResponse::State { state } => Ok(state),
        other => Err(unexpected(&other)),
    }
}
