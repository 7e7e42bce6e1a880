//! What plays a host, as seen by whoever gives it power.

use async_trait::async_trait;
use substrate_config::machine::{MachineFile, ProgramStatus};

use super::MachineError;
use crate::runtime::{ExecSession, ExecSpec, StartError};

/// Plays one host. What is asked of it comes one after the other.
#[async_trait]
pub(super) trait Runtime: Send + Sync {
    /// Writes files to the disk; nothing where one of them cannot be on it.
    async fn write(&self, files: &[MachineFile]) -> Result<(), MachineError>;

    /// Gives it power, for the so-manyth time: its logs have that number. Nothing of the start is left after an error.
    async fn start(&self, number: u64) -> Result<Box<dyn Power>, MachineError>;
}

/// A host that has power. It is given back by [`Power::stop`] or [`Power::kill`].
#[async_trait]
pub(super) trait Power: Send + Sync {
    /// Whether it still has: what plays it may have been ended by somebody else.
    fn is_on(&self) -> bool;

    /// Its programs, in the order of the configuration.
    fn programs(&self) -> Vec<ProgramStatus>;

    /// Kills a program and keeps it from being started again, or lets it be started again. Returns when it is so.
    async fn keep_off(&self, program: usize, off: bool) -> Result<(), MachineError>;

    /// The place beside a program that runs.
    fn beside(&self, program: usize) -> Option<Box<dyn Place>>;

    /// Asks its programs to end, kills those that do not, and takes the power.
    async fn stop(self: Box<Self>) -> Result<(), MachineError>;

    /// Takes the power: nothing that anybody had to say is said any more.
    async fn kill(self: Box<Self>) -> Result<(), MachineError>;
}

/// Where commands can be run.
#[async_trait]
pub(super) trait Place: Send + Sync {
    /// Runs a command with the environment and the capabilities of the program.
    async fn exec(&self, spec: ExecSpec) -> Result<ExecSession, StartError>;
}
