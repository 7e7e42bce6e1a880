//! Matrices of who reaches whom judged from counts; nothing is sent.

use super::*;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::scenario::plan::{Reachability, Side};
use crate::traffic::probe::Group;

fn workload(name: &str, cluster: &str) -> Workload {
    Workload {
        name: name.to_owned(),
        cluster: cluster.to_owned(),
        namespace: "echo".to_owned(),
        app: "echo".to_owned(),
        version: None,
        container: "echo".to_owned(),
        port: Some(8080),
        service_account: "echo".to_owned(),
        identity: "spiffe://cluster.local/ns/echo/sa/echo".to_owned(),
        sidecar: true,
        vm: None,
    }
}

fn answers(from: &[(&str, &str, u16, u64)], errors: u64) -> Samples {
    let group = |(cluster, pod, status, count): &(&str, &str, u16, u64)| Group {
        status: *status,
        cluster: Some((*cluster).to_owned()),
        pod: Some((*pod).to_owned()),
        count: *count,
        ..Group::default()
    };
    let answered: u64 = from.iter().map(|(.., count)| count).sum();
    Samples {
        requests: answered + errors,
        answered,
        errors: BTreeMap::from([("timeout".to_owned(), errors)]),
        groups: from.iter().map(group).collect(),
        ..Samples::default()
    }
}

/// A client of each cluster asks a service with a workload on each.
fn seen(first: Samples, second: Samples) -> ReachabilityObservation {
    let target = Target {
        service: "echo".to_owned(),
        namespace: "echo".to_owned(),
        port: 8080,
        protocol: Protocol::Http1,
        clusters: vec!["c1".to_owned(), "c2".to_owned()],
        requests: 48,
    };
    let matrix = Reachability {
        from: vec![workload("sleep", "c1"), workload("sleep", "c2")],
        to: vec![target],
        timeout: Duration::from_secs(1),
        expectations: Vec::new(),
    };
    ReachabilityObservation { matrix, answers: vec![vec![first], vec![second]] }
}

fn both() -> Samples {
    answers(&[("c1", "echo-v1-a", 200, 20), ("c2", "echo-v2-b", 200, 28)], 0)
}

fn across() -> Vec<Exception> {
    let on = |cluster: &str| Side { cluster: Some(cluster.to_owned()), ..Side::default() };
    vec![Exception { from: on("c1"), to: on("c2") }, Exception { from: on("c2"), to: on("c1") }]
}

#[test]
fn every_pair_counts() {
    let judged = reachable(&[], &seen(both(), both()));
    assert_eq!((judged.outcome, judged.evidence), (Outcome::Pass, vec!["all 4 pairs reach each other".to_owned()]));
    let judged = reachable(&[], &seen(both(), answers(&[("c2", "echo-v2-b", 200, 48)], 0)));
    assert_eq!(judged.outcome, Outcome::Fail);
    assert_eq!(
        judged.evidence,
        [
            "1 of 4 pairs are not as expected",
            "sleep of c2 to echo:8080 of c1: none of 48 requests was answered there; c2/echo-v2-b answered 48",
        ]
    );
    assert_eq!(judged.figures["reachability"]["cells"][1][0]["wrong"], true);
}

#[test]
fn an_exception_must_not_be_reached() {
    let own = |cluster: &str, pod: &str| answers(&[(cluster, pod, 200, 48)], 0);
    let judged = reachable(&across(), &seen(own("c1", "echo-v1-a"), own("c2", "echo-v2-b")));
    assert_eq!(judged.outcome, Outcome::Pass);
    assert_eq!(judged.evidence, ["2 pairs reach each other, and 2 do not, as expected"]);
    let judged = reachable(&across(), &seen(own("c1", "echo-v1-a"), both()));
    assert_eq!(judged.outcome, Outcome::Fail);
    assert!(judged.evidence[1].starts_with("sleep of c2 to echo:8080 of c1: not to be reached; "));
}

#[test]
fn where_somebody_is_to_answer_every_request_has_to_be_answered() {
    let some_fail = || answers(&[("c1", "echo-v1-a", 200, 20), ("c2", "echo-v2-b", 503, 20)], 8);
    let judged = reachable(&across(), &seen(some_fail(), both()));
    assert_eq!(judged.outcome, Outcome::Fail);
    assert!(judged.evidence.iter().any(|one| one.contains("28 of 48 requests failed")), "{:?}", judged.evidence);
    // From where nobody is to answer, failures are what is expected.
    let none = vec![Exception::default()];
    let judged = reachable(&none, &seen(answers(&[], 48), answers(&[], 48)));
    assert_eq!(judged.outcome, Outcome::Pass);
}
