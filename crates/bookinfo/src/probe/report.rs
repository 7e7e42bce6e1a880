//! The document that `probe run` prints.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::args::RunArgs;
use super::failure::ErrorClass;
use super::group::Group;
use super::tally::Tally;

/// A run in numbers. Times are in milliseconds.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What was requested.
    pub url: String,
    /// `closed-loop` or `open-loop`.
    pub mode: &'static str,
    /// Start, RFC 3339 in UTC.
    pub started_at: String,
    /// From the first request's time to the last answer.
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
    pub(super) started_at: String,
    pub(super) elapsed: Duration,
    pub(super) planned: Option<u64>,
    pub(super) interrupted: bool,
    pub(super) resolved: Resolved,
}

impl Report {
    pub(super) fn new(args: &RunArgs, frame: Frame, tally: Tally) -> Self {
        let milliseconds = |duration: Duration| (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0;
        let mut groups: Vec<_> = tally.groups.into_iter().map(|(key, count)| key.into_group(count)).collect();
        groups.sort();
        Self {
            url: args.url.text.clone(),
            mode: if args.rate.is_some() { "open-loop" } else { "closed-loop" },
            started_at: frame.started_at,
            duration_ms: milliseconds(frame.elapsed),
            planned: frame.planned,
            requests: tally.requests,
            answered: tally.by_status.values().sum(),
            interrupted: frame.interrupted,
            connections: args.connections,
            connections_opened: tally.connections_opened,
            reconnects: tally.reconnects,
            rate: args.rate,
            max_start_delay_ms: args.rate.map(|_| milliseconds(tally.max_start_delay)),
            resolved: frame.resolved,
            by_status: tally.by_status,
            errors: ErrorClass::ALL
                .into_iter()
                .map(|class| (class, tally.errors.get(&class).copied().unwrap_or(0)))
                .collect(),
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
            latency_ms: LatencyMs::of(&tally.latencies),
        }
    }
}
