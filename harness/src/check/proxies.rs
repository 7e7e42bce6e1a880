//! What the proxies themselves say: counters and certificates over Envoy's own administration interface.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::ResourceExt as _;

use crate::cluster::{Cluster, Error, PodPort};
use crate::topology::vm::PROXY;
use crate::traffic::place::Place;
use crate::vm::Machine;

/// Envoy's administration interface beside a workload, by Istio's documentation of the ports that a sidecar uses.
pub const ADMIN: u16 = 15000;
/// How long a proxy may take to answer.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Asks the proxy of a pod, as `kubectl exec POD -c istio-proxy -- pilot-agent request GET PATH` does.
///
/// # Errors
/// Where it does not answer.
pub async fn request(cluster: &Cluster, namespace: &str, pod: &str, path: &str) -> Result<String, Error> {
    cluster.ask(PodPort { namespace, pod, port: ADMIN }, path, DEADLINE).await
}

/// Counters of the proxy of a pod; names that match `filter` (a regular expression).
///
/// # Errors
/// Where it does not answer.
pub async fn counters_of(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    filter: &str,
) -> Result<BTreeMap<String, u64>, Error> {
    let text = request(cluster, namespace, pod, &format!("stats?filter={filter}")).await?;
    Ok(parse(&text).into_iter().collect())
}

/// Counters of the proxies of all pods that match, summed by name; names that match `filter` (a regular expression).
///
/// # Errors
/// Where a proxy cannot be asked.
pub async fn counters(
    cluster: &Cluster,
    namespace: &str,
    labels: &str,
    filter: &str,
) -> Result<BTreeMap<String, u64>, Error> {
    let mut sums = BTreeMap::new();
    for pod in cluster.pods(namespace, labels).await? {
        for (name, value) in counters_of(cluster, namespace, &pod.name_any(), filter).await? {
            *sums.entry(name).or_insert(0) += value;
        }
    }
    Ok(sums)
}

/// Asks the proxy of a machine.
///
/// # Errors
/// Where it does not answer.
pub(crate) async fn request_machine(machine: &Machine, path: &str) -> Result<String, Error> {
    let place = Place::Machine { machine: machine.clone(), program: PROXY.to_owned() };
    let output = place.run(&["pilot-agent", "request", "GET", path], DEADLINE).await?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Counters of the proxy of a machine; names that match `filter` (a regular expression).
///
/// # Errors
/// Where it does not answer.
pub(crate) async fn counters_of_machine(machine: &Machine, filter: &str) -> Result<BTreeMap<String, u64>, Error> {
    let text = request_machine(machine, &format!("stats?filter={filter}")).await?;
    Ok(parse(&text).into_iter().collect())
}

/// `name: value` lines; histograms and text values are left out.
pub(crate) fn parse(text: &str) -> Vec<(String, u64)> {
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.rsplit_once(": ")?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_and_histograms_left_out() {
        let text = "cluster.a.ssl.handshake: 12\ncluster.b.time: P0(nan,1.0) P25(nan,2.0)\nlistener.0.0.0.0_15006.ssl.handshake: 3\n";
        assert_eq!(
            parse(text),
            vec![("cluster.a.ssl.handshake".to_owned(), 12), ("listener.0.0.0.0_15006.ssl.handshake".to_owned(), 3)]
        );
    }
}
