//! The identity that Envoy shows to the control plane: node id, cluster, locality and metadata. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::settings::Settings;

/// Version of Istio whose protocol this agent speaks; control planes switch features by it.
pub const ISTIO_VERSION: &str = "1.30.3";

/// Parses a file of the downward API: lines `key="value"`, the value quoted as Go does it.
#[must_use]
pub fn parse_downward_map(text: &str) -> BTreeMap<String, String> {
    text.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.to_owned(), unquote(value))).collect()
}

/// Go's `%q` escapes what JSON escapes, apart from `\x`, `\a` and `\v`, which label values cannot hold.
fn unquote(quoted: &str) -> String {
    serde_json::from_str(quoted).unwrap_or_else(|_error| quoted.trim_matches('"').to_owned())
}

/// The bootstrap's `node`.
#[must_use]
pub fn node(settings: &Settings, labels: &BTreeMap<String, String>, annotations: &BTreeMap<String, String>) -> Value {
    json!({
        "id": node_id(settings),
        "cluster": service_cluster(settings, labels),
        "locality": locality(labels),
        "metadata": metadata(settings, labels, annotations),
    })
}

/// `type~ip~name.namespace~domain`.
#[must_use]
pub fn node_id(settings: &Settings) -> String {
    format!(
        "{}~{}~{}.{}~{}",
        settings.role.as_str(),
        settings.instance_ip(),
        settings.pod_name,
        settings.pod_namespace,
        settings.dns_domain
    )
}

fn service_cluster(settings: &Settings, labels: &BTreeMap<String, String>) -> String {
    let name = labels
        .get("app")
        .or_else(|| labels.get("app.kubernetes.io/name"))
        .or_else(|| settings.metadata.get("WORKLOAD_NAME"))
        .map_or("istio-proxy", String::as_str);
    format!("{name}.{}", settings.pod_namespace)
}

/// The locality that a label gives; without one the control plane knows it from the Kubernetes node.
fn locality(labels: &BTreeMap<String, String>) -> Value {
    let text = labels.get("topology.istio.io/locality").or_else(|| labels.get("istio-locality"));
    let mut parts = text.map_or("", String::as_str).split(['.', '/']);
    let mut object = Map::new();
    for field in ["region", "zone", "sub_zone"] {
        if let Some(part) = parts.next().filter(|part| !part.is_empty()) {
            object.insert(field.to_owned(), part.into());
        }
    }
    Value::Object(object)
}

fn metadata(settings: &Settings, labels: &BTreeMap<String, String>, annotations: &BTreeMap<String, String>) -> Value {
    let mut object = Map::new();
    object.insert("PROXY_CONFIG".to_owned(), settings.proxy_config.raw.clone());
    if let Some(mesh) = &settings.proxy_config.mesh_id {
        object.insert("MESH_ID".to_owned(), mesh.as_str().into());
    }
    object.insert("ANNOTATIONS".to_owned(), json!(annotations));
    object.insert("LABELS".to_owned(), json!(labels));
    for (key, value) in &settings.metadata {
        object.insert(key.clone(), value.as_str().into());
    }
    for (key, value) in &settings.metadata_json {
        object.insert(key.clone(), value.clone());
    }
    let ips: Vec<String> = settings.instance_ips.iter().map(ToString::to_string).collect();
    object.insert("NAME".to_owned(), settings.pod_name.as_str().into());
    object.insert("NAMESPACE".to_owned(), settings.pod_namespace.as_str().into());
    object.insert("SERVICE_ACCOUNT".to_owned(), settings.service_account.as_str().into());
    object.insert("INSTANCE_IPS".to_owned(), ips.join(",").into());
    object.entry("ISTIO_VERSION").or_insert_with(|| ISTIO_VERSION.into());
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Role;

    fn settings() -> Settings {
        let environment = [
            ("POD_NAME", "reviews-v1-0"),
            ("POD_NAMESPACE", "bookinfo"),
            ("INSTANCE_IP", "10.244.0.5"),
            ("SERVICE_ACCOUNT", "bookinfo-reviews"),
            ("ISTIO_META_CLUSTER_ID", "cluster1"),
            ("ISTIO_META_NETWORK", "network1"),
            ("ISTIO_METAJSON_X", r#"{"a":1}"#),
        ];
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Settings::from_environment(Role::Sidecar, None, &environment).unwrap()
    }

    #[test]
    fn node_of_a_sidecar() {
        let labels = parse_downward_map("app=\"reviews\"\ntopology.istio.io/locality=\"r1.z2\"\nodd=\"a\\\"b\"");
        insta::assert_json_snapshot!(node(&settings(), &labels, &BTreeMap::new()));
    }

    #[test]
    fn without_labels_the_locality_is_left_to_the_control_plane() {
        assert_eq!(locality(&BTreeMap::new()), json!({}));
        assert_eq!(service_cluster(&settings(), &BTreeMap::new()), "istio-proxy.bookinfo");
    }
}
