//! What happened to traffic while something failed: a timeline under load that does not wait for answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use verdict::Outcome;

/// A timeline of requests through an event. All times are milliseconds since the first request was to be sent, by the
/// time at which each request was *to be* sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failover {
    /// Requests that were to be sent a second.
    pub rate: f64,
    /// How long requests were sent.
    pub duration_ms: f64,
    /// The shortest gap that can be seen: the time between two requests.
    pub resolution_ms: f64,
    /// When the fault began, and what it was.
    pub fault: Moment,
    /// When the fault was undone, and how; `None` where it was not while requests were sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healed: Option<Moment>,
    /// The longest time without a good answer; `None` where none was missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Interval>,
    /// Other moments worth a mark: "first answer of cluster2".
    #[serde(default)]
    pub moments: Vec<Moment>,
    /// Sums over the whole timeline.
    pub totals: Totals,
    /// What was promised, measured, and judged.
    pub budgets: Vec<Budget>,
    /// Names of those who answered, in the order of [`TimelineBin::answered`].
    pub targets: Vec<String>,
    /// Width of a bin.
    pub bin_ms: f64,
    /// Consecutive bins from the first request on; some hundred at most.
    pub bins: Vec<TimelineBin>,
}

/// A moment on a timeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Moment {
    /// When.
    pub at_ms: f64,
    /// What happened: "reviews-v3 of cluster2 scaled to zero".
    pub what: String,
}

/// A stretch of a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Interval {
    /// Its begin.
    pub from_ms: f64,
    /// Its end.
    pub to_ms: f64,
}

/// Requests by what became of them. A request is counted once: good, slow, wrong or lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// All.
    pub requests: u64,
    /// Answered in time by a right target.
    pub good: u64,
    /// Answered by a right target, later than the budget for one answer.
    pub slow: u64,
    /// Answered by a target that should not have answered.
    pub wrong: u64,
    /// Not answered, or answered with an error.
    pub lost: u64,
}

/// A promise about the timeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// What is limited: "time to detect", "longest gap", "requests lost".
    pub name: String,
    /// What was measured; `None` where it never happened.
    pub measured: Option<f64>,
    /// The largest that is acceptable.
    pub limit: f64,
    /// Of both.
    pub unit: Unit,
    /// The verdict.
    pub outcome: Outcome,
}

/// What a budget is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Milliseconds.
    Ms,
    /// Requests.
    Requests,
}

/// The requests that were to be sent in one bin of the timeline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelineBin {
    /// Good and slow answers by target, in the order of [`Failover::targets`].
    pub answered: Vec<u64>,
    /// Of these, slow ones.
    pub slow: u64,
    /// Answers of a wrong target; these are in `answered`, too, where the target is listed.
    pub wrong: u64,
    /// Requests without a good answer.
    pub lost: u64,
    /// The longest time until an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowest_ms: Option<f64>,
}
