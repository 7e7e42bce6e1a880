//! What every command that brings an environment up does first: looks at the machine, and claims a folder.

use super::claim::claim;
use super::{Interruption, Job, machine};
use crate::cluster::Cluster;
use crate::environment::{Claim, Directory, Error, bring_up, world_config};
use crate::provider::embedded::World;
use crate::provider::programs::Programs;
use crate::report::RunOutcome;
use crate::report::stream::EventSender;

/// A machine that can, programs that are there, and a folder that no other run uses for as long as this value lives.
pub(super) struct Prepared {
    /// The folder of the environment; empty but for the claim.
    pub(super) directory: Directory,
    programs: Programs,
    _claim: Claim,
}

impl Prepared {
    /// Prepares the environment of a job.
    ///
    /// # Errors
    /// The outcome of the run, after it was told why.
    pub(super) async fn new(job: &Job, events: &EventSender) -> Result<Self, RunOutcome> {
        let programs = machine::prepare(events).await?;
        let directory = Directory::new(&job.state_root, &job.environment);
        let claim = claim(job, &directory, events)?;
        Ok(Self { directory, programs, _claim: claim })
    }

    /// Brings the job's topology up.
    ///
    /// # Errors
    /// [`Error`]; nothing is left running then.
    pub(super) async fn bring_up(
        &self,
        job: &Job,
        events: &EventSender,
        interruption: &Interruption,
    ) -> Result<(World, Vec<Cluster>), Error> {
        let Self { directory, programs, .. } = self;
        let config = world_config(&job.topology, &job.environment, &job.run_id, directory.path(), programs, true);
        bring_up(&job.topology, &config, programs, events, interruption.token()).await
    }
}
