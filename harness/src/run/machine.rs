//! What must be there before an environment is attempted: the programs, and a machine that can run the embedded world.

use std::process::Stdio;

use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::fail;
use crate::provider::programs::{self, Programs};
use crate::report::RunOutcome;
use crate::report::event::EventKind;
use crate::report::stream::EventSender;

/// Something that this machine lacks, as `meshproof-substrate preflight` reports it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Lack {
    /// What is needed.
    pub what: String,
    /// What was found instead.
    pub found: String,
    /// The command that mends it.
    pub cure: String,
}

/// Finds the programs and asks whether the machine can.
///
/// # Errors
/// The outcome of the run, after it was told why.
pub(super) async fn prepare(events: &EventSender) -> Result<Programs, RunOutcome> {
    let refused = |error: programs::Error| {
        fail(events, &error, None, Vec::new());
        match error {
            programs::Error::NoEnvoy { .. } => RunOutcome::MachineCannot,
            programs::Error::NotBuilt { .. } | programs::Error::Executable(_) => RunOutcome::EnvironmentFailed,
        }
    };
    let programs = Programs::find().map_err(refused)?;
    let (envoy, lacks) = tokio::join!(programs.check(), lacks(&programs));
    envoy.map_err(refused)?;
    let lacks = lacks.map_err(|error| {
        fail(events, &error, None, Vec::new());
        RunOutcome::EnvironmentFailed
    })?;
    if lacks.is_empty() {
        return Ok(programs);
    }
    for lack in lacks {
        let message = format!("this machine lacks {}: {}", lack.what, lack.found);
        events.send(EventKind::Failure { message, cure: Some(lack.cure), evidence: Vec::new() });
    }
    Err(RunOutcome::MachineCannot)
}

/// What the machine lacks for the embedded provider.
///
/// # Errors
/// Where the question itself cannot be asked.
pub async fn lacks(programs: &Programs) -> std::io::Result<Vec<Lack>> {
    let output = Command::new(&programs.substrate).arg("preflight").stdin(Stdio::null()).output().await?;
    serde_json::from_slice(&output.stdout).map_err(|error| {
        let said = String::from_utf8_lossy(&output.stderr);
        std::io::Error::other(format!("{} preflight: {error}: {}", programs.substrate, said.trim()))
    })
}
