//! Why something is not ready: what its pods and their containers say, in one line.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;

use crate::cluster::Cluster;

/// One line about the pods of a Deployment, by the label `app` or the name prefix.
pub(super) async fn why_not_ready(cluster: &Cluster, namespace: &str, deployment: &str) -> String {
    let pods = match cluster.pods(namespace, "").await {
        Ok(pods) => pods,
        Err(error) => return crate::cluster::chain(&error),
    };
    let own: Vec<&Pod> = pods.iter().filter(|pod| pod.name_any().starts_with(&format!("{deployment}-"))).collect();
    if own.is_empty() {
        return "it has no pods; `kubectl describe` its ReplicaSet".to_owned();
    }
    own.into_iter().map(describe).collect::<Vec<_>>().join("; ")
}

fn describe(pod: &Pod) -> String {
    let Some(status) = &pod.status else { return format!("{}: no status yet", pod.name_any()) };
    let init = status.init_container_statuses.as_deref().unwrap_or_default();
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    let troubles: Vec<String> = init.iter().chain(containers).filter_map(trouble).collect();
    let phase = status.phase.as_deref().unwrap_or("unknown phase");
    let troubles = if troubles.is_empty() { phase.to_owned() } else { troubles.join(", ") };
    format!("{}: {troubles}", pod.name_any())
}

fn trouble(status: &ContainerStatus) -> Option<String> {
    let state = status.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        let message = waiting.message.as_deref().unwrap_or_default();
        return Some(format!("{} waits: {} {message}", status.name, waiting.reason.as_deref().unwrap_or("")));
    }
    if let Some(ended) = state.terminated.as_ref().filter(|ended| ended.exit_code != 0) {
        return Some(format!("{} ended with {}", status.name, ended.exit_code));
    }
    (state.running.is_some() && !status.ready).then(|| format!("{} runs and is not ready", status.name))
}
