//! Carries out steps and groups of steps, and says what came of each.
//!
//! An interruption ends the step at hand; groups then go on to their clean-up, which nothing interrupts.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use futures::future::{LocalBoxFuture, join_all};
use tokio_util::sync::CancellationToken;
use verdict::Outcome;

use super::background::Running;
use super::context::{Applied, Environment, Error};
use super::fault::Faults;
use super::situation;
use super::symptoms;
use super::workers::Made;
use crate::artifacts;
use crate::check::convergence;
use crate::report::event::{EventKind, StepOutcome};
use crate::report::figures::Situation;
use crate::report::stream::EventSender;
use crate::scenario::plan::{Action, Step, Traffic, Try};
use crate::topology::{Vm, Workload};

/// Runs the steps of one scenario.
pub(super) struct Runner<'run> {
    pub(super) environment: &'run Environment,
    pub(super) events: &'run EventSender,
    pub(super) scenario: &'run str,
    /// Virtual machines of the topology.
    pub(super) machines: &'run [Vm],
    pub(super) applied: RefCell<Applied>,
    pub(super) faults: RefCell<Faults>,
    pub(super) running: RefCell<BTreeMap<String, Running>>,
    /// Jobs of workers that are not known to be gone.
    pub(super) made: RefCell<Vec<Made>>,
    /// The traffic of the last step that was not answered as it should have been, and who sent it.
    pub(super) unanswered: RefCell<Option<(Traffic, Workload)>>,
    /// Whether the state of the clusters was saved already.
    pub(super) saved: Cell<bool>,
}

/// What came of an action: the verdict on what it expects and evidence.
pub(super) struct Done {
    pub(super) outcome: Outcome,
    pub(super) evidence: Vec<String>,
}

impl Done {
    pub(super) fn passed(evidence: impl Into<String>) -> Self {
        Self { outcome: Outcome::Pass, evidence: vec![evidence.into()] }
    }
}

impl Runner<'_> {
    /// Runs steps in order until one does not pass, then what cleans up after those that were begun.
    pub(super) async fn sequence(&self, steps: &[Step], cancel: &CancellationToken) -> StepOutcome {
        let mut begun = 0;
        let mut outcome = StepOutcome::Passed;
        for step in steps {
            begun += 1;
            outcome = self.step(step, cancel).await;
            if outcome != StepOutcome::Passed {
                break;
            }
        }
        self.cleaned_after(&steps[..begun], outcome, cancel).await
    }

    async fn parallel(&self, steps: &[Step], cancel: &CancellationToken) -> StepOutcome {
        let outcomes = join_all(steps.iter().map(|step| self.step(step, cancel))).await;
        let worst = outcomes.into_iter().fold(StepOutcome::Passed, worse);
        self.cleaned_after(steps, worst, cancel).await
    }

    async fn attempt(&self, attempt: &Try, cancel: &CancellationToken) -> StepOutcome {
        let mut outcome = self.sequence(&attempt.steps, cancel).await;
        if outcome != StepOutcome::Passed {
            // What is caught is told by its own steps; the verdict stays that of what was tried.
            self.undisturbed(&attempt.catch).await;
        }
        let after = self.undisturbed(&attempt.finally).await;
        if outcome == StepOutcome::Passed {
            outcome = after;
        }
        outcome
    }

    /// Cleans up, but first saves what the clusters hold where somebody will want to know.
    async fn cleaned_after(&self, steps: &[Step], outcome: StepOutcome, cancel: &CancellationToken) -> StepOutcome {
        if steps.iter().any(|step| !step.cleanup.is_empty()) {
            self.save_state(&outcome, cancel).await;
        }
        self.cleaned(steps, outcome).await
    }

    /// Saves the state of the clusters once, when a scenario has not passed.
    pub(super) async fn save_state(&self, verdict: &StepOutcome, cancel: &CancellationToken) {
        let worth_a_look = match verdict {
            StepOutcome::Failed | StepOutcome::Inconclusive | StepOutcome::Errored { .. } => true,
            StepOutcome::Passed | StepOutcome::Skipped { .. } => false,
        };
        if !worth_a_look || cancel.is_cancelled() || self.saved.replace(true) {
            return;
        }
        if let Some(situation) = cancel.run_until_cancelled(self.situation()).await {
            self.events.send(EventKind::SituationSeen { scenario: self.scenario.to_owned(), situation });
        }
        if let Some(out) = self.environment.artifacts() {
            let subject = artifacts::Subject { machines: self.machines, ..self.environment.subject() };
            cancel.run_until_cancelled(artifacts::take(&subject, self.scenario, out, self.events)).await;
        }
    }

    async fn situation(&self) -> Situation {
        let mut situation = situation::look(self.environment).await;
        let unanswered = self.unanswered.take();
        if let Some((traffic, source)) = unanswered {
            symptoms::look(self.environment, &traffic, &source, &mut situation).await;
        }
        situation
    }

    /// Cleans up after steps, the last first. A clean-up that fails hides no verdict, and no other clean-up.
    pub(super) async fn cleaned(&self, steps: &[Step], outcome: StepOutcome) -> StepOutcome {
        let mut outcome = outcome;
        for step in steps.iter().rev().filter(|step| !step.cleanup.is_empty()) {
            let after = self.undisturbed(&step.cleanup).await;
            if outcome == StepOutcome::Passed {
                outcome = after;
            }
        }
        outcome
    }

    /// Runs every step, whatever comes of the one before, and without regard to interruptions.
    pub(super) async fn undisturbed(&self, steps: &[Step]) -> StepOutcome {
        let undisturbed = CancellationToken::new();
        let mut outcome = StepOutcome::Passed;
        for step in steps {
            let one = self.step(step, &undisturbed).await;
            if outcome == StepOutcome::Passed {
                outcome = one;
            }
        }
        outcome
    }

    /// Runs one step and tells it.
    pub(super) fn step<'step>(
        &'step self,
        step: &'step Step,
        cancel: &'step CancellationToken,
    ) -> LocalBoxFuture<'step, StepOutcome> {
        Box::pin(async move {
            self.events.send(EventKind::StepStarted {
                scenario: self.scenario.to_owned(),
                step: step.id.clone(),
                name: step.name.clone(),
            });
            let (outcome, evidence) = match self.carry_out(step, cancel).await {
                Ok(done) => (StepOutcome::judged(done.outcome), done.evidence),
                Err(Error::Convergence(rejected @ convergence::Error::Rejected { .. })) => {
                    (StepOutcome::Failed, vec![rejected.to_string()])
                }
                Err(error) => (StepOutcome::Errored { message: crate::cluster::chain(&error) }, Vec::new()),
            };
            self.events.send(EventKind::StepFinished {
                scenario: self.scenario.to_owned(),
                step: step.id.clone(),
                outcome: outcome.clone(),
                evidence,
            });
            outcome
        })
    }

    /// Groups see to it themselves that their members end and are cleaned up after; a single step just ends.
    async fn carry_out(&self, step: &Step, cancel: &CancellationToken) -> Result<Done, Error> {
        let outcome = match &step.action {
            Action::Sequence(steps) => self.sequence(steps, cancel).await,
            Action::Parallel(steps) => self.parallel(steps, cancel).await,
            Action::Try(attempt) => self.attempt(attempt, cancel).await,
            Action::Control(control) => return self.control(step, control, cancel).await,
            _ => return cancel.run_until_cancelled(self.act(step)).await.unwrap_or(Err(Error::Interrupted)),
        };
        let outcome = match outcome {
            StepOutcome::Passed | StepOutcome::Skipped { .. } => Outcome::Pass,
            StepOutcome::Failed => Outcome::Fail,
            StepOutcome::Inconclusive => Outcome::Inconclusive,
            StepOutcome::Errored { .. } => return Err(Error::StepInside),
        };
        Ok(Done { outcome, evidence: Vec::new() })
    }

    async fn act(&self, step: &Step) -> Result<Done, Error> {
        match &step.action {
            Action::Note(text) => Ok(Done::passed(text.clone())),
            Action::Apply(apply) => self.apply(apply).await,
            Action::Delete(delete) => self.delete(delete).await,
            Action::Patch(patch) => self.patch(patch).await,
            Action::Scale(scale) => self.scale(scale).await,
            Action::Replace(replace) => self.replace(replace).await,
            Action::Onboard(onboard) => self.onboard(onboard).await,
            Action::Exec(exec) => self.exec(exec).await,
            Action::Wait(wait) => self.wait(wait).await,
            Action::Link(link) => self.link(link).await,
            Action::Register(register) => self.register(register).await,
            Action::Converge(converge) => self.converge(converge).await,
            Action::Fault(fault) => self.fault(&step.name, fault).await,
            Action::Heal(name) => self.heal(name).await,
            Action::Background(background) => self.background(&step.name, background).await,
            Action::Await(wait) => self.during(wait).await,
            Action::Traffic(_) | Action::Connect(_) | Action::Config(_) | Action::Reachability(_) | Action::Stop(_) => {
                self.measure(step).await
            }
            Action::Sequence(_) | Action::Parallel(_) | Action::Try(_) | Action::Control(_) => {
                Err(Error::NoMeasurement(step.name.clone()))
            }
        }
    }
}

/// The outcome of two steps at once: that something could not be carried out makes every verdict doubtful, then what is
/// worst for the mesh.
fn worse(left: StepOutcome, right: StepOutcome) -> StepOutcome {
    let gravity = |outcome: &StepOutcome| match outcome {
        StepOutcome::Passed => 0,
        StepOutcome::Skipped { .. } => 1,
        StepOutcome::Inconclusive => 2,
        StepOutcome::Failed => 3,
        StepOutcome::Errored { .. } => 4,
    };
    if gravity(&left) >= gravity(&right) { left } else { right }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_outcomes_the_worse_counts() {
        let errored = || StepOutcome::Errored { message: "interrupted".to_owned() };
        assert_eq!(worse(StepOutcome::Passed, StepOutcome::Inconclusive), StepOutcome::Inconclusive);
        assert_eq!(worse(StepOutcome::Failed, StepOutcome::Inconclusive), StepOutcome::Failed);
        assert_eq!(worse(StepOutcome::Failed, errored()), errored());
        assert_eq!(worse(errored(), StepOutcome::Passed), errored());
    }
}
