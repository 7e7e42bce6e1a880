//! Endpoints on fixtures.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use super::{Inputs, reconcile};
use crate::fixtures::from_json;
use crate::objects::Key;
use crate::plan::{Action, Plan};

fn service(spec: Value) -> Arc<Service> {
    let mut service = json!({
        "metadata": {"name": "reviews", "namespace": "shop", "uid": "s", "labels": {"app": "reviews"}},
        "spec": {"selector": {"app": "reviews"}, "clusterIP": "10.96.0.7", "ports": [{"name": "http", "port": 80, "targetPort": "web"}]},
    });
    for (key, value) in spec.as_object().unwrap() {
        service["spec"][key] = value.clone();
    }
    from_json(service)
}

fn pod(name: &str, ip: &str, port: i32, ready: bool) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "shop", "uid": name, "labels": {"app": "reviews"}},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "ports": [{"name": "web", "containerPort": port}]}]},
        "status": {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
    })
}

fn inputs(service: Option<Arc<Service>>, pods: Vec<Value>) -> Inputs {
    let node = json!({"metadata": {"name": "n", "labels": {"topology.kubernetes.io/zone": "z1"}}});
    Inputs {
        key: Key::new("shop", "reviews"),
        service,
        pods: pods.into_iter().map(from_json::<Pod>).collect(),
        nodes: vec![from_json(node)],
        slices: Vec::new(),
        endpoints: None,
    }
}

/// Takes over what a plan creates, as the API server would.
fn applied(mut inputs: Inputs, plan: &Plan) -> Inputs {
    for action in &plan.actions {
        let Action::Create { object, .. } = action else { panic!("only creations are expected, not {action:?}") };
        let mut object = object.clone();
        object["metadata"]["uid"] = json!("created");
        if object.get("addressType").is_some() {
            object["metadata"]["name"] = json!(format!("reviews-{}", inputs.slices.len()));
            inputs.slices.push(from_json::<EndpointSlice>(object));
        } else {
            inputs.endpoints = Some(from_json::<Endpoints>(object));
        }
    }
    inputs
}

#[test]
fn named_ports_resolve_per_pod_and_unready_pods_are_listed_as_such() {
    let pods =
        vec![pod("a", "10.0.0.1", 9080, true), pod("b", "10.0.0.2", 9080, false), pod("c", "10.0.0.3", 9999, true)];
    insta::assert_yaml_snapshot!(reconcile(&inputs(Some(service(json!({}))), pods)));
}

#[test]
fn what_is_written_once_is_not_written_again() {
    let inputs = inputs(Some(service(json!({}))), vec![pod("a", "10.0.0.1", 9080, true)]);
    let plan = reconcile(&inputs);
    assert_eq!(reconcile(&applied(inputs, &plan)), Plan::default());
}

#[test]
fn readiness_changes_the_slice_in_place() {
    let before = inputs(Some(service(json!({}))), vec![pod("a", "10.0.0.1", 9080, false)]);
    let plan = reconcile(&before);
    let mut after = applied(before, &plan);
    after.pods = vec![from_json(pod("a", "10.0.0.1", 9080, true))];
    let plan = reconcile(&after);
    let Action::Patch { patch, .. } = &plan.actions[0] else { panic!("expected a patch, not {plan:?}") };
    assert_eq!(patch["endpoints"][0]["conditions"]["ready"], true);
    assert_eq!(plan.actions.len(), 2, "slice and Endpoints");
}

#[test]
fn a_terminating_pod_serves_but_is_not_ready_unless_published_anyway() {
    let mut going = pod("a", "10.0.0.1", 9080, true);
    going["metadata"]["deletionTimestamp"] = json!("2030-01-01T00:00:00Z");
    let conditions = |spec| match &reconcile(&inputs(Some(service(spec)), vec![going.clone()])).actions[0] {
        Action::Create { object, .. } => object["endpoints"][0]["conditions"].clone(),
        other => panic!("unexpected {other:?}"),
    };
    assert_eq!(conditions(json!({})), json!({"ready": false, "serving": true, "terminating": true}));
    let published = conditions(json!({"publishNotReadyAddresses": true}));
    assert_eq!(published, json!({"ready": true, "serving": true, "terminating": true}));
}

#[test]
fn finished_pods_and_pods_without_an_address_are_no_endpoints() {
    let mut finished = pod("a", "10.0.0.1", 9080, false);
    finished["status"]["phase"] = json!("Succeeded");
    let mut young = pod("b", "", 9080, false);
    young["status"].as_object_mut().unwrap().remove("podIP");
    let plan = reconcile(&inputs(Some(service(json!({}))), vec![finished, young]));
    let Action::Create { object, .. } = &plan.actions[0] else { panic!("expected an empty slice") };
    assert_eq!(object["endpoints"], json!([]));
}

#[test]
fn a_deleted_service_takes_its_endpoints_along_and_an_unselective_one_keeps_them() {
    let before = inputs(Some(service(json!({}))), vec![pod("a", "10.0.0.1", 9080, true)]);
    let plan = reconcile(&before);
    let mut gone = applied(before, &plan);
    gone.service = None;
    assert_eq!(reconcile(&gone).actions.iter().filter(|action| matches!(action, Action::Delete { .. })).count(), 2);
    gone.service = Some(service(json!({"selector": null})));
    assert_eq!(reconcile(&gone), Plan::default());
}

#[test]
fn pods_of_a_headless_service_have_their_host_names() {
    let mut named = pod("a", "10.0.0.1", 9080, true);
    named["spec"]["hostname"] = json!("db-0");
    named["spec"]["subdomain"] = json!("reviews");
    let plan = reconcile(&inputs(Some(service(json!({"clusterIP": "None"}))), vec![named]));
    let Action::Create { object, .. } = &plan.actions[0] else { panic!("expected a slice") };
    assert_eq!(object["endpoints"][0]["hostname"], "db-0");
    assert_eq!(object["metadata"]["labels"]["service.kubernetes.io/headless"], "");
}
