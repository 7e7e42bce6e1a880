//! Defaults of a pod specification, in a pod or in a template.

use serde_json::{Value, json};

use super::items_mut;
use crate::object::{as_map, child, default_to};

/// Fills in what Kubernetes fills in. `spec` becomes a map if it was none.
pub(super) fn default_pod_spec(spec: &mut Value) {
    let map = as_map(spec);
    default_to(map, "restartPolicy", "Always");
    default_to(map, "terminationGracePeriodSeconds", 30);
    default_to(map, "dnsPolicy", "ClusterFirst");
    default_to(map, "securityContext", json!({}));
    default_to(map, "schedulerName", "default-scheduler");
    let host_network = map.get("hostNetwork").is_some_and(|value| *value == true);
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        items_mut(spec, list).for_each(|container| default_container(container, host_network));
    }
    items_mut(spec, "volumes").for_each(default_volume);
}

fn default_container(container: &mut Value, host_network: bool) {
    let policy = default_pull_policy(container["image"].as_str().unwrap_or_default());
    let map = as_map(container);
    default_to(map, "imagePullPolicy", policy);
    default_to(map, "resources", json!({}));
    default_to(map, "terminationMessagePath", "/dev/termination-log");
    default_to(map, "terminationMessagePolicy", "File");
    for port in items_mut(container, "ports") {
        let number = port["containerPort"].clone();
        let map = as_map(port);
        default_to(map, "protocol", "TCP");
        if host_network {
            default_to(map, "hostPort", number);
        }
    }
    for variable in items_mut(container, "env") {
        if let Some(reference) = variable.get_mut("valueFrom").and_then(|from| from.get_mut("fieldRef")) {
            default_field_reference(reference);
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(probe).filter(|probe| probe.is_object()) {
            default_probe(probe);
        }
    }
    for hook in ["postStart", "preStop"] {
        if let Some(action) = container.get_mut("lifecycle").and_then(|lifecycle| lifecycle.get_mut(hook)) {
            default_http_get(action);
        }
    }
}

/// `Always` for an image without tag or with `latest`, else `IfNotPresent`.
fn default_pull_policy(image: &str) -> &'static str {
    let last = image.rsplit('/').next().unwrap_or_default();
    let latest = match (last.contains('@'), last.split_once(':')) {
        (true, _) => false,
        (false, None) => true,
        (false, Some((_, tag))) => tag == "latest",
    };
    if latest { "Always" } else { "IfNotPresent" }
}

fn default_field_reference(reference: &mut Value) {
    if reference.is_object() {
        default_to(as_map(reference), "apiVersion", "v1");
    }
}

fn default_probe(probe: &mut Value) {
    let map = as_map(probe);
    default_to(map, "timeoutSeconds", 1);
    default_to(map, "periodSeconds", 10);
    default_to(map, "successThreshold", 1);
    default_to(map, "failureThreshold", 3);
    default_http_get(probe);
    if let Some(grpc) = probe.get_mut("grpc").filter(|grpc| grpc.is_object()) {
        default_to(as_map(grpc), "service", "");
    }
}

fn default_http_get(handler: &mut Value) {
    if let Some(get) = handler.get_mut("httpGet").filter(|get| get.is_object()) {
        let map = as_map(get);
        default_to(map, "path", "/");
        default_to(map, "scheme", "HTTP");
    }
}

const MODE: i64 = 0o644;

fn default_volume(volume: &mut Value) {
    let sources = volume.as_object().map_or(0, |map| map.iter().filter(|(key, _)| *key != "name").count());
    if sources == 0 {
        child(volume, "emptyDir");
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = volume.get_mut(source).filter(|source| source.is_object()) {
            default_to(as_map(source), "defaultMode", MODE);
        }
    }
    if let Some(path) = volume.get_mut("hostPath").filter(|path| path.is_object()) {
        default_to(as_map(path), "type", "");
    }
    if let Some(downward) = volume.get_mut("downwardAPI") {
        default_downward(downward);
    }
    let Some(projected) = volume.get_mut("projected") else { return };
    for source in items_mut(projected, "sources") {
        if let Some(token) = source.get_mut("serviceAccountToken").filter(|token| token.is_object()) {
            default_to(as_map(token), "expirationSeconds", 3600);
        }
        if let Some(downward) = source.get_mut("downwardAPI") {
            default_downward(downward);
        }
    }
}

fn default_downward(downward: &mut Value) {
    for item in items_mut(downward, "items") {
        if let Some(reference) = item.get_mut("fieldRef") {
            default_field_reference(reference);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pull_policy_follows_the_tag() {
        for (image, policy) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.2", "IfNotPresent"),
            ("host:5000/nginx", "Always"),
            ("nginx@sha256:00", "IfNotPresent"),
        ] {
            assert_eq!(default_pull_policy(image), policy, "{image}");
        }
    }

    #[test]
    fn volumes_get_modes_and_lifetimes() {
        let mut spec = json!({"volumes": [
            {"name": "a"},
            {"name": "b", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
        ]});
        default_pod_spec(&mut spec);
        assert_eq!(spec["volumes"][0]["emptyDir"], json!({}));
        assert_eq!(spec["volumes"][1]["projected"]["defaultMode"], 420);
        assert_eq!(spec["volumes"][1]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"], 3600);
    }
}
