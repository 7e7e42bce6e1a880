//! The pods of the cluster, watched once for everybody who looks at them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher;
use kube::{Api, Client};
use kube_support::table::{Table, follow};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::restart;
use crate::telemetry::Workload;
use crate::view;

/// The pods, kept up to date.
#[derive(Clone)]
pub struct Pods {
    table: Table<Pod>,
    changed: Arc<watch::Sender<()>>,
}

impl Pods {
    /// Starts to watch.
    pub fn watch(client: Client, cancel: &CancellationToken) -> Self {
        let changed = Arc::new(watch::Sender::new(()));
        let table = follow(Api::all(client), watcher::Config::default(), &changed, cancel);
        Self { table, changed }
    }

    /// Waits until they have been listed once.
    pub async fn ready(&self) {
        self.table.listed().await;
    }

    /// Waits until they have been listed once, or that was refused.
    pub async fn asked(&self) {
        self.table.asked().await;
    }

    /// Why they were never listed; `None` once they were.
    pub fn unread(&self) -> Option<String> {
        self.table.unread()
    }

    /// Announces every change.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// All pods that run or will run.
    pub fn all(&self) -> Vec<restart::Pod> {
        self.table.state().iter().filter_map(|pod| view::pod(pod)).collect()
    }

    /// Running pods with a proxy, `<pod>.<namespace>`.
    pub fn proxies(&self) -> BTreeSet<String> {
        let pods = self.table.state();
        let running = pods.iter().filter(|pod| view::phase(pod) == "Running").filter_map(|pod| view::pod(pod));
        running.filter(|pod| pod.proxy).map(|pod| format!("{}.{}", pod.pod.name, pod.pod.namespace)).collect()
    }

    /// Running pods of the control plane: their addresses by name.
    pub fn control_planes(&self) -> BTreeMap<String, String> {
        let pods = self.table.state();
        let running = pods.iter().filter(|pod| view::phase(pod) == "Running" && view::is_control_plane(pod));
        running.filter_map(|pod| Some((view::title(pod), view::address(pod)?))).collect()
    }

    /// The workload that has an address; nothing where no pod of the cluster has it.
    pub fn workload(&self, address: &str) -> Option<Workload> {
        let pod = self.table.find(|pod| view::address(pod).as_deref() == Some(address))?;
        Some(view::workload(&pod))
    }
}
