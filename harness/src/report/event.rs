//! Everything that can happen in a run, as one closed list: the contract between the engine and the reports.
//!
//! *Producer*: the engine, through [`super::stream::EventSender`]. *Consumers*: console, JUnit, JSON; they see the same
//! events in the same order and never ask the engine anything. Order that producers keep: `RunStarted` first,
//! `RunFinished` last; a phase, scenario or step starts before it finishes; checks of a step come before its end.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use verdict::Outcome;

use super::figures::{Situation, TopologyFacts, Traffic};
use super::outcome::RunOutcome;
use super::record::{Artifact, Memory};
use crate::diagnostic::Location;
use crate::shard::ShardFacts;

/// One thing that happened, and when: a line of `events.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "meshproof event")]
pub struct Event {
    /// Milliseconds since the run started.
    #[serde(with = "super::millis")]
    #[schemars(with = "u64")]
    pub elapsed: Duration,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// Names a phase for the length of a run, such as `clusters/cluster1`. A `/` makes it a part of another phase.
pub type PhaseId = String;

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum EventKind {
    /// A command that brings up, uses or takes down an environment began.
    RunStarted {
        /// Unique id, also on everything that the run creates.
        run_id: String,
        /// `e2e`, `up`, `run`, ...
        command: String,
        /// Name of the environment.
        environment: String,
        /// Wall-clock time, RFC 3339.
        started: String,
    },
    /// Versions of what takes part are known; more can follow.
    VersionsKnown {
        /// By name: `meshproof`, `Envoy`, `Istio`, ...
        versions: BTreeMap<String, String>,
    },
    /// The run is one shard of several.
    ShardKnown {
        /// Which, and of what.
        facts: ShardFacts,
    },
    /// It is known what will be done.
    PlanReady {
        /// The plan as people read it, topology drawing included.
        text: String,
        /// Names of the scenarios in order.
        scenarios: Vec<String>,
        /// How many requests they will send.
        requests: u64,
    },
    /// It is known where the scenarios run; one event for each topology.
    TopologyKnown {
        /// The topology as reports draw it.
        topology: TopologyFacts,
    },
    /// A part of bring-up, installation or tear-down began. Phases may overlap.
    PhaseStarted {
        /// Which.
        phase: PhaseId,
        /// What it does: "start cluster1".
        title: String,
    },
    /// A phase has something to show.
    PhaseProgress {
        /// Which.
        phase: PhaseId,
        /// What it is doing: "3 of 8 pods ready".
        message: String,
    },
    /// A phase ended.
    PhaseFinished {
        /// Which.
        phase: PhaseId,
        /// How.
        outcome: PhaseOutcome,
        /// Evidence or cause: "8 pods, 2 gateways".
        detail: String,
    },
    /// A scenario began.
    ScenarioStarted {
        /// Its name.
        scenario: String,
        /// What it shows.
        description: String,
        /// Its file.
        file: String,
        /// Name of the environment that it runs on, where the run has several.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        environment: Option<String>,
        /// Which repetition it is, where scenarios are repeated; its name says so, too, and is unique in the run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        repetition: Option<Repetition>,
    },
    /// A step began.
    StepStarted {
        /// Name of its scenario.
        scenario: String,
        /// Its id, such as `3.2`.
        step: String,
        /// Its name.
        name: String,
    },
    /// A step has something to show.
    StepProgress {
        /// Name of its scenario.
        scenario: String,
        /// Its id.
        step: String,
        /// Units done, such as requests.
        done: u64,
        /// Units in all; 0 where unknown.
        total: u64,
        /// What it is doing.
        message: String,
    },
    /// Requests were sent and counted; those who answer them may be judged afterwards.
    TrafficMeasured {
        /// Name of its scenario.
        scenario: String,
        /// Id of its step.
        step: String,
        /// Who asked, who answered.
        traffic: Traffic,
    },
    /// An expectation of a step was judged.
    CheckFinished {
        /// Name of its scenario.
        scenario: String,
        /// Id of its step.
        step: String,
        /// The verdict.
        check: CheckReport,
    },
    /// A step ended.
    StepFinished {
        /// Name of its scenario.
        scenario: String,
        /// Its id.
        step: String,
        /// How.
        outcome: StepOutcome,
        /// Evidence, one sentence each.
        evidence: Vec<String>,
    },
    /// A scenario ended.
    ScenarioFinished {
        /// Its name.
        scenario: String,
        /// How.
        outcome: StepOutcome,
    },
    /// The environment of a scenario that did not pass was looked at, before its clean-up.
    SituationSeen {
        /// Name of the scenario.
        scenario: String,
        /// What was out of order.
        situation: Situation,
    },
    /// The state of a scenario that did not pass was saved, before its clean-up, or of clusters that did not come up.
    ArtifactsTaken {
        /// Name of the scenario; `bring-up` where there is none.
        scenario: String,
        /// Their folder.
        folder: String,
        /// What was saved.
        artifacts: Vec<Artifact>,
        /// What could not be saved, and why.
        missing: Vec<String>,
    },
    /// Something that the user should know and that changes no verdict.
    Warning {
        /// What.
        message: String,
        /// What to do about it.
        cure: Option<String>,
    },
    /// Something went wrong outside of any verdict: the environment, the machine, or a defect of ours.
    Failure {
        /// What went wrong, causes included.
        message: String,
        /// What to do about it.
        cure: Option<String>,
        /// Tails of logs and the like.
        evidence: Vec<String>,
    },
    /// The memory of an environment was measured, once everything in it was ready.
    MemoryMeasured {
        /// The figures.
        memory: Memory,
    },
    /// A file was written that the user may want: `junit.xml`, a log, a kubeconfig.
    FileWritten {
        /// What it is: "JUnit report".
        what: String,
        /// Its path.
        path: String,
    },
    /// The command ended; nothing follows.
    RunFinished {
        /// How; also the exit code.
        outcome: RunOutcome,
    },
}

/// One of several runs of the same scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Repetition {
    /// Name of the scenario in the catalogue.
    pub of: String,
    /// Which, from 1.
    pub number: u32,
}

impl std::fmt::Display for Repetition {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}, repetition {}", self.of, self.number)
    }
}

/// How a phase ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PhaseOutcome {
    /// It did what it should.
    Done,
    /// It did not.
    Failed,
    /// It was not needed or not possible; the detail says why.
    Skipped,
}

/// How a step or scenario ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "result", rename_all = "lowercase")]
pub enum StepOutcome {
    /// Everything that it expects is proved.
    Passed,
    /// Something that it expects is refuted: the mesh failed.
    Failed,
    /// The sample does not decide.
    Inconclusive,
    /// It was not run.
    Skipped {
        /// Why.
        reason: String,
    },
    /// It could not be carried out, so nothing is known about the mesh.
    Errored {
        /// What went wrong, causes included.
        message: String,
    },
}

impl StepOutcome {
    /// The outcome of judged expectations.
    #[must_use]
    pub fn judged(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Pass => Self::Passed,
            Outcome::Fail => Self::Failed,
            Outcome::Inconclusive => Self::Inconclusive,
        }
    }

    /// The word used in reports.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Inconclusive => "inconclusive",
            Self::Skipped { .. } => "skipped",
            Self::Errored { .. } => "ERROR",
        }
    }
}

/// One judged expectation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport {
    /// Its key in the file: `split`, `mtls`, ...
    pub name: String,
    /// The verdict. In a control it is the verdict on the control: `pass` when the expectation was refuted as it must.
    pub outcome: Outcome,
    /// Evidence, one sentence each; for a failure the cause comes first.
    pub evidence: Vec<String>,
    /// Where the expectation stands.
    pub location: Option<Location>,
    /// The figures behind the evidence: counts, intervals, identities, counters.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub figures: Value,
}
