//! The pods of the cluster, watched once for everybody who looks at them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::Store;
use kube::runtime::watcher;
use kube::{Api, Client};
use kube_support::table::follow;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::restart;
use crate::telemetry::Workload;
use crate::view;

/// The pods, kept up to date.
#[derive(Clone)]
pub struct Pods {
    table: Store<Pod>,
    listed: watch::Receiver<bool>,
    changed: Arc<watch::Sender<()>>,
}

impl Pods {
    /// Starts to watch.
    pub fn watch(client: Client, cancel: &CancellationToken) -> Self {
        let changed = Arc::new(watch::Sender::new(()));
        let table = follow(Api::all(client), watcher::Config::default(), &changed, cancel);
        Self::of(table, changed)
    }

    /// A table that is kept up to date. It wakes only one of those that wait until it is ready, so that one is enough.
    fn of(table: Store<Pod>, changed: Arc<watch::Sender<()>>) -> Self {
        let (sender, listed) = watch::channel(false);
        let waited = table.clone();
        tokio::spawn(async move {
            // A writer ends only with its watch, and that only with the program.
            let _ = waited.wait_until_ready().await;
            sender.send_replace(true);
        });
        Self { table, listed, changed }
    }

    /// Waits until they have been listed once.
    pub async fn ready(&self) {
        // The sender ends only after it has said so.
        kube_support::flag::is_set(&mut self.listed.clone()).await;
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kube::runtime::reflector::store;
    use kube::runtime::watcher::Event;

    use super::*;

    #[tokio::test]
    async fn everybody_who_waits_is_told_that_the_pods_are_listed() {
        let (reader, mut writer) = store();
        let pods = Pods::of(reader, Arc::new(watch::Sender::new(())));
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let pods = pods.clone();
                tokio::spawn(async move { pods.ready().await })
            })
            .collect();
        tokio::task::yield_now().await;
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitDone);
        for waiter in waiters {
            tokio::time::timeout(Duration::from_secs(10), waiter).await.expect("it is told").expect("it ends");
        }
    }
}
