//! What the events of a run add up to: the tree that JUnit and JSON reports are written from.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::{CheckReport, Event, EventKind, PhaseOutcome, Repetition, StepOutcome};
use super::figures::{Situation, TopologyFacts, Traffic};
use super::merge::Part;
use super::outcome::RunOutcome;
use super::tally::{Tally, tallies};
use crate::shard::ShardFacts;
use crate::topology::file::ApiVersion;

/// The kind of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReportKind {
    /// A report of one run.
    Report,
}

/// A run and everything that is known of it, or several runs that were merged. Times are milliseconds since the run started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(title = "meshproof report")]
pub struct Record {
    /// Version of the format.
    #[serde(rename = "apiVersion")]
    pub api_version: ApiVersion,
    /// Kind of the document.
    pub kind: ReportKind,
    /// Id of the run, also on everything that it created.
    pub run_id: String,
    /// The command: `e2e`, `up`, `run`, ...
    pub command: String,
    /// Name of the environment.
    pub environment: String,
    /// Wall-clock time of the start, RFC 3339.
    pub started: String,
    /// How it ended; `None` while it runs or when it was killed.
    pub outcome: Option<RunOutcome>,
    /// The exit code that belongs to the outcome.
    pub exit_code: Option<u8>,
    /// How long it took.
    pub duration_ms: u64,
    /// Names of the scenarios that were to be run.
    pub selected: Vec<String>,
    /// Versions of what took part, by its name; `meshproof` is always among them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub versions: BTreeMap<String, String>,
    /// Which shard of a selection the run was; `None` where it was to run all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardFacts>,
    /// The runs that this report was merged from; none where it is of one run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// Where they run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topologies: Vec<TopologyFacts>,
    /// Parts of bring-up, installation and tear-down, in the order in which they started.
    pub phases: Vec<PhaseRecord>,
    /// Memory of the environment once everything in it was ready; `None` where it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// Scenarios in the order in which they started.
    pub scenarios: Vec<ScenarioRecord>,
    /// Where scenarios were repeated: how often each ended how.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repetitions: Vec<Tally>,
    /// What went wrong outside of any verdict.
    pub failures: Vec<FailureRecord>,
    /// What the user should know and what changes no verdict.
    pub warnings: Vec<String>,
    /// Files that were written.
    pub files: Vec<FileRecord>,
}

/// Memory of an environment as proportional set size, in bytes: shared pages count by share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// Pods with a proxy.
    pub meshed_pods: u64,
    /// Mean of those pods, application, agent and proxy together.
    pub mean_meshed_pod_bytes: u64,
    /// The largest of them.
    pub largest_meshed_pod_bytes: u64,
    /// The supervisor: API servers, controllers and node agents of all clusters.
    pub supervisor_bytes: u64,
    /// Everything.
    pub total_bytes: u64,
}

/// A part of bring-up, installation or tear-down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PhaseRecord {
    /// Its id; a `/` makes it a part of another.
    pub id: String,
    /// What it did.
    pub title: String,
    /// How it ended; `None` when it did not.
    pub outcome: Option<PhaseOutcome>,
    /// Evidence or cause.
    pub detail: String,
    /// When it began.
    pub started_ms: u64,
    /// How long it took.
    pub duration_ms: u64,
}

/// A scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScenarioRecord {
    /// Its name, unique in the run.
    pub name: String,
    /// Which repetition it is, where scenarios were repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repetition: Option<Repetition>,
    /// What it shows.
    pub description: String,
    /// Its file.
    pub file: String,
    /// Name of the environment that it ran on, where the run had several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// How it ended; `None` when it did not.
    pub outcome: Option<StepOutcome>,
    /// When it began.
    pub started_ms: u64,
    /// How long it took.
    pub duration_ms: u64,
    /// Steps in the order in which they started, groups before their members.
    pub steps: Vec<StepRecord>,
    /// What was out of order around it when it had not passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub situation: Option<Situation>,
    /// What was saved of its state when it had not passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<Artifacts>,
}

/// What was saved of the state of a scenario that did not pass, before its clean-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Artifacts {
    /// Their folder.
    pub folder: String,
    /// The files.
    pub files: Vec<Artifact>,
    /// What could not be saved, and why.
    pub missing: Vec<String>,
}

/// A file of saved state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// What it holds: "configuration of the proxy of bookinfo/reviews-v3-abc".
    pub what: String,
    /// Its path below the folder.
    pub path: String,
    /// Its size.
    pub bytes: u64,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepRecord {
    /// Its position: `3`, or `3.2` inside of a group; a letter marks the parts of a control and the clean-up.
    pub id: String,
    /// Its name.
    pub name: String,
    /// How it ended; `None` when it did not.
    pub outcome: Option<StepOutcome>,
    /// Evidence, one sentence each.
    pub evidence: Vec<String>,
    /// Requests that it sent, and who answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traffic: Vec<Traffic>,
    /// What was expected of it, judged.
    pub checks: Vec<CheckReport>,
    /// When it began.
    pub started_ms: u64,
    /// How long it took.
    pub duration_ms: u64,
}

/// Something that went wrong outside of any verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureRecord {
    /// What, causes included.
    pub message: String,
    /// What to do about it.
    pub cure: Option<String>,
    /// Tails of logs and the like.
    pub evidence: Vec<String>,
}

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FileRecord {
    /// What it is.
    pub what: String,
    /// Its path.
    pub path: String,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            api_version: ApiVersion::V1Alpha1,
            kind: ReportKind::Report,
            run_id: String::new(),
            command: String::new(),
            environment: String::new(),
            started: String::new(),
            outcome: None,
            exit_code: None,
            duration_ms: 0,
            selected: Vec::new(),
            versions: BTreeMap::new(),
            shard: None,
            parts: Vec::new(),
            topologies: Vec::new(),
            phases: Vec::new(),
            memory: None,
            scenarios: Vec::new(),
            repetitions: Vec::new(),
            failures: Vec::new(),
            warnings: Vec::new(),
            files: Vec::new(),
        }
    }
}

impl Record {
    /// Adds an event. Events of phases and steps that never started are ignored.
    pub fn add(&mut self, event: &Event) {
        let now = milliseconds(event.elapsed);
        self.duration_ms = now;
        match &event.kind {
            EventKind::RunStarted { run_id, command, environment, started } => {
                self.run_id.clone_from(run_id);
                self.command.clone_from(command);
                self.environment.clone_from(environment);
                self.started.clone_from(started);
            }
            EventKind::PlanReady { scenarios, .. } => self.selected.clone_from(scenarios),
            EventKind::VersionsKnown { versions } => self.versions.extend(versions.clone()),
            EventKind::ShardKnown { facts } => self.shard = Some(facts.clone()),
            EventKind::TopologyKnown { topology } => self.topologies.push(topology.clone()),
            EventKind::PhaseStarted { .. } | EventKind::PhaseProgress { .. } | EventKind::PhaseFinished { .. } => {
                self.add_phase(&event.kind, now);
            }
            EventKind::ScenarioStarted { scenario, description, file, environment, repetition } => {
                self.scenarios.push(ScenarioRecord {
                    name: scenario.clone(),
                    repetition: repetition.clone(),
                    description: description.clone(),
                    file: file.clone(),
                    environment: environment.clone(),
                    outcome: None,
                    started_ms: now,
                    duration_ms: 0,
                    steps: Vec::new(),
                    situation: None,
                    artifacts: None,
                });
                self.repetitions = tallies(&self.scenarios);
            }
            EventKind::ScenarioFinished { scenario, outcome } => {
                if let Some(record) = self.scenario(scenario) {
                    record.outcome = Some(outcome.clone());
                    record.duration_ms = now.saturating_sub(record.started_ms);
                }
                self.repetitions = tallies(&self.scenarios);
            }
            EventKind::StepStarted { .. }
            | EventKind::StepProgress { .. }
            | EventKind::TrafficMeasured { .. }
            | EventKind::CheckFinished { .. }
            | EventKind::StepFinished { .. } => self.add_step(&event.kind, now),
            EventKind::SituationSeen { scenario, situation } => {
                if let Some(record) = self.scenario(scenario) {
                    record.situation = Some(situation.clone());
                }
            }
            EventKind::ArtifactsTaken { scenario, folder, artifacts, missing } => {
                if let Some(record) = self.scenario(scenario) {
                    let (folder, files, missing) = (folder.clone(), artifacts.clone(), missing.clone());
                    record.artifacts = Some(Artifacts { folder, files, missing });
                }
            }
            EventKind::Warning { message, .. } => self.warnings.push(message.clone()),
            EventKind::Failure { message, cure, evidence } => self.failures.push(FailureRecord {
                message: message.clone(),
                cure: cure.clone(),
                evidence: evidence.clone(),
            }),
            EventKind::MemoryMeasured { memory } => self.memory = Some(*memory),
            EventKind::FileWritten { what, path } => {
                self.files.push(FileRecord { what: what.clone(), path: path.clone() });
            }
            EventKind::RunFinished { outcome } => {
                self.outcome = Some(*outcome);
                self.exit_code = Some(outcome.exit_code());
            }
        }
    }

    fn add_phase(&mut self, event: &EventKind, now: u64) {
        match event {
            EventKind::PhaseStarted { phase, title } => self.phases.push(PhaseRecord {
                id: phase.clone(),
                title: title.clone(),
                outcome: None,
                detail: String::new(),
                started_ms: now,
                duration_ms: 0,
            }),
            EventKind::PhaseFinished { phase, outcome, detail } => {
                if let Some(record) = self.phases.iter_mut().rev().find(|record| record.id == *phase) {
                    record.outcome = Some(*outcome);
                    record.detail.clone_from(detail);
                    record.duration_ms = now.saturating_sub(record.started_ms);
                }
            }
            _ => {}
        }
    }

    fn add_step(&mut self, event: &EventKind, now: u64) {
        match event {
            EventKind::StepStarted { scenario, step, name } => {
                if let Some(record) = self.scenario(scenario) {
                    record.steps.push(StepRecord {
                        id: step.clone(),
                        name: name.clone(),
                        outcome: None,
                        evidence: Vec::new(),
                        traffic: Vec::new(),
                        checks: Vec::new(),
                        started_ms: now,
                        duration_ms: 0,
                    });
                }
            }
            EventKind::TrafficMeasured { scenario, step, traffic } => {
                if let Some(record) = self.step(scenario, step) {
                    record.traffic.push(traffic.clone());
                }
            }
            EventKind::CheckFinished { scenario, step, check } => {
                if let Some(record) = self.step(scenario, step) {
                    record.checks.push(check.clone());
                }
            }
            EventKind::StepFinished { scenario, step, outcome, evidence } => {
                if let Some(record) = self.step(scenario, step) {
                    record.outcome = Some(outcome.clone());
                    record.evidence.clone_from(evidence);
                    record.duration_ms = now.saturating_sub(record.started_ms);
                }
            }
            _ => {}
        }
    }

    fn scenario(&mut self, name: &str) -> Option<&mut ScenarioRecord> {
        self.scenarios.iter_mut().rev().find(|record| record.name == name)
    }

    fn step(&mut self, scenario: &str, id: &str) -> Option<&mut StepRecord> {
        self.scenario(scenario)?.steps.iter_mut().rev().find(|record| record.id == id)
    }
}

impl ScenarioRecord {
    /// Its name in the catalogue, whichever repetition it is.
    #[must_use]
    pub fn catalogue_name(&self) -> &str {
        self.repetition.as_ref().map_or(&self.name, |repetition| &repetition.of)
    }

    /// Steps that are no groups and no parts of controls.
    pub fn leaves(&self) -> impl Iterator<Item = &StepRecord> {
        self.steps.iter().filter(|step| !step.is_part_of_control() && !self.is_group(&step.id))
    }

    fn is_group(&self, id: &str) -> bool {
        let member = |other: &StepRecord| other.parent() == Some(id) && !other.is_part_of_control();
        self.steps.iter().any(member)
    }
}

impl StepRecord {
    /// The id of the group or control that this step belongs to.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        self.id.rsplit_once('.').map(|(parent, _)| parent)
    }

    /// Whether this is a change or a restoration of a control.
    #[must_use]
    pub fn is_part_of_control(&self) -> bool {
        is_part_of_control(&self.id)
    }
}

/// Whether a step id is that of a change or a restoration of a control, such as `2.6.c1`.
pub(crate) fn is_part_of_control(id: &str) -> bool {
    id.split('.').skip(1).any(|part| part.starts_with(['c', 'r']))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
