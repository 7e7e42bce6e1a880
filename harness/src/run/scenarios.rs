//! Several scenarios, one after the other, on one environment.

use super::Interruption;
use crate::engine::{Environment, run_scenario};
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
    let mut worst = RunOutcome::Passed;
    for plan in plans {
        let scenario = run_scenario(environment, plan, events, interruption.token());
        if let Some(outcome) = interruption.insisted().run_until_cancelled(scenario).await {
            worst = worst.worse(outcome_of(&outcome));
        }
        if let Some(interrupted) = interruption.outcome() {
            return interrupted;
        }
    }
    worst
}

fn outcome_of(outcome: &StepOutcome) -> RunOutcome {
    match outcome {
        StepOutcome::Passed => RunOutcome::Passed,
        StepOutcome::Failed => RunOutcome::MeshFailed,
        // A scenario that was skipped proved nothing.
        StepOutcome::Inconclusive | StepOutcome::Skipped { .. } => RunOutcome::Inconclusive,
        StepOutcome::Errored { .. } => RunOutcome::EnvironmentFailed,
    }
}
