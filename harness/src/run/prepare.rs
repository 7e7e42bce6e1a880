//! What every command that brings an environment up does first: looks at the machine, and claims a folder.

use super::claim::claim;
use super::{Interruption, Job, machine};
use crate::cluster::Cluster;
use crate::environment::{
    Claim, Directory, Error, OnDocker, Refused, WhenInterrupted, begin, begin_on_docker, bring_up, bring_up_on,
    bring_up_on_docker, docker_machines, world_config,
};
use crate::provider::existing::contexts::Refusal;
use crate::provider::fleet::Fleet;
use crate::provider::programs::Programs;
use crate::report::RunOutcome;
use crate::report::stream::EventSender;
use crate::topology::Provider;

/// A machine that can, programs that are there, and a folder that no other run uses for as long as this value lives.
pub(super) struct Prepared {
    /// The folder of the environment; empty but for the claim.
    pub(super) directory: Directory,
    /// What the embedded world is made of; clusters that are there need nothing of this machine.
    programs: Option<Programs>,
    interrupted: WhenInterrupted,
    _claim: Claim,
}

impl Prepared {
    /// Prepares the environment of a job. One that stays after an interruption may have been begun before.
    ///
    /// # Errors
    /// The outcome of the run, after it was told why.
    pub(super) async fn new(job: &Job, interrupted: WhenInterrupted, events: &EventSender) -> Result<Self, RunOutcome> {
        let programs = match job.topology.has_clusters_of(Provider::Embedded) {
            true => Some(machine::prepare(events).await?),
            false => None,
        };
        let directory = Directory::new(&job.state_root, &job.environment);
        let claim = claim(job, &directory, interrupted, events)?;
        Ok(Self { directory, programs, interrupted, _claim: claim })
    }

    /// Brings the job's topology up.
    ///
    /// # Errors
    /// [`Error`]; nothing is left running then, but for what an interruption leaves to the next run.
    pub(super) async fn bring_up(
        &self,
        job: &Job,
        events: &EventSender,
        interruption: &Interruption,
    ) -> Result<(Fleet, Vec<Cluster>), Error> {
        let Self { directory, programs, interrupted, .. } = self;
        let on_docker = job.topology.has_clusters_of(Provider::Kind);
        if job.given.bundle.is_some() && !on_docker {
            let refusal = Refusal::new("a bundle is for kind clusters", "say `--provider kind`, or leave --bundle out");
            return Err(Refused::from(refusal).into());
        }
        if on_docker {
            let docker = OnDocker {
                environment: &job.environment,
                directory: directory.path(),
                run_id: &job.run_id,
                recreate: job.given.recreate,
                out: &job.out,
            };
            let started = begin_on_docker(&docker, &job.topology, &job.given, events).await?;
            return bring_up_on_docker(started, &job.topology, *interrupted, events, interruption.token()).await;
        }
        let Some(programs) = programs else {
            let existing = begin(&job.topology, &job.given, directory.path(), &job.run_id)?;
            return bring_up_on(existing, &job.topology, &job.given, *interrupted, events, interruption.token()).await;
        };
        if let Some(why) = &job.fallback {
            let help = "`--vm-runtime docker` demands containers, `--vm-runtime netns` asks for none".to_owned();
            events.warn(format!("virtual machines are no containers here: {why}"), Some(help));
        }
        let docker = docker_machines(&job.topology, programs, &job.state_root, events).await?;
        let path = directory.path();
        let config = world_config(&job.topology, &job.environment, &job.run_id, path, programs, docker.as_ref(), true);
        bring_up(&job.topology, &config, programs, events, interruption.token()).await
    }
}
