//! How long answers took: a histogram and quantiles with exact intervals.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The distribution of the time from when a request was to be sent until its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// Answers.
    pub count: u64,
    /// The histogram by rising bound, without empty buckets; some hundred at most.
    pub buckets: Vec<LatencyBucket>,
    /// Quantiles, rising.
    pub quantiles: Vec<Quantile>,
}

/// A bucket of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LatencyBucket {
    /// Answers that took longer than the bucket before, and at most this.
    pub up_to_ms: f64,
    /// How many.
    pub count: u64,
}

/// A quantile with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quantile {
    /// Which, 0..=1.
    pub quantile: f64,
    /// As estimated.
    pub ms: f64,
    /// Lower end of the interval, from order statistics.
    pub low_ms: f64,
    /// Upper end.
    pub high_ms: f64,
    /// The largest that is acceptable, where there is such a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_ms: Option<f64>,
}
