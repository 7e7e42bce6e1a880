//! Lets a pod's own `istio-proxy` container adjust the injected one, as gateways do with `image: auto`.

use serde_json::{Map, Value};

/// The image name that stands for "whatever is injected".
const AUTO: &str = "auto";

/// Lists of a container whose entries are known by a field.
const KEYED: [(&str, &str); 4] =
    [("env", "name"), ("ports", "containerPort"), ("volumeMounts", "mountPath"), ("volumeDevices", "devicePath")];

/// The injected container with what the pod gives for it; the pod's values win.
pub(super) fn container(mut injected: Value, given: &Value) -> Value {
    let (Some(base), Some(given)) = (injected.as_object_mut(), given.as_object()) else { return injected };
    for (field, value) in given {
        if field == "image" && (value == AUTO || value == "") {
            continue;
        }
        match KEYED.iter().find(|(name, _)| name == field) {
            Some((_, key)) => merge_list(base, field, key, value),
            None => merge_value(base, field, value),
        }
    }
    injected
}

fn merge_list(base: &mut Map<String, Value>, field: &str, key: &str, given: &Value) {
    let mut entries = base.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    for entry in given.as_array().into_iter().flatten() {
        match entries.iter_mut().find(|present| present[key] == entry[key]) {
            Some(present) => *present = entry.clone(),
            None => entries.push(entry.clone()),
        }
    }
    base.insert(field.to_owned(), entries.into());
}

fn merge_value(base: &mut Map<String, Value>, field: &str, given: &Value) {
    match (base.get_mut(field).and_then(Value::as_object_mut), given.as_object()) {
        // A probe's action excludes every other action, so probes are taken whole.
        (Some(present), Some(given)) if !field.ends_with("Probe") => {
            for (key, value) in given {
                merge_value(present, key, value);
            }
        }
        _ => {
            base.insert(field.to_owned(), given.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_pods_values_win_and_auto_does_not() {
        let injected = json!({"name": "istio-proxy", "image": "proxy:1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}],
            "securityContext": {"privileged": false}, "ports": [{"containerPort": 15090}]});
        let given = json!({"name": "istio-proxy", "image": "auto", "env": [{"name": "B", "value": "2"}, {"name": "C", "value": "3"}],
            "securityContext": {"runAsUser": 5}, "ports": [{"containerPort": 8080}], "resources": {"limits": {"cpu": "1"}}});
        assert_eq!(
            container(injected, &given),
            json!({"name": "istio-proxy", "image": "proxy:1",
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "C", "value": "3"}],
                "securityContext": {"privileged": false, "runAsUser": 5},
                "ports": [{"containerPort": 15090}, {"containerPort": 8080}], "resources": {"limits": {"cpu": "1"}}})
        );
    }
}
