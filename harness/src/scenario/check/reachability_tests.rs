//! Who reaches whom, storms, and what a scenario touches: what they mean, and every mistake in them.

use super::tests::{checked, problems};
use crate::scenario::explain;
use crate::scenario::plan::{Action, Part, Plan};

const ACROSS: &str = "{from: {cluster: cluster1}, to: {cluster: cluster2}}";

fn plan(steps: &str) -> Plan {
    let checked = checked("", steps);
    assert!(checked.problems.is_empty(), "{}", checked.problems.render(false));
    checked.plans.into_iter().next().expect("a plan")
}

#[test]
fn by_default_every_client_of_the_mesh_asks_every_service_of_it() {
    let plan = plan("- {reachability: {}, expect: [{reachable: {}}]}\n");
    let Action::Reachability(matrix) = &plan.steps[0].action else { panic!("{:?}", plan.steps[0]) };
    let from: Vec<String> = matrix.from.iter().map(|one| format!("{}/{}", one.cluster, one.namespace)).collect();
    assert_eq!(from, ["cluster1/bookinfo", "cluster2/bookinfo"]);
    let to: Vec<String> = matrix.destinations().map(|(to, cluster)| format!("{cluster}/{}", to.service)).collect();
    assert_eq!(to.len(), 8, "{to:?}");
    assert_eq!(matrix.to[0].url(), "http://details.bookinfo.svc.cluster.local:9080/health");
    assert_eq!(plan.requests(), matrix.requests());
}

#[test]
fn exceptions_and_storms_are_told_in_words() {
    let steps = format!(
        "- reachability: {{to: [{{service: details}}]}}\n  expect: [{{reachable: {{except: [{ACROSS}]}}}}]\n\
         - {{fault: {{storm: {{cluster: cluster1, workload: details-v1, percent: 25}}}}}}\n"
    );
    insta::assert_snapshot!(explain::explain(&plan(&steps)));
}

#[test]
fn each_mistake_has_a_message() {
    let measure = |fields: &str, expect: &str| format!("- {{reachability: {{{fields}}}, expect: [{expect}]}}\n");
    let cases = [
        measure("", "{answered: all}"),
        measure("to: [{service: detail}]", "{reachable: {}}"),
        measure("to: [{service: details, namespace: book}]", "{reachable: {}}"),
        measure("from: [{cluster: cluster1, workload: istiod}]", "{reachable: {}}"),
        measure("to: [{service: details, protocol: smtp}]", "{reachable: {}}"),
        measure("", "{reachable: {except: [{from: {name: sleep}}]}}"),
        "- {reachability: {}}\n".to_owned(),
        "- {fault: {storm: {cluster: cluster1, workload: istiod}}}\n".to_owned(),
        "- {fault: {storm: {cluster: cluster1, workload: probe, namespace: bookinfo}}}\n".to_owned(),
        "- {fault: {storm: {cluster: cluster1, workload: details-v1, status: 404}}}\n".to_owned(),
    ];
    let report: Vec<String> = cases.iter().map(|steps| problems(steps)).collect();
    assert!(!report.iter().any(String::is_empty), "{report:#?}");
    insta::assert_snapshot!(report.join("\n\n"));
}

#[test]
fn a_control_repeats_the_matrix_with_exceptions_of_its_own() {
    let steps = |exception: &str| {
        format!(
            "- name: all\n  reachability: {{}}\n  expect: [{{reachable: {{}}}}]\n- control:\n    change: [{{unlink: {{clusters: [cluster1, cluster2]}}}}, {{converge: {{}}}}]\n    repeat: all\n    refutes: [reachable]\n    expect: [{{reachable: {{except: [{exception}]}}}}]\n    restore: [{{link: {{clusters: [cluster1, cluster2]}}}}, {{converge: {{}}}}]\n"
        )
    };
    assert_eq!(plan(&steps(ACROSS)).steps.len(), 2);
    assert!(problems(&steps("{from: {name: nobody}}")).contains("nothing is measured"));
}

#[test]
fn a_plan_knows_what_it_touches() {
    let steps = "- apply: {clusters: [cluster1], objects: [{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: n}}]}\n  cleanup: [{delete: {clusters: [cluster1], objects: [{apiVersion: v1, kind: ConfigMap, name: a, namespace: n}]}}]\n- {fault: {scaleToZero: {cluster: cluster1, workload: details-v1}}}\n- {unlink: {clusters: [cluster1, cluster2]}, cleanup: [{link: {clusters: [cluster1, cluster2]}}]}\n- delete: {clusters: [cluster2], objects: [{apiVersion: v1, kind: Secret, name: kept-by-others, namespace: n}]}\n";
    let touched: Vec<(Part, String)> =
        plan(steps).touched().iter().map(|one| (one.part, format!("{}: {}", one.cluster, one.object.key()))).collect();
    let expected = [
        (Part::Whole, "cluster1: ConfigMap/n/a"),
        (Part::Replicas, "cluster1: Deployment/bookinfo/details-v1"),
        (Part::Existence, "cluster1: Secret/istio-system/istio-remote-secret-cluster2"),
        (Part::Existence, "cluster2: Secret/istio-system/istio-remote-secret-cluster1"),
        (Part::Existence, "cluster2: Secret/n/kept-by-others"),
    ];
    for (part, name) in expected {
        assert!(touched.contains(&(part, name.to_owned())), "{name}: {touched:?}");
    }
    assert_eq!(touched.len(), expected.len());
}
