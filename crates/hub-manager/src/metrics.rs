//! What the manager counts about itself, in the text form of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Upper bounds of the histogram's buckets, in seconds.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Counters of a running manager.
#[derive(Debug, Default)]
pub struct Metrics {
    numbers: Mutex<Numbers>,
}

#[derive(Debug, Default)]
struct Numbers {
    changes: u64,
    batches: u64,
    statuses: u64,
    queues: BTreeMap<String, usize>,
    writes: BTreeMap<(String, bool), u64>,
    connected: BTreeMap<String, bool>,
    latency: Histogram,
    core: Histogram,
}

#[derive(Debug, Default)]
struct Histogram {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

impl Histogram {
    fn observe(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        self.count += 1;
        self.sum += seconds;
        for (bucket, bound) in self.buckets.iter_mut().zip(BUCKETS) {
            *bucket += u64::from(seconds <= bound);
        }
    }

    fn print(&self, text: &mut String, name: &str, help: &str) {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} histogram");
        for (bucket, bound) in self.buckets.iter().zip(BUCKETS) {
            let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {bucket}");
        }
        let _ = writeln!(
            text,
            "{name}_bucket{{le=\"+Inf\"}} {}\n{name}_sum {}\n{name}_count {}",
            self.count, self.sum, self.count
        );
    }
}

impl Metrics {
    fn lock(&self) -> MutexGuard<'_, Numbers> {
        // Plain numbers: a panic elsewhere does not spoil them.
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The core took changes over, together, in some time.
    pub fn batch(&self, changes: usize, time: Duration) {
        let mut numbers = self.lock();
        numbers.changes += changes as u64;
        numbers.batches += 1;
        numbers.core.observe(time);
    }

    /// A write succeeded or failed, this long after the change that it follows from was seen.
    pub fn written(&self, cluster: &str, succeeded: bool, time: Duration) {
        let mut numbers = self.lock();
        *numbers.writes.entry((cluster.to_owned(), succeeded)).or_default() += 1;
        if succeeded {
            numbers.latency.observe(time);
        }
    }

    /// Objects of a cluster that wait to be written.
    pub fn queue(&self, cluster: &str, length: usize) {
        let mut numbers = self.lock();
        match numbers.queues.get_mut(cluster) {
            Some(known) => *known = length,
            None => drop(numbers.queues.insert(cluster.to_owned(), length)),
        }
    }

    /// Whether a cluster answers.
    pub fn connected(&self, cluster: &str, answers: bool) {
        self.lock().connected.insert(cluster.to_owned(), answers);
    }

    /// A status was written.
    pub fn status(&self) {
        self.lock().statuses += 1;
    }

    /// A cluster is no longer registered.
    pub fn forget(&self, cluster: &str) {
        let mut numbers = self.lock();
        numbers.queues.remove(cluster);
        numbers.connected.remove(cluster);
    }

    /// Writes that succeeded, in all clusters.
    pub fn writes(&self) -> u64 {
        self.lock().writes.iter().filter(|((_, succeeded), _)| *succeeded).map(|(_, count)| count).sum()
    }

    /// Statuses that were written.
    pub fn statuses(&self) -> u64 {
        self.lock().statuses
    }

    /// Everything, in the text form of Prometheus.
    pub fn print(&self) -> String {
        let numbers = self.lock();
        let mut text = String::new();
        let mut counter = |name: &str, help: &str, value: u64| {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
        };
        counter("hub_changes_total", "Changes of inputs that were taken over.", numbers.changes);
        counter("hub_batches_total", "Calls of the core, each with all changes that had come.", numbers.batches);
        counter("hub_status_writes_total", "Statuses that were written.", numbers.statuses);
        let _ = writeln!(text, "# HELP hub_writes_total Writes into a cluster.\n# TYPE hub_writes_total counter");
        for ((cluster, succeeded), count) in &numbers.writes {
            let result = if *succeeded { "success" } else { "failure" };
            let _ = writeln!(text, "hub_writes_total{{cluster=\"{cluster}\",result=\"{result}\"}} {count}");
        }
        let _ = writeln!(text, "# HELP hub_write_queue Objects that wait to be written.\n# TYPE hub_write_queue gauge");
        for (cluster, length) in &numbers.queues {
            let _ = writeln!(text, "hub_write_queue{{cluster=\"{cluster}\"}} {length}");
        }
        let _ = writeln!(
            text,
            "# HELP hub_cluster_connected Whether a cluster answers.\n# TYPE hub_cluster_connected gauge"
        );
        for (cluster, answers) in &numbers.connected {
            let _ = writeln!(text, "hub_cluster_connected{{cluster=\"{cluster}\"}} {}", u8::from(*answers));
        }
        numbers.latency.print(
            &mut text,
            "hub_write_latency_seconds",
            "From the sight of a change to the end of a write.",
        );
        numbers.core.print(&mut text, "hub_core_seconds", "What the core took for changes that came together.");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_count_what_is_within_their_bound() {
        let metrics = Metrics::default();
        metrics.written("c1", true, Duration::from_millis(4));
        metrics.written("c1", true, Duration::from_millis(40));
        metrics.written("c1", false, Duration::from_millis(1));
        metrics.queue("c1", 3);
        let text = metrics.print();
        for line in [
            "hub_writes_total{cluster=\"c1\",result=\"success\"} 2",
            "hub_writes_total{cluster=\"c1\",result=\"failure\"} 1",
            "hub_write_latency_seconds_bucket{le=\"0.0025\"} 0",
            "hub_write_latency_seconds_bucket{le=\"0.005\"} 1",
            "hub_write_latency_seconds_bucket{le=\"+Inf\"} 2",
            "hub_write_queue{cluster=\"c1\"} 3",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
