//! Carries out one step and says what came of it.

use futures::future::LocalBoxFuture;
use kube::ResourceExt as _;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use verdict::Outcome;

use super::context::{Applied, Environment, Error};
use super::{measure, told};
use crate::check::convergence::{self, Expectation as Convergence};
use crate::check::judge::judge;
use crate::check::observation::Observation;
use crate::install::remote_secret;
use crate::report::event::{CheckReport, EventKind, StepOutcome};
use crate::report::stream::EventSender;
use crate::scenario::plan::{
    Action, Apply, ClusterConvergence, Control, Converge, Delete, Expectation, Link, ObjectRef, Step,
};

/// Runs the steps of one scenario.
pub(super) struct Runner<'run> {
    pub(super) environment: &'run Environment,
    pub(super) events: &'run EventSender,
    pub(super) scenario: &'run str,
    pub(super) cancel: &'run CancellationToken,
    pub(super) applied: Applied,
}

/// What came of an action: the verdict on what it expects and evidence.
struct Done {
    outcome: Outcome,
    evidence: Vec<String>,
}

impl Done {
    fn passed(evidence: impl Into<String>) -> Self {
        Self { outcome: Outcome::Pass, evidence: vec![evidence.into()] }
    }
}

impl Runner<'_> {
    /// Runs steps in order until one does not pass.
    pub(super) async fn sequence(&mut self, steps: &[Step]) -> StepOutcome {
        for step in steps {
            let outcome = self.step(step).await;
            if outcome != StepOutcome::Passed {
                return outcome;
            }
        }
        StepOutcome::Passed
    }

    /// Runs one step and tells it.
    pub(super) fn step<'step>(&'step mut self, step: &'step Step) -> LocalBoxFuture<'step, StepOutcome> {
        Box::pin(async move {
            self.events.send(EventKind::StepStarted {
                scenario: self.scenario.to_owned(),
                step: step.id.clone(),
                name: step.name.clone(),
            });
            let cancel = self.cancel.clone();
            let (outcome, evidence) = match cancel.run_until_cancelled(self.act(step)).await {
                Some(Ok(done)) => (StepOutcome::judged(done.outcome), done.evidence),
                Some(Err(Error::Convergence(rejected @ convergence::Error::Rejected { .. }))) => {
                    (StepOutcome::Failed, vec![rejected.to_string()])
                }
                Some(Err(error)) => (StepOutcome::Errored { message: crate::cluster::chain(&error) }, Vec::new()),
                None => (StepOutcome::Errored { message: Error::Interrupted.to_string() }, Vec::new()),
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

    async fn act(&mut self, step: &Step) -> Result<Done, Error> {
        match &step.action {
            Action::Sequence(steps) => {
                let outcome = match self.sequence(steps).await {
                    StepOutcome::Passed | StepOutcome::Skipped { .. } => Outcome::Pass,
                    StepOutcome::Failed => Outcome::Fail,
                    StepOutcome::Inconclusive => Outcome::Inconclusive,
                    StepOutcome::Errored { .. } => return Err(Error::StepInside),
                };
                Ok(Done { outcome, evidence: Vec::new() })
            }
            Action::Apply(apply) => self.apply(apply).await,
            Action::Delete(delete) => self.delete(delete).await,
            Action::Link(link) => self.link(link).await,
            Action::Converge(converge) => self.converge(converge).await,
            Action::Traffic(_) | Action::Connect(_) => self.measure(step).await,
            Action::Control(control) => self.control(step, control).await,
        }
    }

    async fn apply(&mut self, apply: &Apply) -> Result<Done, Error> {
        for name in &apply.clusters {
            let cluster = self.environment.cluster(name)?;
            for object in &apply.objects {
                let applied = cluster.apply(object).await?;
                let version = applied.resource_version().unwrap_or_default();
                self.applied.insert(name, reference(object), version);
            }
        }
        let names: Vec<String> = apply.objects.iter().map(|object| reference(object).key()).collect();
        Ok(Done::passed(format!("applied {} on {}", names.join(", "), apply.clusters.join(", "))))
    }

    async fn delete(&mut self, delete: &Delete) -> Result<Done, Error> {
        for name in &delete.clusters {
            let cluster = self.environment.cluster(name)?;
            for object in &delete.objects {
                cluster.delete(&manifest(object)).await?;
            }
        }
        let names: Vec<String> = delete.objects.iter().map(ObjectRef::key).collect();
        Ok(Done::passed(format!("deleted {} on {}", names.join(", "), delete.clusters.join(", "))))
    }

    async fn link(&mut self, link: &Link) -> Result<Done, Error> {
        for (reader, read) in &link.pairs {
            let reader = self.environment.cluster(reader)?;
            if link.linked {
                let secret = remote_secret::create(self.environment.cluster(read)?).await?;
                reader.apply(&secret).await?;
            } else {
                reader.delete(&remote_secret::name_of(read)).await?;
            }
        }
        let pairs: Vec<String> = link.pairs.iter().map(|(reader, read)| format!("{reader} reads {read}")).collect();
        let verb = if link.linked { "created" } else { "removed" };
        Ok(Done::passed(format!("remote secrets {verb}: {}", pairs.join(", "))))
    }

    async fn converge(&mut self, converge: &Converge) -> Result<Done, Error> {
        let mut evidence = Vec::with_capacity(converge.clusters.len());
        for wanted in &converge.clusters {
            let cluster = self.environment.cluster(&wanted.cluster)?;
            let expectation = self.expectation(wanted).await?;
            let converged = convergence::converge(cluster, &expectation, converge.timeout).await?;
            evidence.push(format!(
                "{}: {} proxies acknowledged snapshot {}",
                wanted.cluster, converged.proxies, converged.snapshot
            ));
        }
        Ok(Done { outcome: Outcome::Pass, evidence })
    }

    async fn expectation(&self, wanted: &ClusterConvergence) -> Result<Convergence, Error> {
        let mut expectation = Convergence {
            watched: wanted.watched.clone(),
            not_watched: wanted.not_watched.clone(),
            ..Convergence::default()
        };
        for object in &wanted.present {
            let version = self.applied.version(&wanted.cluster, object).cloned();
            expectation.resources.insert(object.key(), Some(version.unwrap_or_default()));
        }
        for object in &wanted.absent {
            expectation.resources.insert(object.key(), None);
        }
        Ok(expectation)
    }

    /// Measures; gateways that `more` expectations name are watched besides those that the step's own name.
    /// The traffic is told as that of `told_as`: a control repeats a step of another id.
    async fn observe(&self, told_as: &Step, step: &Step, more: &[Expectation]) -> Result<Observation, Error> {
        match &step.action {
            Action::Traffic(traffic) => {
                let observation = measure::traffic(self.environment, traffic, more).await?;
                if let Observation::Traffic(seen) = &observation {
                    let (scenario, step, traffic) =
                        (self.scenario.to_owned(), told_as.id.clone(), told::figures(traffic, seen));
                    self.events.send(EventKind::TrafficMeasured { scenario, step, traffic });
                }
                Ok(observation)
            }
            Action::Connect(connect) => measure::connect(self.environment, connect).await,
            _ => Err(Error::NoMeasurement(step.name.clone())),
        }
    }

    async fn measure(&self, step: &Step) -> Result<Done, Error> {
        let observation = self.observe(step, step, &[]).await?;
        let mut outcomes = Vec::new();
        for expectation in step.expectations() {
            let judgement = judge(&expectation.check, &observation);
            outcomes.push(judgement.outcome);
            self.tell(step, expectation, &expectation.name, judgement.outcome, judgement.evidence, judgement.figures);
        }
        Ok(Done { outcome: Outcome::all(outcomes), evidence: vec![summary(&observation)] })
    }

    /// Changes the mesh, measures again, and demands that what held before is refuted.
    async fn control(&mut self, step: &Step, control: &Control) -> Result<Done, Error> {
        let changed = self.sequence(&control.change).await;
        let judged =
            if changed == StepOutcome::Passed { self.refute(step, control).await } else { Err(Error::StepInside) };
        let restored = self.sequence(&control.restore).await;
        let done = judged?;
        if restored != StepOutcome::Passed {
            return Err(Error::NotRestored);
        }
        Ok(done)
    }

    async fn refute(&self, step: &Step, control: &Control) -> Result<Done, Error> {
        let observation = self.observe(step, &control.measure, &control.expectations).await?;
        let expectations = control.measure.expectations();
        let mut outcomes = Vec::new();
        for expectation in control.refuted.iter().filter_map(|index| expectations.get(*index)) {
            let judgement = judge(&expectation.check, &observation);
            let outcome = match judgement.outcome {
                Outcome::Fail => Outcome::Pass,
                Outcome::Pass => Outcome::Fail,
                Outcome::Inconclusive => Outcome::Inconclusive,
            };
            outcomes.push(outcome);
            let name = format!("{} must be refuted", expectation.name);
            self.tell(step, expectation, &name, outcome, judgement.evidence, judgement.figures);
        }
        for expectation in &control.expectations {
            let judgement = judge(&expectation.check, &observation);
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
        Observation::Traffic(seen) => format!(
            "{} requests in {:.1} s",
            verdict::text::thousands(seen.samples.requests),
            seen.samples.duration_ms / 1000.0
        ),
        Observation::Connection(seen) => format!("one connection to {}", seen.address),
    }
}

fn reference(object: &serde_json::Value) -> ObjectRef {
    let text = |pointer: &str| object.pointer(pointer).and_then(serde_json::Value::as_str).map(str::to_owned);
    ObjectRef {
        api_version: text("/apiVersion").unwrap_or_default(),
        kind: text("/kind").unwrap_or_default(),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name").unwrap_or_default(),
    }
}

fn manifest(object: &ObjectRef) -> serde_json::Value {
    let mut manifest =
        json!({ "apiVersion": object.api_version, "kind": object.kind, "metadata": { "name": object.name } });
    if let Some(namespace) = &object.namespace {
        manifest["metadata"]["namespace"] = namespace.clone().into();
    }
    manifest
}
