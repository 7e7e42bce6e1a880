//! Traffic shift over clusters, and the other things that a traffic policy makes of requests.

use insta::assert_snapshot;

use crate::support::{self, SHIFT, TWO_CLUSTERS, VIRTUAL_MESH, object, state, traffic_errors, traffic_status};

#[test]
fn the_worked_example_cluster_by_cluster() {
    let state = state(&[TWO_CLUSTERS, VIRTUAL_MESH, SHIFT]);
    assert_snapshot!("shift_cluster1", support::shown(&state, "cluster1"));
    assert_snapshot!("shift_cluster2", support::shown(&state, "cluster2"));
    assert_snapshot!("shift_status", traffic_status(&state, "shift"));
}

#[test]
fn a_policy_that_goes_away_takes_its_objects_with_it() {
    let mut with = state(&[TWO_CLUSTERS, VIRTUAL_MESH, SHIFT]);
    let without = state(&[TWO_CLUSTERS, VIRTUAL_MESH]);
    let policy = mesh_types::hub::ObjectRef::new("shift", "bookinfo");
    let effects = with.apply([hub::state::Change::Remove(hub::state::InputKey::TrafficPolicy(policy))]);
    for cluster in ["cluster1", "cluster2"] {
        assert_eq!(support::shown(&with, cluster), support::shown(&without, cluster));
    }
    // Of each destination the rules here, at the gateway and elsewhere; of the first also the routes here and elsewhere.
    assert_eq!(effects.writes.len(), 8, "{:#?}", effects.writes);
}

#[test]
fn a_shift_is_refused_where_its_target_is_not_known() {
    for (change, expected) in [
        (
            ("clusterName: cluster2, subset: { version: v3 }", "clusterName: cluster3"),
            "destination reviews.bookinfo.cluster3 is not known",
        ),
        (
            ("version: v3", "version: v4"),
            "no workload of reviews.bookinfo.cluster2 has the labels of subset version-v4",
        ),
        (
            ("clusterName: cluster2, subset", "clusterName: cluster2, port: 80, subset"),
            "reviews.bookinfo.cluster2 has no port 80",
        ),
    ] {
        let state = state(&[TWO_CLUSTERS, VIRTUAL_MESH, &SHIFT.replacen(change.0, change.1, 1)]);
        assert_eq!(traffic_errors(&state, "shift"), [format!("on reviews.bookinfo.cluster1: {expected}")]);
        assert_eq!(object(&state, "cluster1", "VirtualService bookinfo/reviews"), None);
    }
}

#[test]
fn without_federation_there_is_no_way_to_the_other_cluster() {
    let mut state = state(&[TWO_CLUSTERS, SHIFT]);
    assert_eq!(
        traffic_errors(&state, "shift"),
        [
            "on reviews.bookinfo.cluster1: reviews.bookinfo.cluster2 is not federated to cluster1, where reviews.bookinfo.cluster1 is called"
        ]
    );
    assert_eq!(support::names(&state, "cluster1"), Vec::<String>::new());
    support::put(&mut state, &[VIRTUAL_MESH]);
    assert_eq!(traffic_errors(&state, "shift"), Vec::<String>::new());
}

#[test]
fn weights_that_do_not_sum_to_a_hundred_are_refused_by_field() {
    let state = state(&[TWO_CLUSTERS, VIRTUAL_MESH, &SHIFT.replace("weight: 10", "weight: 20")]);
    assert_eq!(
        traffic_errors(&state, "shift"),
        ["spec.policy.trafficShift.destinations: the weights sum to 110, not 100"]
    );
    assert_eq!(object(&state, "cluster1", "VirtualService bookinfo/reviews"), None);
}

const EVERYTHING: &str = r"
apiVersion: networking.meshproof.dev/v1
kind: TrafficPolicy
metadata: { name: everything, namespace: bookinfo, generation: 1 }
spec:
  sourceSelector:
  - kubeWorkloadMatcher: { labels: { app: productpage }, namespaces: [bookinfo, other], clusters: [cluster1] }
  destinationSelector:
  - kubeServiceMatcher: { labels: { app: reviews }, clusters: [cluster2] }
  httpRequestMatchers:
  - uri: { prefix: /reviews }
    method: GET
    headers: [{ name: End-User, value: jason }, { name: x-skip, invertMatch: true }]
    queryParameters: [{ name: page, value: '[0-9]+', regex: true }]
  - uri: { exact: /health }
  policy:
    faultInjection: { abort: { httpStatus: 503 }, percentage: 12.5 }
    requestTimeout: 2.5s
    retries: { attempts: 2, perTryTimeout: 1s, retryOn: gateway-error }
    corsPolicy: { allowOrigins: [{ exact: https://example.org }], allowMethods: [GET], maxAge: 24h, allowCredentials: true }
    mirror: { kubeService: { name: reviews, namespace: bookinfo, clusterName: cluster1 } }
    headerManipulation: { appendRequestHeaders: { x-by: hub }, removeResponseHeaders: [server] }
---
apiVersion: networking.meshproof.dev/v1
kind: TrafficPolicy
metadata: { name: connections, namespace: bookinfo, generation: 1 }
spec:
  destinationSelector:
  - kubeServiceMatcher: { clusters: [cluster2] }
  policy:
    outlierDetection: { consecutiveErrors: 3 }
    mtls: { istio: { tlsMode: ISTIO_MUTUAL } }
";

#[test]
fn every_field_has_its_place() {
    let state = state(&[TWO_CLUSTERS, VIRTUAL_MESH, EVERYTHING]);
    let host = "reviews.bookinfo.svc.cluster2.global";
    let show = |cluster: &str, name: &str| {
        let found = object(&state, cluster, name).map(|object| object["spec"].clone());
        serde_saphyr::to_string(&found).unwrap()
    };
    assert_snapshot!("every_field_route", show("cluster1", &format!("VirtualService istio-system/{host}")));
    assert_snapshot!("every_field_rule", show("cluster1", &format!("DestinationRule istio-system/{host}")));
    // Its callers are in the other cluster only, so nothing is routed here.
    assert_eq!(object(&state, "cluster2", "VirtualService bookinfo/reviews"), None);
    assert_snapshot!("every_field_local_rule", show("cluster2", "DestinationRule bookinfo/reviews"));
    assert_eq!(traffic_errors(&state, "everything"), Vec::<String>::new());
}

#[test]
fn a_failure_is_forgotten_with_the_object_that_could_not_be_written() {
    let mut state = state(&[TWO_CLUSTERS, VIRTUAL_MESH, SHIFT]);
    let key = hub::output::ObjectKey::new(hub::output::OutputKind::VirtualService, "bookinfo", "reviews");
    let unit = hub::state::Unit::Destination(support::reviews("cluster1"));
    let outcome = hub::state::Outcome { unit, cluster: "cluster1".to_owned(), key, error: Some("no".to_owned()) };
    state.apply([hub::state::Change::Written(outcome)]);
    let errors = |state: &hub::state::State| {
        let subject = hub::state::Subject::Destination(support::reviews("cluster1"));
        let Some(hub::status::Status::Destination(status)) = state.status(&subject) else { panic!() };
        status.errors
    };
    assert_eq!(errors(&state), ["VirtualService bookinfo/reviews cannot be written in cluster1: no"]);
    let policy = mesh_types::hub::ObjectRef::new("shift", "bookinfo");
    state.apply([hub::state::Change::Remove(hub::state::InputKey::TrafficPolicy(policy))]);
    assert_eq!(errors(&state), Vec::<String>::new());
}
