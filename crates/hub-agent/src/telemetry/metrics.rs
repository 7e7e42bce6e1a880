//! Istio's standard metrics, in Prometheus' text format. Bounded: labels come from what others send.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::labels::{Labels, Observed};

/// Most series that are kept; what comes after is counted as dropped.
pub const SERIES: usize = 20_000;
/// Upper bounds of the histogram's buckets, milliseconds, as Istio has them.
const BUCKETS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1000.0,
    2500.0,
    5000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// The counters.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: BTreeMap<Labels, Requests>,
    connections: BTreeMap<Labels, Connections>,
    dropped: u64,
}

#[derive(Debug, Default)]
struct Requests {
    count: u64,
    buckets: [u64; BUCKETS.len()],
    timed: u64,
    milliseconds: f64,
}

#[derive(Debug, Default)]
struct Connections {
    closed: u64,
    received: u64,
    sent: u64,
}

impl Metrics {
    /// Counts a request.
    pub fn request(&mut self, observed: &Observed) {
        let room = self.has_room();
        let Some(requests) = entry(&mut self.requests, &observed.labels, room) else {
            self.dropped += 1;
            return;
        };
        requests.count += 1;
        if let Some(duration) = observed.duration {
            let milliseconds = duration.as_secs_f64() * 1000.0;
            requests.timed += 1;
            requests.milliseconds += milliseconds;
            for (count, bound) in requests.buckets.iter_mut().zip(BUCKETS) {
                *count += u64::from(milliseconds <= bound);
            }
        }
    }

    /// Counts a connection that ended.
    pub fn connection(&mut self, observed: &Observed) {
        let room = self.has_room();
        let Some(connections) = entry(&mut self.connections, &observed.labels, room) else {
            self.dropped += 1;
            return;
        };
        connections.closed += 1;
        connections.received += observed.received;
        connections.sent += observed.sent;
    }

    fn has_room(&self) -> bool {
        self.requests.len() + self.connections.len() < SERIES
    }

    /// Everything in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut out = Writer(&mut text);
        out.head("istio_requests_total", "counter", "Requests, by who called whom.");
        for (labels, requests) in &self.requests {
            out.value("istio_requests_total", labels, None, requests.count);
        }
        out.head("istio_request_duration_milliseconds", "histogram", "Time from the first byte to the last.");
        for (labels, requests) in &self.requests {
            for (bound, count) in BUCKETS.iter().zip(requests.buckets) {
                out.value("istio_request_duration_milliseconds_bucket", labels, Some(&bound.to_string()), count);
            }
            out.value("istio_request_duration_milliseconds_bucket", labels, Some("+Inf"), requests.timed);
            out.value("istio_request_duration_milliseconds_sum", labels, None, requests.milliseconds);
            out.value("istio_request_duration_milliseconds_count", labels, None, requests.timed);
        }
        for (name, help, of) in CONNECTIONS {
            out.head(name, "counter", help);
            for (labels, connections) in &self.connections {
                out.value(name, labels, None, of(connections));
            }
        }
        let dropped = "meshproof_hub_agent_observations_dropped_total";
        out.head(
            dropped,
            "counter",
            "Requests and connections that were not counted, because there are too many series.",
        );
        out.value(dropped, &Labels::new(), None, self.dropped);
        text
    }
}

type Column = (&'static str, &'static str, fn(&Connections) -> u64);

const CONNECTIONS: [Column; 3] = [
    ("istio_tcp_connections_closed_total", "TCP connections that ended.", |connections| connections.closed),
    ("istio_tcp_received_bytes_total", "Bytes that clients sent.", |connections| connections.received),
    ("istio_tcp_sent_bytes_total", "Bytes that clients got.", |connections| connections.sent),
];

fn entry<'a, T: Default>(table: &'a mut BTreeMap<Labels, T>, labels: &Labels, room: bool) -> Option<&'a mut T> {
    if !table.contains_key(labels) {
        if !room {
            return None;
        }
        table.insert(labels.clone(), T::default());
    }
    table.get_mut(labels)
}

/// Writing to a text does not fail.
struct Writer<'a>(&'a mut String);

impl Writer<'_> {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn value(&mut self, name: &str, labels: &Labels, bound: Option<&str>, value: impl std::fmt::Display) {
        let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let mut pairs: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        pairs.extend(bound.map(|bound| format!("le=\"{bound}\"")));
        let labels = if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn observed(code: &str, milliseconds: u64) -> Observed {
        let labels = Labels::from([("response_code", code.to_owned())]);
        Observed {
            labels,
            duration: Some(Duration::from_millis(milliseconds)),
            received: 3,
            sent: 5,
            ..Observed::default()
        }
    }

    #[test]
    fn requests_are_counted_with_their_durations() {
        let mut metrics = Metrics::default();
        metrics.request(&observed("200", 7));
        metrics.request(&observed("200", 70));
        metrics.request(&observed("5\"03", 1));
        let text = metrics.text();
        for line in [
            "istio_requests_total{response_code=\"200\"} 2",
            "istio_requests_total{response_code=\"5\\\"03\"} 1",
            "istio_request_duration_milliseconds_bucket{response_code=\"200\",le=\"5\"} 0",
            "istio_request_duration_milliseconds_bucket{response_code=\"200\",le=\"10\"} 1",
            "istio_request_duration_milliseconds_bucket{response_code=\"200\",le=\"+Inf\"} 2",
            "istio_request_duration_milliseconds_sum{response_code=\"200\"} 77",
            "istio_request_duration_milliseconds_count{response_code=\"200\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn series_are_bounded() {
        let mut metrics = Metrics::default();
        for number in 0..SERIES {
            metrics.request(&observed(&number.to_string(), 1));
        }
        metrics.request(&observed("one more", 1));
        metrics.connection(&observed("another", 1));
        metrics.request(&observed("0", 1));
        let text = metrics.text();
        assert!(text.contains("istio_requests_total{response_code=\"0\"} 2"));
        assert!(text.contains("meshproof_hub_agent_observations_dropped_total 2"));
    }

    #[test]
    fn connections_have_their_bytes() {
        let mut metrics = Metrics::default();
        metrics.connection(&observed("0", 1));
        metrics.connection(&observed("0", 1));
        let text = metrics.text();
        assert!(text.contains("istio_tcp_connections_closed_total{response_code=\"0\"} 2"));
        assert!(text.contains("istio_tcp_sent_bytes_total{response_code=\"0\"} 10"));
    }
}
