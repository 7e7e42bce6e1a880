//! `workers`: that there are pods to make them of, that each has something to do, and that what is expected can be seen.

use super::context::Context;
use super::steps::CONVERGE_TIMEOUT;
use crate::diagnostic::tree::Path;
use crate::scenario::file::TrafficFile;
use crate::scenario::plan::{Check, ClusterConvergence, Converge, Expectation, Workers};
use crate::topology::Workload;
use crate::traffic::request::part;

/// Requests that one pod sends a second at most.
const MOST_A_SECOND: u32 = 10_000;
/// Connections that one pod has at most.
const MOST_CONNECTIONS: u32 = 1_024;

impl Context<'_> {
    /// The workers of a step that sends `requests` from each source.
    pub(super) fn workers(
        &mut self,
        path: &Path,
        file: &TrafficFile,
        sources: &[Workload],
        requests: u64,
    ) -> Option<Workers> {
        let Some(count) = file.workers else {
            self.not_too_much(path, file, 1, "send from more pods: `workers`");
            return None;
        };
        let place = path.key("workers");
        if file.background {
            self.key_error(&place, "traffic in the background has no workers")
                .help("leave `workers` out, or put the step beside what happens meanwhile with `parallel`");
        }
        if file.early_stop {
            self.key_error(&place, "workers do not stop early")
                .help("leave `earlyStop` out: each would have to wait for the others' answers before it goes on");
        }
        self.are_pods(path, sources);
        let all = sources.len() as u64;
        if u64::from(count) < all {
            self.error(&place, format!("of {all} sources {} would have no worker", all - u64::from(count)))
                .help(format!("make it at least {all}, or name fewer sources"));
            return None;
        }
        let of_each: Vec<u32> = (0_u32..).zip(sources).map(|(index, _)| share(count, all, index)).collect();
        let (most, fewest) = (of_each.iter().max().copied()?, of_each.iter().min().copied()?);
        self.have_something_to_do(path, file, requests, most);
        self.not_too_much(path, file, fewest, "have more workers");
        Some(Workers { of_each, converge: self.proxies_of(sources) })
    }

    fn are_pods(&mut self, path: &Path, sources: &[Workload]) {
        for (index, source) in sources.iter().enumerate().filter(|(_, source)| source.vm.is_some()) {
            let from = path.key("from");
            let place = if self.document.length(&from) > 0 { from.index(index) } else { from };
            self.error(&place, format!("{} is a virtual machine, which has no pods to make workers of", source.name))
                .help("leave `workers` out, or let workers send for a workload of a cluster");
        }
    }

    /// Each worker of a source that has so many sends at least one request, over a connection of its own.
    fn have_something_to_do(&mut self, path: &Path, file: &TrafficFile, requests: u64, workers: u32) {
        let given = [
            ("requests", requests),
            ("connections", u64::from(file.connections)),
            ("rate", file.rate.map_or(u64::MAX, u64::from)),
        ];
        for (word, divided) in given.into_iter().filter(|(_, divided)| *divided < u64::from(workers)) {
            let message = format!("{divided} {} cannot be divided among {workers} workers of a source", noun(word));
            self.error(&path.key("workers"), message)
                .help(format!("set `{word}` to {workers} or more, or have fewer workers"));
        }
    }

    /// No sender of a source that has so many does more than one can.
    fn not_too_much(&mut self, path: &Path, file: &TrafficFile, senders: u32, cure: &str) {
        let given =
            [("rate", file.rate.unwrap_or(0), MOST_A_SECOND), ("connections", file.connections, MOST_CONNECTIONS)];
        for (word, divided, most) in given {
            let one = divided.div_ceil(senders.max(1));
            if one > most {
                self.error(&path.key(word), format!("one pod would have {one} {}, and {most} is the most", noun(word)))
                    .help(cure);
            }
        }
    }

    /// Whatever the proxies of these sources hold comes from the control planes of their clusters.
    fn proxies_of(&self, sources: &[Workload]) -> Converge {
        let mut clusters: Vec<ClusterConvergence> = Vec::new();
        for source in sources.iter().filter(|source| source.sidecar) {
            let own = self.topology.cluster(&source.cluster).and_then(|cluster| cluster.control_plane.clone());
            let cluster = own.unwrap_or_else(|| source.cluster.clone());
            if !clusters.iter().any(|known| known.cluster == cluster) {
                let remotes = self.topology.remotes(&cluster).map(|remote| remote.name.clone()).collect();
                clusters.push(ClusterConvergence { cluster, remotes, ..ClusterConvergence::default() });
            }
        }
        Converge { clusters, timeout: CONVERGE_TIMEOUT, last: false }
    }

    /// What a source's own proxy counts says nothing of workers, which have proxies of their own.
    /// `path` is that of the list that the expectations stand in.
    pub(super) fn not_counted_at_sources(&mut self, path: &Path, expectations: &[Expectation], sources: &[Workload]) {
        for expectation in expectations {
            let Check::Denied(denied) = &expectation.check else { continue };
            let is_source = |one: &&Workload| {
                (&one.cluster, &one.namespace, &one.name) == (&denied.at.cluster, &denied.at.namespace, &denied.at.name)
            };
            if let Some(source) = sources.iter().find(is_source) {
                let message = format!(
                    "workers send for {} of {}, and their proxies refuse, not the one of its own pod",
                    source.name, source.cluster
                );
                let path = self.place_of(path, expectation);
                self.error(&path, message).help("leave `workers` out of the traffic, or expect it at the server");
            }
        }
    }
}

/// How many workers one of `all` sources has.
fn share(workers: u32, all: u64, index: u32) -> u32 {
    let all = u32::try_from(all).unwrap_or(u32::MAX);
    u32::try_from(part(u64::from(workers), all, index)).unwrap_or(workers)
}

fn noun(word: &str) -> &str {
    if word == "rate" { "requests a second" } else { word }
}
