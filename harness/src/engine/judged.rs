//! Steps that measure: what is seen is judged and told; controls demand that it is refuted.

use tokio_util::sync::CancellationToken;
use verdict::Outcome;

use super::context::Error;
use super::runner::{Done, Runner};
use super::{measure, reachability, told};
use crate::check::failing;
use crate::check::judge::judge_of;
use crate::check::observation::{Observation, OfSource};
use crate::report::event::{CheckReport, EventKind, StepOutcome};
use crate::report::figures::{Kept, Traffic as Figures};
use crate::scenario::plan::{Action, Control, Expectation, Step, Stop, Traffic};
use crate::scenario::refutation::must_be_refuted;

impl Runner<'_> {
    /// Measures; gateways that `more` expectations name are watched besides those that the step's own name.
    /// The traffic is told as that of `told_as`: a control repeats a step of another id.
    async fn observe(&self, told_as: &Step, step: &Step, more: &[Expectation]) -> Result<Observation, Error> {
        self.drained().await?;
        match &step.action {
            Action::Traffic(traffic) => {
                let observation = match &traffic.workers {
                    Some(workers) => self.traffic_by(traffic, workers, more).await?,
                    None => measure::traffic(self.environment, traffic, more, &[]).await?,
                };
                self.tell_traffic(told_as, traffic, &observation).await;
                Ok(observation)
            }
            Action::Connect(connect) => measure::connect(self.environment, connect, more).await,
            Action::Config(config) => measure::config(self.environment, config).await,
            Action::Reachability(matrix) => reachability::measure(self.environment, matrix).await,
            Action::Stop(stop) => self.ended(told_as, stop).await,
            Action::Sequence(steps) => self.again(told_as, steps).await,
            _ => Err(Error::NoMeasurement(step.name.clone())),
        }
    }

    /// Ends traffic in the background.
    async fn ended(&self, told_as: &Step, stop: &Stop) -> Result<Observation, Error> {
        let (traffic, observation) = self.stop(stop).await?;
        self.tell_traffic(told_as, &traffic, &observation).await;
        Ok(observation)
    }

    async fn tell_traffic(&self, told_as: &Step, traffic: &Traffic, observation: &Observation) {
        let Observation::Traffic(seen) = observation else { return };
        if let Some(one) = seen.sources.iter().find(|one| one.samples.not_answered() > 0) {
            self.unanswered.replace(Some((traffic.clone(), one.source.clone())));
        }
        for (source, samples, pods) in seen.by_source() {
            let (scenario, step) = (self.scenario.to_owned(), told_as.id.clone());
            let senders = seen.sources.iter().filter(|one| one.source == *source);
            let kept = self.keep((&scenario, &step), traffic, senders).await;
            let traffic = Figures { samples: kept, ..told::figures(traffic, source, &samples, pods) };
            self.events.send(EventKind::TrafficMeasured { scenario, step, traffic });
        }
    }

    /// Keeps single requests, each sender's by its own clock; how many are kept of all.
    async fn keep<'seen>(
        &self,
        place: (&str, &str),
        traffic: &Traffic,
        senders: impl Iterator<Item = &'seen OfSource>,
    ) -> Option<Kept> {
        let keeper = self.environment.keeper()?;
        let mut all: Option<Kept> = None;
        for one in senders {
            if let Some(Kept { kept, dropped }) = keeper.keep(place, traffic, one, self.events).await {
                let so_far = all.unwrap_or(Kept { kept: 0, dropped: 0 });
                all = Some(Kept { kept: so_far.kept + kept, dropped: so_far.dropped + dropped });
            }
        }
        all
    }

    /// Does a group again up to the `stop` that says what was seen, and cleans up after it.
    async fn again(&self, told_as: &Step, steps: &[Step]) -> Result<Observation, Error> {
        let undisturbed = CancellationToken::new();
        let mut seen = Err(Error::StepInside);
        let mut begun = 0;
        for step in steps {
            begun += 1;
            if let Action::Stop(stop) = &step.action {
                seen = self.ended(told_as, stop).await;
                break;
            }
            if self.step(step, &undisturbed).await != StepOutcome::Passed {
                break;
            }
        }
        match self.cleaned(&steps[..begun], StepOutcome::Passed).await {
            StepOutcome::Passed => seen,
            _ => Err(Error::NotRestored),
        }
    }

    pub(super) async fn measure(&self, step: &Step) -> Result<Done, Error> {
        let observation = self.observe(step, step, &[]).await?;
        let mut outcomes = Vec::new();
        for expectation in step.expectations() {
            let mut judgement = judge_of(expectation, &observation);
            failing::add(expectation, &observation, &mut judgement);
            outcomes.push(judgement.outcome);
            self.tell(step, expectation, &expectation.name, judgement.outcome, judgement.evidence, judgement.figures);
        }
        let outcome = Outcome::all(outcomes);
        if outcome == Outcome::Pass {
            // What is not answered as it should be is no reason to ask why.
            self.unanswered.take();
        }
        Ok(Done { outcome, evidence: vec![summary(&observation)] })
    }

    /// Changes the mesh, measures again, and demands that what held before is refuted. The change is undone also after
    /// an interruption.
    pub(super) async fn control(
        &self,
        step: &Step,
        control: &Control,
        cancel: &CancellationToken,
    ) -> Result<Done, Error> {
        let changed = self.sequence(&control.change, cancel).await;
        let judged = match changed {
            StepOutcome::Passed => {
                cancel.run_until_cancelled(self.refute(step, control)).await.unwrap_or(Err(Error::Interrupted))
            }
            _ => Err(Error::StepInside),
        };
        let restored = self.sequence(&control.restore, &CancellationToken::new()).await;
        let holds = matches!(&judged, Ok(done) if done.outcome == Outcome::Pass);
        if let Some(converge) = control.restored.as_ref().filter(|_| !holds && restored == StepOutcome::Passed) {
            // What it says of the mesh stays the verdict.
            self.converge(converge).await?;
        }
        let done = judged?;
        if restored != StepOutcome::Passed {
            return Err(Error::NotRestored);
        }
        if holds {
            // The mesh was broken on purpose, and that is known.
            self.unanswered.take();
        }
        Ok(done)
    }

    async fn refute(&self, step: &Step, control: &Control) -> Result<Done, Error> {
        let observation = self.observe(step, &control.measure, &control.expectations).await?;
        let mut outcomes = Vec::new();
        for (title, expectation) in control.refuted_expectations() {
            let judgement = judge_of(expectation, &observation);
            let outcome = match judgement.outcome {
                Outcome::Fail => Outcome::Pass,
                Outcome::Pass => Outcome::Fail,
                Outcome::Inconclusive => Outcome::Inconclusive,
            };
            outcomes.push(outcome);
            let name = must_be_refuted(&title);
            self.tell(step, expectation, &name, outcome, judgement.evidence, judgement.figures);
        }
        for expectation in &control.expectations {
            let judgement = judge_of(expectation, &observation);
            outcomes.push(judgement.outcome);
            let name = format!("{} instead", expectation.name);
            self.tell(step, expectation, &name, judgement.outcome, judgement.evidence, judgement.figures);
        }
        if control.refuted.is_empty() || control.expectations.is_empty() {
            return Err(Error::NoMeasurement(step.name.clone()));
        }
        Ok(Done { outcome: Outcome::all(outcomes), evidence: vec![summary(&observation)] })
    }

    fn tell(
        &self,
        step: &Step,
        expectation: &Expectation,
        name: &str,
        outcome: Outcome,
        evidence: Vec<String>,
        figures: serde_json::Value,
    ) {
        let location = Some(expectation.location.clone());
        let check = CheckReport { name: name.to_owned(), outcome, evidence, location, figures };
        self.events.send(EventKind::CheckFinished { scenario: self.scenario.to_owned(), step: step.id.clone(), check });
    }
}

fn summary(observation: &Observation) -> String {
    match observation {
        Observation::Traffic(seen) => {
            let senders = match seen.sources.len() {
                0 | 1 => String::new(),
                several => format!(" from {several} senders"),
            };
            format!(
                "{} requests{senders} in {:.1} s",
                verdict::text::thousands(seen.samples.requests),
                seen.samples.duration_ms / 1000.0
            )
        }
        Observation::Config(seen) => seen.place.clone(),
        Observation::Reachability(seen) => format!("{} requests", verdict::text::thousands(seen.matrix.requests())),
        Observation::Connection(seen) => format!("one connection to {}", seen.address),
    }
}
