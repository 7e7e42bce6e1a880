//! Single requests with their times, as compactly as a report of many can hold them.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::failure::ErrorClass;
use super::group::Group;

/// Where the rows of [`Samples`] have which number.
const COLUMNS: [&str; 6] = ["intended", "sent", "firstByte", "done", "target", "connection"];

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) intended: Instant,
    pub(super) sent: Instant,
    pub(super) first_byte: Option<Instant>,
    pub(super) done: Instant,
    pub(super) target: Target,
    pub(super) connection: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// An answer of the group with this index.
    Group(u32),
    /// No answer.
    Error(ErrorClass),
}

/// Every request of a run, in the order of their intended times.
///
/// A row is `[intended, sent, firstByte, done, target, connection]`. `intended` is in microseconds from the report's
/// `startUnixMicros`; `sent`, `firstByte` and `done` are in microseconds from `intended`; `firstByte` is `null` without
/// an answer. `target` is an index into `targets`. `connection` counts the connections of the run in the order in which
/// they were opened, from 0; `null` where none came about.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Samples {
    /// Names of the numbers of a row.
    pub columns: [&'static str; 6],
    /// What requests came to: groups of answers first, then classes of errors.
    pub targets: Vec<TargetOf>,
    /// The requests.
    pub rows: Vec<Row>,
    /// Requests that were counted but are not here, because there were more than may be kept.
    pub dropped: u64,
}

/// What requests came to.
#[expect(clippy::large_enum_variant, reason = "there is one for each target, not for each request")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum TargetOf {
    /// An answer.
    Answer(Group),
    /// None.
    Error {
        /// The class of the error.
        error: ErrorClass,
    },
}

/// A request in numbers; see [`Samples`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Row(pub u64, pub u64, pub Option<u64>, pub u64, pub u32, pub Option<u64>);

/// Stands for "no connection came about".
pub(super) const NO_CONNECTION: u64 = u64::MAX;

impl Samples {
    /// Sorts and numbers what was noted.
    pub(super) fn new(start: Instant, groups: Vec<Group>, mut noted: Vec<Sample>, dropped: u64) -> Self {
        noted.sort_by_key(|sample| sample.intended);
        let answers = u32::try_from(groups.len()).unwrap_or(u32::MAX);
        let errors = ErrorClass::ALL.map(|error| TargetOf::Error { error });
        let target = |target: Target| match target {
            Target::Group(index) => index,
            Target::Error(class) => answers.saturating_add(class as u32),
        };
        let row = |sample: &Sample| {
            let after = |moment: Instant| micros(moment.saturating_duration_since(sample.intended));
            Row(
                micros(sample.intended.saturating_duration_since(start)),
                after(sample.sent),
                sample.first_byte.map(after),
                after(sample.done),
                target(sample.target),
                (sample.connection != NO_CONNECTION).then_some(sample.connection),
            )
        };
        let rows = noted.iter().map(row).collect();
        let targets = groups.into_iter().map(TargetOf::Answer).chain(errors).collect();
        Self { columns: COLUMNS, targets, rows, dropped }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(version: &str) -> Group {
        Group { status: 200, version: Some(version.to_owned()), count: 1, ..Group::default() }
    }

    #[test]
    fn rows_are_in_the_order_of_their_intended_times_and_name_their_target() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let failed = Sample {
            intended: at(20),
            sent: at(21),
            first_byte: None,
            done: at(120),
            target: Target::Error(ErrorClass::Timeout),
            connection: NO_CONNECTION,
        };
        let answered = Sample {
            intended: at(10),
            sent: at(10),
            first_byte: Some(at(12)),
            done: at(13),
            target: Target::Group(1),
            connection: 0,
        };
        let samples = Samples::new(start, vec![group("v1"), group("v2")], vec![failed, answered], 0);
        assert_eq!(samples.rows[0], Row(10_000, 0, Some(2_000), 3_000, 1, Some(0)));
        let Row(intended, sent, first_byte, done, target, connection) = samples.rows[1];
        assert_eq!((intended, sent, first_byte, done, connection), (20_000, 1_000, None, 100_000, None));
        let target = &samples.targets[target as usize];
        assert_eq!(*target, TargetOf::Error { error: ErrorClass::Timeout });
        let row = serde_json::to_string(&samples.rows[0]).unwrap();
        assert_eq!(row, "[10000,0,2000,3000,1,0]");
    }
}
