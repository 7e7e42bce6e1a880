//! Steps that change things, groups, matrices, budgets: what they mean, and every mistake in them.

use super::tests::{checked, problems};
use crate::scenario::explain;
use crate::scenario::plan::{Action, Plan};

const V1: &str = "cluster: cluster1, workload: reviews-v1";
const DEPLOYMENT: &str =
    "cluster: cluster1, object: {apiVersion: apps/v1, kind: Deployment, namespace: bookinfo, name: reviews-v1}";
const MEASURE: &str = "traffic: {from: {cluster: cluster1, workload: probe, namespace: bookinfo}, \
                       url: 'http://reviews:9080/'}, expect: [{answered: all}]";

fn plans(head: &str, steps: &str) -> Vec<Plan> {
    let checked = checked(head, steps);
    assert!(checked.problems.is_empty(), "{}", checked.problems.render(false));
    checked.plans
}

#[test]
fn each_mistake_in_a_step_has_a_message() {
    let cases = [
        "- {patch: {clusters: [cluster1], object: {apiVersion: v1, kind: Node, name: n}}}".to_owned(),
        "- {patch: {clusters: [cluster1], object: {apiVersion: v1, kind: Node, name: n}, merge: {}, json: []}}"
            .to_owned(),
        "- {patch: {clusters: [cluster1], object: {apiVersion: v1, kind: Node, name: n}, json: [{op: put, path: /a}]}}"
            .to_owned(),
        format!("- {{scale: {{{V1}, replicas: -1}}}}"),
        "- {scale: {cluster: cluster1, workload: reviews-v9, replicas: 1, timeout: soon}}".to_owned(),
        "- {restart: {cluster: cluster1, workload: istiod, namespace: bookinfo}}".to_owned(),
        "- {exec: {in: {cluster: cluster1, workload: istiod}, command: [], exitCode: 256}}".to_owned(),
        format!("- {{wait: {{{DEPLOYMENT}}}}}"),
        format!("- {{wait: {{{DEPLOYMENT}, exists: true, gone: true}}}}"),
        format!("- {{wait: {{{DEPLOYMENT}, exists: false}}}}"),
        format!("- {{wait: {{{DEPLOYMENT}, condition: {{type: Available, status: 'true'}}, equals: 1}}}}"),
        format!("- {{wait: {{{DEPLOYMENT}, path: '{{.status[}}'}}}}"),
        "- {note: ' '}".to_owned(),
        "- {parallel: [{note: one}]}".to_owned(),
        format!(
            "- {{name: m, {MEASURE}}}\n- {{parallel: [{{note: a}}, {{control: {{change: [{{note: c}}], repeat: m, refutes: [answered], expect: [{{answered: all}}], restore: [{{note: r}}]}}}}]}}"
        ),
        "- {try: []}".to_owned(),
        "- {note: a, catch: [{note: b}], cleanup: []}".to_owned(),
        format!(
            "- {{name: m, {MEASURE}}}\n- {{control: {{change: [{{fault: {{kill: {{{V1}}}}}}}], repeat: m, refutes: [answered], expect: [{{answered: all}}], restore: [{{note: r, cleanup: [{{note: x}}]}}]}}}}"
        ),
        format!("- {{parallel: [{{scale: {{{V1}, replicas: 0}}}}, {{note: a}}]}}\n- {{{MEASURE}}}"),
    ];
    let report: Vec<String> = cases.iter().map(|steps| problems(&format!("{steps}\n"))).collect();
    assert!(!report.iter().any(String::is_empty), "{report:#?}");
    insta::assert_snapshot!(report.join("\n\n"));
}

#[test]
fn a_step_that_cannot_be_read_hides_no_mistake_in_another() {
    let steps = format!(
        "- {{traffic: {{from: here, url: 'http://x'}}}}\n- {{scale: {{cluster: cluster9, workload: a, replicas: 1}}}}\n\
         - {{name: m, {MEASURE}}}\n- {{converge: {{timeout: [1]}}}}\n- {{converge: {{}}}}\n"
    );
    let report = problems(&steps);
    assert!(report.contains("steps[0].traffic.from: `here` is no mapping"), "{report}");
    assert!(report.contains("has no cluster `cluster9`"), "{report}");
    assert!(report.contains("steps[3].converge.timeout: a list is no text"), "{report}");
    // That nothing is left to wait for may follow from what could not be read.
    assert_eq!(report.lines().count(), 3, "{report}");
}

#[test]
fn cleanups_stand_in_the_plan_and_are_waited_for_at_the_end() {
    let steps = format!(
        "- {{scale: {{{V1}, replicas: 2}}, cleanup: [{{scale: {{{V1}, replicas: 1}}}}]}}\n- {{converge: {{}}}}\n\
         - try:\n  - {{kill: {{{V1}}}}}\n  catch: [{{note: it did not die}}]\n  finally: [{{converge: {{}}}}]\n\
         - parallel: [{{{MEASURE}}}, {{sequence: [{{restart: {{{V1}}}}}, {{converge: {{}}}}]}}]\n"
    );
    let plan = &plans("", &steps)[0];
    insta::assert_snapshot!(explain::explain(plan));
    let last = plan.finally.last().expect("a last step");
    let Action::Converge(converge) = &last.action else { panic!("{last:?}") };
    assert_eq!(converge.clusters[0].endpoints[0].name, "reviews-v1");
}

#[test]
fn a_matrix_makes_a_plan_for_each_case() {
    let steps = "- {scale: {cluster: cluster1, workload: '${matrix.workload}', replicas: '${matrix.pods}'}}\n";
    let head = "matrix: {workload: [reviews-v1, reviews-v2], pods: [0, 2]}\n";
    let names: Vec<String> = plans(head, steps).into_iter().map(|plan| plan.name).collect();
    assert_eq!(
        names,
        [
            "s[workload=reviews-v1,pods=0]",
            "s[workload=reviews-v1,pods=2]",
            "s[workload=reviews-v2,pods=0]",
            "s[workload=reviews-v2,pods=2]",
        ]
    );
}

#[test]
fn a_plan_that_exceeds_its_budget_is_refused_with_the_figures() {
    let steps = format!("- {{{MEASURE}}}\n- {{restart: {{{V1}}}}}\n");
    let report = checked("budget: {time: 1s, requests: 50}\n", &steps).problems;
    let said: Vec<&str> = report.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        said,
        ["the plan should take about 3s, and the budget is 1s", "the plan sends 100 requests, and the budget is 50",]
    );
    assert_eq!(plans("budget: {time: 10s, requests: 100}\nrequires: [cut]\n", &steps).len(), 1);
}

const BACKGROUND: &str = "- {name: t, traffic: {from: {cluster: cluster1, workload: probe, namespace: bookinfo}, \
                          url: 'http://reviews:9080/', background: true, rate: 100}}\n";

#[test]
fn each_mistake_about_faults_and_background_traffic_has_a_message() {
    let stop = "- {stop: {traffic: t}, expect: [{answered: all}]}";
    let failover = |rest: &str| {
        format!(
            "{BACKGROUND}- {{name: f, fault: {{kill: {{{V1}}}}}}}\n- {{stop: {{traffic: t}}, expect: [{{failover: {{{rest}}}}}]}}"
        )
    };
    let cases = [
        "- {fault: {}}".to_owned(),
        format!("- {{fault: {{kill: {{{V1}}}, pauseApiServer: {{cluster: cluster1}}}}}}"),
        "- {fault: {cut: {from: network1, to: network3}}}".to_owned(),
        "- {fault: {delay: {from: network1, to: network1, by: much}}}".to_owned(),
        "- {fault: {pauseApiServer: {cluster: cluster3}, limit: 0s}}".to_owned(),
        "- {heal: {fault: outage}}".to_owned(),
        BACKGROUND.to_owned(),
        BACKGROUND.replace("rate: 100", "connections: 2"),
        BACKGROUND.replace("name: t, ", ""),
        format!("{}{stop}", BACKGROUND.replace("}}\n", "}, expect: [{answered: all}]}\n")),
        format!("{BACKGROUND}- {{during: {{traffic: t}}}}\n- {{during: {{traffic: u, requests: 5}}}}\n{stop}"),
        format!(
            "{BACKGROUND}- {{stop: {{traffic: t, requests: 5}}, expect: [{{split: {{by: version, equal: [v1, v2], margin: 5}}}}]}}"
        ),
        format!("{BACKGROUND}{stop}\n{stop}"),
        failover("fault: f, from: [cluster1], to: [cluster2]"),
        failover("fault: g, from: [], to: [cluster9], lost: 1, gap: soon"),
    ];
    let report: Vec<String> = cases.iter().map(|steps| problems(&format!("{steps}\n"))).collect();
    assert!(!report.iter().any(String::is_empty), "{report:#?}");
    insta::assert_snapshot!(report.join("\n\n"));
}

#[test]
fn faults_heal_at_the_end_of_their_group_and_say_what_they_need() {
    let steps = format!(
        "- sequence:\n  - {{name: outage, fault: {{scaleToZero: {{{V1}}}}}}}\n  - {{fault: {{cut: {{from: network1, to: network2}}}}}}\n\
         - {{converge: {{}}}}\n"
    );
    let plan = &plans("", &steps)[0];
    assert_eq!(plan.requires, [crate::scenario::keys::Capability::Cut]);
    insta::assert_snapshot!(explain::explain(plan));
}

#[test]
fn each_mistake_in_an_assertion_has_a_message() {
    let traffic = |expect: &str| {
        format!(
            "- {{traffic: {{from: {{cluster: cluster1, workload: probe, namespace: bookinfo}}, url: 'http://reviews:9080/', requests: 200}}, expect: [{expect}]}}"
        )
    };
    let cases = [
        traffic("{errors: {atMost: 0.1}}"),
        traffic("{errors: {atMost: 0.0001, falsePass: 1e-9}}, {errors: {atMost: 1, falsePass: 2}}"),
        traffic("{identity: {}}, {identity: {client: none, server: spiffe://cluster.local/ns/bookinfo/sa/x}}"),
        traffic("{denied: {at: {cluster: cluster1, workload: nobody}, reason: rbac}}"),
        traffic("{latency: {p99.9: 1s}}, {latency: {}}, {latency: {p100: 1s, q50: 1s, p50: x}}, {latency: {p50: 2s, p90: 1s}}"),
        traffic("{cel: 'requests = 1'}, {cel: 'requests + 1'}, {cel: 'groups.size() > 0 && reqests > 1'}"),
        traffic("{cel: 'answered == \"all\" || groups > 1'}"),
        "- {config: {of: {cluster: cluster1, workload: probe, namespace: bookinfo}, path: certs}, expect: [{answered: all}]}".to_owned(),
        "- {connect: {from: {cluster: cluster1, workload: reviews-v1}, to: {cluster: cluster1, workload: reviews-v2}}, \
         expect: [{denied: {at: {cluster: cluster1, workload: reviews-v2}, reason: no-route}}]}"
            .to_owned(),
    ];
    let report: Vec<String> = cases.iter().map(|steps| problems(&format!("{steps}\n"))).collect();
    assert!(!report.iter().any(String::is_empty), "{report:#?}");
    insta::assert_snapshot!(report.join("\n\n"));
}

/// Traffic that may stop early, with more keys and these expectations.
fn early(more: &str, expect: &str) -> String {
    format!(
        "- {{name: m, traffic: {{from: {{cluster: cluster1, workload: probe, namespace: bookinfo}}, \
         url: 'http://reviews:9080/', earlyStop: true{more}}}, expect: [{expect}]}}"
    )
}

const SPLIT: &str = "split: {by: version@cluster, weights: {v1@cluster1: 50, v3@cluster2: 50}, margin: 10}";

#[test]
fn each_mistake_about_stopping_early_has_a_message() {
    let background = early(", background: true, rate: 100", "").replace(", expect: []", "");
    let control = |expect: &str| {
        format!(
            "{}\n- {{control: {{change: [{{note: c}}], repeat: m, refutes: [split], expect: [{expect}], restore: [{{note: r}}]}}}}",
            early("", &format!("{{{SPLIT}}}"))
        )
    };
    let cases = [
        early("", "{answered: all}"),
        early("", &format!("{{{SPLIT}}}, {{errors: {{atMost: 1}}}}, {{latency: {{p99: 1s}}}}")),
        early(", requests: 500", &format!("{{{SPLIT}}}")),
        early("", &format!("{{{}}}", SPLIT.replace("margin: 10", "margin: 60"))),
        background,
        early(", rate: 100", &format!("{{{SPLIT}}}")),
        control("{errors: {atMost: 1}}"),
        control("{split: {by: version@cluster, weights: {v1@cluster1: 50, v3@cluster2: 50}, margin: 2}}"),
    ];
    let report: Vec<String> = cases.iter().map(|steps| problems(&format!("{steps}\n"))).collect();
    assert!(!report.iter().any(String::is_empty), "{report:#?}");
    insta::assert_snapshot!(report.join("\n\n"));
}

#[test]
fn a_plan_says_what_stopping_early_saves() {
    let plan = &plans("", &format!("{}\n", early("", &format!("{{{SPLIT}}}, {{answered: all}}"))))[0];
    let step = &plan.steps[0];
    let (most, typical) = (step.requests(), step.typical().expect("it stops early"));
    assert!(typical * 2 < most, "{typical} of {most}");
    insta::assert_snapshot!(explain::explain(plan));
}
