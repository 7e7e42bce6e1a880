//! The document that `probe run` prints.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::Instant;

use super::args::RunArgs;
use super::failure::ErrorClass;
use super::group::{Group, GroupKey};
use super::heads::Heads;
use super::sample::Samples;
use super::tally::Tally;
use crate::identity::ServedBy;

/// A run in numbers. Times are in milliseconds.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What was requested.
    pub url: String,
    /// `closed-loop` or `open-loop`.
    pub mode: &'static str,
    /// The pod that sent, as far as its environment tells it.
    pub source: ServedBy,
    /// The moment that the schedule and all samples count from, RFC 3339 in UTC.
    pub started_at: String,
    /// The same moment in microseconds since 1970.
    pub start_unix_micros: i64,
    /// From the name's look-up to the last answer.
    pub duration_ms: f64,
    /// How many requests were intended; `null` when the duration alone decided.
    pub planned: Option<u64>,
    /// How many requests were begun.
    pub requests: u64,
    /// How many got an answer, whatever its status.
    pub answered: u64,
    /// Whether a signal ended the run early.
    pub interrupted: bool,
    /// Connections used at a time.
    pub connections: u16,
    /// Connections opened in all.
    pub connections_opened: u64,
    /// Requests that had to go over a new connection because the kept one had ended before they left.
    pub reconnects: u64,
    /// Open loop: requests per second asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Open loop: the longest that a request left after its time, because every connection was busy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_start_delay_ms: Option<f64>,
    /// Open loop: how long requests left after their time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_delay_ms: Option<LatencyMs>,
    /// Open loop: requests that left more than a millisecond after their time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_sends: Option<u64>,
    /// The name and its addresses; looked up once, at the start.
    pub resolved: Resolved,
    /// Answers by status.
    pub by_status: BTreeMap<u16, u64>,
    /// Requests without an answer by class; every class is there.
    pub errors: BTreeMap<ErrorClass, u64>,
    /// Distinct error texts, at most ten.
    pub error_samples: Vec<ErrorSample>,
    /// Distinct answers with a status of 400 or more, at most ten.
    pub status_samples: Vec<AnswerSample>,
    /// Answers by status, server and identities.
    pub groups: Vec<Group>,
    /// Latencies of the answers; `null` without any.
    pub latency_ms: Option<LatencyMs>,
    /// Distinct exchanges by the headers that were asked for, at most a thousand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exchanges: Vec<Exchanges>,
    /// All latencies, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub histogram: Option<HistogramUs>,
    /// All requests, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<Samples>,
}

/// Exchanges with the same headers.
#[derive(Clone, Debug, Serialize)]
pub struct Exchanges {
    /// The headers.
    #[serde(flatten)]
    pub heads: Heads,
    /// How many.
    pub count: u64,
}

/// A histogram of latencies as HdrHistogram counts them: buckets of about a thousandth of their value.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HistogramUs {
    /// Significant decimal digits of a latency.
    pub digits: u8,
    /// Highest latency of a bucket in microseconds, and how many answers are in it; only buckets with answers.
    pub buckets: Vec<(u64, u64)>,
}

impl HistogramUs {
    fn of(histogram: &Histogram<u64>) -> Self {
        let buckets = histogram.iter_recorded();
        Self {
            digits: histogram.sigfig(),
            buckets: buckets.map(|value| (value.value_iterated_to(), value.count_since_last_iteration())).collect(),
        }
    }
}

/// What the system resolver said.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Resolved {
    /// The name.
    pub host: String,
    /// Its addresses, in the resolver's order.
    pub addresses: Vec<SocketAddr>,
    /// The address that all connections went to.
    pub used: Option<SocketAddr>,
}

/// An error text and how often it was counted.
#[derive(Clone, Debug, Serialize)]
pub struct ErrorSample {
    /// Class of the error.
    pub class: ErrorClass,
    /// Text with its causes.
    pub text: String,
    /// How often.
    pub count: u64,
}

/// An error answer and how often it was counted.
#[derive(Clone, Debug, Serialize)]
pub struct AnswerSample {
    /// Status of the answer.
    pub status: u16,
    /// `server` and `x-envoy-*` headers.
    pub headers: BTreeMap<String, String>,
    /// First characters of the body.
    pub body: String,
    /// How often.
    pub count: u64,
}

/// Latencies. In an open loop they count from the intended start.
#[derive(Clone, Debug, Serialize)]
pub struct LatencyMs {
    /// Shortest.
    pub min: f64,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90 % were faster.
    pub p90: f64,
    /// 99 % were faster.
    pub p99: f64,
    /// 99.9 % were faster.
    pub p999: f64,
    /// Longest.
    pub max: f64,
}

impl LatencyMs {
    fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let quantile = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        (!histogram.is_empty()).then(|| Self {
            min: histogram.min() as f64 / 1_000.0,
            mean: histogram.mean().round() / 1_000.0,
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: histogram.max() as f64 / 1_000.0,
        })
    }
}

/// What a run knows beside its counts.
pub(super) struct Frame {
    pub(super) started_at: jiff::Timestamp,
    pub(super) start: Instant,
    pub(super) looked_up: Duration,
    pub(super) planned: Option<u64>,
    pub(super) interrupted: bool,
    pub(super) resolved: Resolved,
}

impl Report {
    pub(super) fn new(args: &RunArgs, frame: Frame, tally: Tally) -> Self {
        let milliseconds = |duration: Duration| (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0;
        let open = args.rate.is_some();
        let group = |(key, count): (GroupKey, u64)| key.into_group(count);
        let unsorted: Vec<_> = tally.groups.into_iter().map(group).collect();
        let mut groups = unsorted.clone();
        groups.sort();
        let samples =
            (args.samples > 0).then(|| Samples::new(frame.start, unsorted, tally.samples, tally.samples_dropped));
        Self {
            url: args.url.text.clone(),
            mode: if open { "open-loop" } else { "closed-loop" },
            source: ServedBy::of_client(|name| std::env::var(name).ok()),
            started_at: frame.started_at.to_string(),
            start_unix_micros: frame.started_at.as_microsecond(),
            duration_ms: milliseconds(frame.looked_up + frame.start.elapsed()),
            planned: frame.planned,
            requests: tally.requests,
            answered: tally.by_status.values().sum(),
            interrupted: frame.interrupted,
            connections: args.connections,
            connections_opened: tally.connections_opened,
            reconnects: tally.reconnects,
            rate: args.rate,
            max_start_delay_ms: open.then(|| tally.delays.max() as f64 / 1_000.0),
            start_delay_ms: if open { LatencyMs::of(&tally.delays) } else { None },
            late_sends: open.then_some(tally.late),
            resolved: frame.resolved,
            by_status: tally.by_status,
            errors: every_class(&tally.errors),
            error_samples: tally
                .error_samples
                .into_iter()
                .map(|((class, text), count)| ErrorSample { class, text, count })
                .collect(),
            status_samples: tally
                .status_samples
                .into_iter()
                .map(|(sample, count)| AnswerSample {
                    status: sample.status,
                    headers: sample.headers,
                    body: sample.body,
                    count,
                })
                .collect(),
            groups,
            exchanges: tally.heads.into_iter().map(|(heads, count)| Exchanges { heads, count }).collect(),
            latency_ms: LatencyMs::of(&tally.latencies),
            histogram: args.histogram.then(|| HistogramUs::of(&tally.latencies)),
            samples,
        }
    }
}

fn every_class(errors: &BTreeMap<ErrorClass, u64>) -> BTreeMap<ErrorClass, u64> {
    ErrorClass::ALL.into_iter().map(|class| (class, errors.get(&class).copied().unwrap_or(0))).collect()
}
