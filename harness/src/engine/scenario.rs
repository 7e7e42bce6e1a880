//! One scenario from its first step to the last of its clean-up.

use tokio_util::sync::CancellationToken;

use super::artifacts;
use super::context::{Applied, Environment};
use super::step::Runner;
use crate::report::event::{EventKind, StepOutcome};
use crate::report::stream::EventSender;
use crate::scenario::plan::Plan;

/// Runs a scenario. The steps of `finally` run in any case, also after an interruption; that one of them fails does not
/// hide the verdict of the others.
pub async fn run_scenario(
    environment: &Environment,
    plan: &Plan,
    events: &EventSender,
    cancel: &CancellationToken,
) -> StepOutcome {
    events.send(EventKind::ScenarioStarted {
        scenario: plan.name.clone(),
        description: plan.description.clone(),
        file: plan.file.clone(),
    });
    let mut runner = Runner { environment, events, scenario: &plan.name, cancel, applied: Applied::default() };
    let verdict = runner.sequence(&plan.steps).await;
    if is_worth_a_look(&verdict)
        && !cancel.is_cancelled()
        && let Some(out) = environment.artifacts()
    {
        cancel.run_until_cancelled(artifacts::take(environment, &plan.name, out, events)).await;
    }
    let undisturbed = CancellationToken::new();
    runner.cancel = &undisturbed;
    let mut cleaned = StepOutcome::Passed;
    for step in &plan.finally {
        let outcome = runner.step(step).await;
        if cleaned == StepOutcome::Passed {
            cleaned = outcome;
        }
    }
    let outcome = if verdict == StepOutcome::Passed { cleaned } else { verdict };
    events.send(EventKind::ScenarioFinished { scenario: plan.name.clone(), outcome: outcome.clone() });
    outcome
}

/// Whether somebody will want to know what the clusters held.
fn is_worth_a_look(verdict: &StepOutcome) -> bool {
    match verdict {
        StepOutcome::Failed | StepOutcome::Inconclusive | StepOutcome::Errored { .. } => true,
        StepOutcome::Passed | StepOutcome::Skipped { .. } => false,
    }
}
