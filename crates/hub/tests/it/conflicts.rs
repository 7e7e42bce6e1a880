//! Two policies that want different things, and objects of others.

use hub::output::{ObjectKey, OutputKind};
use hub::state::{Change, Input, InputKey, Subject};
use hub::status::Status;
use hub::world::Foreign;
use insta::assert_snapshot;
use mesh_types::hub::ObjectRef;

use crate::support::{
    SHIFT, TWO_CLUSTERS, VIRTUAL_MESH, names, object, put, reviews, state, traffic_errors, traffic_status,
};

fn timeout(name: &str, generation: u32, timeout: &str) -> String {
    format!(
        "apiVersion: networking.meshproof.dev/v1\nkind: TrafficPolicy\nmetadata: {{ name: {name}, namespace: bookinfo, generation: {generation} }}\n\
         spec:\n  destinationSelector: [{{ kubeServiceMatcher: {{ clusters: [cluster1] }} }}]\n  policy: {{ requestTimeout: {timeout} }}\n"
    )
}

fn effective(state: &hub::state::State) -> String {
    let route = object(state, "cluster1", "VirtualService bookinfo/reviews").unwrap();
    route["spec"]["http"][0]["timeout"].as_str().unwrap().to_owned()
}

#[test]
fn what_came_first_holds_and_the_other_names_it() {
    let mut state = state(&[TWO_CLUSTERS, &timeout("second", 1, "2s")]);
    put(&mut state, &[&timeout("first", 1, "1s")]);
    assert_eq!(effective(&state), "2s");
    assert_eq!(
        traffic_errors(&state, "first"),
        [
            "on reviews.bookinfo.cluster1: requestTimeout conflicts with TrafficPolicy second.bookinfo, which was accepted before"
        ]
    );
    assert_snapshot!("conflict_status", traffic_status(&state, "first"));
    // Its own change does not cost the first one its place, since the other was never accepted.
    put(&mut state, &[&timeout("second", 2, "3s")]);
    assert_eq!(effective(&state), "3s");
    // When it goes, the other takes over.
    state.apply([Change::Remove(InputKey::TrafficPolicy(ObjectRef::new("second", "bookinfo")))]);
    assert_eq!((effective(&state).as_str(), traffic_errors(&state, "first").len()), ("1s", 0));
}

#[test]
fn a_change_that_comes_into_conflict_loses_against_what_stayed() {
    let retries = "apiVersion: networking.meshproof.dev/v1\nkind: TrafficPolicy\nmetadata: { name: retries, namespace: bookinfo, generation: 1 }\n\
         spec:\n  destinationSelector: [{ kubeServiceMatcher: { clusters: [cluster1] } }]\n  policy: { retries: { attempts: 2 } }\n";
    let mut state = state(&[TWO_CLUSTERS, &timeout("timeout", 1, "1s")]);
    put(&mut state, &[retries]);
    let both =
        timeout("timeout", 2, "1s").replace("requestTimeout: 1s", "requestTimeout: 1s, retries: { attempts: 9 }");
    put(&mut state, &[&both]);
    assert_eq!(
        traffic_errors(&state, "timeout"),
        [
            "on reviews.bookinfo.cluster1: retries conflicts with TrafficPolicy retries.bookinfo, which was accepted before"
        ]
    );
}

#[test]
fn equal_values_are_no_conflict() {
    let state = state(&[TWO_CLUSTERS, &timeout("first", 1, "1s"), &timeout("second", 1, "1s")]);
    assert_eq!((traffic_errors(&state, "first").len(), traffic_errors(&state, "second").len()), (0, 0));
}

#[test]
fn foreign_objects_are_left_alone_and_named_on_the_policy() {
    let foreign = Foreign {
        cluster: "cluster1".to_owned(),
        key: ObjectKey::new(OutputKind::VirtualService, "team", "own-routes"),
    };
    let mut state = state(&[TWO_CLUSTERS, VIRTUAL_MESH, SHIFT]);
    let host = "reviews.bookinfo.svc.cluster.local".to_owned();
    let effects = state.apply([Change::put(Input::Foreign(foreign.clone(), vec![host]))]);
    assert_eq!(
        traffic_errors(&state, "shift"),
        [
            "on reviews.bookinfo.cluster1: VirtualService team/own-routes in cluster1 is not the hub's, and for the same host"
        ]
    );
    assert!(!names(&state, "cluster1").contains(&"VirtualService bookinfo/reviews".to_owned()));
    assert!(effects.statuses.contains(&Subject::TrafficPolicy(ObjectRef::new("shift", "bookinfo"))));
    state.apply([Change::Remove(InputKey::Foreign(foreign))]);
    assert_eq!(traffic_errors(&state, "shift"), Vec::<String>::new());
    assert!(names(&state, "cluster1").contains(&"VirtualService bookinfo/reviews".to_owned()));
}

#[test]
fn a_foreign_entry_for_a_federated_host_keeps_only_its_cluster_from_it() {
    let host = "reviews.bookinfo.svc.cluster2.global";
    let key = ObjectKey::new(OutputKind::ServiceEntry, "istio-system", host);
    let foreign = Foreign { cluster: "cluster1".to_owned(), key };
    let mut state = state(&[TWO_CLUSTERS, VIRTUAL_MESH]);
    state.apply([Change::put(Input::Foreign(foreign, vec![host.to_owned()]))]);
    assert!(!names(&state, "cluster1").contains(&format!("ServiceEntry istio-system/{host}")));
    let Some(Status::Destination(status)) = state.status(&Subject::Destination(reviews("cluster2"))) else { panic!() };
    assert_eq!(
        status.errors,
        [format!("ServiceEntry istio-system/{host} in cluster1 is not the hub's, and stands in the way")]
    );
}

#[test]
fn a_failed_write_is_told_until_it_succeeds() {
    let mut state = state(&[TWO_CLUSTERS, VIRTUAL_MESH, SHIFT]);
    let outcome = |error: Option<&str>| {
        Change::Written(hub::state::Outcome {
            unit: hub::state::Unit::Destination(reviews("cluster1")),
            cluster: "cluster1".to_owned(),
            key: ObjectKey::new(OutputKind::VirtualService, "bookinfo", "reviews"),
            error: error.map(str::to_owned),
        })
    };
    let effects = state.apply([outcome(Some("forbidden"))]);
    assert!(effects.writes.is_empty());
    assert!(effects.statuses.contains(&Subject::TrafficPolicy(ObjectRef::new("shift", "bookinfo"))));
    assert_eq!(
        traffic_errors(&state, "shift"),
        ["on reviews.bookinfo.cluster1: VirtualService bookinfo/reviews cannot be written in cluster1: forbidden"]
    );
    state.apply([outcome(None)]);
    assert_eq!(traffic_errors(&state, "shift"), Vec::<String>::new());
}
