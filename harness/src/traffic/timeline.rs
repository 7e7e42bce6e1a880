//! Single requests with their times, as the probe reports them: what timelines of failovers are computed from.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::samples::Group;

/// Every request of a run, in the order of their intended times. Written and read in the probe's compact form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Timeline {
    /// What requests came to.
    pub targets: Vec<Target>,
    /// The requests.
    pub rows: Vec<Row>,
    /// Requests that were counted but are not here, because there were more than were asked for.
    pub dropped: u64,
}

/// What requests came to: an answer, or an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Target {
    /// Class of the error; `None` for an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The answer; empty for an error.
    #[serde(flatten)]
    pub answer: Group,
}

/// A request in numbers: `intended` in microseconds from the start of the run; `sent`, `firstByte` and `done` in
/// microseconds from `intended`; the index of its target; the connection it went over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row(pub u64, pub u64, pub Option<u64>, pub u64, pub u32, pub Option<u64>);

/// A request in words. Times count from the start of the run, which is [`start_unix_micros`].
///
/// [`start_unix_micros`]: super::samples::Samples::start_unix_micros
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample<'timeline> {
    /// When it was to be sent.
    pub intended: Duration,
    /// When it was sent.
    pub sent: Duration,
    /// When the first byte of the answer came.
    pub first_byte: Option<Duration>,
    /// When the answer was complete, or the request had failed.
    pub done: Duration,
    /// What came of it.
    pub target: &'timeline Target,
    /// The connection it went over, counted from 0; `None` where none came about.
    pub connection: Option<u64>,
}

impl Sample<'_> {
    /// Whether it was answered with status 200.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.target.error.is_none() && self.target.answer.status == 200
    }

    /// From its intended time to its end.
    #[must_use]
    pub fn latency(&self) -> Duration {
        self.done.saturating_sub(self.intended)
    }
}

impl Timeline {
    /// The requests in words. A row whose target is not in the list is left out; the check of a
    /// report says so when it is read.
    pub fn samples(&self) -> impl Iterator<Item = Sample<'_>> {
        self.rows.iter().filter_map(|Row(intended, sent, first_byte, done, target, connection)| {
            let at = |offset: u64| Duration::from_micros(intended.saturating_add(offset));
            Some(Sample {
                intended: at(0),
                sent: at(*sent),
                first_byte: first_byte.map(at),
                done: at(*done),
                target: self.targets.get(usize::try_from(*target).ok()?)?,
                connection: *connection,
            })
        })
    }

    /// Whether it is whole and agrees with the number of requests that were counted.
    pub(super) fn check(&self, requests: u64) -> Result<(), String> {
        let rows = self.rows.len() as u64;
        if rows + self.dropped != requests {
            return Err(format!("the probe counted {requests} requests and lists {rows} of them"));
        }
        if self.samples().count() != self.rows.len() {
            return Err("the probe lists requests that came to nothing it names".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORTED: &str = r#"{"columns":["intended","sent","firstByte","done","target","connection"],
        "targets":[{"status":200,"version":"v1","cluster":"cluster1","count":1},{"error":"timeout"}],
        "rows":[[0,12,340,355,0,0],[2000,8,null,250008,1,null]],"dropped":0}"#;

    fn timeline() -> Timeline {
        serde_json::from_str(REPORTED).expect("a timeline")
    }

    #[test]
    fn rows_become_requests_with_times_from_the_start() {
        let timeline = timeline();
        let samples: Vec<_> = timeline.samples().collect();
        assert_eq!(samples[0].first_byte, Some(Duration::from_micros(340)));
        assert!(samples[0].is_good() && !samples[1].is_good());
        assert_eq!(samples[0].target.answer.version.as_deref(), Some("v1"));
        assert_eq!(
            (samples[1].sent, samples[1].latency()),
            (Duration::from_micros(2_008), Duration::from_micros(250_008))
        );
        assert_eq!(samples[1].target.error.as_deref(), Some("timeout"));
    }

    #[test]
    fn a_timeline_that_is_not_whole_is_refused() {
        let mut timeline = timeline();
        assert_eq!(timeline.check(2), Ok(()));
        assert!(timeline.check(3).is_err());
        timeline.targets.pop();
        assert!(timeline.check(2).is_err());
    }

    #[test]
    fn it_is_written_as_it_was_read() {
        let written = serde_json::to_value(timeline()).expect("JSON");
        assert_eq!(written["rows"], serde_json::json!([[0, 12, 340, 355, 0, 0], [2000, 8, null, 250_008, 1, null]]));
        assert_eq!(serde_json::from_value::<Timeline>(written).expect("a timeline"), timeline());
    }
}
