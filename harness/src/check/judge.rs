//! Judges observations against expectations. Pure: the same observation always gets the same verdict.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use verdict::Outcome;
use verdict::text::thousands;

use super::observation::{ConnectionObservation, GatewayCounters, Observation, TrafficObservation};
use super::{assertions, config, failover, headers, mutual_tls, reachability};
use crate::scenario::keys::{ConnectionOutcome, FAILED, FailureReason, SplitKey};
use crate::scenario::plan::{Check, Expectation, Failures, Split};

/// A verdict with its evidence.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The verdict.
    pub outcome: Outcome,
    /// One sentence each; for a failure the cause comes first.
    pub evidence: Vec<String>,
    /// The figures behind the evidence.
    pub figures: Value,
}

impl Judgement {
    pub(super) fn new(outcome: Outcome, evidence: impl Into<String>, figures: Value) -> Self {
        Self { outcome, evidence: vec![evidence.into()], figures }
    }

    fn not_applicable(check: &Check, what: &str) -> Self {
        Self::new(Outcome::Fail, format!("{check:?} cannot be judged from {what}"), Value::Null)
    }
}

/// Judges an expectation, of the requests of its source where it is about one.
#[must_use]
pub fn judge_of(expectation: &Expectation, observation: &Observation) -> Judgement {
    let (Some(source), Observation::Traffic(seen)) = (&expectation.from, observation) else {
        return judge(&expectation.check, observation);
    };
    let narrowed = Observation::Traffic(Box::new(seen.narrowed(source)));
    let mut judgement = judge(&expectation.check, &narrowed);
    if let Some(first) = judgement.evidence.first_mut() {
        *first = format!("from {} of {}: {first}", source.name, source.cluster);
    }
    judgement
}

/// Judges what must hold.
#[must_use]
pub fn judge(check: &Check, observation: &Observation) -> Judgement {
    match (check, observation) {
        (Check::Connection(allowed), Observation::Connection(seen)) => connection(allowed, seen),
        (Check::Reached(wanted), Observation::Connection(seen)) => reached(*wanted, seen),
        (Check::Denied(expected), Observation::Connection(seen)) => assertions::connection_denied(expected, seen),
        (Check::Cel(text), Observation::Connection(seen)) => assertions::of_connection(text, seen),
        (Check::Cel(text), Observation::Config(seen)) => assertions::of_config(text, seen),
        (Check::Holds(held), Observation::Config(seen)) => config::held(held, seen),
        (Check::Reachable(exceptions), Observation::Reachability(seen)) => reachability::reachable(exceptions, seen),
        (check, Observation::Reachability(_)) => Judgement::not_applicable(check, "who reached whom"),
        (check, Observation::Config(_)) => Judgement::not_applicable(check, "what a proxy holds"),
        (check, Observation::Connection(_)) => Judgement::not_applicable(check, "a connection attempt"),
        (check, Observation::Traffic(seen)) => traffic(check, seen),
    }
}

fn traffic(check: &Check, seen: &TrafficObservation) -> Judgement {
    match check {
        Check::Answered(plan) => {
            let verdict =
                plan.judge("requests without an answer of status 200", seen.not_answered(), seen.samples.requests);
            let mut evidence = vec![verdict.sentence.clone()];
            evidence.extend(why_not_answered(seen));
            Judgement {
                outcome: verdict.outcome,
                evidence,
                figures: json!({ "rate": verdict, "statuses": seen.samples.by_status, "errors": seen.samples.errors }),
            }
        }
        Check::Split(expected) => split(expected, seen),
        Check::MutualTls(expected) => mutual_tls::mutual_tls(expected, seen),
        Check::Failures(expected) => failures(expected, seen),
        Check::Identity(expected) => assertions::identity(expected, seen),
        Check::Denied(expected) => assertions::requests_denied(expected, seen),
        Check::Failover(expected) => failover::failover(expected, seen),
        Check::Latency(bounds) => assertions::latency(bounds, seen),
        Check::Headers(expected) => headers::headers(expected, seen),
        Check::Cel(text) => assertions::of_traffic(text, seen),
        Check::Connection(_) | Check::Reached(_) | Check::Reachable(_) | Check::Holds(_) => {
            Judgement::not_applicable(check, "requests")
        }
    }
}

fn why_not_answered(seen: &TrafficObservation) -> Option<String> {
    if seen.not_answered() == 0 {
        return None;
    }
    let mut causes = other_ends(seen, &[200]);
    causes.extend(seen.samples.error_samples.first().map(|sample| format!("such as \"{}\"", sample.text)));
    Some(causes.join(", "))
}

/// How requests ended, counted, that got no answer with one of these statuses.
pub(super) fn other_ends(seen: &TrafficObservation, statuses: &[u16]) -> Vec<String> {
    let is_other = |status: &str| !statuses.iter().any(|one| one.to_string() == status);
    let others = seen.samples.by_status.iter().filter(|(status, _)| is_other(status));
    let errors = seen.samples.errors.iter().filter(|(_, count)| **count > 0);
    let others = others.map(|(status, count)| format!("status {status}: {}", thousands(*count)));
    others.chain(errors.map(|(class, count)| format!("{class}: {}", thousands(*count)))).collect()
}

/// Whether more requests could still decide the check.
#[must_use]
pub fn is_open(check: &Check, seen: &TrafficObservation) -> bool {
    let Check::Split(Split { by, early: Some(early), .. }) = check else { return false };
    early.look(&split_counts(by, seen)) == Outcome::Inconclusive
}

fn split_counts(by: &SplitKey, seen: &TrafficObservation) -> BTreeMap<String, u64> {
    let mut counts = seen.counts(by);
    let failed = seen.not_answered();
    if failed > 0 {
        counts.insert(FAILED.to_owned(), failed);
    }
    counts
}

fn split(expected: &Split, seen: &TrafficObservation) -> Judgement {
    let counts = split_counts(&expected.by, seen);
    let verdict = match &expected.early {
        Some(early) => early.judge(&counts),
        None => expected.plan.judge(&counts),
    };
    let mut evidence = vec![verdict.sentence()];
    if expected.early.is_some() {
        let decided = if verdict.outcome == Outcome::Inconclusive { "not decided" } else { "decided" };
        let most = verdict.planned.max(verdict.n);
        evidence.push(format!("{decided} after {} of {} requests", thousands(verdict.n), thousands(most)));
    }
    evidence.extend(verdict.categories.iter().map(|category| category.reason.clone()));
    Judgement { outcome: verdict.outcome, evidence, figures: json!({ "by": expected.by, "split": verdict }) }
}

pub(super) fn gateway_figures(seen: &TrafficObservation) -> Value {
    seen.gateways.iter().map(|(gateway, counters)| json!({ "gateway": gateway, "counters": counters })).collect()
}

fn failures(expected: &Failures, seen: &TrafficObservation) -> Judgement {
    let failed = seen.not_answered();
    let figures = json!({
        "statuses": seen.samples.by_status, "errors": seen.samples.errors, "gateways": gateway_figures(seen),
    });
    if failed == 0 {
        return Judgement::new(Outcome::Fail, "no request failed", figures);
    }
    let right: u64 = expected.status.iter().filter_map(|status| seen.samples.by_status.get(&status.to_string())).sum();
    if right != failed {
        let causes = why_not_answered(seen).unwrap_or_default();
        return Judgement::new(
            Outcome::Fail,
            format!("requests failed in other ways than expected: {causes}"),
            figures,
        );
    }
    let counters = seen.gateway(&expected.at);
    let count = reason_count(expected.reason, counters);
    let place = format!("{} of {}", expected.at.kind.deployment(), expected.at.cluster);
    if count < failed {
        let sentence = format!(
            "{} requests failed, but {place} counted only {} connections with {}",
            thousands(failed),
            thousands(count),
            expected.reason.word()
        );
        return Judgement::new(Outcome::Fail, sentence, figures);
    }
    let sentence = format!(
        "{} requests failed with the expected status; {place} counted {} connections with {}",
        thousands(failed),
        thousands(count),
        expected.reason.word()
    );
    Judgement::new(Outcome::Pass, sentence, figures)
}

fn reason_count(reason: FailureReason, counters: GatewayCounters) -> u64 {
    match reason {
        FailureReason::NoFilterChainMatch => counters.no_filter_chain_match,
        FailureReason::TlsHandshake => counters.tls_errors,
        FailureReason::NoHealthyUpstream => counters.no_healthy_upstream,
        // A gateway that passes TLS on has no routes.
        FailureReason::NoRoute => 0,
    }
}

fn connection(allowed: &[ConnectionOutcome], seen: &ConnectionObservation) -> Judgement {
    let words: Vec<&str> = allowed.iter().map(|outcome| outcome.word()).collect();
    let outcome = if allowed.contains(&seen.outcome) { Outcome::Pass } else { Outcome::Fail };
    let sentence =
        format!("{} ({}): {}; expected {}", seen.target, seen.address, seen.outcome.word(), words.join(" or "));
    let mut figures = connection_figures(seen);
    figures["expected"] = json!(words);
    Judgement::new(outcome, sentence, figures)
}

fn reached(wanted: bool, seen: &ConnectionObservation) -> Judgement {
    let figures = connection_figures(seen);
    let opened = matches!(seen.outcome, ConnectionOutcome::Answered | ConnectionOutcome::Connected);
    let outcome = match &seen.answered_by {
        // Somebody answered at that address: only the name tells who.
        Some(pod) => Some(*pod == seen.target),
        None if opened => None,
        None => Some(false),
    };
    let Some(was_reached) = outcome else {
        let sentence = format!("{} opened a connection and did not say who it is", seen.address);
        return Judgement::new(Outcome::Inconclusive, sentence, figures);
    };
    let sentence = match &seen.answered_by {
        Some(pod) if !was_reached => {
            format!("{} is not reached: at {} answers {pod}, a pod of its own network", seen.target, seen.address)
        }
        Some(_) => format!("{} is reached at {}", seen.target, seen.address),
        None => format!("{} is not reached at {}: {}", seen.target, seen.address, seen.outcome.word()),
    };
    let outcome = if was_reached == wanted { Outcome::Pass } else { Outcome::Fail };
    Judgement::new(outcome, sentence, figures)
}

fn connection_figures(seen: &ConnectionObservation) -> Value {
    json!({
        "target": seen.target,
        "address": seen.address,
        "outcome": seen.outcome,
        "answeredBy": seen.answered_by,
        "meshed": seen.meshed,
    })
}

#[cfg(test)]
mod tests;
