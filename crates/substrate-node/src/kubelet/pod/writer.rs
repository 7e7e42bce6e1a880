//! Writes the status of one pod to the API server, as often as it changes and no more often than is of use.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time::MissedTickBehavior;

use super::cell::PodCell;
use super::status::status;
use crate::kubelet::backoff::Pause;
use crate::kubelet::merge::merge_patch;

/// Changes that follow each other within this time are written together. The first is written at once.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(15);

/// Writes until the pod no longer exists or the task is dropped.
pub(super) async fn write_changes(cell: Arc<PodCell>) {
    let mut ticks = tokio::time::interval(SHORTEST_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        cell.changed.notified().await;
        ticks.tick().await;
        let mut pause = Pause::new(Duration::from_millis(20), Duration::from_secs(5));
        while let Err(error) = write(&cell).await {
            if is_gone(&error) {
                return;
            }
            tracing::debug!(pod = cell.name, %error, "the status of a pod could not be written and will be tried again");
            // Whatever changes meanwhile is part of the next attempt.
            let _changed = tokio::time::timeout(pause.take(), cell.changed.notified()).await;
        }
    }
}

/// Writes the present status, if it differs from what the API server has.
///
/// # Errors
/// Those of the request.
pub(super) async fn write(cell: &PodCell) -> Result<(), kube::Error> {
    let pod = cell.pod();
    let before = pod.status.clone().unwrap_or_default();
    let after = status(&pod, &cell.observed(), &before, cell.context.network.node_address(), Timestamp::now());
    let as_json = |status| serde_json::to_value(status).map_err(kube::Error::SerdeError);
    let Some(patch) = merge_patch(&as_json(before)?, &as_json(after)?) else { return Ok(()) };
    let patch = json!({"metadata": {"uid": cell.uid}, "status": patch});
    let pods: Api<Pod> = Api::namespaced(cell.context.client.clone(), &cell.namespace);
    let written = pods.patch_status(&cell.name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    cell.update_object(Arc::new(written));
    Ok(())
}

/// Whether the pod no longer exists, or another one of its name does.
pub(super) fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_not_found() || status.is_conflict())
}
