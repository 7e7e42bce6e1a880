//! Snapshots of invariants compared; no cluster is asked.

use super::*;
use serde_json::json;

use crate::scenario::plan::ObjectRef;

fn pod(uid: &str, restarts: i32) -> Pod {
    let value = json!({
        "metadata": { "namespace": "echo", "name": "echo-v1-a", "uid": uid },
        "status": { "containerStatuses": [
            { "name": "echo", "restartCount": restarts, "image": "", "imageID": "", "ready": true },
        ] },
    });
    serde_json::from_value(value).expect("a pod")
}

fn restarts(pods: &[Pod]) -> Look {
    Look { restarts: Look::restarts(pods), ..Look::default() }
}

fn refusals(rejections: u64, error: Option<&str>) -> Look {
    let types = json!({ "lds": { "sent": 3, "acked": 3, "rejections": rejections, "error": error } });
    let proxy = json!({ "pod": "probe-a", "namespace": "echo", "connected": true, "types": types });
    let status = serde_json::from_value(json!({ "snapshot": 3, "proxies": [proxy] })).expect("a status");
    Look { refusals: Look::refusals(&status), ..Look::default() }
}

fn object(part: Part, value: Option<Value>) -> Look {
    let object = ObjectRef::of(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "namespace": "echo", "name": "one" },
    }));
    let touched = Touched { cluster: "c1".to_owned(), object, part };
    let value = value.and_then(|value| super::part(part, value));
    Look { objects: BTreeMap::from([(touched, value)]), ..Look::default() }
}

fn of_mesh(before: &Look, after: &Look) -> Vec<String> {
    let found = violations("c1", before, after);
    assert_eq!(found.left, Vec::<String>::new());
    found.of_mesh
}

fn left(before: &Look, after: &Look) -> Vec<String> {
    let found = violations("c1", before, after);
    assert_eq!(found.of_mesh, Vec::<String>::new());
    found.left
}

#[test]
fn a_restart_is_told_and_a_pod_in_place_of_another_is_none() {
    let said = ["c1: container echo of echo/echo-v1-a was restarted 1 times"];
    assert_eq!(of_mesh(&restarts(&[pod("a", 1)]), &restarts(&[pod("a", 2)])), said);
    assert_eq!(of_mesh(&restarts(&[pod("a", 1)]), &restarts(&[pod("b", 1)])), said);
    assert!(of_mesh(&restarts(&[pod("a", 1)]), &restarts(&[pod("a", 1)])).is_empty());
    assert!(of_mesh(&restarts(&[pod("a", 1)]), &restarts(&[pod("b", 0)])).is_empty());
    assert!(of_mesh(&restarts(&[pod("a", 1)]), &restarts(&[])).is_empty());
}

#[test]
fn a_refusal_is_told_also_when_it_has_healed_or_stood_before() {
    let one = "c1: echo/probe-a refused lds 1 times meanwhile";
    assert_eq!(of_mesh(&refusals(0, None), &refusals(1, None)), [one]);
    assert_eq!(of_mesh(&refusals(4, None), &refusals(1, None)), [one]);
    assert_eq!(
        of_mesh(&refusals(1, Some("no")), &refusals(1, Some("no"))),
        ["c1: echo/probe-a refused lds 0 times meanwhile; it still does: no"]
    );
    assert!(of_mesh(&refusals(2, None), &refusals(2, None)).is_empty());
}

#[test]
fn objects_have_to_be_as_before() {
    let map = |text: &str, version: &str| {
        let metadata = json!({ "name": "one", "resourceVersion": version, "uid": version });
        Some(json!({ "metadata": metadata, "data": { "key": text }, "status": { "seen": version } }))
    };
    let whole = |value| object(Part::Whole, value);
    let name = "c1: ConfigMap/echo/one";
    assert_eq!(left(&whole(None), &whole(map("a", "1"))), [format!("{name} was left behind")]);
    assert_eq!(left(&whole(map("a", "1")), &whole(None)), [format!("{name} is gone")]);
    assert_eq!(
        left(&whole(map("a", "1")), &whole(map("b", "1"))),
        [format!("{name} is not as before at /data/key: \"b\" in place of \"a\"")]
    );
    // What the cluster writes by itself does not count.
    assert!(left(&whole(map("a", "1")), &whole(map("a", "2"))).is_empty());
}

#[test]
fn annotations_without_entries_are_none() {
    let with = |annotations: Value| {
        let template = json!({ "metadata": { "labels": { "app": "a" }, "annotations": annotations } });
        Some(json!({ "metadata": { "name": "one" }, "spec": { "template": template } }))
    };
    let mut without = with(json!({}));
    without.as_mut().and_then(|one| one.pointer_mut("/spec/template/metadata")?.as_object_mut()?.remove("annotations"));
    let whole = |value: &Option<Value>| object(Part::Whole, value.clone());
    assert!(left(&whole(&without), &whole(&with(json!({})))).is_empty());
    assert_eq!(left(&whole(&without), &whole(&with(json!({ "a": "b" })))).len(), 1);
}

#[test]
fn an_object_that_is_about_to_go_is_gone() {
    let going = json!({ "metadata": { "name": "one", "deletionTimestamp": "2026-01-01T00:00:00Z" } });
    assert!(left(&object(Part::Whole, None), &object(Part::Whole, Some(going))).is_empty());
}

#[test]
fn only_the_part_counts_that_the_scenario_may_not_change() {
    let workload = |replicas: u32, restarted: &str| {
        let template = json!({ "metadata": { "annotations": { "restartedAt": restarted } } });
        Some(json!({ "metadata": { "name": "one" }, "spec": { "replicas": replicas, "template": template } }))
    };
    let replicas = |value| object(Part::Replicas, value);
    assert!(left(&replicas(workload(1, "a")), &replicas(workload(1, "b"))).is_empty());
    let said = ["c1: ConfigMap/echo/one is not as before: 0 in place of 1"];
    assert_eq!(left(&replicas(workload(1, "a")), &replicas(workload(0, "a"))), said);
    let secret = |token: &str| Some(json!({ "metadata": { "name": "one" }, "data": { "token": token } }));
    let existence = |value| object(Part::Existence, value);
    assert!(left(&existence(secret("a")), &existence(secret("b"))).is_empty());
    assert_eq!(left(&existence(secret("a")), &existence(None)), ["c1: ConfigMap/echo/one is gone"]);
}
