//! What was measured, as plain data: the input of [`super::judge`].

use std::collections::BTreeMap;

use serde::Serialize;

use super::witness::Witnesses;
use crate::scenario::keys::{ConnectionOutcome, KeyPart, SplitKey};
use crate::scenario::plan::{Deployment, Gateway, Reachability};
use crate::topology::Workload;
use crate::traffic::probe::{Group, Samples};

/// Stands for a property of a workload that its answer did not tell.
pub const UNKNOWN: &str = "unknown";

/// A measurement.
#[derive(Clone, Debug)]
pub enum Observation {
    /// Requests and their answers.
    Traffic(Box<TrafficObservation>),
    /// One connection attempt.
    Connection(ConnectionObservation),
    /// What a proxy holds.
    Config(ConfigObservation),
    /// Who reached whom.
    Reachability(Box<ReachabilityObservation>),
}

/// What every source got of every service.
#[derive(Clone, Debug)]
pub struct ReachabilityObservation {
    /// Who asked whom.
    pub matrix: Reachability,
    /// By source, then by target.
    pub answers: Vec<Vec<Samples>>,
}

/// What a proxy answered at its administration interface.
#[derive(Clone, Debug)]
pub struct ConfigObservation {
    /// Which proxy and path.
    pub place: String,
    /// The answer.
    pub value: serde_json::Value,
}

/// Growth of the counters of a workload's proxies during a measurement, by their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Whose proxies.
    pub of: Deployment,
    /// By name; only those that could matter.
    pub growth: BTreeMap<String, u64>,
}

/// Requests, their answers, and what gateways counted meanwhile.
#[derive(Clone, Debug, Default)]
pub struct TrafficObservation {
    /// Answers as all sources counted them together.
    pub samples: Samples,
    /// What each sender counted. Several may send for one source.
    pub sources: Vec<OfSource>,
    /// Counters of gateways that expectations name: growth during the measurement.
    pub gateways: Vec<(Gateway, GatewayCounters)>,
    /// Counters of other proxies that expectations name.
    pub proxies: Vec<Counters>,
    /// Times until the answer in milliseconds, rising, and how many answers took so long.
    pub latencies: Vec<(f64, u64)>,
    /// Requests that were to be sent a second; 0 where each waited for an answer.
    pub rate: u32,
    /// What failed meanwhile.
    pub faults: Vec<FaultSeen>,
    /// What others than the client saw of it, where an expectation asks for them.
    pub witnesses: Witnesses,
}

/// The requests of one sender, and their answers.
#[derive(Clone, Debug)]
pub struct OfSource {
    /// The workload that it is of, or sends for.
    pub source: Workload,
    /// Answers as it counted them.
    pub samples: Samples,
}

/// Something that failed while requests were sent. Times in milliseconds since the first was to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultSeen {
    /// Name of the step.
    pub step: String,
    /// What failed.
    pub what: String,
    /// When it began.
    pub began_ms: f64,
    /// When it had been healed; `None` where it was not meanwhile.
    pub healed_ms: Option<f64>,
}

/// Growth of a gateway's counters during a measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayCounters {
    /// Bytes passed on to workloads.
    pub bytes_passed_on: u64,
    /// Connections that no filter chain wanted.
    pub no_filter_chain_match: u64,
    /// Connections to workloads that failed for lack of a healthy one.
    pub no_healthy_upstream: u64,
    /// TLS handshakes that failed.
    pub tls_errors: u64,
}

/// One connection attempt to the address of a pod.
#[derive(Clone, Debug)]
pub struct ConnectionObservation {
    /// How it ended.
    pub outcome: ConnectionOutcome,
    /// The address.
    pub address: String,
    /// The pod that was meant, as `cluster/pod`.
    pub target: String,
    /// The pod that answered, as `cluster/pod`, where one did and said so.
    pub answered_by: Option<String>,
    /// Whether the pod that was meant has a proxy.
    pub meshed: bool,
    /// Counters of proxies that expectations name.
    pub proxies: Vec<Counters>,
}

impl TrafficObservation {
    /// Of what these sources counted.
    #[must_use]
    pub fn of(sources: Vec<OfSource>) -> Self {
        let each: Vec<Samples> = sources.iter().map(|one| one.samples.clone()).collect();
        let samples = Samples::merged(&each);
        Self { latencies: samples.latencies(), samples, sources, ..Self::default() }
    }

    /// The same of the requests of one source only. What others than the client counted stays what it is.
    #[must_use]
    pub fn narrowed(&self, source: &Workload) -> Self {
        let own = self.sources.iter().filter(|one| one.source == *source).cloned().collect();
        let Self { samples, latencies, sources, .. } = Self::of(own);
        Self { samples, latencies, sources, ..self.clone() }
    }

    /// What each source sent, whoever sent for it: the source, what all of its senders counted together, and their pods.
    #[must_use]
    pub fn by_source(&self) -> Vec<(&Workload, Samples, Vec<String>)> {
        let mut sources: Vec<&Workload> = Vec::new();
        for one in &self.sources {
            if !sources.contains(&&one.source) {
                sources.push(&one.source);
            }
        }
        let together = sources.into_iter().map(|source| {
            let own = self.sources.iter().filter(|one| one.source == *source).map(|one| one.samples.clone());
            let own: Vec<Samples> = own.collect();
            let pods = own.iter().filter_map(|samples| samples.source.pod.clone()).collect();
            (source, Samples::merged(&own), pods)
        });
        together.collect()
    }

    /// Requests without an answer of status 200.
    #[must_use]
    pub fn not_answered(&self) -> u64 {
        self.samples.not_answered()
    }

    /// Times until the answer in milliseconds, one for each answer, rising.
    #[must_use]
    pub fn latencies_ms(&self) -> Vec<f64> {
        let repeated = self.latencies.iter().map(|(value, count)| (*value, usize::try_from(*count).unwrap_or(0)));
        repeated.flat_map(|(value, count)| std::iter::repeat_n(value, count)).collect()
    }

    /// Good answers by who asked and who answered; TCP connections where servers are not told who asks.
    #[must_use]
    pub fn parties(&self) -> Vec<&Group> {
        let groups = self.witnesses.connections.as_ref().unwrap_or(&self.samples.groups);
        groups.iter().filter(|group| group.status == 200).collect()
    }

    /// Good answers by category.
    #[must_use]
    pub fn counts(&self, key: &SplitKey) -> BTreeMap<String, u64> {
        self.samples.counts(|group| key.category(|part| property(group, part)))
    }

    /// Counters of one gateway.
    #[must_use]
    pub fn gateway(&self, gateway: &Gateway) -> GatewayCounters {
        self.gateways.iter().find(|(seen, _)| seen == gateway).map(|(_, counters)| *counters).unwrap_or_default()
    }
}

pub(super) fn property(group: &Group, part: KeyPart) -> String {
    let value = match part {
        KeyPart::Version => &group.version,
        KeyPart::Cluster => &group.cluster,
        KeyPart::Network => &group.network,
        KeyPart::Pod => &group.pod,
    };
    value.clone().unwrap_or_else(|| UNKNOWN.to_owned())
}

impl GatewayCounters {
    /// From Envoy's counters by name.
    #[must_use]
    pub fn read(counters: &BTreeMap<String, u64>) -> Self {
        let sum = |suffixes: &[&str]| {
            counters
                .iter()
                .filter(|(name, _)| suffixes.iter().any(|end| name.ends_with(end)))
                .map(|(_, value)| value)
                .sum()
        };
        Self {
            bytes_passed_on: sum(&["upstream_cx_tx_bytes_total"]),
            no_filter_chain_match: sum(&["no_filter_chain_match"]),
            no_healthy_upstream: sum(&["upstream_cx_none_healthy"]),
            tls_errors: sum(&[
                "ssl.connection_error",
                "ssl.fail_verify_error",
                "ssl.fail_verify_no_cert",
                "ssl.fail_verify_san",
            ]),
        }
    }

    /// Growth since an earlier reading. A proxy that was restarted in between counts from zero.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        let growth = |now: u64, then: u64| if now >= then { now - then } else { now };
        Self {
            bytes_passed_on: growth(self.bytes_passed_on, before.bytes_passed_on),
            no_filter_chain_match: growth(self.no_filter_chain_match, before.no_filter_chain_match),
            no_healthy_upstream: growth(self.no_healthy_upstream, before.no_healthy_upstream),
            tls_errors: growth(self.tls_errors, before.tls_errors),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::samples::Pod;

    #[test]
    fn counters_of_all_clusters_and_listeners_are_added_up() {
        let counters = BTreeMap::from(
            [
                ("cluster.outbound_.9080_.v3_.reviews.upstream_cx_tx_bytes_total", 100),
                ("cluster.outbound_.9080_._.details.upstream_cx_tx_bytes_total", 20),
                ("cluster.outbound_.9080_._.details.upstream_cx_rx_bytes_total", 7_000),
                ("listener.0.0.0.0_15443.no_filter_chain_match", 3),
                ("listener.0.0.0.0_15443.ssl.connection_error", 4),
                ("listener.0.0.0.0_15443.ssl.fail_verify_san", 5),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        let expected =
            GatewayCounters { bytes_passed_on: 120, no_filter_chain_match: 3, no_healthy_upstream: 0, tls_errors: 9 };
        assert_eq!(GatewayCounters::read(&counters), expected);
    }

    #[test]
    fn whoever_sends_for_a_source_is_told_with_it() {
        let sent = |cluster: &str, pod: &str, requests| OfSource {
            source: Workload::client(cluster),
            samples: Samples {
                requests,
                duration_ms: 7.0,
                source: Pod { pod: Some(pod.to_owned()), ..Pod::default() },
                ..Samples::default()
            },
        };
        let seen = TrafficObservation::of(vec![sent("east", "a", 3), sent("west", "b", 4), sent("east", "c", 5)]);
        let told: Vec<_> =
            seen.by_source().into_iter().map(|(of, sent, pods)| (&of.cluster, sent.requests, pods)).collect();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(told, [(&"east".to_owned(), 8, names(&["a", "c"])), (&"west".to_owned(), 4, names(&["b"]))]);
        assert_eq!(seen.samples.requests, 12);
        assert_eq!(seen.narrowed(&Workload::client("east")).samples.requests, 8);
    }

    #[test]
    fn a_proxy_that_was_restarted_counts_from_zero() {
        let read = |bytes_passed_on| GatewayCounters { bytes_passed_on, ..GatewayCounters::default() };
        assert_eq!(read(150).since(read(100)).bytes_passed_on, 50);
        assert_eq!(read(30).since(read(100)).bytes_passed_on, 30);
    }

    #[test]
    fn a_property_that_an_answer_does_not_tell_is_a_category_of_its_own() {
        let group = |version: Option<&str>, count| Group {
            status: 200,
            version: version.map(str::to_owned),
            count,
            ..Group::default()
        };
        let samples = Samples { groups: vec![group(Some("v1"), 4), group(None, 2)], ..Samples::default() };
        let seen = TrafficObservation { samples, ..TrafficObservation::default() };
        let counts = seen.counts(&"version".parse().expect("a key"));
        assert_eq!(counts, BTreeMap::from([("unknown".to_owned(), 2), ("v1".to_owned(), 4)]));
    }
}
