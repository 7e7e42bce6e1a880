//! What a changed listener leaves behind: Envoy keeps its old connections for a while (`drainDuration`), over which requests
//! still meet the configuration of before, and closes those that are idle at moments of its own choice, which costs the
//! request that is sent at such a moment. Nothing is measured while that goes on.

use std::time::Duration;

use super::convergence::{PodName, meshed_pods};
use super::proxies;
use crate::cluster::{Cluster, chain};
use crate::vm::Machine;

/// Between two looks at the proxies.
const STEP: Duration = Duration::from_millis(100);
/// Gauges of what drains, by Envoy's listener manager.
const GAUGES: &str = "listener_manager.total_(filter_chains|listeners)_draining";

/// Old connections are still there, or could not be asked for.
#[derive(Debug, thiserror::Error)]
#[error("{cluster}: {source}")]
pub struct Error {
    /// Cluster, or machine.
    pub cluster: String,
    /// What was awaited and seen.
    #[source]
    pub source: eventually::TimedOut,
}

/// Waits until no listener of any proxy drains. A pod that goes meanwhile takes its connections along, and one that comes
/// has no old ones.
///
/// # Errors
/// [`Error`] with the proxies where one still does.
pub(super) async fn ended(cluster: &Cluster, deadline: Duration) -> Result<(), Error> {
    let what = format!("the old connections of every proxy of {} to end", cluster.name());
    // Absent until it is known which there are.
    let mut left: Option<Vec<PodName>> = None;
    eventually::poll(what, deadline, STEP, async || {
        let there = meshed_pods(cluster).await.map_err(|error| chain(&error))?;
        let mut proxies = left.take().unwrap_or_else(|| there.clone());
        proxies.retain(|proxy| there.contains(proxy));
        let looks = proxies.iter().map(|(namespace, pod)| draining(cluster, namespace, pod));
        let looks = futures::future::join_all(looks).await;
        let mut still = Vec::new();
        let drains = |(proxy, look): (PodName, Result<u64, String>)| {
            let why = match look {
                Ok(0) => return None,
                Ok(count) => format!("{count} filter chains or listeners drain"),
                Err(why) => why,
            };
            still.push(format!("{}/{} ({why})", proxy.0, proxy.1));
            Some(proxy)
        };
        left = Some(proxies.into_iter().zip(looks).filter_map(drains).collect());
        if still.is_empty() { Ok(()) } else { Err(still.join(", ")) }
    })
    .await
    .map_err(|source| Error { cluster: cluster.name().to_owned(), source })
}

/// Waits until no listener of a machine's proxy drains.
///
/// # Errors
/// [`Error`] where one still does.
pub(crate) async fn ended_on(machine: &Machine, deadline: Duration) -> Result<(), Error> {
    let what = format!("the old connections of the proxy of {} to end", machine.name());
    eventually::poll(what, deadline, STEP, async || {
        let answer = proxies::request_machine(machine, &format!("stats?filter={GAUGES}")).await;
        match count(&answer.map_err(|error| chain(&error))?)? {
            0 => Ok(()),
            count => Err(format!("{count} filter chains or listeners drain")),
        }
    })
    .await
    .map_err(|source| Error { cluster: machine.name().to_owned(), source })
}

async fn draining(cluster: &Cluster, namespace: &str, pod: &str) -> Result<u64, String> {
    let answer = proxies::request(cluster, namespace, pod, &format!("stats?filter={GAUGES}")).await;
    count(&answer.map_err(|error| chain(&error))?)
}

/// What drains, by a proxy's answer. An answer without the gauges does not say that nothing does.
fn count(answer: &str) -> Result<u64, String> {
    let gauges = proxies::parse(answer);
    if gauges.len() == 2 {
        Ok(gauges.into_iter().map(|(_, value)| value).sum())
    } else {
        Err(format!("said `{answer}`"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn an_api_server_that_refuses_once_is_asked_again() {
        let asked = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&asked);
        let cluster = Cluster::answering("cluster1", move |_| match counter.fetch_add(1, Ordering::Relaxed) {
            0 => (500, json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "starting"})),
            _ => (200, json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": []})),
        });
        ended(&cluster, Duration::from_secs(20)).await.expect("there is no proxy");
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn only_gauges_tell_that_nothing_drains() {
        let answer = |chains: u64, listeners: u64| {
            format!(
                "listener_manager.total_filter_chains_draining: {chains}\n\
                 listener_manager.total_listeners_draining: {listeners}\n"
            )
        };
        assert_eq!(count(&answer(0, 0)), Ok(0));
        assert_eq!(count(&answer(6, 1)), Ok(7));
        assert!(count("").is_err() && count("invalid path").is_err());
    }
}
