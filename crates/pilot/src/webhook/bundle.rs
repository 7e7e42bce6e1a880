//! Keeps the webhook configurations of the cluster in step with this istiod: `caBundle` is the mesh's root, and the
//! validating webhook fails closed once istiod answers it. Whoever alters them finds them corrected.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use futures::StreamExt as _;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::ca::Authority;

/// Name of the configuration for injection.
pub const MUTATING: &str = "istio-sidecar-injector";
/// Name of the configuration for validation.
pub const VALIDATING: &str = "istio-validator-istio-system";
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// As [`keep_bundles_and_tell`], for callers that need not know when the first correction is done.
pub async fn keep_bundles(client: Client, authority: Arc<Authority>, cancel: CancellationToken) {
    keep_bundles_and_tell(client, authority, watch::Sender::new(false), cancel).await;
}

/// Corrects both configurations whenever they or the root change, until cancelled. To be started once the webhooks are
/// served, since from then on they fail closed. `in_step` becomes true once both were found or put right, or found
/// absent: from then on a pod can be created without meeting a webhook that nobody trusts.
pub async fn keep_bundles_and_tell(
    client: Client,
    authority: Arc<Authority>,
    in_step: watch::Sender<bool>,
    cancel: CancellationToken,
) {
    let (first, second) = (watch::Sender::new(false), watch::Sender::new(false));
    let (mut one, mut two) = (first.subscribe(), second.subscribe());
    let injection = keep::<MutatingWebhookConfiguration>(client.clone(), MUTATING, &authority, None, first);
    let validation = keep::<ValidatingWebhookConfiguration>(client, VALIDATING, &authority, Some("Fail"), second);
    let tell = async {
        if one.wait_for(|done| *done).await.is_ok() && two.wait_for(|done| *done).await.is_ok() {
            in_step.send_replace(true);
        }
    };
    cancel.run_until_cancelled(async { tokio::join!(injection, validation, tell) }).await;
}

async fn keep<K>(
    client: Client,
    name: &'static str,
    authority: &Authority,
    failure_policy: Option<&str>,
    in_step: watch::Sender<bool>,
) where
    K: Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + 'static,
{
    let api: Api<K> = Api::all(client);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = watcher(api.clone(), config).default_backoff().boxed();
    let mut keys = authority.subscribe();
    let mut latest: Option<Value> = None;
    let mut listed = false;
    let mut retry_at: Option<Instant> = None;
    loop {
        tokio::select! {
            Some(event) = events.next() => match event {
                Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) if object.name_any() == name => {
                    latest = serde_json::to_value(object).ok();
                }
                Ok(watcher::Event::Delete(_)) => latest = None,
                Ok(watcher::Event::InitDone) => listed = true,
                Ok(_) => {}
                Err(error) => warn!(name, %error, "the webhook configuration cannot be watched at the moment"),
            },
            changed = keys.changed() => if changed.is_err() { return },
            () = sleep_until(retry_at) => retry_at = None,
        }
        let root = keys.borrow_and_update().root_pem.clone();
        let Some(patch) = latest.as_ref().and_then(|object| correction(object, &root, failure_policy)) else {
            if listed {
                in_step.send_replace(true);
            }
            continue;
        };
        match api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(object) => {
                info!(name, "the webhook configuration trusts this istiod");
                latest = serde_json::to_value(object).ok();
                in_step.send_replace(true);
            }
            Err(error) => {
                warn!(name, %error, "the webhook configuration is not corrected yet");
                retry_at = Some(Instant::now() + RETRY_AFTER);
            }
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The merge patch that puts a configuration right; `None` where it is. It names the version it corrects, so that a
/// change made meanwhile is not undone but met as a conflict, and seen again.
fn correction(object: &Value, root_pem: &str, failure_policy: Option<&str>) -> Option<Value> {
    let bundle = base64::engine::general_purpose::STANDARD.encode(root_pem);
    let before = object.get("webhooks")?.as_array()?;
    let mut webhooks = before.clone();
    for webhook in &mut webhooks {
        webhook["clientConfig"]["caBundle"] = bundle.as_str().into();
        if let Some(policy) = failure_policy {
            webhook["failurePolicy"] = policy.into();
        }
    }
    let version = &object["metadata"]["resourceVersion"];
    (webhooks != *before).then(|| json!({"metadata": {"resourceVersion": version}, "webhooks": webhooks}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wrong_is_corrected() {
        let bundle = base64::engine::general_purpose::STANDARD.encode("root");
        let right = json!({"name": "a", "clientConfig": {"caBundle": bundle}, "failurePolicy": "Fail"});
        let wrong = json!({"name": "b", "clientConfig": {"service": {"name": "istiod"}}, "failurePolicy": "Ignore"});
        let object = json!({"metadata": {"resourceVersion": "7"}, "webhooks": [right, wrong]});
        let patch = correction(&object, "root", Some("Fail")).unwrap();
        let corrected = json!({"name": "b", "clientConfig": {"service": {"name": "istiod"}, "caBundle": bundle}, "failurePolicy": "Fail"});
        assert_eq!(patch, json!({"metadata": {"resourceVersion": "7"}, "webhooks": [right, corrected]}));
        assert_eq!(correction(&json!({"webhooks": [right]}), "root", Some("Fail")), None);
        assert_eq!(correction(&json!({}), "root", None), None);
    }

    #[test]
    fn injection_keeps_its_own_failure_policy() {
        let object = json!({"webhooks": [{"name": "a", "clientConfig": {}, "failurePolicy": "Fail"}]});
        assert_eq!(correction(&object, "root", None).unwrap()["webhooks"][0]["failurePolicy"], "Fail");
    }
}
