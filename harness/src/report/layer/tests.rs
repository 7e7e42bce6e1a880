//! Each layer from the evidence that points at it.

use serde_json::{Value, json};

use super::*;
use crate::report::figures::Traffic;

fn step(checks: Vec<CheckReport>) -> StepRecord {
    StepRecord {
        id: "4".into(),
        name: "75/15/10".into(),
        outcome: Some(StepOutcome::Failed),
        evidence: Vec::new(),
        traffic: vec![Traffic { from_cluster: "cluster1".into(), ..Traffic::default() }],
        checks,
        started_ms: 0,
        duration_ms: 1,
    }
}

fn check(name: &str, figures: Value) -> CheckReport {
    CheckReport {
        name: name.into(),
        outcome: Outcome::Fail,
        evidence: vec!["a sentence".into()],
        location: None,
        figures,
    }
}

fn layer(name: &str, figures: Value) -> Option<Layer> {
    let step = step(vec![check(name, figures)]);
    guess(&step, step.checks.first()).map(|guess| guess.layer)
}

fn split(counts: &[(&str, f64, u64)]) -> Value {
    let n: u64 = counts.iter().map(|(_, _, count)| count).sum();
    let categories: Vec<Value> = counts
        .iter()
        .map(|(category, target, count)| {
            let share = *count as f64 / n as f64;
            let off = (share * 100.0 - target).abs() > 5.0;
            json!({
                "category": category, "outcome": if off { "fail" } else { "pass" }, "count": count, "share": share,
                "interval": { "low": 0.0, "high": 1.0 }, "target": target, "margin": 5.0, "reason": "",
            })
        })
        .collect();
    json!({ "split": { "outcome": "fail", "n": n, "planned": n, "categories": categories } })
}

#[test]
fn shares_tell_whether_nobody_knows_the_other_cluster_or_weights_are_wrong() {
    let nothing_remote = split(&[("v3@cluster2", 75.0, 0), ("v1@cluster1", 15.0, 60), ("v2@cluster1", 10.0, 40)]);
    assert_eq!(layer("split", nothing_remote), Some(Layer::RemoteSecret));
    let one_missing = split(&[("v3@cluster2", 75.0, 75), ("v1@cluster1", 15.0, 0), ("v2@cluster1", 10.0, 25)]);
    assert_eq!(layer("split", one_missing), Some(Layer::Endpoints));
    let permuted = split(&[("v3@cluster2", 75.0, 15), ("v1@cluster1", 15.0, 10), ("v2@cluster1", 10.0, 75)]);
    assert_eq!(layer("split", permuted), Some(Layer::Route));
    let stray = split(&[("v2@cluster1", 100.0, 90), ("v3@cluster2", 0.0, 10)]);
    assert_eq!(layer("split", stray), Some(Layer::Route));
}

#[test]
fn gateways_tell_what_they_turned_away() {
    let counted =
        |name: &str| json!({ "gateways": [{ "gateway": { "cluster": "cluster2" }, "counters": { name: 3 } }] });
    assert_eq!(layer("failures", counted("noFilterChainMatch")), Some(Layer::Gateway));
    assert_eq!(layer("failures", counted("tlsErrors")), Some(Layer::Certificate));
    assert_eq!(layer("failures", counted("noHealthyUpstream")), Some(Layer::Endpoints));
    assert_eq!(layer("failures", counted("bytesPassedOn")), None);
}

#[test]
fn identities_tell_certificates() {
    let seen = |peer: Value| {
        json!({
            "expected": { "client": "spiffe://a", "server": "spiffe://b" },
            "groups": [{ "peer": peer, "server": "spiffe://b" }],
        })
    };
    assert_eq!(layer("mtls", seen(Value::Null)), Some(Layer::Certificate));
    assert_eq!(layer("mtls", seen(json!("spiffe://c"))), Some(Layer::Certificate));
    assert_eq!(layer("mtls", seen(json!("spiffe://a"))), None, "what was seen is what was expected");
}

#[test]
fn statuses_and_errors_of_requests_are_told_apart() {
    let cases = [
        (json!({ "statuses": { "503": 9, "200": 1 } }), Layer::Endpoints),
        (json!({ "statuses": { "404": 9 } }), Layer::Route),
        (json!({ "statuses": { "403": 9 } }), Layer::Route),
        (json!({ "statuses": { "500": 9 } }), Layer::Application),
        (json!({ "errors": { "timeout": 9 } }), Layer::Network),
        (json!({ "errors": { "reset": 2, "connect-refused": 7 } }), Layer::Endpoints),
    ];
    for (figures, expected) in cases {
        assert_eq!(layer("answered", figures.clone()), Some(expected), "{figures}");
    }
}

#[test]
fn connections_tell_isolation_from_authentication() {
    let seen = |outcome: &str| json!({ "address": "10.1.0.7:9080", "outcome": outcome });
    assert_eq!(layer("connection", seen("answered")), Some(Layer::Certificate));
    assert_eq!(layer("reached", seen("answered")), Some(Layer::Network));
    assert_eq!(layer("connection", seen("timeout")), Some(Layer::Network));
    assert_eq!(layer("connection", seen("refused")), Some(Layer::Application));
}

#[test]
fn requests_that_failed_explain_a_split_that_is_off() {
    let wrong = split(&[("v3@cluster2", 75.0, 15), ("v1@cluster1", 25.0, 85)]);
    let step = step(vec![check("split", wrong), check("answered", json!({ "statuses": { "503": 9 } }))]);
    assert_eq!(guess(&step, step.checks.first()).map(|guess| guess.layer), Some(Layer::Endpoints));
}

#[test]
fn messages_are_read_word_by_word() {
    let layer = |message: &str| evidence::of_message(message).map(|guess| guess.layer);
    assert_eq!(layer("cluster cluster2 is not watched or not read yet"), Some(Layer::RemoteSecret));
    assert_eq!(layer("x509: certificates signed by unknown authority"), Some(Layer::Certificate));
    assert_eq!(layer("proxy p rejected the configuration: no such cluster"), Some(Layer::Route));
    assert_eq!(layer("apply VirtualService a/b: connection refused"), Some(Layer::Network));
    assert_eq!(layer("cluster2: no running pod of reviews-v3"), Some(Layer::Endpoints));
    assert_eq!(layer("the little house"), None, "`tls` is no part of another word");
}

#[test]
fn a_command_runs_exactly_the_scenario_again() {
    let mut scenario = ScenarioRecord {
        name: "shift".into(),
        repetition: None,
        description: String::new(),
        file: "my scenarios/it's.yaml".into(),
        outcome: None,
        started_ms: 0,
        duration_ms: 0,
        steps: Vec::new(),
        artifacts: None,
    };
    let mut record = Record { command: "e2e".into(), environment: "mine".into(), ..Record::default() };
    assert_eq!(reproduce(&record, &scenario), r"cargo xtask e2e 'my scenarios/it'\''s.yaml'");
    record.command = "run".into();
    scenario.file = "a/b.yaml".into();
    assert_eq!(reproduce(&record, &scenario), "cargo xtask run a/b.yaml --name mine");
    record.command = "cargo test -- --exact 'a::b'".into();
    assert_eq!(reproduce(&record, &scenario), "cargo test -- --exact 'a::b'");
}
