//! What the probe reports, as data: counts, groups, latencies. Judges nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::timeline::Timeline;

/// What came back, counted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Samples {
    /// Requests that were started.
    pub requests: u64,
    /// Requests that got an HTTP answer, whatever its status.
    pub answered: u64,
    /// Wall time of the run in milliseconds.
    pub duration_ms: f64,
    /// Answers by HTTP status.
    pub by_status: BTreeMap<String, u64>,
    /// Requests without an answer, by class.
    pub errors: BTreeMap<String, u64>,
    /// A few distinct error texts.
    pub error_samples: Vec<ErrorSample>,
    /// A few distinct answers that were no success.
    pub status_samples: Vec<StatusSample>,
    /// Answers by who gave them.
    pub groups: Vec<Group>,
    /// Milliseconds by quantile; `None` without an answer.
    pub latency_ms: Option<BTreeMap<String, f64>>,
    /// Whether the run was stopped before its own end.
    pub interrupted: bool,
    /// The moment that [`Self::timeline`] counts from, in microseconds since 1970.
    pub start_unix_micros: i64,
    /// Open loop: requests that left more than a millisecond after their time.
    pub late_sends: Option<u64>,
    /// Open loop: milliseconds by quantile that requests left after their time.
    pub start_delay_ms: Option<BTreeMap<String, f64>>,
    /// Connections that were opened.
    pub connections_opened: u64,
    /// Requests that found their kept connection ended and went over a new one: for a long-lived stream, its breaks.
    pub reconnects: u64,
    /// The pod that sent.
    pub source: Pod,
    /// Distinct exchanges by the headers that were asked for.
    pub exchanges: Vec<Exchanges>,
    /// All latencies, where they were asked for.
    pub histogram: Option<Histogram>,
    /// Every request, where that was asked for.
    #[serde(rename = "samples", skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Arc<Timeline>>,
}

/// Values of headers by their names.
pub type Headers = BTreeMap<String, Vec<String>>;

/// Exchanges with the same headers, as far as they were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Exchanges {
    /// Status of the answers.
    pub status: u16,
    /// Headers of the answers.
    pub response: Headers,
    /// Headers of the requests as the server got them; `None` where it does not say so.
    pub request: Option<Headers>,
    /// How many.
    pub count: u64,
}

/// One text of errors that agree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ErrorSample {
    /// Class, as in [`Samples::errors`].
    pub class: String,
    /// The system's words.
    pub text: String,
    /// How many.
    pub count: u64,
}

/// Answers of an error status that agree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusSample {
    /// HTTP status.
    pub status: u16,
    /// First characters of the body.
    pub body: String,
    /// How many.
    pub count: u64,
}

/// Answers that agree in everything that was observed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Group {
    /// HTTP status. 200 for answers of protocols without one; for a gRPC status the HTTP status that stands for it.
    pub status: u16,
    /// gRPC status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc_status: Option<u16>,
    /// Envoy's response flags, where the answer tells them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_flags: Option<String>,
    /// Version of the workload that answered, where the answer says so.
    pub version: Option<String>,
    /// Its cluster.
    pub cluster: Option<String>,
    /// Its network.
    pub network: Option<String>,
    /// Namespace of its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its pod.
    pub pod: Option<String>,
    /// SPIFFE id of the caller as the server saw it; `None` where the server saw no mutual TLS.
    pub peer: Option<String>,
    /// SPIFFE id that the server presented.
    pub server: Option<String>,
    /// Hexadecimal SHA-256 of the caller's certificate as the server saw it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// How many.
    pub count: u64,
}

/// Latencies by bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Histogram {
    /// Significant decimal digits of a latency.
    pub digits: u8,
    /// Highest latency of a bucket in microseconds, and how many answers are in it.
    pub buckets: Vec<(u64, u64)>,
}

/// Where a pod runs, as far as it knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    /// Its name.
    pub pod: Option<String>,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its cluster.
    pub cluster: Option<String>,
    /// Its network.
    pub network: Option<String>,
}

impl Samples {
    /// Requests without an answer.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Requests without an answer of status 200.
    #[must_use]
    pub fn not_answered(&self) -> u64 {
        self.requests.saturating_sub(self.by_status.get("200").copied().unwrap_or(0))
    }

    /// Milliseconds by bucket, rising, and how many answers took so long; empty where no histogram was asked for.
    #[must_use]
    pub fn latencies(&self) -> Vec<(f64, u64)> {
        let buckets = self.histogram.iter().flat_map(|histogram| &histogram.buckets);
        buckets.map(|(microseconds, count)| (*microseconds as f64 / 1_000.0, *count)).collect()
    }

    /// Whether the figures agree with each other and with what was asked for; a verdict on fewer requests than planned
    /// would be none.
    pub(super) fn check(&self, asked: Option<u64>) -> Result<(), String> {
        let grouped: u64 = self.groups.iter().map(|group| group.count).sum();
        let answered: u64 = self.by_status.values().sum();
        if let Some(asked) = asked
            && self.requests != asked
        {
            let cause = self.error_samples.first().map(|sample| format!(": {}", sample.text)).unwrap_or_default();
            return Err(format!("the probe sent {} requests of {asked}{cause}", self.requests));
        }
        if answered != self.answered || grouped != answered || answered + self.failed() != self.requests {
            return Err(format!(
                "the probe's figures disagree: {} requests, {answered} answers, {grouped} of them told apart, {} errors",
                self.requests,
                self.failed()
            ));
        }
        self.timeline.as_ref().map_or(Ok(()), |timeline| timeline.check(self.requests))
    }

    /// Counts by a property of the answering workload; only answers of status 200.
    #[must_use]
    pub fn counts(&self, key: impl Fn(&Group) -> String) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for group in self.groups.iter().filter(|group| group.status == 200) {
            *counts.entry(key(group)).or_insert(0) += group.count;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Samples {
        let groups = vec![Group { status: 200, version: Some("v1".to_owned()), count: 9, ..Group::default() }];
        Samples {
            requests: 10,
            answered: 9,
            by_status: BTreeMap::from([("200".to_owned(), 9)]),
            errors: BTreeMap::from([("reset".to_owned(), 1)]),
            groups,
            ..Samples::default()
        }
    }

    #[test]
    fn figures_that_agree_are_taken() {
        assert_eq!(samples().check(Some(10)), Ok(()));
    }

    #[test]
    fn fewer_requests_than_asked_for_are_no_measurement() {
        assert!(samples().check(Some(11)).is_err());
    }

    #[test]
    fn a_run_without_a_number_is_taken_as_long_as_it_was() {
        assert_eq!(samples().check(None), Ok(()));
    }

    #[test]
    fn answers_that_nobody_gave_are_no_measurement() {
        let mut samples = samples();
        samples.groups.clear();
        assert!(samples.check(Some(10)).is_err());
    }
}
