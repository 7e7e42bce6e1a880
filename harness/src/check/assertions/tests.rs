//! Each assertion with an observation that proves it and one that refutes it.

use std::collections::BTreeMap;
use std::time::Duration;

use verdict::Outcome::{Fail, Inconclusive, Pass};
use verdict::quantile::QuantilePlan;

use super::*;
use crate::scenario::keys::{ConnectionOutcome, DenialReason};
use crate::scenario::plan::{Deployment, Peer};
use crate::traffic::probe::{Group, Samples};

const PROBE: &str = "spiffe://cluster.local/ns/bookinfo/sa/probe";

fn seen(status: u16, peer: Option<&str>, count: u64) -> TrafficObservation {
    let group = Group { status, peer: peer.map(str::to_owned), count, ..Group::default() };
    let samples = Samples {
        requests: count,
        answered: count,
        by_status: BTreeMap::from([(status.to_string(), count)]),
        groups: vec![group],
        ..Samples::default()
    };
    TrafficObservation { samples, ..TrafficObservation::default() }
}

fn reviews() -> Deployment {
    Deployment {
        cluster: "cluster1".to_owned(),
        namespace: "bookinfo".to_owned(),
        name: "reviews-v1".to_owned(),
        selector: "app=reviews".to_owned(),
        container: "reviews".to_owned(),
        served: true,
        vm: None,
    }
}

fn counted(name: &str, value: u64) -> Vec<Counters> {
    vec![Counters { of: reviews(), growth: BTreeMap::from([(name.to_owned(), value)]) }]
}

#[test]
fn identities_are_those_of_every_answer() {
    let expected = |client: Peer| Identity { client: Some(client), server: None };
    let id = || Peer::Id(PROBE.to_owned());
    assert_eq!(identity(&expected(id()), &seen(200, Some(PROBE), 9)).outcome, Pass);
    assert_eq!(identity(&expected(id()), &seen(200, None, 9)).outcome, Fail);
    assert_eq!(identity(&expected(Peer::Nobody), &seen(200, None, 9)).outcome, Pass);
    assert_eq!(identity(&expected(Peer::Nobody), &seen(200, Some(PROBE), 9)).outcome, Fail);
    assert_eq!(identity(&expected(id()), &seen(503, None, 9)).outcome, Inconclusive);
}

#[test]
fn a_refusal_needs_the_status_and_the_counter() {
    let expected = Denied { at: reviews(), reason: DenialReason::Rbac };
    let with = |status: u16, proxies: Vec<Counters>| TrafficObservation { proxies, ..seen(status, None, 10) };
    let outcome = |seen: TrafficObservation| requests_denied(&expected, &seen).outcome;
    assert_eq!(outcome(with(403, counted("http.inbound.rbac.denied", 10))), Pass);
    assert_eq!(outcome(with(403, counted("http.inbound.rbac.denied", 9))), Fail, "another hop refused one");
    assert_eq!(outcome(with(403, counted("http.inbound.rbac.allowed", 10))), Fail);
    assert_eq!(outcome(with(503, counted("http.inbound.rbac.denied", 10))), Fail, "not merely an error");
    assert_eq!(outcome(with(200, counted("http.inbound.rbac.denied", 10))), Fail);
}

#[test]
fn a_refused_connection_is_counted_where_it_was_refused() {
    let expected = Denied { at: reviews(), reason: DenialReason::TlsHandshake };
    let with = |outcome: ConnectionOutcome, count: u64| ConnectionObservation {
        outcome,
        address: "10.0.0.1:9080".to_owned(),
        target: "cluster1/reviews".to_owned(),
        answered_by: None,
        meshed: true,
        proxies: counted("listener.0.0.0.0_15006.no_filter_chain_match", count),
    };
    let outcome = |seen: ConnectionObservation| connection_denied(&expected, &seen).outcome;
    assert_eq!(outcome(with(ConnectionOutcome::Reset, 1)), Pass);
    assert_eq!(outcome(with(ConnectionOutcome::Reset, 0)), Fail);
    assert_eq!(outcome(with(ConnectionOutcome::Timeout, 1)), Fail);
}

#[test]
fn a_latency_is_shown_by_enough_answers() {
    let bound = |limit: u64| {
        vec![LatencyBound { plan: QuantilePlan { quantile: 0.9, alpha: 0.01 }, at_most: Duration::from_millis(limit) }]
    };
    let with = |count: u64| {
        let mut seen = seen(200, None, count);
        seen.latencies = (1..=count).map(|number| (number as f64, 1)).collect();
        seen
    };
    assert_eq!(latency(&bound(100), &with(100)).outcome, Pass);
    assert_eq!(latency(&bound(80), &with(100)).outcome, Fail);
    assert_eq!(latency(&bound(90), &with(100)).outcome, Inconclusive);
    assert_eq!(latency(&bound(1_000), &with(43)).outcome, Inconclusive, "44 samples bound this quantile");
    assert_eq!(latency(&bound(1_000), &with(0)).outcome, Inconclusive);
    let figures = latency(&bound(100), &with(100)).figures;
    let figures: Latency = crate::report::figures::read(&figures, "latency").expect("figures");
    assert_eq!(figures.buckets.iter().map(|bucket| bucket.count).sum::<u64>(), 100);
}

#[test]
fn expressions_are_true_false_or_without_a_value() {
    let seen = seen(200, Some(PROBE), 10);
    assert_eq!(of_traffic("statuses['200'] == requests", &seen).outcome, Pass);
    assert_eq!(of_traffic("requests > 10", &seen).outcome, Fail);
    assert_eq!(of_traffic("statuses['503'] == 1", &seen).outcome, Inconclusive);
}
