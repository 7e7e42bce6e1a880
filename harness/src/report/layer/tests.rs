//! Each layer from the evidence that points at it.

use serde_json::{Value, json};

use super::*;
use crate::report::figures::{Failed, Traffic};

/// A scenario with one step, whose client is in cluster1 and asks for reviews.
fn scenario(checks: Vec<CheckReport>, failures: Vec<Failed>, situation: Option<Situation>) -> ScenarioRecord {
    let traffic = Traffic {
        from_cluster: "cluster1".into(),
        url: "http://reviews.bookinfo:9080/".into(),
        failures,
        ..Traffic::default()
    };
    let step = StepRecord {
        id: "4".into(),
        name: "75/15/10".into(),
        outcome: Some(StepOutcome::Failed),
        evidence: Vec::new(),
        traffic: vec![traffic],
        checks,
        started_ms: 0,
        duration_ms: 1,
    };
    ScenarioRecord {
        name: "shift".into(),
        repetition: None,
        description: String::new(),
        file: String::new(),
        environment: None,
        outcome: None,
        started_ms: 0,
        duration_ms: 0,
        steps: vec![step],
        situation,
        artifacts: None,
    }
}

fn guessed(scenario: &ScenarioRecord) -> Option<Layer> {
    let step = &scenario.steps[0];
    guess(scenario, step, step.checks.first()).map(|guess| guess.layer)
}

/// An environment that was looked at, with what was out of order.
fn out_of_order(signs: &[(SignKind, &str, &str)]) -> Option<Situation> {
    let sign = |(kind, cluster, of): &(SignKind, &str, &str)| Sign {
        kind: *kind,
        cluster: Some((*cluster).to_owned()).filter(|cluster| !cluster.is_empty()),
        of: (*of).to_owned(),
        what: "a fact".to_owned(),
    };
    Some(Situation { signs: signs.iter().map(sign).collect(), unseen: Vec::new() })
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
    guessed(&scenario(vec![check(name, figures)], Vec::new(), None))
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
fn shares_that_are_off_while_everybody_answers_are_a_matter_of_routes() {
    let permuted = split(&[("v3@cluster2", 75.0, 15), ("v1@cluster1", 15.0, 10), ("v2@cluster1", 10.0, 75)]);
    assert_eq!(layer("split", permuted), Some(Layer::Route));
    let stray = split(&[("v2@cluster1", 100.0, 90), ("v3@cluster2", 0.0, 10)]);
    assert_eq!(layer("split", stray), Some(Layer::Route));
}

#[test]
fn somebody_who_got_nothing_is_explained_by_what_is_out_of_order_there() {
    let missing = |situation| {
        let counts = split(&[("v3@cluster2", 75.0, 0), ("v1@cluster1", 15.0, 60), ("v2@cluster1", 10.0, 40)]);
        guessed(&scenario(vec![check("split", counts)], Vec::new(), situation))
    };
    let because = |kind, cluster, of| missing(out_of_order(&[(kind, cluster, of)]));
    assert_eq!(because(SignKind::ClusterNotWatched, "cluster1", "cluster2"), Some(Layer::RemoteSecret));
    assert_eq!(because(SignKind::GatewayDown, "cluster2", "istio-eastwestgateway"), Some(Layer::Gateway));
    assert_eq!(because(SignKind::LinkDisturbed, "", "network1 to network2"), Some(Layer::Network));
    assert_eq!(because(SignKind::WorkloadDown, "cluster2", "reviews-v3"), Some(Layer::Endpoints));
    assert_eq!(because(SignKind::WorkloadCrashes, "cluster2", "reviews-v3"), Some(Layer::Application));
    // The lowest of them explains the others.
    let both = out_of_order(&[
        (SignKind::WorkloadDown, "cluster2", "reviews-v3"),
        (SignKind::GatewayDown, "cluster2", "istio-eastwestgateway"),
    ]);
    assert_eq!(missing(both), Some(Layer::Gateway));
    // What is out of order elsewhere explains nothing, and then nothing is known.
    assert_eq!(because(SignKind::ClusterNotWatched, "cluster2", "cluster1"), None);
    assert_eq!(because(SignKind::GatewayDown, "cluster1", "istio-eastwestgateway"), None);
    assert_eq!(because(SignKind::WorkloadDown, "cluster2", "ratings-v1"), None);
    assert_eq!(because(SignKind::WorkloadDown, "cluster1", "reviews-v1"), None);
    assert_eq!(missing(None), None, "nobody looked");
    // Everything is in order: then the routes send nothing there.
    assert_eq!(missing(out_of_order(&[])), Some(Layer::Route));
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

fn status(status: u16, words: &str) -> Failed {
    Failed { status: Some(status), words: Some(words.to_owned()), count: 9, ..Failed::default() }
}

/// An answer whose words are not known.
fn wordless(status: u16) -> Failed {
    Failed { status: Some(status), count: 9, ..Failed::default() }
}

fn error(class: &str) -> Failed {
    Failed { error: Some(class.to_owned()), count: 9, ..Failed::default() }
}

fn unanswered(failed: Failed, situation: Option<Situation>) -> Option<Layer> {
    guessed(&scenario(vec![check("answered", json!({}))], vec![failed], situation))
}

#[test]
fn requests_tell_who_answered_in_place_of_the_application() {
    let in_order = || out_of_order(&[]);
    let tls = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, \
        transport failure reason: TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED";
    assert_eq!(unanswered(status(503, tls), in_order()), Some(Layer::Certificate));
    assert_eq!(unanswered(status(403, "RBAC: access denied"), in_order()), Some(Layer::Route));
    assert_eq!(unanswered(status(404, ""), in_order()), Some(Layer::Route));
    assert_eq!(unanswered(status(503, ""), in_order()), Some(Layer::Route));
    assert_eq!(unanswered(status(503, "fault filter abort"), in_order()), Some(Layer::Route));
    assert_eq!(unanswered(status(503, "no healthy upstream"), in_order()), Some(Layer::Endpoints));
    let by_itself = Failed { by: Some("reviews-v1-x".into()), ..status(404, "") };
    assert_eq!(unanswered(by_itself, in_order()), Some(Layer::Application));
}

#[test]
fn a_refused_connection_is_no_matter_of_certificates() {
    let refused = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, \
        transport failure reason: delayed connect error: Connection refused";
    // Nothing else is wrong: the program does not listen.
    assert_eq!(unanswered(status(503, refused), out_of_order(&[])), Some(Layer::Application));
    assert_eq!(unanswered(error("connect-refused"), out_of_order(&[])), Some(Layer::Application));
    let gateway = out_of_order(&[(SignKind::GatewayDown, "cluster2", "istio-eastwestgateway")]);
    assert_eq!(unanswered(status(503, refused), gateway), Some(Layer::Gateway));
    assert_eq!(unanswered(status(503, refused), None), None, "nobody looked");
}

#[test]
fn requests_that_reached_nobody_are_explained_by_what_is_out_of_order() {
    let cases = [
        (SignKind::LinkDisturbed, "", "network1 to network2", Layer::Network),
        (SignKind::GatewayDown, "cluster2", "istio-eastwestgateway", Layer::Gateway),
        (SignKind::ClusterNotWatched, "cluster1", "cluster2", Layer::RemoteSecret),
        (SignKind::WorkloadDown, "cluster2", "reviews-v3", Layer::Endpoints),
        (SignKind::WorkloadCrashes, "cluster1", "reviews-v1", Layer::Application),
    ];
    for (kind, cluster, of, expected) in cases {
        let situation = || out_of_order(&[(kind, cluster, of)]);
        for failed in [status(503, "no healthy upstream"), wordless(503), error("timeout"), error("reset")] {
            assert_eq!(unanswered(failed, situation()), Some(expected), "{kind:?}");
        }
        // The application itself answered: nothing of that was in the way.
        let answered = Failed { by: Some("reviews-v1-x".into()), ..status(500, "") };
        assert_eq!(unanswered(answered, situation()), Some(Layer::Application), "{kind:?}");
    }
}

#[test]
fn what_fits_several_layers_is_unknown() {
    for failed in
        [wordless(503), wordless(404), status(504, "upstream request timeout"), error("timeout"), error("reset")]
    {
        assert_eq!(unanswered(failed.clone(), out_of_order(&[])), None, "{failed:?}");
    }
    // An expression that is false although every request was answered, whatever its words are.
    let sentence = "`groups.all(group, group.peer == 'spiffe://a' && certificate)` is false".to_owned();
    let cel = CheckReport { evidence: vec![sentence], ..check("cel", json!({ "tls": "timeout" })) };
    assert_eq!(guessed(&scenario(vec![cel], Vec::new(), out_of_order(&[]))), None);
}

#[test]
fn an_expression_that_is_false_is_explained_by_requests_that_failed() {
    let cel = check("cel", json!({}));
    let failed = vec![status(503, "no healthy upstream")];
    assert_eq!(guessed(&scenario(vec![cel], failed, None)), Some(Layer::Endpoints));
}

#[test]
fn connections_tell_isolation_from_authentication() {
    let seen = |outcome: &str, expected: &str, meshed: bool| json!({ "address": "10.1.0.7:9080", "outcome": outcome, "expected": [expected], "meshed": meshed });
    assert_eq!(layer("connection", seen("answered", "reset", true)), Some(Layer::Certificate));
    assert_eq!(layer("reached", seen("answered", "", true)), Some(Layer::Network));
    assert_eq!(layer("connection", seen("timeout", "answered", true)), Some(Layer::Network));
    assert_eq!(layer("connection", seen("reset", "answered", true)), Some(Layer::Certificate));
    assert_eq!(layer("connection", seen("reset", "answered", false)), None);
    assert_eq!(layer("connection", seen("refused", "reset", true)), Some(Layer::Application));
}

#[test]
fn answers_that_should_have_been_refused_tell_what_should_have_refused_them() {
    let answered =
        |reason: &str| json!({ "statuses": { "200": 5 }, "expected": { "reason": reason, "at": "cluster1/reviews" } });
    assert_eq!(layer("denied", answered("rbac")), Some(Layer::Route));
    assert_eq!(layer("denied", answered("tls")), Some(Layer::Certificate));
}

#[test]
fn requests_that_failed_explain_a_split_that_is_off() {
    let wrong = split(&[("v3@cluster2", 75.0, 15), ("v1@cluster1", 25.0, 85)]);
    let checks = vec![check("split", wrong), check("answered", json!({}))];
    assert_eq!(guessed(&scenario(checks, vec![status(503, "no healthy upstream")], None)), Some(Layer::Endpoints));
}

#[test]
fn only_words_that_belong_to_one_layer_are_read() {
    let layer = |message: &str| evidence::of_message(message).map(|guess| guess.layer);
    assert_eq!(layer("cluster cluster2 is not watched or not read yet"), Some(Layer::RemoteSecret));
    assert_eq!(layer("x509: certificates signed by unknown authority"), Some(Layer::Certificate));
    assert_eq!(layer("bookinfo/probe rejected rds: no such cluster"), Some(Layer::Route));
    assert_eq!(layer("cluster2: no running pod of reviews-v3"), Some(Layer::Endpoints));
    assert_eq!(layer("apply VirtualService a/b: connection refused"), None);
    assert_eq!(layer("cannot read the certificate of the gateway's endpoint: timed out"), None);
}

#[test]
fn a_command_runs_exactly_the_scenario_again() {
    let mut scenario = scenario(Vec::new(), Vec::new(), None);
    scenario.file = "my scenarios/it's.yaml".into();
    let mut record = Record { command: "e2e".into(), environment: "mine".into(), ..Record::default() };
    assert_eq!(reproduce(&record, &scenario), r"cargo xtask e2e 'my scenarios/it'\''s.yaml'");
    record.command = "run".into();
    scenario.file = "a/b.yaml".into();
    assert_eq!(reproduce(&record, &scenario), "cargo xtask run a/b.yaml --name mine");
    record.command = "cargo test -- --exact 'a::b'".into();
    assert_eq!(reproduce(&record, &scenario), "cargo test -- --exact 'a::b'");
}
