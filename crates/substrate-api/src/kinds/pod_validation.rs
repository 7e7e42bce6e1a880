//! Validation of a pod specification: the mistakes people make, in Kubernetes' words.

use serde_json::{Value, json};

use super::items;
use crate::validation::{Errors, NameRule, check_name};

/// Checks the specification that is found at the path `at`.
pub(super) fn validate_pod_spec(spec: &Value, at: &str, errors: &mut Errors) {
    let volumes: Vec<&str> = items(&spec["volumes"]).iter().filter_map(|volume| volume["name"].as_str()).collect();
    validate_volumes(spec, at, errors);
    if items(&spec["containers"]).is_empty() {
        errors.required(format!("{at}.containers"), "");
    }
    let mut names: Vec<&str> = Vec::new();
    for list in ["initContainers", "containers"] {
        for (index, container) in items(&spec[list]).iter().enumerate() {
            let path = format!("{at}.{list}[{index}]");
            validate_container(container, &path, &volumes, errors);
            let name = container["name"].as_str().unwrap_or_default();
            if !name.is_empty() && names.contains(&name) {
                errors.duplicate(format!("{path}.name"), &container["name"]);
            }
            names.push(name);
        }
    }
    one_of(&spec["restartPolicy"], &format!("{at}.restartPolicy"), &["Always", "OnFailure", "Never"], errors);
    let policies = &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    one_of(&spec["dnsPolicy"], &format!("{at}.dnsPolicy"), policies, errors);
    if spec["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0) {
        let field = format!("{at}.terminationGracePeriodSeconds");
        errors.invalid(field, &spec["terminationGracePeriodSeconds"], "must be greater than or equal to 0");
    }
}

fn one_of(value: &Value, field: &str, allowed: &[&str], errors: &mut Errors) {
    match value.as_str() {
        None | Some("") => errors.required(field, ""),
        Some(text) if allowed.contains(&text) => {}
        Some(_) => errors.not_supported(field, value, allowed),
    }
}

fn validate_volumes(spec: &Value, at: &str, errors: &mut Errors) {
    let volumes = items(&spec["volumes"]);
    for (index, volume) in volumes.iter().enumerate() {
        let path = format!("{at}.volumes[{index}]");
        validate_label(&volume["name"], &format!("{path}.name"), errors);
        if volumes[..index].iter().any(|other| other["name"] == volume["name"]) {
            errors.duplicate(format!("{path}.name"), &volume["name"]);
        }
        let sources = volume.as_object().map_or(0, |map| map.iter().filter(|(key, _)| *key != "name").count());
        if sources > 1 {
            errors.forbidden(path, "may not specify more than 1 volume type");
        }
    }
}

fn validate_label(name: &Value, field: &str, errors: &mut Errors) {
    match name.as_str() {
        None | Some("") => errors.required(field, ""),
        Some(text) => {
            if let Some(problem) = check_name(NameRule::Label, text) {
                errors.invalid(field, name, &problem);
            }
        }
    }
}

fn validate_container(container: &Value, at: &str, volumes: &[&str], errors: &mut Errors) {
    validate_label(&container["name"], &format!("{at}.name"), errors);
    match container["image"].as_str() {
        None | Some("") => errors.required(format!("{at}.image"), ""),
        Some(image) if image.trim() != image => {
            errors.invalid(format!("{at}.image"), &container["image"], "must not have leading or trailing whitespace");
        }
        Some(_) => {}
    }
    let policies = &["Always", "IfNotPresent", "Never"];
    one_of(&container["imagePullPolicy"], &format!("{at}.imagePullPolicy"), policies, errors);
    validate_ports(container, at, errors);
    for (index, variable) in items(&container["env"]).iter().enumerate() {
        validate_variable(variable, &format!("{at}.env[{index}]"), errors);
    }
    validate_mounts(container, at, volumes, errors);
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        validate_probe(&container[probe], &format!("{at}.{probe}"), errors);
    }
}

fn validate_ports(container: &Value, at: &str, errors: &mut Errors) {
    let ports = items(&container["ports"]);
    for (index, port) in ports.iter().enumerate() {
        let path = format!("{at}.ports[{index}]");
        if !port["containerPort"].as_i64().is_some_and(|number| (1..=65535).contains(&number)) {
            let range = "must be between 1 and 65535, inclusive";
            errors.invalid(format!("{path}.containerPort"), &port["containerPort"], range);
        }
        one_of(&port["protocol"], &format!("{path}.protocol"), &["SCTP", "TCP", "UDP"], errors);
        if let Some(name) = port["name"].as_str() {
            if name.len() > 15 {
                errors.invalid(format!("{path}.name"), &port["name"], "must be no more than 15 characters");
            }
            if ports[..index].iter().any(|other| other["name"] == name) {
                errors.duplicate(format!("{path}.name"), &port["name"]);
            }
        }
    }
}

fn validate_variable(variable: &Value, at: &str, errors: &mut Errors) {
    let name = variable["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        errors.required(format!("{at}.name"), "");
    } else if name.contains('=') || !name.chars().all(|c| (' '..='~').contains(&c)) {
        let detail = "a valid environment variable name must consist only of printable ASCII characters other than '='";
        errors.invalid(format!("{at}.name"), &variable["name"], detail);
    }
    let has_value = variable["value"].as_str().is_some_and(|value| !value.is_empty());
    if has_value && variable["valueFrom"].is_object() {
        errors.invalid(format!("{at}.valueFrom"), &json!(""), "may not be specified when `value` is not empty");
    }
}

fn validate_mounts(container: &Value, at: &str, volumes: &[&str], errors: &mut Errors) {
    let mounts = items(&container["volumeMounts"]);
    for (index, mount) in mounts.iter().enumerate() {
        let path = format!("{at}.volumeMounts[{index}]");
        match mount["name"].as_str() {
            None | Some("") => errors.required(format!("{path}.name"), ""),
            Some(name) if !volumes.contains(&name) => errors.not_found(format!("{path}.name"), &mount["name"]),
            Some(_) => {}
        }
        match mount["mountPath"].as_str() {
            None | Some("") => errors.required(format!("{path}.mountPath"), ""),
            Some(_) if mounts[..index].iter().any(|other| other["mountPath"] == mount["mountPath"]) => {
                errors.invalid(format!("{path}.mountPath"), &mount["mountPath"], "must be unique");
            }
            Some(_) => {}
        }
    }
}

fn validate_probe(probe: &Value, at: &str, errors: &mut Errors) {
    if probe.is_null() {
        return;
    }
    let handlers = ["exec", "httpGet", "tcpSocket", "grpc"].iter().filter(|key| probe[**key].is_object()).count();
    match handlers {
        0 => errors.required(at, "must specify a handler type"),
        1 => {}
        _ => errors.forbidden(at, "may not specify more than 1 handler type"),
    }
    for key in ["httpGet", "tcpSocket"] {
        if probe[key].is_object() && probe[key]["port"].is_null() {
            errors.required(format!("{at}.{key}.port"), "");
        }
    }
    for key in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        if probe[key].as_i64().is_some_and(|seconds| seconds < 0) {
            errors.invalid(format!("{at}.{key}"), &probe[key], "must be greater than or equal to 0");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(spec: Value) -> Vec<String> {
        let mut errors = Errors::default();
        validate_pod_spec(&spec, "spec", &mut errors);
        errors.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn common_mistakes_are_named() {
        let spec = json!({"restartPolicy": "Sometimes", "dnsPolicy": "ClusterFirst", "containers": [
            {"name": "c", "image": "i:1", "imagePullPolicy": "Always",
             "volumeMounts": [{"name": "missing", "mountPath": "/x"}]},
            {"name": "c", "imagePullPolicy": "Always"},
        ]});
        assert_eq!(
            problems(spec),
            [
                "spec.containers[0].volumeMounts[0].name: Not found: \"missing\"",
                "spec.containers[1].image: Required value",
                "spec.containers[1].name: Duplicate value: \"c\"",
                "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
            ]
        );
    }

    #[test]
    fn a_pod_needs_a_container() {
        let spec = json!({"restartPolicy": "Always", "dnsPolicy": "Default"});
        assert_eq!(problems(spec), ["spec.containers: Required value"]);
    }
}
