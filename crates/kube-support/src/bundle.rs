//! Keeps webhook configurations of a cluster in step with who serves the webhooks.

use std::fmt::Debug;
use std::time::Duration;

use base64::Engine as _;
use futures::StreamExt as _;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::pause;

const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Corrects the configuration of a name whenever it or the root of trust changes, for as long as it is polled and `keys` has a
/// sender: each webhook trusts the root of `keys`, and has the failure policy, where one is given. To be started once the
/// webhooks are served. `in_step` becomes true once the configuration was found or put right, or found absent.
pub async fn keep<K, T>(
    client: Client,
    name: &'static str,
    mut keys: watch::Receiver<T>,
    root: fn(&T) -> String,
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
            () = pause::until(retry_at) => retry_at = None,
        }
        let root = root(&keys.borrow_and_update());
        let Some(patch) = latest.as_ref().and_then(|object| correction(object, &root, failure_policy)) else {
            if listed {
                in_step.send_replace(true);
            }
            continue;
        };
        match api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(object) => {
                info!(name, "the webhook configuration trusts this server");
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
    fn a_failure_policy_stays_where_none_is_given() {
        let object = json!({"webhooks": [{"name": "a", "clientConfig": {}, "failurePolicy": "Fail"}]});
        assert_eq!(correction(&object, "root", None).unwrap()["webhooks"][0]["failurePolicy"], "Fail");
    }
}
