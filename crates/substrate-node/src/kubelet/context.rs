//! What all pods of a node share: the API, the network, the images, the node's facts, and news of configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use futures::future::try_join;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use kube::{Api, Client, ResourceExt};
use substrate_events::EventRecorder;
use tokio::sync::broadcast;

use super::downward::Facts;
use super::environment::{self, Referenced};
use super::images::ImageTable;
use crate::fabric::ClusterNetwork;

/// See the module.
pub(super) struct NodeContext {
    pub(super) client: Client,
    pub(super) network: Arc<ClusterNetwork>,
    pub(super) images: ImageTable,
    pub(super) recorder: EventRecorder,
    pub(super) node_name: String,
    pub(super) cluster_dns: Ipv4Addr,
    pub(super) volumes_directory: PathBuf,
    pub(super) log_directory: PathBuf,
    /// The machine's own `/etc/resolv.conf`, for pods with `dnsPolicy: Default`.
    pub(super) host_resolv_conf: String,
    pub(super) machine: Machine,
    pub(super) services: RwLock<BTreeMap<(String, String), Arc<Service>>>,
    /// Tells which ConfigMap or Secret has just changed.
    pub(super) config_changes: broadcast::Sender<ConfigRef>,
}

/// What the machine has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Machine {
    pub(super) cpus: u64,
    /// Bytes.
    pub(super) memory: u64,
}

/// Names a ConfigMap or a Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConfigRef {
    pub(super) kind: ConfigKind,
    pub(super) namespace: String,
    pub(super) name: String,
}

/// The two kinds of configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ConfigKind {
    ConfigMap,
    Secret,
}

impl ConfigRef {
    pub(super) fn config_map(namespace: &str, name: &str) -> Self {
        Self { kind: ConfigKind::ConfigMap, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub(super) fn secret(namespace: &str, name: &str) -> Self {
        Self { kind: ConfigKind::Secret, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl NodeContext {
    /// The node's facts for the downward API.
    pub(super) fn facts(&self, pod_ip: Option<Ipv4Addr>) -> Facts {
        Facts {
            node_name: self.node_name.clone(),
            host_ip: self.network.node_address(),
            pod_ip,
            cpus: self.machine.cpus,
            memory: self.machine.memory,
        }
    }

    /// The variables that tell containers of a pod about Services.
    pub(super) fn service_variables(&self, pod: &Pod) -> BTreeMap<String, String> {
        let services = self.services.read().unwrap_or_else(PoisonError::into_inner);
        let with_links = pod.spec.as_ref().and_then(|spec| spec.enable_service_links) != Some(false);
        let namespace = pod.namespace().unwrap_or_default();
        environment::service_variables(&namespace, with_links, services.values().map(|service| &**service))
    }

    /// Reads the objects from the API server, so that a pod never starts with an older state than it was created
    /// after. What does not exist is left out.
    ///
    /// # Errors
    /// Those of the requests.
    pub(super) async fn fetch(&self, references: &BTreeSet<ConfigRef>) -> Result<Referenced, kube::Error> {
        let of_kind = |kind| references.iter().filter(move |reference| reference.kind == kind);
        let config_maps = futures::future::try_join_all(of_kind(ConfigKind::ConfigMap).map(|reference| async move {
            let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &reference.namespace);
            api.get_opt(&reference.name).await
        }));
        let secrets = futures::future::try_join_all(of_kind(ConfigKind::Secret).map(|reference| async move {
            let api: Api<Secret> = Api::namespaced(self.client.clone(), &reference.namespace);
            api.get_opt(&reference.name).await
        }));
        let (config_maps, secrets) = try_join(config_maps, secrets).await?;
        Ok(Referenced {
            config_maps: config_maps.into_iter().flatten().map(|map| (map.name_any(), map)).collect(),
            secrets: secrets.into_iter().flatten().map(|secret| (secret.name_any(), secret)).collect(),
        })
    }
}
