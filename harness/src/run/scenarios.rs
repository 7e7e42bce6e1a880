//! Several scenarios, one after the other, on one environment.

use super::{Interruption, fail};
use crate::engine::{Environment, run_scenario};
use crate::provider::embedded::World;
use crate::report::RunOutcome;
use crate::report::event::StepOutcome;
use crate::report::stream::EventSender;
use crate::scenario::plan::Plan;

/// Runs every plan and combines the outcomes; an interruption ends the run after the clean-up of the scenario
/// at hand, a second one at once.
pub(super) async fn run_all(
    environment: &Environment,
    plans: &[Plan],
    events: &EventSender,
    interruption: &Interruption,
) -> RunOutcome {
    if plans.is_empty() {
        return RunOutcome::NothingSelected;
    }
    heal_left(environment, events).await;
    let mut worst = RunOutcome::Passed;
    let mut skipped = 0;
    for plan in plans {
        let scenario = run_scenario(environment, plan, events, interruption.token());
        if let Some(outcome) = interruption.insisted().run_until_cancelled(scenario).await {
            skipped += usize::from(matches!(outcome, StepOutcome::Skipped { .. }));
            worst = worst.worse(outcome_of(&outcome));
        }
        if let Some(interrupted) = interruption.outcome() {
            return interrupted;
        }
    }
    // Where every scenario was skipped, nothing was proved.
    if skipped == plans.len() { RunOutcome::Inconclusive } else { worst }
}

/// The outcome of a run, or that its world died: then all that it still waits for is given up.
pub(super) async fn run_while_alive(
    world: &World,
    run: impl Future<Output = RunOutcome>,
    events: &EventSender,
) -> RunOutcome {
    let died = match world.while_alive(run).await {
        // A step may have met the end of the world before it was noticed.
        Ok(RunOutcome::EnvironmentFailed) => world.died().await,
        Ok(outcome) => return outcome,
        Err(died) => Some(died),
    };
    if let Some(died) = died {
        fail(events, &died, None, Vec::new());
    }
    RunOutcome::EnvironmentFailed
}

/// A run that was killed could not undo its faults; nobody may measure through them.
async fn heal_left(environment: &Environment, events: &EventSender) {
    for cluster in environment.clusters() {
        match crate::engine::heal_left(cluster).await {
            Ok(healed) => {
                for workload in healed {
                    events.warn(format!("a run that was killed left {workload} without pods; it gets them back"), None);
                }
            }
            Err(error) => events.warn(crate::cluster::chain(&error), None),
        }
    }
}

fn outcome_of(outcome: &StepOutcome) -> RunOutcome {
    match outcome {
        // What this environment cannot do says nothing about the rest; the report names it.
        StepOutcome::Passed | StepOutcome::Skipped { .. } => RunOutcome::Passed,
        StepOutcome::Failed => RunOutcome::MeshFailed,
        StepOutcome::Inconclusive => RunOutcome::Inconclusive,
        StepOutcome::Errored { .. } => RunOutcome::EnvironmentFailed,
    }
}
