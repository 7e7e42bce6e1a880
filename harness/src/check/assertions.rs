//! Judges identities, refusals, latencies and expressions. Pure.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use verdict::Outcome;
use verdict::text::thousands;

use super::judge::{Judgement, other_ends};
use super::observation::{ConfigObservation, ConnectionObservation, Counters, TrafficObservation};
use super::peers::{self, Compared};
use crate::report::figures::{Latency, LatencyBucket, Quantile};
use crate::scenario::expression;
use crate::scenario::plan::{Denied, Identity, LatencyBound};

/// Who called and who answered, in every answer.
pub(super) fn identity(expected: &Identity, seen: &TrafficObservation) -> Judgement {
    let figures = json!({ "expected": expected, "groups": seen.parties() });
    match peers::compare(expected, seen) {
        Compared::Alike { count, unit } => {
            let sentence = format!("all {} {unit} saw {}", thousands(count), peers::words(expected));
            Judgement::new(Outcome::Pass, sentence, figures)
        }
        Compared::Unlike(sentence) => Judgement::new(Outcome::Fail, format!("refuted: {sentence}"), figures),
        Compared::Unseen(why) => Judgement::new(Outcome::Inconclusive, format!("not observable: {why}"), figures),
    }
}

/// Every request was refused with the status that belongs to the reason, and the proxy counted as many refusals.
pub(super) fn requests_denied(expected: &Denied, seen: &TrafficObservation) -> Judgement {
    let requests = seen.samples.requests;
    let counted = counted(expected, &seen.proxies);
    let figures = json!({
        "statuses": seen.samples.by_status, "errors": seen.samples.errors, "counted": counted, "expected": expected,
    });
    if requests == 0 {
        return Judgement::new(Outcome::Inconclusive, "no request was sent", figures);
    }
    let statuses = expected.reason.statuses();
    let right: u64 = statuses.iter().filter_map(|status| seen.samples.by_status.get(&status.to_string())).sum();
    if right < requests {
        let sentence = format!(
            "{} of {} requests ended in another way than status {}: {}",
            thousands(requests - right),
            thousands(requests),
            statuses.iter().map(u16::to_string).collect::<Vec<_>>().join(" or "),
            other_ends(seen, statuses).join(", ")
        );
        return Judgement::new(Outcome::Fail, sentence, figures);
    }
    // Several requests may share a connection that is refused once.
    let least = if expected.reason.connections().is_empty() || expected.reason.word() == "rbac" { requests } else { 1 };
    let sentence = format!(
        "all {} requests were refused; the proxy of {} counted {} with {}",
        thousands(requests),
        expected.at,
        thousands(counted),
        expected.reason.word()
    );
    Judgement::new(if counted >= least { Outcome::Pass } else { Outcome::Fail }, sentence, figures)
}

/// The connection ended as the reason ends connections, and the proxy counted it.
pub(super) fn connection_denied(expected: &Denied, seen: &ConnectionObservation) -> Judgement {
    let counted = counted(expected, &seen.proxies);
    let refused = expected.reason.connections().contains(&seen.outcome);
    let figures = json!({ "outcome": seen.outcome, "counted": counted, "expected": expected });
    let sentence = format!(
        "{} ({}): {}; the proxy of {} counted {counted} with {}",
        seen.target,
        seen.address,
        seen.outcome.word(),
        expected.at,
        expected.reason.word()
    );
    Judgement::new(if refused && counted > 0 { Outcome::Pass } else { Outcome::Fail }, sentence, figures)
}

fn counted(expected: &Denied, proxies: &[Counters]) -> u64 {
    let of_proxy = proxies.iter().filter(|counters| counters.of == expected.at);
    let ends = expected.reason.counters();
    of_proxy
        .flat_map(|counters| &counters.growth)
        .filter(|(name, _)| ends.iter().any(|end| name.ends_with(end)))
        .map(|(_, value)| value)
        .sum()
}

/// Every quantile is shown to be within its bound.
pub(super) fn latency(bounds: &[LatencyBound], seen: &TrafficObservation) -> Judgement {
    let sorted = seen.latencies_ms();
    let mut quantiles = Vec::new();
    let mut evidence = Vec::new();
    let mut outcomes = Vec::new();
    for bound in bounds {
        let limit_ms = bound.at_most.as_secs_f64() * 1_000.0;
        let Some(estimate) = bound.plan.estimate(&sorted) else {
            return Judgement::new(Outcome::Inconclusive, "not observable: no request was answered", Value::Null);
        };
        let outcome = bound.plan.judge(&estimate, limit_ms);
        let end = |value: Option<f64>, open: &str| value.map_or(open.to_owned(), |value| format!("{value:.1}"));
        evidence.push(format!(
            "{} % of the answers came within {:.1} ms, exact interval [{}, {}] ms; the limit is {limit_ms} ms",
            bound.plan.quantile * 100.0,
            estimate.value,
            end(estimate.low, "0"),
            end(estimate.high, "open"),
        ));
        quantiles.push(Quantile {
            quantile: bound.plan.quantile,
            ms: estimate.value,
            low_ms: estimate.low.unwrap_or(0.0),
            high_ms: estimate.high.unwrap_or(f64::MAX),
            limit_ms: Some(limit_ms),
        });
        outcomes.push(outcome);
    }
    let figures = json!({ "latency": Latency { count: sorted.len() as u64, buckets: buckets(&sorted), quantiles } });
    Judgement { outcome: Outcome::all(outcomes), evidence, figures }
}

/// Sorted latencies by bound, each bound some percent above the one before.
fn buckets(sorted: &[f64]) -> Vec<LatencyBucket> {
    let mut buckets: BTreeMap<i32, u64> = BTreeMap::new();
    for value in sorted {
        *buckets.entry((value.max(0.01).ln() * 20.0).ceil() as i32).or_default() += 1;
    }
    let bound = |index: i32| (f64::from(index) / 20.0).exp();
    buckets.into_iter().map(|(index, count)| LatencyBucket { up_to_ms: bound(index), count }).collect()
}

pub(super) fn of_traffic(text: &str, seen: &TrafficObservation) -> Judgement {
    let samples = &seen.samples;
    expression(
        text,
        json!({
            "requests": samples.requests,
            "answered": samples.answered,
            "durationMs": samples.duration_ms,
            "connections": samples.connections_opened,
            "reconnects": samples.reconnects,
            "statuses": samples.by_status,
            "errors": samples.errors,
            "groups": samples.groups,
            "latencyMs": samples.latency_ms,
            "links": seen.witnesses.links(),
        }),
    )
}

pub(super) fn of_connection(text: &str, seen: &ConnectionObservation) -> Judgement {
    expression(
        text,
        json!({
            "outcome": seen.outcome,
            "address": seen.address,
            "target": seen.target,
            "answeredBy": seen.answered_by,
        }),
    )
}

pub(super) fn of_config(text: &str, seen: &ConfigObservation) -> Judgement {
    let mut judgement = expression(text, json!({ "config": seen.value }));
    // What a proxy holds fills pages; the place is enough to look it up.
    judgement.figures = json!({ "place": seen.place });
    judgement
}

/// What has no value is no proof of anything.
fn expression(text: &str, observation: Value) -> Judgement {
    match expression::holds(text, &observation) {
        Ok(true) => Judgement::new(Outcome::Pass, format!("`{text}` is true"), observation),
        Ok(false) => Judgement::new(Outcome::Fail, format!("`{text}` is false"), observation),
        Err(cause) => Judgement::new(Outcome::Inconclusive, format!("`{text}` has no value: {cause}"), observation),
    }
}

#[cfg(test)]
mod tests;
