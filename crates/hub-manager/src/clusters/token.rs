//! Renews the token in a cluster's kubeconfig at half of its life, by the cluster's own TokenRequest.

use std::time::Duration;

use base64::Engine as _;
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use kube_support::error::describe;
use kube_support::pause;
use mesh_types::hub::names::{FIELD_MANAGER, KUBECONFIG_KEY, REMOTE_ACCOUNT, TOKEN_SECONDS};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Shared;
use super::session::Registration;

/// How long to wait after a renewal that did not succeed.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// When a token was given, and when it ends, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// When it was given.
    pub begins: i64,
    /// When it ends.
    pub ends: i64,
}

impl Life {
    /// How long until half of it is over.
    pub fn until_half(self, now: i64) -> Duration {
        let half = self.begins + (self.ends - self.begins) / 2;
        Duration::from_secs(u64::try_from(half - now).unwrap_or_default())
    }

    /// When it ends, RFC 3339.
    pub fn end(self) -> Option<String> {
        Timestamp::from_second(self.ends).ok().map(|end| end.to_string())
    }
}

/// The life of the token in a kubeconfig; `None` for one that has no token, or one that does not tell.
pub fn life(kubeconfig: &str) -> Option<Life> {
    let kubeconfig = kube::config::Kubeconfig::from_yaml(kubeconfig).ok()?;
    let value = serde_json::to_value(&kubeconfig).ok()?;
    let token = value["users"].as_array()?.iter().find_map(|user| user["user"]["token"].as_str())?;
    let payload = token.split('.').nth(1)?;
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    let ends = claims["exp"].as_i64()?;
    let begins = claims["iat"].as_i64().or_else(|| claims["nbf"].as_i64()).unwrap_or(ends - TOKEN_SECONDS);
    Some(Life { begins, ends })
}

/// A kubeconfig with another token.
pub fn with_token(kubeconfig: &str, token: &str) -> Option<String> {
    let parsed = kube::config::Kubeconfig::from_yaml(kubeconfig).ok()?;
    let mut value = serde_json::to_value(&parsed).ok()?;
    for user in value["users"].as_array_mut()? {
        if !user["user"]["token"].is_null() {
            user["user"]["token"] = token.into();
        }
    }
    // JSON is YAML.
    serde_json::to_string_pretty(&value).ok()
}

/// Renews the token of a cluster for as long as it is polled.
pub async fn keep(
    shared: Shared,
    cluster: String,
    mut registrations: watch::Receiver<Registration>,
    mut clients: watch::Receiver<Option<Client>>,
) {
    loop {
        let registration = registrations.borrow_and_update().clone();
        let client = clients.borrow_and_update().clone();
        let known = registration.kubeconfig.as_ref().and_then(|text| Some((text, life(text)?)));
        let end = known.and_then(|(_, life)| life.end());
        shared.directory.change(&cluster, |info| info.token_expires = end);
        let renewal = async {
            let (Some((kubeconfig, life)), Some(client)) = (known, client) else { return std::future::pending().await };
            renew(&shared, &client, &registration.secret, kubeconfig, life).await;
        };
        let changed = tokio::select! {
            () = renewal => continue,
            changed = registrations.changed() => changed,
            changed = clients.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Waits for half of the token's life, and puts a new one into the Secret; the change of the Secret then changes the client.
/// Tries until it succeeds.
async fn renew(shared: &Shared, cluster: &Client, secret: &str, kubeconfig: &str, life: Life) {
    pause::for_a(life.until_half(Timestamp::now().as_second())).await;
    loop {
        match replace(&shared.management, cluster, &shared.plane.namespace, secret, kubeconfig).await {
            Ok(()) => {
                tracing::info!(secret, "the token is renewed");
                return std::future::pending().await;
            }
            Err(error) => tracing::warn!(secret, error, "the token is not renewed yet"),
        }
        pause::for_a(RETRY_AFTER).await;
    }
}

async fn replace(
    management: &Client,
    cluster: &Client,
    namespace: &str,
    secret: &str,
    kubeconfig: &str,
) -> Result<(), String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.clone(), namespace);
    let spec = TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() };
    let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
    let answer = accounts.create_token_request(REMOTE_ACCOUNT, &PostParams::default(), &request).await;
    let answer = answer.map_err(|error| describe(&error))?;
    let token = answer.status.and_then(|status| status.token).ok_or_else(|| "the answer has no token".to_owned())?;
    let renewed = with_token(kubeconfig, &token).ok_or_else(|| "the kubeconfig cannot be read".to_owned())?;
    let patch = json!({ "data": { KUBECONFIG_KEY: base64::engine::general_purpose::STANDARD.encode(renewed) } });
    let secrets: Api<Secret> = Api::namespaced(management.clone(), namespace);
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    secrets.patch(secret, &params, &Patch::Merge(&patch)).await.map(drop).map_err(|error| describe(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig(user: &Value) -> String {
        json!({ "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{ "name": "c", "cluster": { "server": "https://127.0.0.1:6443" } }],
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
            "users": [{ "name": "u", "user": user }] })
        .to_string()
    }

    fn token(claims: &Value) -> String {
        let part = |value: &Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.signature", part(&json!({ "alg": "RS256" })), part(claims))
    }

    #[test]
    fn a_token_is_renewed_at_half_of_its_life() {
        let own = kubeconfig(&json!({ "token": token(&json!({ "iat": 1_000, "exp": 3_000 })) }));
        let life = life(&own).unwrap();
        assert_eq!(life.until_half(1_500), Duration::from_secs(500));
        assert_eq!(life.until_half(2_500), Duration::ZERO);
        assert_eq!(life.end().unwrap(), "1970-01-01T00:50:00Z");
    }

    #[test]
    fn another_token_is_put_in_and_nothing_else_changes() {
        let own = kubeconfig(&json!({ "token": token(&json!({ "iat": 1_000, "exp": 3_000 })) }));
        let other = with_token(&own, &token(&json!({ "iat": 5_000, "exp": 9_000 }))).unwrap();
        assert_eq!(life(&other), Some(Life { begins: 5_000, ends: 9_000 }));
        assert!(other.contains("https://127.0.0.1:6443"));
    }

    #[test]
    fn what_is_no_token_has_no_life() {
        assert_eq!(life(&kubeconfig(&json!({ "client-certificate-data": "YQ==" }))), None);
        assert_eq!(life(&kubeconfig(&json!({ "token": "opaque" }))), None);
        assert_eq!(life("- no kubeconfig"), None);
    }
}
