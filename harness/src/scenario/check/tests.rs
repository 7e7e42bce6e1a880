//! Every mistake that a scenario can have, and the shipped one without any.

use super::*;
use crate::diagnostic::Problem;
use crate::scenario::explain;
use crate::scenario::plan::{Action, Check, Step};
use crate::scenario::suite::Defaults;

const SHIPPED: &str = include_str!("../../../../scenarios/catalogue/traffic-shift/bookinfo-75-15-10.yaml");
const TOPOLOGY: &str = include_str!("../../../../scenarios/topologies/two-clusters.yaml");

/// A policy of the management plane with a mistake, after an object that is somebody else's.
const POLICY: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\n---\n\
    apiVersion: networking.meshproof.dev/v1\nkind: TrafficPolicy\nmetadata: {name: one, namespace: meshproof-hub}\nspec:\n  policy:\n    requestTimeot: 2s\n";

/// Files by name, in memory.
struct Files;

impl ReadFile for Files {
    fn read(&self, path: &str) -> Result<NamedText, String> {
        let text = match path {
            "../../topologies/two-clusters.yaml" => TOPOLOGY,
            "two.yaml" => "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\n---\nkind: ConfigMap\n",
            "broken.yaml" => "a: [",
            "policy.yaml" => POLICY,
            "empty.yaml" => "# nothing\n",
            _ => return Err("no such file".to_owned()),
        };
        Ok(NamedText { name: path.to_owned(), text: text.to_owned() })
    }
}

fn shipped() -> Plan {
    let checked =
        read("scenarios/catalogue/traffic-shift/bookinfo-75-15-10.yaml", SHIPPED, &Defaults::default(), &Files);
    assert!(checked.problems.is_empty(), "{}", checked.problems.render(false));
    checked.plans.into_iter().next().expect("a plan")
}

fn step<'plan>(plan: &'plan Plan, name: &str) -> &'plan Step {
    plan.flattened().into_iter().find(|step| step.name == name).expect(name)
}

#[test]
fn the_shipped_scenario_says_what_it_will_do() {
    insta::assert_snapshot!(explain::explain(&shipped()));
}

#[test]
fn its_main_measurement_keeps_the_promised_error_rates() {
    let plan = shipped();
    let Action::Traffic(traffic) = &step(&plan, "75 % v3, 15 % v1, 10 % v2").action else { panic!("traffic") };
    let split = traffic.expectations.iter().find_map(|expectation| match &expectation.check {
        Check::Split(split) => Some(split),
        _ => None,
    });
    let split = split.expect("a split");
    // Half of each error rate is that of the looks before the last, which Ville's inequality holds.
    let last = &split.early.as_ref().expect("it may end early").last;
    assert_eq!(traffic.requests, last.n);
    let share = |category: &str| {
        split.plan.targets.iter().find(|target| target.category == category).expect(category).weight / 100.0
    };
    assert_eq!((share("v3@cluster2"), share("v1@cluster1"), share("v2@cluster1")), (0.75, 0.15, 0.10));
    let shares: Vec<f64> = split.plan.targets.iter().map(|target| target.weight / 100.0).collect();
    assert!(1.0 - last.pass_probability(&shares) <= 0.5e-6);
    assert_eq!(split.plan.margin, 5.0);
    // Off by five points on v3, taken from either of the others.
    let off = |target: usize| {
        let mut shares = shares.clone();
        let v3 = split.plan.targets.iter().position(|target| target.category == "v3@cluster2").expect("v3");
        shares[v3] -= 0.05;
        shares[target] += 0.05;
        last.pass_probability(&shares)
    };
    assert!(off(0) <= 0.5e-2 && off(1) <= 0.5e-2);
}

#[test]
fn controls_repeat_measurements_word_for_word_and_restore() {
    let plan = shipped();
    let controls: Vec<&crate::scenario::plan::Control> = plan
        .flattened()
        .into_iter()
        .filter_map(|step| match &step.action {
            Action::Control(control) => Some(control),
            _ => None,
        })
        .collect();
    assert_eq!(controls.len(), 6);
    for control in controls {
        assert_eq!(*control.measure, *step(&plan, &control.measure.name));
        assert!(!control.refuted.is_empty() && !control.restore.is_empty());
        assert!(matches!(control.change.last().map(|step| &step.action), Some(Action::Converge(_))));
    }
}

#[test]
fn what_a_control_restores_is_waited_for_before_something_is_measured() {
    let measure = "traffic: {from: {cluster: cluster1, workload: probe, namespace: bookinfo}, url: 'http://details:9080/'}, \
                   expect: [{answered: all}]";
    let details = "cluster: cluster1, workload: details-v1";
    let control = format!(
        "- {{name: m, {measure}}}\n- {{control: {{change: [{{scale: {{{details}, replicas: 0}}}}, {{converge: {{}}}}], repeat: m, \
         refutes: [answered], expect: [{{cel: 'answered < requests'}}], restore: [{{scale: {{{details}, replicas: 1}}}}]}}}}\n"
    );
    assert_eq!(problems(&control), "", "it is the last to measure");
    assert_eq!(problems(&format!("{control}- {{converge: {{}}}}\n- {{{measure}}}\n")), "");
    let found = problems(&format!("{control}- {{{measure}}}\n"));
    assert!(found.contains("this would measure before every proxy holds the changes made above"), "{found}");
}

#[test]
fn convergence_waits_for_exactly_what_was_changed() {
    let plan = shipped();
    let converge: Vec<String> = plan
        .flattened()
        .into_iter()
        .filter_map(|step| match &step.action {
            Action::Converge(converge) => {
                Some(format!("{}: {}", step.id, serde_json::to_string(&converge.clusters).expect("JSON")))
            }
            _ => None,
        })
        .collect();
    insta::assert_snapshot!(converge.join("\n"));
}

/// Place, message and help of each problem of a scenario with these steps.
pub(super) fn problems(steps: &str) -> String {
    report(&checked("", steps))
}

/// What comes of a scenario with these lines at its head and these steps.
pub(super) fn checked(head: &str, steps: &str) -> Checked {
    let text = format!(
        "apiVersion: meshproof.dev/v1alpha1\nkind: Scenario\nname: s\ndescription: d\n\
         topology: ../../topologies/two-clusters.yaml\n{head}steps:\n{steps}"
    );
    read("area/s.yaml", &text, &Defaults::default(), &Files)
}

fn report(checked: &Checked) -> String {
    let line = |problem: &Problem| {
        let location = problem.location();
        let help = problem.help.as_deref().unwrap_or("-");
        format!("{}:{} {} [{help}]", location.line, location.column, problem.message)
    };
    checked.problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

const FROM: &str = "from: {cluster: cluster1, workload: probe, namespace: bookinfo}, url: 'http://reviews:9080/'";

#[test]
fn each_mistake_has_a_message() {
    let split = |rest: &str| format!("- {{traffic: {{{FROM}}}, expect: [{{split: {{{rest}}}}}]}}\n");
    let measure = format!("- {{name: m, traffic: {{{FROM}}}, expect: [{{answered: all}}]}}\n");
    let change = "[{unlink: {clusters: [cluster1, cluster2]}}, {converge: {}}]";
    let cases = [
        "  []\n".to_owned(),
        "- {}\n".to_owned(),
        "- {converge: {}, link: {clusters: [cluster1, cluster2]}}\n".to_owned(),
        "- {name: '', unlink: {clusters: [cluster1, cluster1]}}\n- {converge: {timeout: 5}}\n".to_owned(),
        "- {unlink: {clusters: [cluster1]}}\n- {converge: {timeout: 5 minutes}}\n".to_owned(),
        "- {converge: {}}\n".to_owned(),
        "- {sequence: []}\n".to_owned(),
        "- {aply: {}}\n".to_owned(),
        "- {apply: {clusters: [cluster1]}}\n- {converge: {}}\n".to_owned(),
        "- {apply: {clusters: [cluster9], files: [missing.yaml, broken.yaml, two.yaml, empty.yaml]}}\n".to_owned(),
        "- {apply: {clusters: [cluster1], objects: [{kind: X, metadata: {name: x}}, {apiVersion: v1, kind: X}]}}\n".to_owned(),
        "- {delete: {clusters: []}}\n".to_owned(),
        "- {name: a, link: {clusters: [cluster1, cluster2]}}\n- {name: a, converge: {}}\n".to_owned(),
        "- {link: {clusters: [cluster1, cluster2]}, expect: [{answered: all}]}\n- {converge: {}}\n".to_owned(),
        format!("- {{link: {{clusters: [cluster1, cluster2]}}}}\n{measure}"),
        format!("- {{traffic: {{{FROM}}}}}\n"),
        format!("- {{traffic: {{{FROM}}}, expect: [{{}}, {{answered: all, reached: true}}, {{reached: true}}, {{answered: most}}]}}\n"),
        "- {traffic: {from: {cluster: cluster1, workload: reviews-v3}, url: 'reviews:9080'}, expect: [{answered: all}]}\n".to_owned(),
        "- {traffic: {from: {cluster: cluster1, workload: prob}, url: 'http://x'}, expect: [{answered: all}]}\n".to_owned(),
        "- {traffic: {from: {cluster: cluster1, workload: probe}, url: 'http://x', timeout: 0s}, expect: [{answered: all}]}\n".to_owned(),
        "- {traffic: {from: {cluster: cluster1, workload: probe, namespace: shop}, url: 'http://x'}, expect: [{answered: all}]}\n".to_owned(),
        "- {traffic: {from: {cluster: cluster1, workload: reviews-v1}, url: 'http://x', requests: 0, connections: 300000}, expect: [{answered: all}]}\n".to_owned(),
        format!("- {{traffic: {{{FROM}, requests: 100}}, expect: [{{split: {{by: version, weights: {{v1: 50, v2: 50}}, margin: 5}}}}]}}\n"),
        split("by: colour, weights: {v1: 100}, margin: 5"),
        split("by: version, margin: 5"),
        split("by: version, weights: {v1: 100}, equal: [v1], margin: 5"),
        split("by: version, weights: {v1: 60, v2: 30}, margin: 5"),
        split("by: version, weights: {v1: 160, v2: -60}, margin: 5"),
        split("by: version, weights: {v1: 95, v2: 5}, margin: 5"),
        split("by: version, weights: {v1: 50, v4: 50}, margin: 5"),
        split("by: version@cluster, equal: [v1@cluster1, v3@cluster1], margin: 10"),
        split("by: version, weights: {v1: 50, v2: 50}, margin: 0.001"),
        split("by: version, weights: {v1: 50, v2: 50}, margin: 5, falsePass: 2"),
        format!("- {{traffic: {{{FROM}}}, expect: [{{mtls: {{client: 'spiffe://cluster.local/ns/bookinfo/sa/prob', server: x, through: [{{cluster: c, gateway: west}}]}}}}]}}\n"),
        format!("- {{traffic: {{{FROM}}}, expect: [{{failures: {{status: [200, 1000], at: {{cluster: cluster2, gateway: eastwest}}, reason: bad-luck}}}}]}}\n"),
        "- {connect: {from: {cluster: cluster1, workload: reviews-v1}, to: {cluster: cluster1, workload: probe, namespace: outside}}, expect: [{connection: []}]}\n".to_owned(),
        format!("{measure}- {{control: {{change: {change}, repeat: n, refutes: [answered], expect: [{{answered: all}}], restore: {change}}}}}\n"),
        format!("{measure}- {{control: {{change: {change}, repeat: m, refutes: [split], expect: [{{answered: all}}], restore: {change}}}}}\n"),
        format!("{measure}- {{control: {{change: [], repeat: m, refutes: [], expect: [], restore: []}}}}\n"),
        format!("{measure}- {{control: {{change: [{{unlink: {{clusters: [cluster1, cluster2]}}}}], repeat: m, refutes: [answered], expect: [{{answered: all}}], restore: {change}}}}}\n"),
        format!("{measure}- {{control: {{change: [{{traffic: {{{FROM}}}, expect: [{{answered: all}}]}}], repeat: m, refutes: [answered], expect: [{{answered: all}}], restore: {change}}}}}\n"),
    ];
    let report: Vec<String> = cases.iter().map(|steps| problems(steps)).collect();
    assert!(!report.iter().any(String::is_empty), "{report:#?}");
    insta::assert_snapshot!(report.join("\n\n"));
}

#[test]
fn what_mutual_tls_is_asked_for_is_looked_over() {
    const IDS: &str = "client: 'spiffe://cluster.local/ns/bookinfo/sa/probe', server: 'spiffe://cluster.local/ns/bookinfo/sa/bookinfo-details'";
    let sent = |traffic: &str, mtls: &str| {
        let from = "from: {cluster: cluster1, workload: probe, namespace: bookinfo}";
        problems(&format!("- {{traffic: {{{from}, {traffic}}}, expect: [{{mtls: {{{IDS}{mtls}}}}}]}}\n"))
    };
    let through = ", through: [{cluster: cluster2, gateway: eastwest}], capture: true";
    assert_eq!(sent("url: 'grpc://details:9080', hop: details", &format!(", issuer: cluster1{through}")), "");
    for (traffic, mtls, message) in [
        ("url: 'gprc://details:9080'", "", "did you mean `grpc`?"),
        ("url: 'tcp://'", "", "`tcp://` is no absolute URL"),
        ("url: 'http://a', hop: detail", "", "did you mean `details`?"),
        ("url: 'http://a'", ", issuer: cluster3", "has no cluster `cluster3`"),
        ("url: 'http://a'", ", capture: true", "nothing is said of a link that could be captured"),
    ] {
        let found = sent(traffic, mtls);
        assert!(found.starts_with("7:") && found.contains(message), "{message}: {found}");
    }
}

#[test]
fn weights_of_a_route_that_do_not_sum_to_100_are_worth_a_warning() {
    let steps = "- apply:\n    clusters: [cluster1]\n    objects:\n    - apiVersion: networking.istio.io/v1\n      \
                 kind: VirtualService\n      metadata: {name: v, namespace: bookinfo}\n      spec:\n        http:\n        \
                 - route:\n          - {destination: {host: a}, weight: 70}\n          - {destination: {host: b}, weight: 20}\n\
                 - converge: {}\n";
    assert_eq!(problems(steps), "15:11 the weights of this route sum to 90, not 100 [Istio takes them as proportions]");
}

#[test]
fn a_missing_topology_and_its_mistakes_are_reported_where_they_are() {
    let text =
        "apiVersion: meshproof.dev/v1alpha1\nkind: Scenario\nname: s\ndescription: d\ntopology: none.yaml\nsteps: []\n";
    assert_eq!(
        report(&read("s.yaml", text, &Defaults::default(), &Files)),
        "5:11 cannot read topology `none.yaml`: no such file [name a file relative to the folder of this one]"
    );
}

proptest::proptest! {
    #[test]
    fn no_damage_to_a_file_makes_it_panic(at in 0..SHIPPED.len(), cut in 0_usize..60, insert in "[ -~\n]{0,6}") {
        let end = (at + cut).min(SHIPPED.len());
        let text = format!("{}{insert}{}", &SHIPPED[..at], &SHIPPED[end..]);
        let checked = read("area/s.yaml", &text, &Defaults::default(), &Files);
        proptest::prop_assert!(!checked.plans.is_empty() || checked.problems.has_errors());
        let _drawn = checked.problems.render(false);
    }
}

#[test]
fn objects_of_the_management_plane_are_judged_by_its_own_rules() {
    let steps = "- apply:\n    clusters: [cluster1]\n    files: [policy.yaml]\n    objects:\n    - apiVersion: networking.meshproof.dev/v1\n      \
                 kind: TrafficPolicy\n      metadata: {name: two, namespace: meshproof-hub}\n      spec:\n        policy:\n          retries: {attempts: many}\n- converge: {}\n\
                 - apply: {clusters: [cluster1], files: [policy.yaml], refused: requestTimeot}\n";
    let checked = checked("", steps);
    let said = |problem: &Problem| {
        let at = problem.location();
        format!("{}:{}:{} {}", at.file, at.line, at.column, problem.message)
    };
    insta::assert_snapshot!(checked.problems.iter().map(said).collect::<Vec<_>>().join("\n"));
}
