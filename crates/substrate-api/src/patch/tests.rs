//! Server-side apply and field tracking, by example and by law.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{ApplyError, server_side_apply, track_update};
use crate::schema::{Structural, builtin};

const T1: &str = "2026-01-01T00:00:01Z";
const T2: &str = "2026-01-01T00:00:02Z";

fn deployment_schema() -> Option<&'static Structural> {
    builtin("apps", "v1", "Deployment")
}

fn config_map_schema() -> Option<&'static Structural> {
    builtin("", "v1", "ConfigMap")
}

fn config_map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data})
}

fn deployment(replicas: Option<i64>, containers: Value) -> Value {
    let mut spec = json!({
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers}},
    });
    if let Some(replicas) = replicas {
        spec["replicas"] = replicas.into();
    }
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"app": "web"}}, "spec": spec})
}

fn apply(
    current: Option<&Value>,
    applied: &Value,
    manager: &str,
    schema: Option<&Structural>,
) -> Result<Value, ApplyError> {
    server_side_apply(current, applied, manager, false, None, schema, T1)
}

fn apply_config(current: &Value, data: Value, manager: &str) -> Result<Value, ApplyError> {
    apply(Some(current), &config_map(data), manager, config_map_schema())
}

fn entry<'a>(object: &'a Value, manager: &str) -> &'a Value {
    let entries = object["metadata"]["managedFields"].as_array().map(Vec::as_slice).unwrap_or_default();
    entries.iter().find(|entry| entry["manager"] == manager).unwrap_or(&Value::Null)
}

#[test]
fn the_first_apply_creates_and_records_what_it_sets() {
    let applied = deployment(
        Some(2),
        json!([{"name": "a", "image": "x:1", "ports": [{"containerPort": 80}], "env": [], "resources": {}}]),
    );
    let created = apply(None, &applied, "kubectl", deployment_schema()).unwrap();
    insta::assert_json_snapshot!(created["metadata"]["managedFields"]);
    assert_eq!(created["spec"], applied["spec"]);
}

#[test]
fn fields_that_are_no_longer_applied_go_away() {
    let created = apply(None, &config_map(json!({"a": "1", "b": "2"})), "m", config_map_schema()).unwrap();
    let second = apply_config(&created, json!({"b": "3"}), "m").unwrap();
    assert_eq!(second["data"], json!({"b": "3"}));
    let empty = apply(
        Some(&second),
        &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}),
        "m",
        config_map_schema(),
    )
    .unwrap();
    assert_eq!(empty.get("data"), None);
    assert_eq!(empty["metadata"].get("managedFields"), None);
}

#[test]
fn list_items_that_are_no_longer_applied_go_away() {
    let two = deployment(
        Some(1),
        json!([{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}, {"name": "b", "image": "1"}]),
    );
    let one = deployment(None, json!([{"name": "a", "image": "2", "env": [{"name": "Y", "value": "2"}]}]));
    let created = apply(None, &two, "m", deployment_schema()).unwrap();
    let second = apply(Some(&created), &one, "m", deployment_schema()).unwrap();
    assert_eq!(second["spec"], one["spec"]);
}

#[test]
fn what_others_own_stays() {
    let mine = deployment(Some(1), json!([{"name": "a", "image": "1"}]));
    let created = apply(None, &mine, "mine", deployment_schema()).unwrap();
    let theirs = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "annotations": {"k": "v"}},
        "spec": {"template": {"spec": {"containers": [{"name": "proxy", "image": "p"}, {"name": "a", "env": [{"name": "E", "value": "1"}]}]}}}});
    let both = apply(Some(&created), &theirs, "theirs", deployment_schema()).unwrap();
    assert_eq!(
        both["spec"]["template"]["spec"]["containers"],
        json!([{"name": "proxy", "image": "p"}, {"name": "a", "image": "1", "env": [{"name": "E", "value": "1"}]}])
    );
    let again = apply(Some(&both), &mine, "mine", deployment_schema()).unwrap();
    assert_eq!(again, both);
    let without_theirs = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}});
    let back = apply(Some(&both), &without_theirs, "theirs", deployment_schema()).unwrap();
    assert_eq!(back["spec"], created["spec"]);
    assert_eq!(back["metadata"].get("annotations"), None);
    let nobody_but_theirs = apply(Some(&both), &without_theirs, "mine", deployment_schema()).unwrap();
    assert_eq!(
        nobody_but_theirs["spec"],
        json!({"template": {"spec": {"containers": [{"name": "proxy", "image": "p"}, {"name": "a", "env": [{"name": "E", "value": "1"}]}]}}})
    );
}

#[test]
fn another_managers_value_is_a_conflict_unless_forced_or_equal() {
    let created = apply(None, &config_map(json!({"a": "1", "b": "1"})), "first", config_map_schema()).unwrap();
    let shared = apply_config(&created, json!({"a": "1"}), "second").unwrap();
    assert_eq!(shared["data"], json!({"a": "1", "b": "1"}));
    let error = apply_config(&created, json!({"a": "2", "b": "2"}), "second").unwrap_err();
    assert_eq!((error.code(), error.reason()), (409, "Conflict"));
    assert_eq!(error.to_string(), "Apply failed with 2 conflicts: conflicts with \"first\":\n- .data.a\n- .data.b");
    assert_eq!(
        error.causes()[0],
        json!({"reason": "FieldManagerConflict", "message": "conflict with \"first\"", "field": ".data.a"})
    );
    let forced = server_side_apply(
        Some(&created),
        &config_map(json!({"a": "2"})),
        "second",
        true,
        None,
        config_map_schema(),
        T2,
    )
    .unwrap();
    assert_eq!(forced["data"], json!({"a": "2", "b": "1"}));
    assert_eq!(entry(&forced, "first")["fieldsV1"], json!({"f:data": {"f:b": {}}}));
    // Having lost the field, the first manager may now not take it back without force.
    assert!(apply_config(&forced, json!({"a": "1", "b": "1"}), "first").is_err());
    // Giving it up does not remove it, since the second manager owns it.
    let given_up = apply_config(&forced, json!({}), "first").unwrap();
    assert_eq!(given_up["data"], json!({"a": "2"}));
}

#[test]
fn ordinary_writers_own_what_they_change() {
    let created =
        apply(None, &deployment(Some(1), json!([{"name": "a", "image": "1"}])), "owner", deployment_schema()).unwrap();
    let mut scaled = created.clone();
    scaled["spec"]["replicas"] = 5.into();
    track_update(Some(&created), &mut scaled, "kubectl-scale", Some("scale"), T2, deployment_schema());
    assert_eq!(entry(&scaled, "kubectl-scale")["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(entry(&scaled, "owner")["fieldsV1"]["f:spec"].get("f:replicas"), None);
    let error =
        apply(Some(&scaled), &deployment(Some(1), json!([{"name": "a", "image": "1"}])), "owner", deployment_schema())
            .unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"kubectl-scale\" with subresource \"scale\" using apps/v1 at 2026-01-01T00:00:02Z: .spec.replicas"
    );
    let other =
        apply(Some(&scaled), &deployment(None, json!([{"name": "a", "image": "2"}])), "owner", deployment_schema())
            .unwrap();
    assert_eq!(other["spec"]["replicas"], 5);
}

#[test]
fn creation_and_updates_are_tracked() {
    let mut created =
        deployment(Some(1), json!([{"name": "a", "image": "1", "ports": [{"containerPort": 80, "protocol": "TCP"}]}]));
    created["status"] = json!({"replicas": 0});
    track_update(None, &mut created, "kubectl-create", None, T1, deployment_schema());
    insta::assert_json_snapshot!(created["metadata"]["managedFields"]);
    let mut unchanged = created.clone();
    track_update(Some(&created), &mut unchanged, "kubectl-create", None, T2, deployment_schema());
    assert_eq!(unchanged, created);
    let mut status = created.clone();
    status["status"] = json!({"replicas": 1, "conditions": [{"type": "Available", "status": "True"}]});
    track_update(Some(&created), &mut status, "controller", Some("status"), T2, deployment_schema());
    assert_eq!(
        entry(&status, "controller"),
        &json!({
            "manager": "controller", "operation": "Update", "apiVersion": "apps/v1", "time": T2, "fieldsType": "FieldsV1", "subresource": "status",
            "fieldsV1": {"f:status": {"f:replicas": {}, "f:conditions": {".": {}, "k:{\"type\":\"Available\"}": {".": {}, "f:status": {}, "f:type": {}}}}},
        })
    );
    let mut reset = status.clone();
    reset["metadata"]["managedFields"] = json!([{}]);
    track_update(Some(&status), &mut reset, "kubectl-edit", None, T2, deployment_schema());
    assert_eq!(reset["metadata"].get("managedFields"), None);
}

#[test]
fn removed_fields_lose_their_owners() {
    let mut before = config_map(json!({"a": "1", "b": "2"}));
    track_update(None, &mut before, "one", None, T1, config_map_schema());
    let mut after = before.clone();
    after["data"] = json!({"b": "3"});
    track_update(Some(&before), &mut after, "two", None, T2, config_map_schema());
    assert_eq!(entry(&after, "one")["fieldsV1"], json!({"f:data": {}}));
    assert_eq!(entry(&after, "two")["fieldsV1"], json!({"f:data": {"f:b": {}}}));
}

#[test]
fn the_status_subresource_owns_only_the_status() {
    let created = apply(None, &deployment(Some(1), json!([])), "m", deployment_schema()).unwrap();
    let status = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"x": "y"}}, "status": {"replicas": 1}});
    let applied =
        server_side_apply(Some(&created), &status, "m", false, Some("status"), deployment_schema(), T1).unwrap();
    let of_status = applied["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["subresource"] == "status")
        .unwrap();
    assert_eq!(of_status["fieldsV1"], json!({"f:status": {"f:replicas": {}}}));
}

fn custom_schema() -> Structural {
    Structural::parse(&json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "hosts": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "plain": {"type": "array", "items": {"type": "string"}},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["number", "protocol"], "items": {"type": "object", "required": ["number"], "properties": {
            "number": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}, "name": {"type": "string"}}}},
        "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}},
    }}}})).unwrap()
}

fn custom(spec: Value) -> Value {
    json!({"apiVersion": "x.io/v1", "kind": "X", "metadata": {"name": "x"}, "spec": spec})
}

#[test]
fn custom_resources_follow_their_schema() {
    let schema = custom_schema();
    let one = custom(
        json!({"hosts": ["a", "b"], "plain": ["p"], "ports": [{"number": 80, "name": "http"}], "whole": {"a": "1", "b": "2"}}),
    );
    let created = apply(None, &one, "one", Some(&schema)).unwrap();
    insta::assert_json_snapshot!(created["metadata"]["managedFields"][0]["fieldsV1"]);
    let two = custom(json!({"hosts": ["c"], "ports": [{"number": 80, "protocol": "UDP", "name": "dns"}]}));
    let both = apply(Some(&created), &two, "two", Some(&schema)).unwrap();
    assert_eq!(both["spec"]["hosts"], json!(["a", "b", "c"]));
    assert_eq!(both["spec"]["ports"].as_array().unwrap().len(), 2);
    assert!(apply(Some(&created), &custom(json!({"whole": {"a": "1"}})), "two", Some(&schema)).is_err());
    assert!(apply(Some(&created), &custom(json!({"plain": ["q"]})), "two", Some(&schema)).is_err());
    let fewer =
        apply(Some(&both), &custom(json!({"hosts": ["b"], "whole": {"a": "1"}})), "one", Some(&schema)).unwrap();
    assert_eq!(
        fewer["spec"],
        json!({"hosts": ["b", "c"], "whole": {"a": "1"}, "ports": [{"number": 80, "protocol": "UDP", "name": "dns"}]})
    );
}

#[test]
fn configurations_that_cannot_be_understood_are_refused() {
    let schema = custom_schema();
    let refused = |applied: Value| apply(None, &applied, "m", Some(&schema)).unwrap_err();
    assert_eq!(refused(custom(json!({"hosts": ["a", "a"]}))).code(), 400);
    let mut managed = custom(json!({}));
    managed["metadata"]["managedFields"] = json!([{"manager": "x"}]);
    assert_eq!(refused(managed).to_string(), "metadata.managedFields must be nil");
    assert_eq!(refused(json!([])).code(), 400);
    let keyless = deployment(None, json!([{"image": "x"}]));
    let error = apply(None, &keyless, "m", deployment_schema()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to create typed patch object: .spec.template.spec.containers: element 0: associative list with keys has an element that omits key field \"name\" (and doesn't have default value)"
    );
}

fn any_deployment() -> impl Strategy<Value = Value> {
    let env = proptest::collection::btree_map("[A-C]", "[0-2]", 0..3)
        .prop_map(|env| env.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect::<Vec<_>>());
    let container = (proptest::option::of("[p-r]"), env);
    let containers = proptest::collection::btree_map("[a-c]", container, 1..3).prop_map(|containers| {
        let one = |(name, (image, env)): (String, (Option<String>, Vec<Value>))| {
            let mut container = json!({"name": name});
            if let Some(image) = image {
                container["image"] = image.into();
            }
            if !env.is_empty() {
                container["env"] = env.into();
            }
            container
        };
        Value::Array(containers.into_iter().map(one).collect())
    });
    (proptest::option::of(0..3i64), containers).prop_map(|(replicas, containers)| deployment(replicas, containers))
}

proptest! {
    #[test]
    fn applying_twice_changes_nothing(current in any_deployment(), applied in any_deployment()) {
        let created = apply(None, &current, "one", deployment_schema()).unwrap();
        let once = server_side_apply(Some(&created), &applied, "two", true, None, deployment_schema(), T1).unwrap();
        let twice = server_side_apply(Some(&once), &applied, "two", true, None, deployment_schema(), T2).unwrap();
        prop_assert_eq!(twice, once);
    }

    #[test]
    fn a_single_manager_gets_exactly_what_it_applies(first in any_deployment(), second in any_deployment()) {
        let created = apply(None, &first, "one", deployment_schema()).unwrap();
        let mut result = apply(Some(&created), &second, "one", deployment_schema()).unwrap();
        result["metadata"].as_object_mut().unwrap().shift_remove("managedFields");
        prop_assert_eq!(result, second);
    }

    #[test]
    fn the_applier_gets_its_values_and_others_keep_theirs(first in any_deployment(), second in any_deployment()) {
        let created = apply(None, &first, "one", deployment_schema()).unwrap();
        let merged = server_side_apply(Some(&created), &second, "two", true, None, deployment_schema(), T1).unwrap();
        // With the first manager gone, only what the second applied is left.
        let nothing = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}});
        let mut rest = apply(Some(&merged), &nothing, "one", deployment_schema()).unwrap();
        rest["metadata"].as_object_mut().unwrap().shift_remove("managedFields");
        prop_assert_eq!(sorted(rest), sorted(second));
    }
}

/// Keyed lists without their order, which depends on who came first.
fn sorted(mut value: Value) -> Value {
    match &mut value {
        Value::Object(object) => object.values_mut().for_each(|child| *child = sorted(child.take())),
        Value::Array(list) => {
            list.iter_mut().for_each(|child| *child = sorted(child.take()));
            list.sort_by_key(|item| item["name"].as_str().map(str::to_owned));
        }
        _ => {}
    }
    value
}
