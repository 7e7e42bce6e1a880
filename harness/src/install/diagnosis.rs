//! Why something is not ready: what its pods and their containers say, in one line.

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;
use kube::api::{Api, LogParams};
use kube::runtime::{WatchStreamExt as _, watcher};

use crate::cluster::Cluster;

/// One line about the pods of a Deployment or Job, which have names that begin with its own.
pub(crate) async fn why_not_ready(cluster: &Cluster, namespace: &str, deployment: &str) -> String {
    let pods = match cluster.pods(namespace, "").await {
        Ok(pods) => pods,
        Err(error) => return crate::cluster::chain(&error),
    };
    let own: Vec<&Pod> = pods.iter().filter(|pod| belongs(pod, deployment)).collect();
    if own.is_empty() {
        return "it has no pods; `kubectl describe` its ReplicaSet or Job".to_owned();
    }
    let mut described = Vec::with_capacity(own.len());
    for pod in own {
        let said = last_words(cluster, pod).await;
        described.push(format!("{}{said}", describe(pod)));
    }
    described.join("; ")
}

/// Ends once a container of the Deployment's pods crashed again after a restart, or has no image: to wait longer is of no
/// use. Never ends otherwise.
pub(crate) async fn hopeless(cluster: &Cluster, namespace: &str, deployment: &str) {
    let api: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let mut pods = watcher(api, watcher::Config::default()).default_backoff().applied_objects().boxed();
    while let Some(pod) = pods.next().await {
        if pod.is_ok_and(|pod| belongs(&pod, deployment) && statuses(&pod).any(is_hopeless)) {
            return;
        }
    }
    std::future::pending().await
}

fn is_hopeless(status: &ContainerStatus) -> bool {
    let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
    match waiting.and_then(|waiting| waiting.reason.as_deref()) {
        Some("CrashLoopBackOff") => status.restart_count >= 2,
        Some("ImagePullBackOff" | "InvalidImageName") => true,
        _ => false,
    }
}

fn belongs(pod: &Pod, deployment: &str) -> bool {
    pod.name_any().strip_prefix(deployment).is_some_and(|rest| rest.starts_with('-'))
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let init = status.and_then(|status| status.init_container_statuses.as_deref()).unwrap_or_default();
    init.iter().chain(status.and_then(|status| status.container_statuses.as_deref()).unwrap_or_default())
}

/// The last line of the first container that is in trouble, as the end of a sentence.
async fn last_words(cluster: &Cluster, pod: &Pod) -> String {
    let Some(status) = statuses(pod).find(|status| trouble(status).is_some()) else { return String::new() };
    let running = status.state.as_ref().is_some_and(|state| state.running.is_some());
    let api: Api<Pod> = Api::namespaced(cluster.client(), &pod.namespace().unwrap_or_default());
    let parameters = LogParams {
        container: Some(status.name.clone()),
        previous: !running && status.restart_count > 0,
        tail_lines: Some(5),
        ..LogParams::default()
    };
    let log = api.logs(&pod.name_any(), &parameters).await.unwrap_or_default();
    let last = log.lines().rev().map(str::trim).find(|line| !line.is_empty());
    last.map(|line| format!("; {} said last `{line}`", status.name)).unwrap_or_default()
}

fn describe(pod: &Pod) -> String {
    let Some(status) = &pod.status else { return format!("{}: no status yet", pod.name_any()) };
    let troubles: Vec<String> = unschedulable(pod).into_iter().chain(statuses(pod).filter_map(trouble)).collect();
    let phase = status.phase.as_deref().unwrap_or("unknown phase");
    let troubles = if troubles.is_empty() { phase.to_owned() } else { troubles.join(", ") };
    format!("{}: {troubles}", pod.name_any())
}

/// Why no node takes it, where none does.
fn unschedulable(pod: &Pod) -> Option<String> {
    let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let refused = conditions.find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
    Some(format!("no node takes it: {}", refused.message.as_deref().unwrap_or_default()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, restarts: i32, state: &serde_json::Value) -> Pod {
        let status = json!({
            "name": "app", "image": "i", "imageID": "", "ready": false, "restartCount": restarts, "state": state,
        });
        let pod =
            json!({ "metadata": { "name": name }, "status": { "phase": "Running", "containerStatuses": [status] } });
        serde_json::from_value(pod).expect("a pod")
    }

    #[test]
    fn a_container_that_crashes_again_and_again_is_hopeless() {
        let hopeless = |restarts, state: serde_json::Value| statuses(&pod("a-b-c", restarts, &state)).any(is_hopeless);
        let crashed = json!({ "waiting": { "reason": "CrashLoopBackOff" } });
        assert!(!hopeless(1, crashed.clone()));
        assert!(hopeless(2, crashed));
        assert!(hopeless(0, json!({ "waiting": { "reason": "ImagePullBackOff" } })));
        // The ConfigMap that is missing may still come.
        assert!(!hopeless(9, json!({ "waiting": { "reason": "CreateContainerConfigError" } })));
        assert!(!hopeless(9, json!({ "running": {} })));
    }

    #[test]
    fn a_pod_that_no_node_takes_says_why() {
        let refused = json!({ "type": "PodScheduled", "status": "False", "message": "0/3 nodes are available" });
        let pod = json!({ "metadata": { "name": "a-b" }, "status": { "phase": "Pending", "conditions": [refused] } });
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        assert_eq!(describe(&pod), "a-b: no node takes it: 0/3 nodes are available");
    }

    #[test]
    fn pods_are_known_by_the_name_of_their_deployment() {
        let waiting = json!({ "waiting": { "reason": "ErrImagePull", "message": "no rule" } });
        let pod = pod("reviews-v1-abc-def", 0, &waiting);
        assert!(belongs(&pod, "reviews-v1") && !belongs(&pod, "reviews-v") && !belongs(&pod, "reviews-v11"));
        assert_eq!(describe(&pod), "reviews-v1-abc-def: app waits: ErrImagePull no rule");
    }
}
