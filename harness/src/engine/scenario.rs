//! One scenario from its first step to the last of its clean-up.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::context::Environment;
use super::runner::Runner;
use crate::report::event::{EventKind, Repetition, StepOutcome};
use crate::report::stream::EventSender;
use crate::scenario::keys::duration_text;
use crate::scenario::plan::Plan;

/// Id of the step that stands in the report for a time budget that was not kept.
const BUDGET_STEP: &str = "budget";

/// Runs a scenario. The steps of `finally` run in any case, also after an interruption; that one of them fails does not
/// hide the verdict of the others. After them the invariants are looked at. What the environment cannot do is not tried.
pub async fn run_scenario(
    environment: &Environment,
    plan: &Plan,
    events: &EventSender,
    cancel: &CancellationToken,
) -> StepOutcome {
    run_repetition(environment, plan, None, events, cancel).await
}

/// As [`run_scenario`], told as one of several runs of the same scenario where it has a number.
pub async fn run_repetition(
    environment: &Environment,
    plan: &Plan,
    number: Option<u32>,
    events: &EventSender,
    cancel: &CancellationToken,
) -> StepOutcome {
    let repetition = number.map(|number| Repetition { of: plan.name.clone(), number });
    let name = repetition.as_ref().map_or_else(|| plan.name.clone(), Repetition::to_string);
    events.send(EventKind::ScenarioStarted {
        scenario: name.clone(),
        description: plan.description.clone(),
        file: plan.file.clone(),
        environment: environment.name().map(str::to_owned),
        repetition,
    });
    let outcome = match environment.why_not(plan).await {
        Err(error) => StepOutcome::Errored { message: crate::cluster::chain(&error) },
        Ok(Some(reason)) => StepOutcome::Skipped { reason },
        Ok(None) => {
            let runner = Runner {
                environment,
                events,
                scenario: &name,
                machines: &plan.topology.vms,
                applied: RefCell::default(),
                faults: RefCell::default(),
                running: RefCell::default(),
                made: RefCell::default(),
                unanswered: RefCell::default(),
                saved: Cell::new(false),
            };
            let touched = plan.touched();
            let before = super::invariants::look(environment, &touched).await;
            let verdict = within_budget(&runner, plan, cancel).await;
            runner.save_state(&verdict, cancel).await;
            let dismissed = runner.dismiss_left().await;
            let cleaned = runner.undisturbed(&plan.finally).await;
            let held = runner.invariants(&touched, before).await;
            [cleaned, dismissed, held].into_iter().fold(verdict, first_to_fail)
        }
    };
    events.send(EventKind::ScenarioFinished { scenario: name, outcome: outcome.clone() });
    outcome
}

/// What comes later hides no verdict.
fn first_to_fail(verdict: StepOutcome, after: StepOutcome) -> StepOutcome {
    if verdict == StepOutcome::Passed { after } else { verdict }
}

/// Runs the steps; when their time is up, the one at hand is ended and the verdict is that there is none.
async fn within_budget(runner: &Runner<'_>, plan: &Plan, cancel: &CancellationToken) -> StepOutcome {
    let Some(budget) = plan.time_budget else { return runner.sequence(&plan.steps, cancel).await };
    let token = cancel.child_token();
    let mut steps = std::pin::pin!(runner.sequence(&plan.steps, &token));
    if let Ok(outcome) = tokio::time::timeout(budget, steps.as_mut()).await {
        return outcome;
    }
    token.cancel();
    match steps.await {
        // It was over, or refuted, at the last moment; or the user ended it.
        outcome @ (StepOutcome::Passed | StepOutcome::Failed) => outcome,
        outcome if cancel.is_cancelled() => outcome,
        _ => {
            tell_exceeded(runner, budget);
            StepOutcome::Inconclusive
        }
    }
}

fn tell_exceeded(runner: &Runner<'_>, budget: Duration) {
    let (scenario, step) = (runner.scenario.to_owned(), BUDGET_STEP.to_owned());
    let name = format!("within {}", duration_text(budget));
    runner.events.send(EventKind::StepStarted { scenario: scenario.clone(), step: step.clone(), name });
    let evidence = vec!["budget exceeded: the steps took longer, and the one at hand was ended".to_owned()];
    let outcome = StepOutcome::Inconclusive;
    runner.events.send(EventKind::StepFinished { scenario, step, outcome, evidence });
}
