//! What a run counts. Each connection has its own tally; they are merged at the end.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::connection::Answer;
use super::failure::{ErrorClass, Failure};
use super::group::GroupKey;
use crate::hop::PEER_HEADER;
use crate::identity::SERVED_BY_HEADER;

/// Distinct error texts, and distinct error answers, that a report quotes.
const SAMPLES: usize = 10;
/// Characters of an error answer's body that a report quotes.
const QUOTED: usize = 200;
/// Longest latency that is told from longer ones, in microseconds: an hour.
const LONGEST: u64 = 3_600_000_000;

/// An error answer as a report quotes it: status, the proxy's headers, and the beginning of the body.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StatusSample {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

/// The counts.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) requests: u64,
    pub(super) by_status: BTreeMap<u16, u64>,
    pub(super) errors: BTreeMap<ErrorClass, u64>,
    pub(super) error_samples: BTreeMap<(ErrorClass, String), u64>,
    pub(super) status_samples: BTreeMap<StatusSample, u64>,
    pub(super) groups: HashMap<GroupKey, u64>,
    pub(super) latencies: Histogram<u64>,
    pub(super) connections_opened: u64,
    pub(super) reconnects: u64,
    pub(super) max_start_delay: Duration,
}

impl Default for Tally {
    fn default() -> Self {
        let latencies = Histogram::new_with_bounds(1, LONGEST, 3).expect("invariant: the bounds are valid constants");
        Self {
            requests: 0,
            by_status: BTreeMap::new(),
            errors: BTreeMap::new(),
            error_samples: BTreeMap::new(),
            status_samples: BTreeMap::new(),
            groups: HashMap::new(),
            latencies,
            connections_opened: 0,
            reconnects: 0,
            max_start_delay: Duration::ZERO,
        }
    }
}

impl Tally {
    /// Counts a request without an answer.
    pub(super) fn failed(&mut self, failure: Failure) {
        self.requests += 1;
        *self.errors.entry(failure.class).or_default() += 1;
        count_sample(&mut self.error_samples, (failure.class, failure.text));
    }

    /// Counts an answer, whatever its status.
    pub(super) fn answered(&mut self, answer: &Answer, latency: Duration, hop: Option<&str>) {
        self.requests += 1;
        let status = answer.status.as_u16();
        *self.by_status.entry(status).or_default() += 1;
        self.latencies.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LONGEST).max(1));
        *self.groups.entry(group_key(answer, hop)).or_default() += 1;
        if status >= 400 {
            count_sample(&mut self.status_samples, status_sample(answer));
        }
    }

    /// Adds another connection's counts.
    pub(super) fn merge(&mut self, other: Self) {
        self.requests += other.requests;
        add(&mut self.by_status, other.by_status);
        add(&mut self.errors, other.errors);
        for (sample, count) in other.error_samples {
            *self.error_samples.entry(sample).or_default() += count;
        }
        for (sample, count) in other.status_samples {
            *self.status_samples.entry(sample).or_default() += count;
        }
        for (key, count) in other.groups {
            *self.groups.entry(key).or_default() += count;
        }
        self.latencies.add(&other.latencies).expect("invariant: all histograms have the same bounds");
        self.connections_opened += other.connections_opened;
        self.reconnects += other.reconnects;
        self.max_start_delay = self.max_start_delay.max(other.max_start_delay);
    }
}

fn add<K: Ord>(sums: &mut BTreeMap<K, u64>, others: BTreeMap<K, u64>) {
    for (key, count) in others {
        *sums.entry(key).or_default() += count;
    }
}

/// Counts a sample that is known, and a new one while there is room.
fn count_sample<K: Ord>(samples: &mut BTreeMap<K, u64>, sample: K) {
    if samples.len() < SAMPLES || samples.contains_key(&sample) {
        *samples.entry(sample).or_default() += 1;
    }
}

fn group_key(answer: &Answer, hop: Option<&str>) -> GroupKey {
    let status = answer.status.as_u16();
    if let Some(hop) = hop {
        return GroupKey::from_hop(status, hop, &answer.body);
    }
    let served_by = answer.headers.get(SERVED_BY_HEADER).cloned();
    if served_by.is_none() && answer.body.first() == Some(&b'{') {
        return GroupKey::from_body(status, &answer.body);
    }
    GroupKey::Headers { status, served_by, peer: answer.headers.get(PEER_HEADER).cloned() }
}

fn status_sample(answer: &Answer) -> StatusSample {
    // The upstream's time differs from answer to answer, which would make every sample a new one.
    let proxys = |name: &str| name.starts_with("x-envoy-") && name != "x-envoy-upstream-service-time";
    let headers = answer.headers.iter().filter(|(name, _)| proxys(name.as_str()) || *name == http::header::SERVER);
    StatusSample {
        status: answer.status.as_u16(),
        headers: headers
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect(),
        body: String::from_utf8_lossy(&answer.body).chars().take(QUOTED).collect(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &'static str) -> Answer {
        let headers =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::from_iter(headers),
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    #[test]
    fn answers_are_grouped_by_status_and_server() {
        let mut tally = Tally::default();
        let v1 = answer(200, &[("x-served-by", "version=v1")], "{}");
        for _ in 0..3 {
            tally.answered(&v1, Duration::from_millis(2), None);
        }
        tally.answered(&answer(200, &[], r#"{"servedBy":{"version":"v3"}}"#), Duration::from_millis(4), None);
        let groups: Vec<_> = tally.groups.into_iter().map(|(key, count)| key.into_group(count)).collect();
        let count =
            |version| groups.iter().find(|group| group.version.as_deref() == Some(version)).map(|group| group.count);
        assert_eq!((count("v1"), count("v3"), groups.len()), (Some(3), Some(1), 2));
        assert_eq!(tally.latencies.len(), 4);
    }

    #[test]
    fn error_answers_are_quoted_with_the_proxys_headers() {
        let mut tally = Tally::default();
        let headers = [("x-envoy-overloaded", "true"), ("x-envoy-upstream-service-time", "7"), ("date", "now")];
        tally.answered(&answer(503, &headers, "no healthy upstream"), Duration::from_millis(1), None);
        let (sample, count) = tally.status_samples.into_iter().next().unwrap();
        assert_eq!((sample.status, sample.body.as_str(), count), (503, "no healthy upstream", 1));
        assert_eq!(sample.headers.into_keys().collect::<Vec<_>>(), ["x-envoy-overloaded"]);
    }

    #[test]
    fn distinct_error_texts_are_kept_up_to_the_limit_and_all_are_counted() {
        let (mut tally, mut other) = (Tally::default(), Tally::default());
        for index in 0..SAMPLES + 5 {
            tally.failed(Failure::new(ErrorClass::Reset, format!("text {index}")));
            other.failed(Failure::new(ErrorClass::Reset, "text 0"));
        }
        tally.merge(other);
        assert_eq!(tally.error_samples.len(), SAMPLES);
        assert_eq!(tally.errors[&ErrorClass::Reset], 2 * (SAMPLES as u64 + 5));
        assert_eq!(tally.requests, 2 * (SAMPLES as u64 + 5));
        assert_eq!(tally.error_samples[&(ErrorClass::Reset, "text 0".to_owned())], SAMPLES as u64 + 6);
    }
}
