//! Traffic: methods, bodies and several sources, what they mean, and every mistake in them.

use super::tests::{checked, problems};
use crate::scenario::explain;
use crate::scenario::plan::{Action, Plan, Traffic};

const PROBES: &str = "[{cluster: cluster1, workload: probe, namespace: bookinfo}, \
                      {cluster: cluster2, workload: probe, namespace: bookinfo}]";
const FIRST: &str = "from: {cluster: cluster1, workload: probe, namespace: bookinfo}";
const SPLIT: &str = "split: {by: cluster, equal: [cluster1, cluster2], margin: 5}";

fn step(from: &str, more: &str, expect: &str) -> String {
    format!("- {{traffic: {{from: {from}, url: 'http://reviews:9080/'{more}}}, expect: [{expect}]}}\n")
}

fn plan(steps: &str) -> Plan {
    let checked = checked("", steps);
    assert!(checked.problems.is_empty(), "{}", checked.problems.render(false));
    checked.plans.into_iter().next().expect("a plan")
}

fn traffic(steps: &str) -> Traffic {
    match plan(steps).steps.swap_remove(0).action {
        Action::Traffic(traffic) => traffic,
        other => panic!("{other:?}"),
    }
}

#[test]
fn sources_share_what_is_expected_of_all_and_not_what_is_expected_of_one() {
    let one = traffic(&step("{cluster: cluster1, workload: probe, namespace: bookinfo}", "", SPLIT));
    let shared = traffic(&step(PROBES, "", &format!("{{{SPLIT}}}")));
    assert_eq!((one.from.len(), shared.from.len()), (1, 2));
    assert_eq!(shared.requests, one.requests.div_ceil(2));
    assert_eq!(shared.all_requests(), 2 * shared.requests);
    let narrowed = traffic(&step(PROBES, "", &format!("{{{FIRST}, {SPLIT}}}")));
    assert_eq!(narrowed.requests, one.requests);
    assert_eq!(narrowed.expectations[0].from.as_ref(), Some(&narrowed.from[0]));
}

#[test]
fn a_plan_says_whose_requests_an_expectation_is_about() {
    let steps = step(PROBES, ", method: POST, body: text", &format!("{{answered: all}}, {{{FIRST}, {SPLIT}}}"));
    let text = explain::explain(&plan(&steps));
    assert!(text.contains("expect every request answered"), "{text}");
    assert!(text.contains("expect of the requests from probe of cluster1: cluster1 50 %"), "{text}");
    let traffic = traffic(&steps);
    assert_eq!((traffic.method.as_deref(), traffic.body.as_deref()), (Some("POST"), Some("text")));
}

/// Two sources with a split each, and a control of it.
fn controlled(refutes: &str) -> String {
    let second = FIRST.replace("cluster1", "cluster2");
    let expect = format!("{{answered: all}}, {{{FIRST}, {SPLIT}}}, {{{second}, {SPLIT}}}");
    format!(
        "- {{name: m, traffic: {{from: {PROBES}, url: 'http://reviews:9080/'}}, expect: [{expect}]}}\n\
         - {{control: {{change: [{{restart: {{cluster: cluster1, workload: reviews-v1}}}}, {{converge: {{}}}}], repeat: m, \
         refutes: [{refutes}], expect: [{{answered: all}}], restore: [{{note: r}}]}}}}\n"
    )
}

#[test]
fn a_control_refutes_each_expectation_of_a_key_or_says_which_not() {
    let refuted = |refutes: &str| match plan(&controlled(refutes)).steps.swap_remove(1).action {
        Action::Control(control) => control.refuted,
        other => panic!("{other:?}"),
    };
    assert_eq!(refuted("split"), [1, 2]);
    let one = format!("{{expect: split, {FIRST}}}");
    assert_eq!(refuted(&one), [1]);
    assert_eq!(refuted("{expect: split, number: 2}"), [2]);
    assert_eq!(refuted(&format!("split, answered, {one}")), [0, 1, 2], "each once");
    let text = explain::explain(&plan(&controlled(&one)));
    let sentence = "repeat `m`: split of probe of cluster1 must be refuted, not split of probe of cluster2";
    assert!(text.contains(sentence), "{text}");
    let nobody = "{expect: split, from: {cluster: cluster1, workload: ratings-v1}}";
    insta::assert_snapshot!(
        [nobody, "{expect: spilt}", "spilt", "{expect: split, number: 3}"]
            .map(|one| problems(&controlled(one)))
            .join("\n\n")
    );
}

#[test]
fn each_mistake_about_messages_and_sources_has_a_message() {
    let probe = "{cluster: cluster1, workload: probe, namespace: bookinfo}";
    let good = "{answered: all}";
    let control = |expect: &str| {
        format!(
            "- {{name: m, traffic: {{from: {PROBES}, url: 'http://reviews:9080/'}}, expect: [{{answered: all}}]}}\n\
             - {{control: {{change: [{{restart: {{cluster: cluster1, workload: reviews-v1}}}}, {{converge: {{}}}}], repeat: m, \
             refutes: [answered], expect: [{expect}], restore: [{{note: r}}]}}}}\n"
        )
    };
    let cases = [
        step(probe, ", method: post", good),
        step(probe, ", method: HEAD", good),
        step("[]", "", good),
        step(&format!("[{probe}, {probe}]"), "", good),
        step("[{cluster: cluster3, workload: probe}, {cluster: cluster1, workload: prob}]", "", good),
        step(probe, ", background: true, rate: 5", "").replace("expect: []", "name: t").replace(probe, PROBES),
        step(PROBES, "", "{from: {cluster: cluster1, workload: reviews-v1}, answered: all}"),
        step(
            PROBES,
            "",
            &format!("{{{FIRST}, denied: {{at: {{cluster: cluster1, workload: reviews-v1}}, reason: rbac}}}}"),
        ),
        step(
            PROBES,
            "",
            &format!(
                "{{answered: all}}, {{{FIRST}, mtls: {{client: spiffe://cluster.local/ns/bookinfo/sa/probe, \
                 server: spiffe://cluster.local/ns/bookinfo/sa/bookinfo-reviews, through: [{{cluster: cluster2, gateway: eastwest}}]}}}}"
            ),
        ),
        step(PROBES, "", &format!("{{{FIRST}, answered: all}}"))
            .replace("http://", "tcp://")
            .replace("answered: all", "identity: {client: none}"),
        step(probe, ", method: GET, body: \"two\\nlines\"", good).replace("http://", "tcp://"),
        format!(
            "- {{connect: {{from: {probe}, to: {{cluster: cluster1, workload: reviews-v1}}}}, expect: [{{{FIRST}, reached: true}}]}}\n"
        ),
        control(&format!("{{{FIRST}, {SPLIT}}}")),
    ];
    let report: Vec<String> = cases.iter().map(|steps| problems(steps)).collect();
    assert!(!report.iter().any(String::is_empty), "{report:#?}");
    insta::assert_snapshot!(report.join("\n\n"));
}
