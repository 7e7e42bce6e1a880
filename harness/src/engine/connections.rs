//! TCP connections as the proxies of the servers logged them: a server of TCP is not told who its client is.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams};
use serde::Deserialize;

use super::context::{Environment, Error};
use super::witness::LOGGED_WITHIN;
use crate::cluster::PROXY_CONTAINER;
use crate::scenario::plan::Traffic;
use crate::topology::vm::PROXY;
use crate::traffic::probe::{Group, Samples};

/// Between two looks into a log.
const STEP: Duration = Duration::from_millis(200);

/// A line of the log of a proxy; what is not known of a connection is `-`.
#[derive(Debug, Deserialize)]
struct Line {
    start: Timestamp,
    port: String,
    peer: String,
    server: String,
    certificate: String,
}

/// Connections that began since a moment, to the port of the traffic, at the pods that answered. Waits until there are
/// as many as the client opened; where they do not come, there are fewer.
pub(super) async fn logged(
    environment: &Environment,
    traffic: &Traffic,
    samples: &Samples,
    since: Timestamp,
) -> Result<Vec<Group>, Error> {
    let port = traffic.port();
    let mut last = Vec::new();
    let waited = eventually::poll("the connections in the logs", LOGGED_WITHIN, STEP, async || {
        let found = match read(environment, samples, port, since).await {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        let count: u64 = found.iter().map(|group| group.count).sum();
        last.clone_from(&found);
        if count >= samples.connections_opened { Ok(Ok(found)) } else { Err(format!("{count} connections")) }
    });
    // Fewer than there were are judged as such.
    waited.await.unwrap_or(Ok(last))
}

async fn read(environment: &Environment, samples: &Samples, port: &str, since: Timestamp) -> Result<Vec<Group>, Error> {
    let mut all = Vec::new();
    for group in samples.groups.iter().filter(|group| group.status == 200) {
        let (Some(name), Some(namespace), Some(pod)) = (&group.cluster, &group.namespace, &group.pod) else { continue };
        if all.iter().any(|one: &Group| one.cluster == group.cluster && one.pod == group.pod) {
            continue;
        }
        let Ok(cluster) = environment.cluster(name) else {
            // An answer that comes from no cluster comes from a machine, by its name.
            let log = environment.machine(name)?.logs(PROXY).await?;
            all.extend(grouped(&log, port, since, group));
            continue;
        };
        let seconds = Timestamp::now().duration_since(since).as_secs() + 2;
        let parameters = LogParams {
            container: Some(PROXY_CONTAINER.to_owned()),
            since_seconds: Some(seconds),
            ..LogParams::default()
        };
        let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
        // A pod without a proxy logs nothing of its connections.
        let log = match pods.logs(pod, &parameters).await {
            Ok(log) => log,
            Err(kube::Error::Api(status)) if status.code == 400 => String::new(),
            Err(source) => return Err(cluster.api_error(format!("read the log of {pod}"), source).into()),
        };
        all.extend(grouped(&log, port, since, group));
    }
    Ok(all)
}

/// Lines of a log about connections to a port, counted by who made them.
fn grouped(log: &str, port: &str, since: Timestamp, at: &Group) -> Vec<Group> {
    let known = |text: String| Some(text).filter(|text| text != "-");
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Line>(line.get(line.find('{')?..)?).ok());
    let mut counts: BTreeMap<(String, String, String), u64> = BTreeMap::new();
    for line in lines.filter(|line| line.port == port && line.start >= since) {
        *counts.entry((line.peer, line.server, line.certificate)).or_default() += 1;
    }
    let group = |((peer, server, certificate), count)| Group {
        peer: known(peer),
        server: known(server),
        certificate: known(certificate),
        count,
        ..at.clone()
    };
    counts.into_iter().map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_by_who_made_them() {
        let line = |start: &str, port: u16, peer: &str| {
            format!(
                "{{\"connection\":\"inbound\",\"start\":\"{start}\",\"port\":\"{port}\",\"peer\":\"{peer}\",\"server\":\"spiffe://b\",\"certificate\":\"ab\",\"flags\":\"-\"}}"
            )
        };
        let late = "2026-01-01T00:00:02.000Z";
        let log = [
            line("2026-01-01T00:00:00.999Z", 9000, "spiffe://early"),
            line(late, 9001, "spiffe://elsewhere"),
            "[2026-01-01 00:00:02.000][info] {not ours}".to_owned(),
            line(late, 9000, "spiffe://a"),
            line(late, 9000, "-"),
            line(late, 9000, "spiffe://a"),
        ]
        .join("\n");
        let at = Group { status: 200, pod: Some("echo".to_owned()), count: 50, ..Group::default() };
        let groups = grouped(&log, "9000", "2026-01-01T00:00:01Z".parse().expect("a time"), &at);
        let seen: Vec<_> = groups.iter().map(|group| (group.peer.as_deref(), group.count)).collect();
        assert_eq!(seen, [(None, 1), (Some("spiffe://a"), 2)]);
        assert_eq!(groups[1].certificate.as_deref(), Some("ab"));
    }
}
