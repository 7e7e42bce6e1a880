//! The objects that every cluster starts with. They go through the API like all others, so that they are complete.

use std::sync::Arc;

use kube::api::{DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::rbac;
use crate::server::{ApiServer, Error};

const NAMESPACES: &[&str] = &["default", "kube-system", "kube-public", "kube-node-lease"];

/// Creates what is missing in a new store.
pub(crate) async fn run(server: &Arc<ApiServer>) -> Result<(), Error> {
    let client = server.client("system:apiserver", &["system:masters"]);
    let namespaces =
        NAMESPACES.iter().map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
    let objects =
        namespaces.chain(rbac::bootstrap_objects()).chain(priority_classes()).chain([kubernetes_service(server)]);
    for object in objects {
        create(server, &client, object).await?;
    }
    Ok(())
}

fn priority_classes() -> Vec<Value> {
    let class = |name: &str, value: i64, description: &str| {
        json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
            "value": value, "description": description})
    };
    vec![
        class(
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
        class(
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
    ]
}

/// `default/kubernetes`, the API server's own Service; its endpoints are nobody's pods.
fn kubernetes_service(server: &ApiServer) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"clusterIP": server.service_subnet.address(1).to_string(),
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]},
    })
}

async fn create(server: &ApiServer, client: &Client, object: Value) -> Result<(), Error> {
    let (kind, name) = (object["kind"].as_str().unwrap_or_default(), crate::object::name(&object));
    let what = format!("{kind} {name}");
    let failed = |message: String| Error::Bootstrap { what: what.clone(), message };
    let (group, version) = match object["apiVersion"].as_str().unwrap_or_default().split_once('/') {
        Some((group, version)) => (group, version),
        None => ("", "v1"),
    };
    let registry = server.registry();
    let resource = registry
        .iter()
        .find(|resource| resource.group == group && resource.version == version && resource.kind == kind);
    let plural = resource.map(|resource| resource.plural.clone()).ok_or_else(|| failed("no such kind".to_owned()))?;
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), &plural);
    let api: Api<DynamicObject> = match crate::object::namespace(&object) {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    let object: DynamicObject = serde_json::from_value(object).map_err(|error| failed(error.to_string()))?;
    api.create(&PostParams::default(), &object).await.map(drop).map_err(|error| failed(error.to_string()))
}
