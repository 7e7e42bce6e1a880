//! Checked faults, traffic in the background, and promises about what it sees of them.

use std::time::Duration;

use serde::Serialize;

use super::{Deployment, Expectation, Traffic};
use crate::scenario::keys::{Capability, LinkDirection, duration_text, serialize_duration, serialize_some_duration};

/// Something that fails until it is healed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// After this time it heals in any case.
    #[serde(serialize_with = "serialize_duration")]
    pub limit: Duration,
}

/// What fails.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FaultKind {
    /// The pods of a workload are killed.
    Kill(Deployment),
    /// A workload has no pods.
    ScaleToZero(Deployment),
    /// A program of a virtual machine is killed and kept off.
    KillProgram {
        /// Whose.
        machine: Deployment,
        /// Which.
        program: String,
    },
    /// A server answers a share of its requests with errors.
    Storm(Storm),
    /// A link drops everything.
    Cut(Between),
    /// A link is slow.
    Delay {
        /// Which.
        between: Between,
        /// By how much.
        #[serde(serialize_with = "serialize_duration")]
        by: Duration,
        /// How much that varies.
        #[serde(serialize_with = "serialize_duration")]
        jitter: Duration,
    },
    /// A link loses packets.
    Loss {
        /// Which.
        between: Between,
        /// How many of a hundred.
        percent: f64,
    },
    /// The API server of this cluster answers nothing.
    PauseApiServer(String),
}

/// Errors in place of answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Storm {
    /// Whose.
    pub workload: Deployment,
    /// Port of the server.
    pub port: u16,
    /// Their status.
    pub status: u16,
    /// How many of a hundred requests.
    pub percent: f64,
}

/// Two networks and a direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Between {
    /// A network.
    pub from: String,
    /// Another.
    pub to: String,
    /// Which way.
    pub direction: LinkDirection,
}

impl std::fmt::Display for Between {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let arrow = match self.direction {
            LinkDirection::Both => "<->",
            LinkDirection::Forward => "->",
        };
        write!(formatter, "{} {arrow} {}", self.from, self.to)
    }
}

impl std::fmt::Display for FaultKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kill(Deployment { vm: Some(vm), .. }) => write!(formatter, "power of {} cut", vm.name),
            Self::ScaleToZero(Deployment { vm: Some(vm), .. }) => write!(formatter, "{} shut down", vm.name),
            Self::Kill(workload) => write!(formatter, "{workload} killed"),
            Self::KillProgram { machine, program } => write!(formatter, "{program} of {} killed", machine.name),
            Self::ScaleToZero(workload) => write!(formatter, "{workload} without pods"),
            Self::Storm(Storm { workload, status, percent, .. }) => {
                write!(formatter, "{workload} answers {percent} % with {status}")
            }
            Self::Cut(between) => write!(formatter, "{between} cut"),
            Self::Delay { between, by, .. } => write!(formatter, "{between} slower by {}", duration_text(*by)),
            Self::Loss { between, percent } => write!(formatter, "{between} loses {percent} %"),
            Self::PauseApiServer(cluster) => write!(formatter, "API server of {cluster} paused"),
        }
    }
}

impl FaultKind {
    /// Whose pods go and come back with it.
    #[must_use]
    pub fn gone(&self) -> Option<&Deployment> {
        match self {
            Self::Kill(workload) | Self::ScaleToZero(workload) | Self::KillProgram { machine: workload, .. } => {
                Some(workload)
            }
            _ => None,
        }
    }

    /// What the environment must be able to do for it.
    #[must_use]
    pub fn requires(&self) -> Option<Capability> {
        match self {
            Self::Kill(_) | Self::ScaleToZero(_) | Self::KillProgram { .. } | Self::Storm(_) => None,
            Self::Cut(_) => Some(Capability::Cut),
            Self::Delay { .. } => Some(Capability::Delay),
            Self::Loss { .. } => Some(Capability::Loss),
            Self::PauseApiServer(_) => Some(Capability::PauseApiServer),
        }
    }
}

/// Traffic that runs while other steps are done.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Background {
    /// What is sent. It ends with the step that stops it, and at the latest with the group it is in.
    pub traffic: Traffic,
}

/// Traffic in the background goes on for a while.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Await {
    /// Name of the step that started it.
    pub traffic: String,
    /// For so many requests more.
    pub requests: u64,
    /// How long that should take at its rate.
    #[serde(serialize_with = "serialize_duration")]
    pub time: Duration,
}

/// The end of traffic in the background, and what to expect of all of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stop {
    /// Name of the step that started it.
    pub traffic: String,
    /// How many requests it was to send a second.
    pub rate: u32,
    /// What must hold; at least one.
    pub expectations: Vec<Expectation>,
}

/// Promises about a timeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failover {
    /// Name of the step with the fault.
    pub fault: String,
    /// Who answers before, and after the healing.
    pub from: Vec<String>,
    /// Who answers meanwhile.
    pub to: Vec<String>,
    /// An answer later than this is slow.
    #[serde(serialize_with = "serialize_duration")]
    pub slow_after: Duration,
    /// Longest time until somebody else answers.
    #[serde(serialize_with = "serialize_some_duration")]
    pub detect: Option<Duration>,
    /// Longest time without a good answer.
    #[serde(serialize_with = "serialize_some_duration")]
    pub gap: Option<Duration>,
    /// Longest time until every answer is good.
    #[serde(serialize_with = "serialize_some_duration")]
    pub recover: Option<Duration>,
    /// Longest time from the healing until the first ones answer again.
    #[serde(serialize_with = "serialize_some_duration")]
    pub fail_back: Option<Duration>,
    /// Most requests lost.
    pub lost: Option<u64>,
    /// Most slow answers.
    pub slow: Option<u64>,
    /// Most answers of others.
    pub wrong: Option<u64>,
}
