//! Measured traffic as reports show it. Pure.

use crate::check::observation::TrafficObservation;
use crate::report::figures::{Answer, Traffic as Figures};
use crate::scenario::plan::Traffic;

/// Who asked and who answered.
pub(super) fn figures(traffic: &Traffic, seen: &TrafficObservation) -> Figures {
    let samples = &seen.samples;
    let answers = samples.groups.iter().filter(|group| group.status == 200).map(|group| Answer {
        cluster: group.cluster.clone(),
        pod: group.pod.clone(),
        version: group.version.clone(),
        client_identity: group.peer.clone(),
        server_identity: group.server.clone(),
        count: group.count,
    });
    Figures {
        from_cluster: traffic.from.cluster.clone(),
        from_namespace: traffic.from.namespace.clone(),
        from_workload: traffic.from.name.clone(),
        url: traffic.url.clone(),
        requests: samples.requests,
        failed: seen.not_answered(),
        duration_ms: samples.duration_ms,
        latency_ms: samples.latency_ms.clone().unwrap_or_default(),
        answers: answers.collect(),
    }
}
