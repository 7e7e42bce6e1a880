//! The figures behind verdicts, as plain data: the contract between the checks that measure and the reports that draw.
//!
//! A check puts its figures into [`super::CheckReport::figures`], an object with one key that names their shape:
//! `failover` holds [`Failover`], `latency` holds [`Latency`], `reachability` holds [`Reachability`], `split` a
//! [`verdict::SplitVerdict`]; beside it, `samples` holds the [`FailingSamples`] of an expectation that was not met. What a report
//! does not know it leaves out; reports never compute a verdict.

mod failover;
mod latency;
mod reachability;
mod samples;
mod signs;
mod topology;
mod traffic;

pub use failover::{Budget, Failover, Interval, Moment, TimelineBin, Totals, Unit};
pub use latency::{Latency, LatencyBucket, Quantile};
pub use reachability::{Cell, Reachability};
pub use samples::{FailingSample, FailingSamples, Kept};
pub use signs::{Sign, SignKind, Situation};
pub use topology::{ClusterFacts, TopologyFacts, WorkloadFacts};
pub use traffic::{Answer, Failed, Traffic};

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads the figures of one shape from those of a check; `None` where the check has none of that shape.
#[must_use]
pub fn read<Shape: DeserializeOwned>(figures: &Value, key: &str) -> Option<Shape> {
    serde_json::from_value(figures.get(key)?.clone()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_are_found_by_their_key() {
        let latency = Latency {
            count: 2,
            buckets: vec![LatencyBucket { up_to_ms: 1.5, count: 2 }],
            quantiles: vec![Quantile { quantile: 0.5, ms: 1.0, low_ms: 0.9, high_ms: 1.1, limit_ms: None }],
        };
        let figures = json!({ "latency": latency });
        assert_eq!(read::<Latency>(&figures, "latency"), Some(latency));
        assert_eq!(read::<Latency>(&figures, "failover"), None);
        assert_eq!(read::<Latency>(&json!({ "latency": "fast" }), "latency"), None);
    }
}
