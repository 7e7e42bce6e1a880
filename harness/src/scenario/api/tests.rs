//! A scenario in Rust is the same as one in YAML, and mistakes are found where they were written.

use std::collections::BTreeMap;
use std::panic::Location;

use serde_json::{Value, json};

use super::*;
use crate::diagnostic::Problems;
use crate::scenario::Plan;
use crate::scenario::check::NamedText;
use crate::topology::{Topology, validate};

const TOPOLOGY: &str = include_str!("../../../../scenarios/topologies/two-clusters.yaml");
const HALF_AND_HALF: &str = include_str!("../../../../scenarios/catalogue/traffic-shift/half-and-half.yaml");

/// Has no file.
struct NoFile;

impl ReadFile for NoFile {
    fn read(&self, path: &str) -> Result<NamedText, String> {
        Err(format!("{path} is not there"))
    }
}

fn topology() -> Topology {
    validate::read("two-clusters.yaml", TOPOLOGY).expect("a topology")
}

fn given() -> Defaults {
    Defaults { topology: Some(topology()), ..Defaults::default() }
}

fn plan(scenario: &Scenario) -> Result<Plan, Problems> {
    let checked = scenario.check(&given(), &NoFile);
    checked.plans.into_iter().next().ok_or(checked.problems)
}

/// The plan without places, which are all that may differ.
fn without_places(plan: &Plan) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for place in ["location", "file", "area"] {
                    fields.remove(place);
                }
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(plan).expect("plain data");
    strip(&mut value);
    value
}

fn rule() -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
        "metadata": { "name": "reviews", "namespace": "bookinfo" },
        "spec": { "host": "reviews", "subsets": [
            { "name": "v1", "labels": { "version": "v1" } },
            { "name": "v3", "labels": { "version": "v3" } },
        ] },
    })
}

fn half() -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": { "name": "reviews", "namespace": "bookinfo" },
        "spec": { "hosts": ["reviews"], "http": [{ "route": [
            { "destination": { "host": "reviews", "subset": "v1" }, "weight": 50 },
            { "destination": { "host": "reviews", "subset": "v3" }, "weight": 50 },
        ] }] },
    })
}

fn half_and_half() -> Scenario {
    let both = ["cluster1", "cluster2"];
    let probe = Workload::new("cluster1", "probe").in_namespace("bookinfo");
    let every_version = Expect::cel("groups.exists(group, group.version == 'v2' && group.count > 0)");
    Scenario::new("half-and-half", "Half of the requests to reviews go to v1 on cluster1, half to v3 on cluster2.")
        .tag("traffic-shift")
        .tag("multi-cluster")
        .step(
            Step::apply(both, [rule()])
                .named("the versions are subsets")
                .cleanup(Step::delete(both, [Object::of(&rule())])),
        )
        .step(
            Step::apply(["cluster1"], [half()])
                .named("half to each")
                .cleanup(Step::delete(["cluster1"], [Object::of(&half())])),
        )
        .step(Step::converge())
        .step(
            Step::traffic(Traffic { early_stop: true, ..Traffic::new(probe, "http://reviews:9080/reviews/0") })
                .named("each gets a half")
                .expect(Expect::answered())
                .expect(Split::new("version@cluster", [("v1@cluster1", 50.0), ("v3@cluster2", 50.0)], 10.0)),
        )
        .step(
            Step::control(Control {
                change: vec![Step::delete(["cluster1"], [Object::of(&half())]), Step::converge()],
                repeat: "each gets a half".to_owned(),
                refutes: vec!["split".into()],
                expect: vec![Expect::answered(), every_version],
                restore: vec![Step::apply(["cluster1"], [half()])],
            })
            .named("control: without the policy every version gets its share"),
        )
}

#[test]
fn a_scenario_in_rust_is_the_plan_that_the_file_is() {
    let file = check::read("traffic-shift/half-and-half.yaml", HALF_AND_HALF, &given(), &NoFile);
    let written = plan(&half_and_half()).expect("no mistakes");
    assert_eq!(without_places(&written), without_places(&file.plans[0]));
}

/// Every kind of step and of group.
#[test]
fn every_step_can_be_written() {
    let reviews = || Workload::new("cluster1", "reviews-v1");
    let service = || Object {
        api_version: "v1".to_owned(),
        kind: "Service".to_owned(),
        namespace: Some("bookinfo".to_owned()),
        name: "reviews".to_owned(),
    };
    let probe = || Workload::new("cluster1", "probe").in_namespace("bookinfo");
    let merge = json!({ "metadata": { "labels": { "a": null } } }).as_object().cloned();
    let scenario = Scenario::new("every-step", "Every kind of step.")
        .step(Step::note("a remark"))
        .step(
            Step::traffic(Traffic {
                rate: Some(50),
                background: true,
                ..Traffic::new(probe(), "http://reviews:9080/")
            })
            .named("background"),
        )
        .step(Step::during(Background { traffic: "background".to_owned(), requests: Some(10) }))
        .step(Step::fault(Fault { kill: Some(reviews()), ..Fault::default() }).named("killed"))
        .step(Step::heal(Heal { fault: "killed".to_owned() }))
        .step(Step::stop(Background { traffic: "background".to_owned(), requests: None }).expect(Expect::answered()))
        .step(Step::patch(Patch {
            clusters: vec!["cluster1".to_owned()],
            object: service(),
            merge,
            ..Patch::default()
        }))
        .step(Step::parallel([
            Step::restart(reviews().into()),
            Step::kill(Workload::new("cluster1", "details-v1").into()),
        ]))
        .step(Step::scale(Scale {
            cluster: "cluster1".to_owned(),
            workload: "reviews-v2".to_owned(),
            replicas: 1,
            ..Scale::default()
        }))
        .step(Step::exec(Exec { within: probe(), command: vec!["true".to_owned()], ..Exec::default() }))
        .step(Step::wait(Wait {
            cluster: "cluster1".to_owned(),
            object: service(),
            exists: Some(true),
            ..Wait::default()
        }))
        .step(Step::converge())
        .step(
            Step::attempt([Step::connect(Connect { from: probe(), to: reviews(), ..Connect::default() })
                .expect(Expect::connection([ConnectionOutcome::Connected]))])
            .catch([Step::note("it failed")])
            .finally([Step::note("afterwards")]),
        )
        .step(Step::sequence([Step::config(Config { of: reviews(), path: Some("/clusters?format=json".to_owned()) })
            .expect(Expect::cel("true"))]))
        .finally(Step::note("the end"));
    let plan = plan(&scenario).unwrap_or_else(|problems| panic!("{problems}"));
    let written = serde_json::to_value(&plan).expect("plain data");
    let patch = written["steps"][6].to_string();
    assert!(patch.contains(r#"{"a":null}"#), "a null in a patch removes a field: {patch}");
}

#[test]
fn sources_methods_and_expectations_of_one_source_are_those_of_files() {
    let probe = |cluster: &str| Workload::new(cluster, "probe").in_namespace("bookinfo");
    let traffic = Traffic {
        method: Some("POST".to_owned()),
        body: Some("text".to_owned()),
        ..Traffic::new([probe("cluster1"), probe("cluster2")], "http://details:9080/")
    };
    let scenario = Scenario::new("several", "Two at once.")
        .step(Step::traffic(traffic).expect(Expect::answered()).expect(Expect::answered().of(probe("cluster2"))));
    let plan = serde_json::to_value(plan(&scenario).expect("right")).expect("plain data");
    let written = &plan["steps"][0]["action"]["traffic"];
    assert_eq!((&written["method"], &written["body"]), (&json!("POST"), &json!("text")));
    assert_eq!(written["from"][1]["cluster"], "cluster2");
    assert_eq!(written["expectations"][0].get("from"), None);
    assert_eq!(written["expectations"][1]["from"]["cluster"], "cluster2");
}

#[track_caller]
fn step_of_a_helper() -> Step {
    Step::restart(Workload::new("cluster1", "helper").into())
}

#[test]
fn a_mistake_is_reported_where_it_was_written() {
    let here = Location::caller();
    let unknown = Step::restart(Workload::new("cluster1", "revews-v1").into()); // line + 1
    let weights = BTreeMap::from([("v1".to_owned(), 60.0)]);
    let scenario = Scenario::new("mistakes", "Four of them.")
        .step(unknown)
        .step(
            Step::traffic(Traffic {
                connections: 5000,
                ..Traffic::new(Workload::new("cluster1", "productpage-v1"), "http://reviews:9080/")
            }) // line + 6
            .expect(Expect::answered()),
        )
        .step(Step::sequence([step_of_a_helper()])) // line + 12
        .step(
            Step::traffic(Traffic::new(Workload::new("cluster1", "productpage-v1"), "http://reviews:9080/"))
                .named("sent")
                .expect(Split { by: "version".to_owned(), weights, margin: 5.0, ..Split::default() }), // line + 16
        );
    let problems = plan(&scenario).expect_err("mistakes");
    let places: Vec<_> = problems.iter().map(|problem| (problem.location().line, problem.message.clone())).collect();
    let line = |after: u32| (here.line() + after) as usize;
    let said: Vec<_> = places.iter().map(|(line, _)| *line).collect();
    assert_eq!(said, [line(1), line(6), line(12), line(16)], "{places:#?}");
    assert!(problems.iter().all(|problem| problem.location().file == file!()), "{problems}");
}

#[test]
fn the_source_is_shown_where_it_can_be_read() {
    struct Sources;
    impl ReadFile for Sources {
        fn read(&self, path: &str) -> Result<NamedText, String> {
            assert_eq!(path, file!());
            Ok(NamedText { name: path.to_owned(), text: include_str!("tests.rs").to_owned() })
        }
    }
    let scenario = Scenario::new("one", "One.").step(Step::restart(Workload::new("cluster9", "x").into()));
    let shown = scenario.check(&given(), &Sources).problems.render(false);
    assert!(shown.contains(r#"Step::restart(Workload::new("cluster9", "x")"#), "{shown}");
    let shown = scenario.check(&given(), &NoFile).problems.render(false);
    assert!(shown.contains(&format!("{}:", file!())) && shown.contains("cluster9"), "{shown}");
}
