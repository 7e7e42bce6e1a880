//! The main job: bring up, prove, report, tear down.

use super::scenarios::{run_all, run_while_alive};
use super::temporary::{Temporary, in_temporary};
use super::{Interruption, Job};
use crate::engine::Environment;
use crate::report::RunOutcome;
use crate::report::stream::EventSender;

/// Runs the job in an environment of its own.
pub async fn e2e(job: &Job, events: &EventSender, interruption: &Interruption) -> RunOutcome {
    let prove = async |Temporary { fleet, clusters, .. }: Temporary<'_>| {
        let environment = Environment::new(clusters, fleet.links()).with_nodes(fleet.nodes());
        let environments = [environment.with_artifacts(&job.out)];
        run_while_alive(fleet, run_all(&environments, &job.plans, job.manner, events, interruption), events).await
    };
    in_temporary(job, events, interruption, prove).await
}
