//! Pods: what a create resets, what an update may change, and the quality-of-service class.

use serde_json::{Map, Value, json};

use super::pod_defaults::default_pod_spec;
use super::pod_validation::validate_pod_spec;
use super::{Behaviour, WITH_STATUS, items};
use crate::object::{as_map, child, default_to};
use crate::validation::Errors;

pub(super) static POD: Behaviour =
    Behaviour { default, create, validate, validate_update, generation: true, returns_deleted: true, ..WITH_STATUS };

fn default(object: &mut Value) {
    let spec = child(object, "spec");
    default_to(spec, "enableServiceLinks", true);
    if let Some(account) = spec.get("serviceAccountName").cloned() {
        // The deprecated twin always shows the same name.
        spec.insert("serviceAccount".to_owned(), account);
    }
    let spec = object.get_mut("spec").expect("invariant: made above");
    for list in ["containers", "initContainers"] {
        super::items_mut(spec, list).for_each(default_requests);
    }
    default_pod_spec(spec);
}

/// Requests that are not given equal the limits.
fn default_requests(container: &mut Value) {
    let Some(limits) = container["resources"]["limits"].as_object().cloned() else { return };
    let resources = child(container, "resources");
    let requests = as_map(resources.entry("requests").or_insert(Value::Null));
    for (name, quantity) in limits {
        default_to(requests, &name, quantity);
    }
}

fn create(object: &mut Value) {
    let class = quality_of_service(&object["spec"]);
    object["status"] = json!({"phase": "Pending", "qosClass": class});
    let spec = child(object, "spec");
    default_to(spec, "priority", 0);
    default_to(spec, "preemptionPolicy", "PreemptLowerPriority");
    let tolerations = as_map(object)["spec"].as_object_mut().expect("invariant: made above");
    add_tolerations(tolerations);
}

/// What the DefaultTolerationSeconds admission plugin adds.
fn add_tolerations(spec: &mut Map<String, Value>) {
    let mut tolerations: Vec<Value> = spec.get("tolerations").map(items).unwrap_or_default().to_vec();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated = tolerations.iter().any(|toleration| {
            toleration["key"] == key || (toleration["key"].is_null() && toleration["operator"] == "Exists")
        });
        if !tolerated {
            tolerations
                .push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
        }
    }
    spec.insert("tolerations".to_owned(), Value::from(tolerations));
}

/// `Guaranteed`, `Burstable` or `BestEffort`, from requests and limits.
fn quality_of_service(spec: &Value) -> &'static str {
    let containers: Vec<&Value> = items(&spec["containers"]).iter().chain(items(&spec["initContainers"])).collect();
    let empty = |value: &Value| value.as_object().is_none_or(Map::is_empty);
    if containers.iter().all(|c| empty(&c["resources"]["limits"]) && empty(&c["resources"]["requests"])) {
        return "BestEffort";
    }
    let guaranteed = containers.iter().all(|container| {
        let (limits, requests) = (&container["resources"]["limits"], &container["resources"]["requests"]);
        ["cpu", "memory"].iter().all(|name| limits[*name].is_string() && limits[*name] == requests[*name])
    });
    if guaranteed { "Guaranteed" } else { "Burstable" }
}

fn validate(object: &Value, errors: &mut Errors) {
    validate_pod_spec(&object["spec"], "spec", errors);
}

const IMMUTABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
    `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
    tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    if changeable_parts_removed(&new["spec"]) != changeable_parts_removed(&old["spec"]) {
        errors.forbidden("spec", IMMUTABLE);
    }
}

fn changeable_parts_removed(spec: &Value) -> Value {
    let mut spec = spec.clone();
    for list in ["containers", "initContainers"] {
        for container in super::items_mut(&mut spec, list) {
            as_map(container).shift_remove("image");
            // A change of the image may change the default pull policy with it.
            as_map(container).shift_remove("imagePullPolicy");
        }
    }
    let map = as_map(&mut spec);
    for key in ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "ephemeralContainers"] {
        map.shift_remove(key);
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_pod_gets_kubernetes_defaults() {
        let mut pod = json!({"metadata": {"name": "x"}, "spec": {"containers": [
            {"name": "c", "image": "nginx", "ports": [{"containerPort": 80}], "readinessProbe": {"httpGet": {"port": 80}}}
        ]}});
        default(&mut pod);
        create(&mut pod);
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["imagePullPolicy"], "Always");
        assert_eq!(container["ports"][0]["protocol"], "TCP");
        assert_eq!(container["readinessProbe"]["periodSeconds"], 10);
        assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/");
        assert_eq!(pod["spec"]["restartPolicy"], "Always");
        assert_eq!(pod["status"]["qosClass"], "BestEffort");
        assert_eq!(pod["spec"]["tolerations"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn limits_become_requests_and_decide_the_class() {
        let mut pod = json!({"spec": {"containers": [
            {"name": "c", "image": "nginx:1", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}
        ]}});
        default(&mut pod);
        create(&mut pod);
        assert_eq!(pod["spec"]["containers"][0]["resources"]["requests"]["cpu"], "1");
        assert_eq!(pod["status"]["qosClass"], "Guaranteed");
    }

    #[test]
    fn only_the_image_of_a_pod_may_change() {
        let old = json!({"spec": {"containers": [{"name": "c", "image": "a:1"}]}});
        let image = json!({"spec": {"containers": [{"name": "c", "image": "a:2"}]}});
        let name = json!({"spec": {"containers": [{"name": "d", "image": "a:1"}]}});
        let check = |new: &Value| {
            let mut errors = Errors::default();
            validate_update(new, &old, &mut errors);
            errors.0.len()
        };
        assert_eq!(check(&image), 0);
        assert_eq!(check(&name), 1);
    }
}
