//! Remote secrets: what lets the control plane of one cluster watch another, in the form of
//! `istioctl create-remote-secret`.

use base64::Engine as _;
use serde_json::{Value, json};

use super::credential::{self, Endpoint};
use crate::cluster::{Cluster, Error};

/// Namespace of the mesh's control plane.
pub const ISTIO_SYSTEM: &str = "istio-system";
/// The account that a remote control plane acts as.
const READER: &str = "istio-reader-service-account";
/// After that a kept environment no longer discovers across clusters: it is to be brought up anew.
const TOKEN_SECONDS: i64 = 24 * 3600;

/// Makes the secret that lets another cluster's control plane watch `target`. It is not applied.
///
/// # Errors
/// Where no token is issued for the reader account.
pub async fn create(target: &Cluster) -> Result<Value, Error> {
    let token = credential::token(target, ISTIO_SYSTEM, READER, TOKEN_SECONDS).await?;
    Ok(secret(target.name(), &endpoint(target)?, &token))
}

/// The API server of a cluster as other clusters reach it.
///
/// # Errors
/// Where its kubeconfig cannot be used.
pub fn endpoint(target: &Cluster) -> Result<Endpoint, Error> {
    let path = &target.access().kubeconfig;
    let broken = |message: String| Error::Object { cluster: target.name().to_owned(), message };
    let config = kube::config::Kubeconfig::read_from(path).map_err(|error| broken(format!("{path}: {error}")))?;
    let endpoint = Endpoint::of(&config, None).map_err(|message| broken(format!("{path}: {message}")))?;
    Ok(endpoint.at(&target.access().server_for_other_clusters))
}

/// The manifest that names the remote secret of a cluster, enough to delete it.
#[must_use]
pub fn name_of(cluster: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": format!("istio-remote-secret-{cluster}"), "namespace": ISTIO_SYSTEM },
    })
}

fn secret(cluster: &str, endpoint: &Endpoint, token: &str) -> Value {
    let kubeconfig = credential::kubeconfig(cluster, endpoint, token);
    let mut secret = name_of(cluster);
    secret["metadata"]["labels"] = json!({ "istio/multiCluster": "true" });
    secret["metadata"]["annotations"] = json!({ "networking.istio.io/cluster": cluster });
    let encoded = base64::engine::general_purpose::STANDARD.encode(kubeconfig.to_string());
    secret["data"] = json!({ cluster: encoded });
    secret
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_has_the_form_that_istio_reads() {
        let endpoint = Endpoint { server: "https://172.30.2.1:6443".to_owned(), trust: serde_json::Map::new() };
        let secret = secret("cluster2", &endpoint, "token");
        assert_eq!(secret["metadata"]["labels"]["istio/multiCluster"], "true");
        assert_eq!(secret["metadata"]["annotations"]["networking.istio.io/cluster"], "cluster2");
        let data = secret["data"]["cluster2"].as_str().expect("keyed by the cluster");
        let text = base64::engine::general_purpose::STANDARD.decode(data).expect("base64");
        let config: kube::config::Kubeconfig = serde_json::from_slice(&text).expect("a kubeconfig");
        assert_eq!(config.current_context.as_deref(), Some("cluster2"));
    }
}
