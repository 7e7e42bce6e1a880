//! Whether anything leads to a machine: a Service or a ServiceEntry that chooses it by the labels of its WorkloadEntry. Proxies
//! hold no endpoint of one that is only a client.

use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Map, Value};

use crate::cluster::{Cluster, Error};

/// Asks the cluster that a machine has joined for Services, and the one whose control plane is meant for ServiceEntries.
///
/// # Errors
/// Where a cluster cannot be asked.
pub async fn is_served(entry: &Value, namespace: &str, joined: &Cluster, reader: &Cluster) -> Result<bool, Error> {
    let labels = &entry["spec"]["labels"];
    let services = ApiResource::erase::<Service>(&());
    let of_services = list(joined, namespace, &services, "list Services").await?;
    if of_services.iter().any(|one| chooses(&one.data["spec"]["selector"], labels, false)) {
        return Ok(true);
    }
    let kind = GroupVersionKind::gvk("networking.istio.io", "v1", "ServiceEntry");
    let entries = ApiResource::from_gvk_with_plural(&kind, "serviceentries");
    let of_entries = list(reader, namespace, &entries, "list ServiceEntries").await?;
    Ok(of_entries.iter().any(|one| chooses(&one.data["spec"]["workloadSelector"]["labels"], labels, true)))
}

async fn list(
    cluster: &Cluster,
    namespace: &str,
    resource: &ApiResource,
    action: &str,
) -> Result<Vec<DynamicObject>, Error> {
    let api: Api<DynamicObject> = Api::namespaced_with(cluster.client(), namespace, resource);
    let listed = api.list(&ListParams::default()).await;
    Ok(listed.map_err(|source| cluster.api_error(action.to_owned(), source))?.items)
}

/// Whether a selector chooses what has these labels. An empty one chooses everything or nothing, by its kind; none is no choice.
fn chooses(selector: &Value, labels: &Value, empty: bool) -> bool {
    let has = |selector: &Map<String, Value>| selector.iter().all(|(name, value)| labels[name.as_str()] == *value);
    selector.as_object().is_some_and(|selector| if selector.is_empty() { empty } else { has(selector) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A cluster with a Service and a ServiceEntry of these specs.
    fn cluster(service: &Value, entry: &Value) -> Cluster {
        let (service, entry) = (service.clone(), entry.clone());
        Cluster::answering("cluster1", move |request| {
            let path = request.uri().path();
            assert!(path.contains("/namespaces/echo/"), "{path}");
            let spec = if path.ends_with("/services") { &service } else { &entry };
            let item = json!({ "metadata": { "name": "one", "namespace": "echo" }, "spec": spec });
            (200, json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": [item] }))
        })
    }

    async fn served(service: Value, entry: Value) -> bool {
        let machine = json!({ "spec": { "labels": { "app": "echo-vm", "version": "vm" } } });
        let cluster = cluster(&service, &entry);
        is_served(&machine, "echo", &cluster, &cluster).await.expect("asked")
    }

    #[tokio::test]
    async fn a_machine_is_served_where_a_selector_chooses_it() {
        let (none, by_hand) = (json!({}), json!({ "endpoints": [{ "address": "192.0.2.1" }] }));
        let selecting = |labels: Value| json!({ "selector": labels });
        let choosing = |labels: Value| json!({ "workloadSelector": { "labels": labels } });
        assert!(served(selecting(json!({ "app": "echo-vm" })), by_hand.clone()).await);
        assert!(served(none.clone(), choosing(json!({ "version": "vm" }))).await);
        assert!(!served(selecting(json!({ "app": "echo" })), choosing(json!({ "app": "echo" }))).await);
        assert!(!served(none.clone(), by_hand.clone()).await, "nothing is chosen");
        assert!(!served(selecting(json!({})), by_hand).await, "a Service without a choice has its endpoints by hand");
        assert!(served(none, choosing(json!({}))).await);
    }
}
