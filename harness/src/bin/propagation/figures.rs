//! What many samples say together.

use serde_json::{Map, Value, json};

use crate::change::Sample;

/// A stage of a change, in milliseconds.
type Stage = fn(&Sample) -> f64;

/// Percentiles of every stage.
pub(crate) fn summary(samples: &[Sample]) -> Value {
    let stages: [(&str, Stage); 6] = [
        ("apply", |sample| sample.apply),
        ("propagation", |sample| sample.propagation),
        ("appliedToWritten", |sample| sample.applied_to_written),
        ("writtenToPublished", |sample| sample.written_to_published),
        ("publishedToAcknowledged", |sample| sample.published_to_acknowledged),
        ("acknowledgedToActive", |sample| sample.acknowledged_to_active),
    ];
    let of = |(name, stage): &(&str, Stage)| {
        let mut values: Vec<f64> = samples.iter().map(stage).collect();
        values.sort_by(f64::total_cmp);
        ((*name).to_owned(), percentiles(&values))
    };
    Value::Object(stages.iter().map(of).collect::<Map<_, _>>())
}

/// By nearest rank, of sorted values.
fn percentiles(sorted: &[f64]) -> Value {
    let rank = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied();
    json!({ "p50": rank(50), "p90": rank(90), "p99": rank(99), "max": sorted.last() })
}
