//! What a changed listener leaves behind: Envoy keeps its old connections for a while (`drainDuration`), over which requests
//! still meet the configuration of before, and closes those that are idle at moments of its own choice, which costs the
//! request that is sent at such a moment. Nothing is measured while that goes on.

use std::time::Duration;

use super::proxies;
use crate::cluster::Cluster;

/// Between two looks at the proxies.
const STEP: Duration = Duration::from_millis(100);
/// Gauges of what drains, by Envoy's listener manager.
const GAUGES: &str = "listener_manager.total_(filter_chains|listeners)_draining";

/// Old connections are still there, or could not be asked for.
#[derive(Debug, thiserror::Error)]
#[error("{cluster}: {source}")]
pub struct Error {
    /// Cluster.
    pub cluster: String,
    /// What was awaited and seen.
    #[source]
    pub source: eventually::TimedOut,
}

/// Waits until no listener of these proxies, by namespace and pod, drains. A pod that goes meanwhile takes its connections
/// along.
///
/// # Errors
/// [`Error`] with the proxies where one still does.
pub(super) async fn ended(cluster: &Cluster, proxies: &[(String, String)], deadline: Duration) -> Result<(), Error> {
    let what = format!("the old connections of every proxy of {} to end", cluster.name());
    let mut left = proxies.to_vec();
    eventually::poll(what, deadline, STEP, async || {
        let looks = left.iter().map(|(namespace, pod)| draining(cluster, namespace, pod));
        let looks = futures::future::join_all(looks).await;
        let mut still = Vec::new();
        left = std::mem::take(&mut left)
            .into_iter()
            .zip(looks)
            .filter_map(|(proxy, look)| {
                let why = match look {
                    Ok(0) => return None,
                    Ok(count) => format!("{count} filter chains or listeners drain"),
                    Err(why) => why,
                };
                still.push(format!("{}/{} ({why})", proxy.0, proxy.1));
                Some(proxy)
            })
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        let there = super::convergence::meshed_pods(cluster).await.map_err(|error| crate::cluster::chain(&error))?;
        left.retain(|proxy| there.contains(proxy));
        if left.is_empty() { Ok(()) } else { Err(still.join(", ")) }
    })
    .await
    .map_err(|source| Error { cluster: cluster.name().to_owned(), source })
}

async fn draining(cluster: &Cluster, namespace: &str, pod: &str) -> Result<u64, String> {
    let answer = proxies::request(cluster, namespace, pod, &format!("stats?filter={GAUGES}")).await;
    count(&answer.map_err(|error| crate::cluster::chain(&error))?)
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
    use super::*;

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
