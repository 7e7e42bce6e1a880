//! Every check with an observation that proves it and with each way in which it is refuted or left open.

use std::collections::BTreeMap;

use verdict::EarlySplit;
use verdict::Outcome::{Fail, Inconclusive, Pass};
use verdict::rate::RatePlan;
use verdict::split::{ErrorRates, SplitPlan, Target};

use super::*;
use crate::check::observation::OfSource;
use crate::scenario::plan::Gateway;
use crate::topology::GatewayKind;
use crate::topology::Workload;
use crate::traffic::probe::{Group, Samples};

const PROBE: &str = "spiffe://cluster.local/ns/bookinfo/sa/probe";
const REVIEWS: &str = "spiffe://cluster.local/ns/bookinfo/sa/bookinfo-reviews";

fn gateway() -> Gateway {
    Gateway { cluster: "cluster2".to_owned(), kind: GatewayKind::Eastwest }
}

fn group(version: &str, cluster: &str, status: u16, count: u64) -> Group {
    let some = |text: &str| Some(text.to_owned());
    Group {
        status,
        version: some(version),
        cluster: some(cluster),
        network: None,
        pod: some(&format!("reviews-{version}-x")),
        peer: some(PROBE),
        server: some(REVIEWS),
        count,
        ..Group::default()
    }
}

/// What a client counted, from its groups.
fn traffic(groups: Vec<Group>) -> TrafficObservation {
    let mut by_status: BTreeMap<String, u64> = BTreeMap::new();
    for group in &groups {
        *by_status.entry(group.status.to_string()).or_default() += group.count;
    }
    let requests = groups.iter().map(|group| group.count).sum();
    let samples = Samples { requests, answered: requests, by_status, groups, ..Samples::default() };
    TrafficObservation::of(vec![OfSource { source: Workload::client("cluster1"), samples }])
}

fn with_counters(mut seen: TrafficObservation, counters: GatewayCounters) -> TrafficObservation {
    seen.gateways = vec![(gateway(), counters)];
    seen
}

fn outcome(check: &Check, seen: &TrafficObservation) -> Outcome {
    let judgement = judge(check, &Observation::Traffic(Box::new(seen.clone())));
    assert!(!judgement.evidence.is_empty(), "{check:?} says nothing");
    judgement.outcome
}

#[test]
fn one_request_without_an_answer_refutes_that_all_are_answered() {
    let check = Check::Answered(RatePlan { limit: 0.0, alpha: 0.01 });
    assert_eq!(outcome(&check, &traffic(vec![group("v1", "cluster1", 200, 500)])), Pass);
    let mut lost = traffic(vec![group("v1", "cluster1", 200, 499)]);
    lost.samples.requests = 500;
    lost.samples.errors = BTreeMap::from([("reset".to_owned(), 1)]);
    let judgement = judge(&check, &Observation::Traffic(Box::new(lost)));
    assert_eq!(judgement.outcome, Fail);
    assert!(judgement.evidence.iter().any(|line| line.contains("reset: 1")), "{:?}", judgement.evidence);
    assert_eq!(outcome(&check, &traffic(vec![group("v1", "cluster1", 503, 1)])), Fail);
}

#[test]
fn a_split_that_may_be_decided_early_is_open_until_it_is_decided() {
    let Check::Split(split) = split_check(&[("v1@cluster1", 25.0), ("v3@cluster2", 75.0)]) else { panic!("a split") };
    let early = EarlySplit::new(&split.plan).expect("a plan");
    let most = early.most();
    let check = Check::Split(Split { early: Some(early), ..split });
    let seen = |v1: u64, v3: u64| traffic(vec![group("v1", "cluster1", 200, v1), group("v3", "cluster2", 200, v3)]);
    let decided = |v1: u64, v3: u64| {
        let judgement = judge(&check, &Observation::Traffic(Box::new(seen(v1, v3))));
        (is_open(&check, &seen(v1, v3)), judgement.outcome, judgement.evidence[1].clone())
    };
    let after = |n: &str| format!("decided after {n} of {} requests", thousands(most));
    assert_eq!(decided(25, 75), (true, Inconclusive, format!("not {}", after("100"))));
    assert_eq!(decided(500, 1_500), (false, Pass, after("2,000")));
    assert_eq!(decided(70, 30), (false, Fail, after("100")));
    let mut failed = seen(25, 75);
    failed.samples.requests += 1;
    assert!(!is_open(&check, &failed), "a single failure refutes a split");
    let answered = Check::Answered(RatePlan { limit: 0.0, alpha: 0.01 });
    assert!(!is_open(&answered, &seen(1, 0)), "it is true or not of every single request");
}

fn split_check(weights: &[(&str, f64)]) -> Check {
    let targets =
        weights.iter().map(|(category, weight)| Target { category: (*category).to_owned(), weight: *weight }).collect();
    let plan = SplitPlan::new(targets, 5.0, ErrorRates::default()).expect("a plan");
    Check::Split(Split { by: "version@cluster".parse().expect("a key"), plan, early: None })
}

#[test]
fn a_split_is_counted_by_its_key_and_failures_are_a_category() {
    let check = split_check(&[("v1@cluster1", 25.0), ("v3@cluster2", 75.0)]);
    let right = vec![group("v1", "cluster1", 200, 1_000), group("v3", "cluster2", 200, 3_000)];
    assert_eq!(outcome(&check, &traffic(right.clone())), Pass);
    let swapped = vec![group("v1", "cluster1", 200, 3_000), group("v3", "cluster2", 200, 1_000)];
    assert_eq!(outcome(&check, &traffic(swapped)), Fail);
    // The version alone does not tell who answered.
    let elsewhere = vec![group("v1", "cluster2", 200, 1_000), group("v3", "cluster2", 200, 3_000)];
    assert_eq!(outcome(&check, &traffic(elsewhere)), Fail);
    let mut some_failed = right;
    some_failed.push(group("v3", "cluster2", 503, 40));
    assert_eq!(outcome(&check, &traffic(some_failed)), Fail);
    let few = vec![group("v1", "cluster1", 200, 5), group("v3", "cluster2", 200, 15)];
    assert_eq!(outcome(&check, &traffic(few)), Inconclusive);
}

#[test]
fn failures_must_be_of_the_kind_at_the_place_and_as_many() {
    let check =
        Check::Failures(Failures { status: vec![503], at: gateway(), reason: FailureReason::NoFilterChainMatch });
    let counted = |no_filter_chain_match| GatewayCounters { no_filter_chain_match, ..GatewayCounters::default() };
    let failed = traffic(vec![group("v1", "cluster1", 200, 10), group("v3", "cluster2", 503, 30)]);
    assert_eq!(outcome(&check, &with_counters(failed.clone(), counted(90))), Pass);
    assert_eq!(outcome(&check, &with_counters(failed.clone(), counted(29))), Fail);
    // Another reason in the same place does not count for this one.
    let elsewhere = GatewayCounters { tls_errors: 90, no_healthy_upstream: 90, ..GatewayCounters::default() };
    assert_eq!(outcome(&check, &with_counters(failed, elsewhere)), Fail);
    let otherwise = traffic(vec![group("v3", "cluster2", 503, 30), group("v3", "cluster2", 404, 1)]);
    assert_eq!(outcome(&check, &with_counters(otherwise, counted(90))), Fail);
    let none = traffic(vec![group("v1", "cluster1", 200, 10)]);
    assert_eq!(outcome(&check, &with_counters(none, counted(90))), Fail);
}

fn attempt(outcome: ConnectionOutcome, answered_by: Option<&str>) -> Observation {
    Observation::Connection(ConnectionObservation {
        outcome,
        address: "10.244.0.8:9080".to_owned(),
        target: "cluster2/reviews-v3-x".to_owned(),
        meshed: true,
        proxies: Vec::new(),
        answered_by: answered_by.map(str::to_owned),
    })
}

#[test]
fn a_connection_ends_in_one_of_the_ways_that_are_allowed() {
    let check = Check::Connection(vec![ConnectionOutcome::Reset, ConnectionOutcome::Refused]);
    assert_eq!(judge(&check, &attempt(ConnectionOutcome::Reset, None)).outcome, Pass);
    for other in [ConnectionOutcome::Answered, ConnectionOutcome::Connected, ConnectionOutcome::Timeout] {
        assert_eq!(judge(&check, &attempt(other, None)).outcome, Fail, "{other:?}");
    }
}

#[test]
fn a_pod_is_reached_only_if_it_says_so_itself() {
    let (own, other) = ("cluster2/reviews-v3-x", "cluster1/reviews-v1-y");
    let answered = |by| attempt(ConnectionOutcome::Answered, Some(by));
    let wanted = |wanted, seen: &Observation| judge(&Check::Reached(wanted), seen).outcome;
    assert_eq!((wanted(true, &answered(own)), wanted(false, &answered(own))), (Pass, Fail));
    // A pod with the same address on its own network.
    assert_eq!((wanted(true, &answered(other)), wanted(false, &answered(other))), (Fail, Pass));
    let silent = attempt(ConnectionOutcome::Connected, None);
    assert_eq!((wanted(true, &silent), wanted(false, &silent)), (Inconclusive, Inconclusive));
    let nobody = attempt(ConnectionOutcome::Timeout, None);
    assert_eq!((wanted(true, &nobody), wanted(false, &nobody)), (Fail, Pass));
}

#[test]
fn a_check_of_something_else_never_passes() {
    let connection = attempt(ConnectionOutcome::Answered, None);
    assert_eq!(judge(&split_check(&[("v1@cluster1", 100.0)]), &connection).outcome, Fail);
    assert_eq!(outcome(&Check::Reached(true), &traffic(vec![group("v1", "cluster1", 200, 9)])), Fail);
}
