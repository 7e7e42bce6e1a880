//! A scenario written in Rust: what a file says with a matrix, a test says with its cases.

use meshproof::scenario::api::{Control, Expect, Object, Scenario, Split, Step, Traffic, Workload};
use rstest::rstest;
use scenarios::{Environment, Error};
use serde_json::{Value, json};

use crate::two_clusters;

const CLUSTERS: [&str; 2] = ["cluster1", "cluster2"];
const SENT: &str = "one version answers";

fn subsets() -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": { "name": "reviews", "namespace": "bookinfo" },
        "spec": { "host": "reviews", "subsets": [
            { "name": "v1", "labels": { "version": "v1" } },
            { "name": "v3", "labels": { "version": "v3" } },
        ] },
    })
}

fn route_to(version: &str) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": { "name": "reviews", "namespace": "bookinfo" },
        "spec": { "hosts": ["reviews"], "http": [
            { "route": [{ "destination": { "host": "reviews", "subset": version } }] },
        ] },
    })
}

fn apply(clusters: &[&str], object: &Value) -> Step {
    Step::apply(clusters.to_vec(), [object]).cleanup(Step::delete(clusters.to_vec(), [Object::of(object)]))
}

#[rstest]
#[case::near("v1", "v1@cluster1")]
#[case::far("v3", "v3@cluster2")]
fn a_route_to_one_version_leaves_nothing_for_the_others(
    #[from(two_clusters)] environment: Environment,
    #[case] version: &str,
    #[case] answering: &str,
) -> Result<(), Error> {
    let route = route_to(version);
    let probe = Workload::new("cluster1", "probe").in_namespace("bookinfo");
    let all_versions = ["v1@cluster1", "v2@cluster1", "v3@cluster2"].map(str::to_owned).to_vec();
    let scenario = Scenario::new("one-version", "Every request to reviews goes to one version.")
        .tag("traffic-shift")
        .step(apply(&CLUSTERS, &subsets()))
        .step(apply(&CLUSTERS[..1], &route))
        .step(Step::converge())
        .step(
            Step::traffic(Traffic { requests: Some(400), ..Traffic::new(probe, "http://reviews:9080/reviews/0") })
                .named(SENT)
                .expect(Expect::answered())
                .expect(Split::new("version@cluster", [(answering, 100.0)], 10.0)),
        )
        .step(
            Step::control(Control {
                change: vec![Step::delete(["cluster1"], [Object::of(&route)]), Step::converge()],
                repeat: SENT.to_owned(),
                refutes: vec!["split".into()],
                expect: vec![
                    Expect::answered(),
                    Split { equal: all_versions, ..Split::new::<String>("version@cluster", [], 25.0) }.into(),
                ],
                restore: vec![Step::apply(["cluster1"], [&route])],
            })
            .named("control: without the route every version gets its share"),
        );
    environment.prove_written(&scenario)
}
