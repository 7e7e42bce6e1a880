//! What a run counts, for all its connections together.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::Instant;

use super::connection::Answer;
use super::failure::{ErrorClass, Failure};
use super::flags;
use super::group::{GroupKey, ServerKey};
use super::heads::Heads;
use super::sample::{NO_CONNECTION, Sample, Target};
use crate::hop::PEER_HEADER;
use crate::identity::SERVED_BY_HEADER;

/// Distinct error texts, and distinct error answers, that a report quotes.
const SAMPLES: usize = 10;
/// Distinct exchanges whose headers a report shows.
const EXCHANGES: usize = 1_000;
/// Characters of an error answer's body that a report quotes.
const QUOTED: usize = 200;
/// A request that leaves later than this after its time is counted as late.
const LATE: Duration = Duration::from_millis(1);
/// Longest latency that is told from longer ones, in microseconds: an hour.
const LONGEST: u64 = 3_600_000_000;

/// An error answer as a report quotes it: status, the proxy's headers, and the beginning of the body.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StatusSample {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

/// One request as its connection saw it.
#[derive(Debug)]
pub(super) struct Exchange {
    /// When it was to be sent.
    pub(super) intended: Instant,
    /// When its first byte left, else when the connection took it up.
    pub(super) sent: Instant,
    /// How long after its time it left, connecting not counted.
    pub(super) delay: Duration,
    /// When the first byte of the answer came.
    pub(super) first_byte: Option<Instant>,
    /// When it was over.
    pub(super) done: Instant,
    /// The connection it went over, counted from 0.
    pub(super) connection: Option<u64>,
    /// What came of it.
    pub(super) result: Result<Answer, Failure>,
}

/// The counts.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) requests: u64,
    pub(super) by_status: BTreeMap<u16, u64>,
    pub(super) errors: BTreeMap<ErrorClass, u64>,
    pub(super) error_samples: BTreeMap<(ErrorClass, String), u64>,
    pub(super) status_samples: BTreeMap<StatusSample, u64>,
    /// Groups in the order in which they were first seen, with their counts.
    pub(super) groups: Vec<(GroupKey, u64)>,
    known: HashMap<GroupKey, u32>,
    pub(super) latencies: Histogram<u64>,
    pub(super) delays: Histogram<u64>,
    pub(super) late: u64,
    pub(super) connections_opened: u64,
    pub(super) reconnects: u64,
    pub(super) samples: Vec<Sample>,
    pub(super) samples_dropped: u64,
    keep: usize,
    hop: Option<String>,
    /// Names of the headers to show.
    shown: BTreeSet<String>,
    /// Distinct exchanges by their headers.
    pub(super) heads: BTreeMap<Heads, u64>,
}

/// Times in microseconds, to three digits.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3).expect("invariant: the bounds are valid constants")
}

impl Tally {
    /// Groups answers by who gave them or by a hop inside them, and keeps this many single requests.
    pub(super) fn new(hop: Option<String>, keep: usize) -> Self {
        Self {
            requests: 0,
            by_status: BTreeMap::new(),
            errors: BTreeMap::new(),
            error_samples: BTreeMap::new(),
            status_samples: BTreeMap::new(),
            groups: Vec::new(),
            known: HashMap::new(),
            latencies: histogram(),
            delays: histogram(),
            late: 0,
            connections_opened: 0,
            reconnects: 0,
            samples: Vec::new(),
            samples_dropped: 0,
            keep,
            hop,
            shown: BTreeSet::new(),
            heads: BTreeMap::new(),
        }
    }

    /// Notes the headers of these names, too.
    pub(super) fn showing(self, names: impl IntoIterator<Item = String>) -> Self {
        Self { shown: names.into_iter().collect(), ..self }
    }

    /// Counts a request.
    pub(super) fn count(&mut self, exchange: Exchange) {
        self.delays.saturating_record(microseconds(exchange.delay));
        self.late += u64::from(exchange.delay > LATE);
        let Exchange { intended, sent, first_byte, done, connection, result, .. } = exchange;
        let (target, first_byte) = match result {
            Ok(answer) => {
                let latency = done.saturating_duration_since(intended);
                (Target::Group(self.answered(&answer, latency)), first_byte)
            }
            Err(failure) => {
                let class = failure.class;
                self.failed(failure);
                (Target::Error(class), None)
            }
        };
        if self.samples.len() < self.keep {
            let connection = connection.unwrap_or(NO_CONNECTION);
            self.samples.push(Sample { intended, sent, first_byte, done, target, connection });
        } else if self.keep > 0 {
            self.samples_dropped += 1;
        }
    }

    /// Counts a request without an answer.
    pub(super) fn failed(&mut self, failure: Failure) {
        self.requests += 1;
        *self.errors.entry(failure.class).or_default() += 1;
        count_sample(&mut self.error_samples, SAMPLES, (failure.class, failure.text));
    }

    /// Counts an answer, whatever its status; returns the index of its group.
    fn answered(&mut self, answer: &Answer, latency: Duration) -> u32 {
        self.requests += 1;
        *self.by_status.entry(answer.status.as_u16()).or_default() += 1;
        self.latencies.saturating_record(microseconds(latency).max(1));
        if answer.status.as_u16() >= 400 {
            count_sample(&mut self.status_samples, SAMPLES, status_sample(answer));
        }
        if !self.shown.is_empty() {
            count_sample(&mut self.heads, EXCHANGES, Heads::of(answer, &self.shown));
        }
        let index = self.group_of(group_key(answer, self.hop.as_deref()));
        self.groups[index as usize].1 += 1;
        index
    }

    fn group_of(&mut self, key: GroupKey) -> u32 {
        if let Some(index) = self.known.get(&key) {
            return *index;
        }
        let index = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        self.known.insert(key.clone(), index);
        self.groups.push((key, 0));
        index
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(LONGEST)
}

/// Counts a sample that is known, and a new one while there is room.
fn count_sample<K: Ord>(samples: &mut BTreeMap<K, u64>, most: usize, sample: K) {
    if samples.len() < most || samples.contains_key(&sample) {
        *samples.entry(sample).or_default() += 1;
    }
}

fn group_key(answer: &Answer, hop: Option<&str>) -> GroupKey {
    let status = answer.status.as_u16();
    let flags = if status >= 400 { flags::of_answer(&answer.headers, &answer.body) } else { None };
    GroupKey { status, grpc_status: answer.grpc_status, flags, server: server_key(answer, hop) }
}

fn server_key(answer: &Answer, hop: Option<&str>) -> ServerKey {
    if let Some(hop) = hop {
        return ServerKey::from_hop(hop, &answer.body);
    }
    let served_by = answer.headers.get(SERVED_BY_HEADER).cloned();
    if served_by.is_none() && answer.body.first() == Some(&b'{') {
        return ServerKey::from_body(&answer.body);
    }
    ServerKey::Headers { served_by, peer: answer.headers.get(PEER_HEADER).cloned() }
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
            grpc_status: None,
            headers: HeaderMap::from_iter(headers),
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    fn count(tally: &mut Tally, milliseconds: u64, result: Result<Answer, Failure>) {
        let intended = Instant::now();
        let delay = Duration::from_micros(if milliseconds > 100 { 1_001 } else { 1_000 });
        let sent = intended + delay;
        let done = intended + Duration::from_millis(milliseconds);
        let first_byte = Some(done);
        tally.count(Exchange { intended, sent, delay, first_byte, done, connection: Some(0), result });
    }

    #[test]
    fn answers_are_grouped_by_status_and_server() {
        let mut tally = Tally::new(None, 0);
        for _ in 0..3 {
            count(&mut tally, 2, Ok(answer(200, &[("x-served-by", "version=v1")], "{}")));
        }
        count(&mut tally, 4, Ok(answer(200, &[], r#"{"servedBy":{"version":"v3"}}"#)));
        let groups: Vec<_> = tally.groups.into_iter().map(|(key, count)| key.into_group(count)).collect();
        let count =
            |version| groups.iter().find(|group| group.version.as_deref() == Some(version)).map(|group| group.count);
        assert_eq!((count("v1"), count("v3"), groups.len()), (Some(3), Some(1), 2));
        assert_eq!((tally.latencies.len(), tally.samples.len(), tally.samples_dropped), (4, 0, 0));
    }

    #[test]
    fn error_answers_are_quoted_with_the_proxys_headers_and_carry_its_flags() {
        let mut tally = Tally::new(None, 0);
        let headers = [("x-envoy-overloaded", "true"), ("x-envoy-upstream-service-time", "7"), ("date", "now")];
        count(&mut tally, 1, Ok(answer(503, &headers, "no healthy upstream")));
        let (sample, count) = tally.status_samples.into_iter().next().unwrap();
        assert_eq!((sample.status, sample.body.as_str(), count), (503, "no healthy upstream", 1));
        assert_eq!(sample.headers.into_keys().collect::<Vec<_>>(), ["x-envoy-overloaded"]);
        assert_eq!(tally.groups[0].0.flags.as_deref(), Some("UH"));
    }

    #[test]
    fn distinct_error_texts_are_kept_up_to_the_limit_and_all_are_counted() {
        let mut tally = Tally::new(None, 0);
        for index in 0..SAMPLES + 5 {
            tally.failed(Failure::new(ErrorClass::Reset, format!("text {index}")));
            tally.failed(Failure::new(ErrorClass::Reset, "text 0"));
        }
        assert_eq!(tally.error_samples.len(), SAMPLES);
        assert_eq!(tally.errors[&ErrorClass::Reset], 2 * (SAMPLES as u64 + 5));
        assert_eq!(tally.requests, 2 * (SAMPLES as u64 + 5));
        assert_eq!(tally.error_samples[&(ErrorClass::Reset, "text 0".to_owned())], SAMPLES as u64 + 6);
    }

    #[test]
    fn as_many_requests_are_kept_as_may_be_and_the_rest_is_counted() {
        let mut tally = Tally::new(None, 2);
        count(&mut tally, 1, Ok(answer(200, &[], "")));
        count(&mut tally, 1, Err(Failure::new(ErrorClass::Timeout, "late")));
        count(&mut tally, 1, Ok(answer(200, &[], "")));
        assert_eq!((tally.requests, tally.samples.len(), tally.samples_dropped), (3, 2, 1));
        assert_eq!(tally.samples[1].target, Target::Error(ErrorClass::Timeout));
        assert_eq!(tally.samples[1].first_byte, None);
    }

    #[test]
    fn a_request_is_late_from_more_than_a_millisecond_on() {
        let mut tally = Tally::new(None, 0);
        count(&mut tally, 1, Ok(answer(200, &[], "")));
        assert_eq!(tally.late, 0);
        count(&mut tally, 101, Ok(answer(200, &[], "")));
        assert_eq!((tally.late, tally.delays.len()), (1, 2));
    }
}
