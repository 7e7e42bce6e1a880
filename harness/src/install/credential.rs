//! Credentials for one cluster that are given to another: a token that ends, in a kubeconfig.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};
use kube::config::Kubeconfig;
use serde_json::{Map, Value, json};

use crate::cluster::{Cluster, Error};

/// How an API server is reached, and how one knows that it is the right one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// URL.
    pub server: String,
    /// The rest of the cluster's entry in a kubeconfig: certificate authority, name in the certificate.
    pub trust: Map<String, Value>,
}

impl Endpoint {
    /// The entry of a kubeconfig's context, or of its current one. Files that it names are read.
    ///
    /// # Errors
    /// A sentence, where there is no such context, or what it names is not there.
    pub fn of(config: &Kubeconfig, context: Option<&str>) -> Result<Self, String> {
        let name = context.or(config.current_context.as_deref()).ok_or("it has no current context; name one")?;
        let contexts: Vec<&str> = config.contexts.iter().map(|one| one.name.as_str()).collect();
        let found = config.contexts.iter().find(|one| one.name == name).and_then(|one| one.context.as_ref());
        let found = found.ok_or_else(|| format!("it has no context `{name}`; it has {}", contexts.join(", ")))?;
        let cluster = config.clusters.iter().find(|one| one.name == found.cluster).and_then(|one| one.cluster.as_ref());
        let cluster = cluster.ok_or_else(|| format!("context `{name}` names a cluster that is not there"))?;
        let server = cluster.server.clone().ok_or_else(|| format!("the cluster of context `{name}` has no server"))?;
        let mut trust = Map::new();
        if let Some(data) = &cluster.certificate_authority_data {
            trust.insert("certificate-authority-data".to_owned(), data.clone().into());
        } else if let Some(file) = &cluster.certificate_authority {
            let bytes = std::fs::read(file).map_err(|error| format!("cannot read {file}: {error}"))?;
            trust.insert("certificate-authority-data".to_owned(), STANDARD.encode(bytes).into());
        }
        if let Some(name) = &cluster.tls_server_name {
            trust.insert("tls-server-name".to_owned(), name.clone().into());
        }
        if cluster.insecure_skip_tls_verify == Some(true) {
            trust.insert("insecure-skip-tls-verify".to_owned(), true.into());
        }
        Ok(Self { server, trust })
    }

    /// The same API server at another address.
    #[must_use]
    pub fn at(self, server: &str) -> Self {
        Self { server: server.to_owned(), ..self }
    }
}

/// Whether an address leads back to the machine that asks it, so that another cluster would ask itself.
#[must_use]
pub fn is_loopback(server: &str) -> bool {
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    let address: Option<std::net::IpAddr> = host.parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback() || address.is_unspecified())
}

/// A token for an account, for so many seconds.
///
/// # Errors
/// Where the API server issues none.
pub async fn token(cluster: &Cluster, namespace: &str, account: &str, seconds: i64) -> Result<String, Error> {
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client(), namespace);
    let request = TokenRequest {
        spec: Some(TokenRequestSpec { expiration_seconds: Some(seconds), ..Default::default() }),
        ..Default::default()
    };
    let issued = accounts
        .create_token_request(account, &PostParams::default(), &request)
        .await
        .map_err(|source| cluster.api_error(format!("request a token for {account}"), source))?;
    issued.status.and_then(|status| status.token).ok_or_else(|| Error::Object {
        cluster: cluster.name().to_owned(),
        message: format!("the token request for {account} was answered without a token"),
    })
}

/// A kubeconfig with one cluster and one user, all called like the cluster.
#[must_use]
pub fn kubeconfig(cluster: &str, endpoint: &Endpoint, token: &str) -> Value {
    let mut entry = endpoint.trust.clone();
    entry.insert("server".to_owned(), endpoint.server.clone().into());
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": cluster,
        "clusters": [{ "name": cluster, "cluster": entry }],
        "contexts": [{ "name": cluster, "context": { "cluster": cluster, "user": cluster } }],
        "users": [{ "name": cluster, "user": { "token": token } }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Kubeconfig {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [
                { "name": "one", "cluster": { "server": "https://one:6443", "certificate-authority-data": "Q0E=" } },
                { "name": "two", "cluster": { "server": "https://two", "insecure-skip-tls-verify": true } },
            ],
            "contexts": [
                { "name": "here", "context": { "cluster": "one" } },
                { "name": "there", "context": { "cluster": "two" } },
                { "name": "nowhere", "context": { "cluster": "none" } },
            ],
        }))
        .expect("a kubeconfig")
    }

    #[test]
    fn the_entry_of_a_context_is_taken_over() {
        let here = Endpoint::of(&config(), None).expect("it has a current context");
        assert_eq!(here.server, "https://one:6443");
        assert_eq!(here.trust["certificate-authority-data"], "Q0E=");
        let there = Endpoint::of(&config(), Some("there")).expect("it is there").at("https://outside");
        let made = kubeconfig("two", &there, "t");
        let entry = &made["clusters"][0]["cluster"];
        assert_eq!(*entry, json!({ "server": "https://outside", "insecure-skip-tls-verify": true }));
        assert_eq!(made["users"][0]["user"], json!({ "token": "t" }));
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = Endpoint::of(&config(), Some("elsewhere")).expect_err("no such context");
        assert_eq!(error, "it has no context `elsewhere`; it has here, there, nowhere");
        let error = Endpoint::of(&config(), Some("nowhere")).expect_err("no such cluster");
        assert_eq!(error, "context `nowhere` names a cluster that is not there");
        let none = Kubeconfig { current_context: None, ..config() };
        assert!(Endpoint::of(&none, None).expect_err("no context").contains("no current context"));
    }

    #[test]
    fn addresses_of_this_machine_are_known() {
        for here in ["https://127.0.0.1:6443", "https://localhost", "https://[::1]:443/path", "https://0.0.0.0:1"] {
            assert!(is_loopback(here), "{here}");
        }
        for there in
            ["https://172.30.2.1:6443", "https://api.example:6443", "https://[fd00::1]", "https://localhost.example"]
        {
            assert!(!is_loopback(there), "{there}");
        }
    }
}
