//! Lifecycle hooks of a container: what to do after its start and before its end.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container as PodContainer, LifecycleHandler};

use crate::kubelet::probes::{Check, Place, carry_out, http_check, read_http};

/// How long a hook may take when nothing else limits it.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Carries out a hook. The caller limits its time.
///
/// # Errors
/// Why it failed, as a sentence for an event.
pub(super) async fn run(hook: &LifecycleHandler, container: &PodContainer, place: &Place) -> Result<(), String> {
    if let Some(action) = &hook.exec {
        let check = Check::Exec { command: action.command.clone().unwrap_or_default() };
        return carry_out(&check, place, LONGEST).await;
    }
    if let Some(action) = &hook.http_get {
        return http_check(&read_http(action, container)?, place).await;
    }
    if let Some(action) = &hook.sleep {
        let pause = Duration::from_secs(u64::try_from(action.seconds).unwrap_or(0));
        // A container that ends earlier ends the pause as well.
        let _slept = tokio::time::timeout(pause, place.container.wait()).await;
    }
    // A tcpSocket hook is accepted and does nothing, as in Kubernetes.
    Ok(())
}
