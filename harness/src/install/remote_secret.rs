//! Remote secrets: what lets the control plane of one cluster watch another, in the form of
//! `istioctl create-remote-secret`.

use base64::Engine as _;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

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
    let accounts: Api<ServiceAccount> = Api::namespaced(target.client(), ISTIO_SYSTEM);
    let request = TokenRequest {
        spec: Some(TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..Default::default() }),
        ..Default::default()
    };
    let issued = accounts
        .create_token_request(READER, &PostParams::default(), &request)
        .await
        .map_err(|source| target.api_error(format!("request a token for {READER}"), source))?;
    let token = issued.status.and_then(|status| status.token).ok_or_else(|| Error::Object {
        cluster: target.name().to_owned(),
        message: format!("the token request for {READER} was answered without a token"),
    })?;
    let authority = certificate_authority(target)?;
    Ok(secret(target.name(), &target.access().server_for_other_clusters, &authority, &token))
}

/// The manifest that names the remote secret of a cluster, enough to delete it.
#[must_use]
pub fn name_of(cluster: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": format!("istio-remote-secret-{cluster}"), "namespace": ISTIO_SYSTEM },
    })
}

fn certificate_authority(target: &Cluster) -> Result<String, Error> {
    let path = &target.access().kubeconfig;
    let broken = |message: String| Error::Object { cluster: target.name().to_owned(), message };
    let config = kube::config::Kubeconfig::read_from(path).map_err(|error| broken(format!("{path}: {error}")))?;
    config
        .clusters
        .into_iter()
        .filter_map(|named| named.cluster)
        .find_map(|cluster| cluster.certificate_authority_data)
        .ok_or_else(|| broken(format!("{path} holds no certificate-authority-data")))
}

fn secret(cluster: &str, server: &str, authority: &str, token: &str) -> Value {
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": cluster,
        "clusters": [{ "name": cluster, "cluster": { "server": server, "certificate-authority-data": authority } }],
        "contexts": [{ "name": cluster, "context": { "cluster": cluster, "user": cluster } }],
        "users": [{ "name": cluster, "user": { "token": token } }],
    });
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
        let secret = secret("cluster2", "https://172.30.2.1:6443", "Q0E=", "token");
        assert_eq!(secret["metadata"]["labels"]["istio/multiCluster"], "true");
        assert_eq!(secret["metadata"]["annotations"]["networking.istio.io/cluster"], "cluster2");
        let data = secret["data"]["cluster2"].as_str().expect("keyed by the cluster");
        let text = base64::engine::general_purpose::STANDARD.decode(data).expect("base64");
        let config: kube::config::Kubeconfig = serde_json::from_slice(&text).expect("a kubeconfig");
        assert_eq!(config.current_context.as_deref(), Some("cluster2"));
    }
}
