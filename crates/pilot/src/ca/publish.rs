//! Hands the mesh's root to every namespace as the ConfigMap `istio-ca-root-cert`, which pods mount to verify istiod.
//! Reacts to new namespaces, to changes of the root, and to anyone who alters or deletes the ConfigMap.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::authority::Authority;

/// Name of the ConfigMap.
pub const CONFIG_MAP: &str = "istio-ca-root-cert";
/// Its one key.
pub const KEY: &str = "root-cert.pem";
/// Pause before a namespace that could not be written is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// What is known of the cluster, and what has to be written.
#[derive(Default)]
struct Desk {
    /// Namespaces that are not being deleted.
    namespaces: BTreeSet<String>,
    /// The root each namespace holds.
    published: BTreeMap<String, Option<String>>,
    /// Namespaces whose last write failed.
    failed: BTreeSet<String>,
}

impl Desk {
    fn namespace(&mut self, namespace: &Namespace) {
        let name = namespace.name_any();
        if namespace.metadata.deletion_timestamp.is_some() {
            self.forget(&name);
        } else {
            self.namespaces.insert(name);
        }
    }

    fn forget(&mut self, namespace: &str) {
        self.namespaces.remove(namespace);
        self.published.remove(namespace);
        self.failed.remove(namespace);
    }

    fn config_map(&mut self, config_map: &ConfigMap) {
        let root = config_map.data.as_ref().and_then(|data| data.get(KEY)).cloned();
        self.published.insert(config_map.namespace().unwrap_or_default(), root);
    }

    /// Namespaces that lack `root` and have not just failed.
    fn due(&self, root: &str) -> Vec<String> {
        let lacks = |name: &&String| self.published.get(*name).and_then(Option::as_deref) != Some(root);
        self.namespaces.iter().filter(|name| !self.failed.contains(*name)).filter(lacks).cloned().collect()
    }
}

/// Publishes until cancelled.
pub async fn run(client: Client, authority: Arc<Authority>, cancel: CancellationToken) {
    cancel.run_until_cancelled(publish(client, authority)).await;
}

async fn publish(client: Client, authority: Arc<Authority>) {
    let mut keys = authority.subscribe();
    let mut desk = Desk::default();
    let namespaces = watcher(Api::<Namespace>::all(client.clone()), watcher::Config::default());
    let only_ours = watcher::Config::default().fields(&format!("metadata.name={CONFIG_MAP}"));
    let config_maps = watcher(Api::<ConfigMap>::all(client.clone()), only_ours);
    let mut namespaces = namespaces.default_backoff().boxed();
    let mut config_maps = config_maps.default_backoff().boxed();
    let mut retry_at = Instant::now();
    loop {
        tokio::select! {
            Some(event) = namespaces.next() => match event {
                Ok(watcher::Event::Apply(namespace) | watcher::Event::InitApply(namespace)) => desk.namespace(&namespace),
                Ok(watcher::Event::Delete(namespace)) => desk.forget(&namespace.name_any()),
                Ok(watcher::Event::Init) => desk.namespaces.clear(),
                Ok(watcher::Event::InitDone) => {}
                Err(error) => warn!(%error, "namespaces cannot be watched at the moment"),
            },
            Some(event) = config_maps.next() => match event {
                Ok(watcher::Event::Apply(map) | watcher::Event::InitApply(map)) => desk.config_map(&map),
                Ok(watcher::Event::Delete(map)) => drop(desk.published.remove(&map.namespace().unwrap_or_default())),
                Ok(watcher::Event::Init) => desk.published.clear(),
                Ok(watcher::Event::InitDone) => {}
                Err(error) => warn!(%error, "ConfigMaps cannot be watched at the moment"),
            },
            changed = keys.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(retry_at), if !desk.failed.is_empty() => desk.failed.clear(),
        }
        let root = keys.borrow_and_update().root_pem.clone();
        for namespace in desk.due(&root) {
            match write(&client, &namespace, &root).await {
                Ok(()) => drop(desk.published.insert(namespace, Some(root.clone()))),
                Err(error) => {
                    warn!(namespace, %error, "the root is not published yet");
                    if desk.failed.is_empty() {
                        retry_at = Instant::now() + RETRY_AFTER;
                    }
                    desk.failed.insert(namespace);
                }
            }
        }
    }
}

async fn write(client: &Client, namespace: &str, root: &str) -> Result<(), kube::Error> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let labels = BTreeMap::from([("istio.io/config".to_owned(), "true".to_owned())]);
    let map = ConfigMap {
        metadata: ObjectMeta { name: Some(CONFIG_MAP.to_owned()), labels: Some(labels), ..ObjectMeta::default() },
        data: Some(BTreeMap::from([(KEY.to_owned(), root.to_owned())])),
        ..ConfigMap::default()
    };
    match maps.create(&PostParams::default(), &map).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let patch = json!({"data": {KEY: root}});
            maps.patch(CONFIG_MAP, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        }
        // The namespace went away, or is going: nothing will read it there.
        Err(kube::Error::Api(status))
            if status.code == 404 || (status.code == 403 && status.message.contains("being terminated")) =>
        {
            debug!(namespace, "the namespace is going away");
        }
        other => drop(other?),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(name: &str) -> Namespace {
        Namespace {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            ..Namespace::default()
        }
    }

    fn config_map(namespace: &str, root: &str) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(CONFIG_MAP.to_owned()),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(KEY.to_owned(), root.to_owned())])),
            ..ConfigMap::default()
        }
    }

    #[test]
    fn every_namespace_gets_the_root_of_the_moment() {
        let mut desk = Desk::default();
        desk.namespace(&namespace("a"));
        desk.namespace(&namespace("b"));
        desk.config_map(&config_map("b", "r1"));
        assert_eq!(desk.due("r1"), ["a"]);
        assert_eq!(desk.due("r2"), ["a", "b"]);
        desk.failed.insert("a".to_owned());
        assert_eq!(desk.due("r2"), ["b"]);
        desk.forget("b");
        assert!(desk.due("r2").is_empty());
    }
}
