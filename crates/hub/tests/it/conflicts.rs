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

/// A policy for `reviews` of the first cluster.
fn on_reviews(name: &str, selectors: &str, policy: &str) -> String {
    format!(
        "apiVersion: networking.meshproof.dev/v1\nkind: TrafficPolicy\nmetadata: {{ name: {name}, namespace: bookinfo, generation: 1 }}\n\
         spec: {{ destinationSelector: [{{ kubeServiceRefs: {{ services: [{{ name: reviews, namespace: bookinfo, clusterName: cluster1 }}] }} }}], \
         {selectors}policy: {policy} }}\n"
    )
}

fn routes(state: &hub::state::State) -> Vec<serde_json::Value> {
    let route = object(state, "cluster1", "VirtualService bookinfo/reviews").unwrap();
    route["spec"]["http"].as_array().unwrap().clone()
}

#[test]
fn policies_whose_conditions_are_the_same_once_written_hold_together() {
    let both = "httpRequestMatchers: [{ name: one, uri: { prefix: /a } }, { uri: { prefix: /b } }], ";
    let one = "httpRequestMatchers: [{ name: another, uri: { prefix: /b } }], ";
    let mut state = state(&[TWO_CLUSTERS, &on_reviews("timeout", both, "{ requestTimeout: 2s }")]);
    put(&mut state, &[&on_reviews("retries", one, "{ retries: { attempts: 3 } }")]);
    let found: Vec<_> = routes(&state)
        .iter()
        .map(|route| {
            let of = |path: &str| route.pointer(path).cloned().unwrap_or_default();
            (of("/match/0/uri/prefix"), of("/timeout"), of("/retries/attempts"))
        })
        .collect();
    let nothing = serde_json::Value::Null;
    assert_eq!(
        found,
        [
            ("/b".into(), "2s".into(), 3.into()),
            ("/a".into(), "2s".into(), nothing.clone()),
            (nothing.clone(), nothing.clone(), nothing)
        ]
    );
}

#[test]
fn policies_that_contradict_each_other_for_some_requests_are_in_conflict() {
    let headers = |names: [&str; 2]| {
        let [one, other] = names.map(|name| format!("{{ name: {name}, value: x }}"));
        format!("httpRequestMatchers: [{{ headers: [{one}, {other}] }}], ")
    };
    let first = on_reviews("first", &headers(["X-User", "x-group"]), "{ requestTimeout: 1s }");
    let second = on_reviews("second", &headers(["x-group", "x-user"]), "{ requestTimeout: 2s }");
    let mut state = state(&[TWO_CLUSTERS, &first]);
    put(&mut state, &[&second]);
    let conflict = "on reviews.bookinfo.cluster1: requestTimeout conflicts with TrafficPolicy first.bookinfo, which was accepted before";
    assert_eq!(traffic_errors(&state, "second"), [conflict]);
    // Callers in one cluster are some of all callers.
    let here = "sourceSelector: [{ kubeWorkloadMatcher: { clusters: [cluster1] } }], ";
    put(&mut state, &[&on_reviews("all", "", "{ requestTimeout: 3s }")]);
    put(&mut state, &[&on_reviews("some", here, "{ requestTimeout: 4s }")]);
    assert_eq!(traffic_errors(&state, "some"), [conflict.replace("first", "all")]);
    let there = here.replace("cluster1", "cluster9");
    put(&mut state, &[&on_reviews("others", &there, "{ requestTimeout: 4s }")]);
    assert_eq!(traffic_errors(&state, "others").len(), 1, "all callers are also those of cluster9");
    let elsewhere = on_reviews("all", "httpRequestMatchers: [{ uri: { exact: /x } }], ", "{ requestTimeout: 3s }");
    put(&mut state, &[&elsewhere.replace("generation: 1", "generation: 2")]);
    assert_eq!((traffic_errors(&state, "some").len(), traffic_errors(&state, "others").len()), (0, 0));
}

#[test]
fn a_subset_that_cannot_be_written_is_told_by_the_policy_that_needs_it() {
    let mut state = state(&[TWO_CLUSTERS, VIRTUAL_MESH, SHIFT]);
    let host = "reviews.bookinfo.svc.cluster2.global";
    let outcome = |error: Option<&str>| {
        Change::Written(hub::state::Outcome {
            unit: hub::state::Unit::Destination(reviews("cluster2")),
            cluster: "cluster1".to_owned(),
            key: ObjectKey::new(OutputKind::DestinationRule, "istio-system", host),
            error: error.map(str::to_owned),
        })
    };
    let effects = state.apply([outcome(Some("forbidden"))]);
    assert!(effects.statuses.contains(&Subject::TrafficPolicy(ObjectRef::new("shift", "bookinfo"))));
    assert_eq!(
        traffic_errors(&state, "shift"),
        [format!(
            "on reviews.bookinfo.cluster1: DestinationRule istio-system/{host} cannot be written in cluster1: forbidden"
        )]
    );
    let effects = state.apply([outcome(None)]);
    assert!(effects.statuses.contains(&Subject::TrafficPolicy(ObjectRef::new("shift", "bookinfo"))));
    assert_eq!(traffic_errors(&state, "shift"), Vec::<String>::new());
}

#[test]
fn a_mesh_that_moves_to_another_namespace_meets_what_is_there() {
    let host = "reviews.bookinfo.svc.cluster1.global";
    let key = ObjectKey::new(OutputKind::VirtualService, "elsewhere", host);
    let foreign = Foreign { cluster: "cluster2".to_owned(), key };
    let policy = on_reviews("timeout", "", "{ requestTimeout: 2s }");
    let mut state = state(&[TWO_CLUSTERS, VIRTUAL_MESH, &policy]);
    state.apply([Change::put(Input::Foreign(foreign, vec!["own.example.org".to_owned()]))]);
    assert_eq!(traffic_errors(&state, "timeout"), Vec::<String>::new());
    let moved = TWO_CLUSTERS.replace("installation: { namespace: istio-system", "installation: { namespace: elsewhere");
    let moved = moved.split("---").filter(|document| document.contains("kind: Mesh")).collect::<Vec<_>>().join("---");
    put(&mut state, &[&moved]);
    assert_eq!(
        traffic_errors(&state, "timeout"),
        [format!(
            "on reviews.bookinfo.cluster1: VirtualService elsewhere/{host} in cluster2 is not the hub's, and for the same host"
        )]
    );
}
