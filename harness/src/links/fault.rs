//! A fault that is in force, for as long as its value lives.

use substrate_config::control::{ControlRequest, ControlResponse, FaultState, Healing};

use super::Error;
use super::connection::{Connection, unexpected};

/// A fault. Dropping it lets it heal, without a word of how; see [`Fault::heal`].
#[derive(Debug)]
#[must_use = "the fault heals as soon as this value is dropped"]
pub struct Fault {
    connection: Connection,
    lease: u64,
}

impl Fault {
    pub(super) fn new(connection: Connection, lease: u64) -> Self {
        Self { connection, lease }
    }

    /// Whether it is still in force, and what it has touched so far.
    ///
    /// # Errors
    /// Where it cannot be asked.
    pub async fn state(&mut self) -> Result<FaultState, Error> {
        let request = ControlRequest::Status { lease: self.lease };
        self.ask(&request).await
    }

    /// Ends it and says what shows that it has ended. One that has reached its limit before has [`Healing::by`] say so:
    /// what was measured meanwhile was measured without it.
    ///
    /// # Errors
    /// [`Error::NotHealed`] where it should have ended and is still seen.
    pub async fn heal(mut self) -> Result<Healing, Error> {
        let request = ControlRequest::Revert { lease: self.lease };
        match self.ask(&request).await? {
            FaultState::Healed { healing } => Ok(healing),
            FaultState::NotHealed { message } => Err(Error::NotHealed(message)),
            FaultState::Active { .. } => Err(Error::NotHealed("it is still in force".to_owned())),
        }
    }

    async fn ask(&mut self, request: &ControlRequest) -> Result<FaultState, Error> {
        match self.connection.ask(request).await? {
            ControlResponse::State { state } => Ok(state),
            other => Err(unexpected(&other)),
        }
    }
}
