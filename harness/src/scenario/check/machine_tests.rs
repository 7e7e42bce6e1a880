//! Virtual machines as sources, targets and subjects of steps.

use super::*;
use crate::scenario::explain;
use crate::scenario::plan::{Action, Check, FaultKind, Plan};
use crate::scenario::suite::Defaults;

const TOPOLOGY: &str = include_str!("../../../../scenarios/topologies/virtual-machines.yaml");

struct Files;

impl ReadFile for Files {
    fn read(&self, path: &str) -> Result<NamedText, String> {
        Ok(NamedText { name: path.to_owned(), text: TOPOLOGY.to_owned() })
    }
}

fn checked(steps: &str) -> Checked {
    let text = format!(
        "apiVersion: meshproof.dev/v1alpha1\nkind: Scenario\nname: one\ndescription: One.\ntopology: t.yaml\nsteps:\n{steps}"
    );
    read("area/one.yaml", &text, &Defaults::default(), &Files)
}

fn plan(steps: &str) -> Plan {
    let checked = checked(steps);
    assert!(checked.problems.is_empty(), "{}", checked.problems.render(false));
    checked.plans.into_iter().next().expect("a plan")
}

#[test]
fn machines_send_and_are_rebooted_stopped_and_cut_from_their_power() {
    let plan = plan(
        "- {scale: {vm: details-vm, replicas: 0}}\n- {scale: {vm: details-vm, replicas: 1}}\n- {restart: {vm: details-vm}}\n\
         - {kill: {vm: details-vm}}\n- {exec: {in: {vm: echo-vm}, container: proxy, command: [pilot-agent, request, GET, /ready]}}\n\
         - {converge: {}}\n\
         - {traffic: {from: {vm: echo-vm}, url: 'http://echo:8080/'}, expect: [{mtls: {client: spiffe://cluster.local/ns/echo/sa/echo-vm, server: spiffe://cluster.local/ns/echo/sa/echo}}]}\n\
         - {name: cut, fault: {kill: {vm: details-vm}}}\n- {heal: {fault: cut}}\n- {converge: {}}\n",
    );
    let Action::Traffic(traffic) = &plan.steps[6].action else { panic!("traffic") };
    assert_eq!((traffic.from[0].place(), traffic.from[0].container.as_str()), ("echo-vm", "echo"));
    let Check::MutualTls(mtls) = &traffic.expectations[0].check else { panic!("mtls") };
    assert_eq!(mtls.vms.iter().map(|vm| vm.name.as_str()).collect::<Vec<_>>(), ["echo-vm"], "they are asked, too");
    let Action::Fault(fault) = &plan.steps[7].action else { panic!("fault") };
    assert!(matches!(&fault.kind, FaultKind::Kill(deployment) if deployment.vm.is_some()));
    insta::assert_snapshot!(explain::explain(&plan));
}

#[test]
fn a_program_is_killed_and_a_machine_joins_anew() {
    let plan = plan(
        "- {name: killed, fault: {killProgram: {vm: echo-vm, program: proxy}}}\n- {heal: {fault: killed}}\n\
         - {onboard: {vm: details-vm}}\n- {onboard: {vm: details-vm, token: wrongAudience, timeout: 5s}}\n- {converge: {}}\n",
    );
    let Action::Fault(fault) = &plan.steps[0].action else { panic!("fault") };
    assert!(matches!(&fault.kind, FaultKind::KillProgram { program, .. } if program == "proxy"));
    let Action::Onboard(onboard) = &plan.steps[3].action else { panic!("onboard") };
    assert_eq!((onboard.vm.name.as_str(), onboard.timeout.as_secs()), ("details-vm", 5));
    insta::assert_snapshot!(explain::explain(&plan));
}

#[test]
fn whoever_measures_after_a_machine_went_waits_for_the_proxies() {
    let problems = checked(
        "- {restart: {vm: details-vm}}\n- {traffic: {from: {vm: echo-vm}, url: 'http://echo:8080/'}, expect: [{answered: all}]}\n",
    )
    .problems
    .render(false);
    assert!(problems.contains("converge"), "{problems}");
}

#[test]
fn a_machine_is_where_a_failover_begins_or_ends() {
    let failover = |from: &str| {
        format!(
            "- {{name: t, traffic: {{from: {{vm: echo-vm}}, url: 'http://details.bookinfo:9080/', background: true, rate: 50}}}}\n\
             - {{name: cut, fault: {{kill: {{vm: details-vm}}}}}}\n- {{heal: {{fault: cut}}}}\n\
             - {{stop: {{traffic: t}}, expect: [{{failover: {{fault: cut, from: [{from}], to: [cluster1], gap: 1s}}}}]}}\n- {{converge: {{}}}}\n"
        )
    };
    plan(&failover("details-vm"));
    let problems = checked(&failover("details-vn, echo-vm")).problems.render(false);
    assert!(problems.contains("has no cluster `details-vn`"), "{problems}");
}

#[test]
fn mistakes_about_machines_are_named_with_their_place() {
    let cases = [
        "- {restart: {vm: details}}\n",
        "- {restart: {vm: details-vm, cluster: cluster1}}\n",
        "- {restart: {cluster: cluster1}}\n",
        "- {scale: {vm: details-vm, replicas: 2}}\n",
        "- {exec: {in: {vm: details-vm}, container: web, command: ['true']}}\n",
        "- {fault: {killProgram: {vm: details-vm, program: web}}}\n",
        "- {fault: {killProgram: {vm: details, program: proxy}}}\n",
        "- {onboard: {vm: details-vm, token: stolen}}\n",
        "- {onboard: {vm: details-vm, certificate: stolen}}\n",
        "- {traffic: {from: {workload: probe}, url: 'http://x/'}, expect: [{answered: all}]}\n",
    ];
    let said: Vec<String> = cases.iter().map(|steps| checked(steps).problems.render(false)).collect();
    assert!(!said.iter().any(String::is_empty), "{said:#?}");
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn machines_have_no_workers() {
    let checked = checked(
        "- {traffic: {from: {vm: echo-vm}, workers: 2, url: 'http://echo:8080/'}, expect: [{answered: all}]}\n\
         - {traffic: {from: [{cluster: cluster1, workload: probe, namespace: bookinfo}, {vm: echo-vm}], workers: 2, url: 'http://echo:8080/'}, expect: [{answered: all}]}\n",
    );
    let said: Vec<String> = checked
        .problems
        .iter()
        .map(|one| format!("{}:{} {}", one.location().line, one.location().column, one.message))
        .collect();
    insta::assert_snapshot!(said.join("\n"));
}
