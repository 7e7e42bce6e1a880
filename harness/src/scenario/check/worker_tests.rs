//! Workers: how they are shared among sources, what is waited for, and every mistake about them.

use super::tests::{checked, problems};
use crate::scenario::explain;
use crate::scenario::plan::{Action, Plan, Traffic};

const PROBE: &str = "{cluster: cluster1, workload: probe, namespace: bookinfo}";
const PROBES: &str = "[{cluster: cluster1, workload: probe, namespace: bookinfo}, \
                      {cluster: cluster2, workload: probe, namespace: bookinfo}]";

fn step(from: &str, more: &str, expect: &str) -> String {
    format!("- {{name: load, traffic: {{from: {from}, url: 'http://reviews:9080/'{more}}}, expect: [{expect}]}}\n")
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
fn workers_are_shared_among_sources_and_change_nothing_of_what_is_sent() {
    let answered = "{answered: all}";
    let without = traffic(&step(PROBES, ", rate: 200", answered));
    let with = traffic(&step(PROBES, ", rate: 200, workers: 5", answered));
    let workers = with.workers.clone().expect("they are planned");
    assert_eq!((workers.of_each.as_slice(), workers.count()), (&[3, 2][..], 5));
    let clusters: Vec<&str> = workers.converge.clusters.iter().map(|one| one.cluster.as_str()).collect();
    assert_eq!(clusters, ["cluster1", "cluster2"], "their proxies are waited for");
    // Where an expectation stands is the only other difference.
    assert_eq!(Traffic { workers: None, expectations: without.expectations.clone(), ..with }, without);
}

#[test]
fn nobody_is_waited_for_who_has_no_proxy() {
    let outside = PROBE.replace("bookinfo", "outside");
    let workers = traffic(&step(&outside, ", workers: 2", "{answered: all}")).workers.expect("they are planned");
    assert!(workers.converge.clusters.is_empty());
}

#[test]
fn one_pod_may_have_less_to_do_than_many() {
    let much = ", rate: 30000, connections: 3000, requests: 60000";
    let with = traffic(&step(PROBE, &format!("{much}, workers: 3"), "{answered: all}"));
    assert_eq!((with.rate, with.connections), (Some(30_000), 3_000));
}

#[test]
fn a_plan_says_who_sends() {
    let text = explain::explain(&plan(&step(PROBES, ", workers: 5", "{answered: all}")));
    assert!(text.contains("sent by 5 workers: 3 for probe of cluster1, 2 for probe of cluster2"), "{text}");
}

#[test]
fn each_mistake_about_workers_has_a_message() {
    let good = "{answered: all}";
    let denied = format!("{{denied: {{at: {PROBE}, reason: no-healthy-upstream}}}}");
    let control = format!(
        "{}- {{control: {{change: [{{restart: {{cluster: cluster1, workload: reviews-v1}}}}, {{converge: {{}}}}], repeat: load, \
         refutes: [answered], expect: [{denied}], restore: [{{note: r}}]}}}}\n",
        step(PROBE, ", workers: 2", good)
    );
    let cases = [
        step(PROBE, ", workers: 0", good),
        step(PROBE, ", workers: 257", good),
        step(PROBE, ", workers: 2, rate: 50, background: true", "").replace(", expect: []", ""),
        step(PROBE, ", workers: 2, earlyStop: true", "{split: {by: cluster, equal: [cluster1, cluster2], margin: 5}}"),
        step(PROBES, ", workers: 1", good),
        step(PROBE, ", workers: 4, requests: 3", "{cel: requests == 3}"),
        step(PROBE, ", workers: 9", good),
        step(PROBE, ", workers: 4, rate: 3", good),
        step(PROBE, ", workers: 2, rate: 20002", good),
        step(PROBE, ", rate: 10001", good),
        step(PROBE, ", connections: 1025", good),
        step(PROBE, ", workers: 2", &denied),
        control,
    ];
    let report: Vec<String> = cases.iter().map(|steps| problems(steps)).collect();
    assert!(!report.iter().any(String::is_empty), "{report:#?}");
    insta::assert_snapshot!(report.join("\n\n"));
}
