//! The address of an API server for other clusters, where the kubeconfig has one that is of use on this machine only (as that of
//! a cluster in containers): what the cluster itself says of it, the endpoints of Service `default/kubernetes`.

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, ListParams};

use crate::cluster::{Cluster, Error};

/// URL of the API server by the cluster's own word, if it gives one.
pub(super) async fn by_endpoints(cluster: &Cluster) -> Result<Option<String>, Error> {
    let slices: Api<EndpointSlice> = Api::namespaced(cluster.client(), "default");
    let found = slices.list(&ListParams::default().labels("kubernetes.io/service-name=kubernetes")).await;
    let found =
        found.map_err(|source| cluster.api_error("list the endpoints of default/kubernetes".to_owned(), source))?;
    Ok(found.items.iter().find_map(url))
}

fn url(slice: &EndpointSlice) -> Option<String> {
    let address = slice.endpoints.iter().flatten().find_map(|endpoint| endpoint.addresses.first())?;
    let port = slice.ports.iter().flatten().find_map(|port| port.port)?;
    let host = if slice.address_type == "IPv6" { format!("[{address}]") } else { address.clone() };
    Some(format!("https://{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn slice(kind: &str, address: &str) -> Value {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": { "name": "kubernetes", "namespace": "default" },
            "addressType": kind, "endpoints": [{ "addresses": [address] }], "ports": [{ "name": "https", "port": 6443 }],
        })
    }

    #[test]
    fn an_address_becomes_a_url() {
        let read = |value: Value| url(&serde_json::from_value(value).expect("a slice"));
        assert_eq!(read(slice("IPv4", "172.18.0.2")).as_deref(), Some("https://172.18.0.2:6443"));
        assert_eq!(read(slice("IPv6", "fd00::2")).as_deref(), Some("https://[fd00::2]:6443"));
        let mut none = slice("IPv4", "172.18.0.2");
        none["endpoints"] = json!([]);
        assert_eq!(read(none), None);
    }

    #[tokio::test]
    async fn the_cluster_is_asked() {
        let cluster = Cluster::answering("cluster1", |request| {
            assert!(request.uri().path().ends_with("/namespaces/default/endpointslices"), "{}", request.uri());
            let list = json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSliceList", "metadata": {},
                               "items": [slice("IPv4", "10.0.0.1")] });
            (200, list)
        });
        assert_eq!(by_endpoints(&cluster).await.expect("it answers").as_deref(), Some("https://10.0.0.1:6443"));
    }
}
