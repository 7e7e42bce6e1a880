//! What to send and from where, and the command line of the probe for it. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where traffic comes from.
#[derive(Clone, Debug)]
pub struct Source {
    /// Namespace of the probe pod.
    pub namespace: String,
    /// Label selector of the probe pod.
    pub selector: String,
    /// Container that holds the program `bookinfo`.
    pub container: String,
}

/// What the client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// HTTP/1.1, without TLS: the mesh adds it.
    #[default]
    Http1,
    /// HTTP/2 without TLS.
    Http2,
}

/// What to send. Build it from [`Request::to`] and set what differs.
///
/// With a `rate` it is an open loop: requests have fixed times and leave whether or not earlier ones were answered, as
/// long as a connection is free; `max_connections` lets it open more. Latencies count from the intended times. Without a
/// rate, each connection sends its next request after an answer.
///
/// It ends after `requests`, after `duration`, or with whichever comes first. [`super::probe::send`] needs one of them;
/// [`super::background::start`] does not.
#[derive(Clone, Debug)]
pub struct Request {
    /// Absolute `http` URL as the pod resolves it.
    pub url: String,
    /// What to speak.
    pub protocol: Protocol,
    /// HTTP method; `None` is `GET`.
    pub method: Option<String>,
    /// Body; `None` is empty.
    pub body: Option<String>,
    /// Additional headers.
    pub headers: BTreeMap<String, String>,
    /// How many requests.
    pub requests: Option<u64>,
    /// How long to start requests.
    pub duration: Option<Duration>,
    /// Requests started a second, whether or not earlier ones were answered; `None` sends the next after an answer.
    pub rate: Option<u32>,
    /// How many connections at a time.
    pub connections: u32,
    /// Open loop: how many connections at most, where all wait for answers; `None` opens no more.
    pub max_connections: Option<u32>,
    /// Longest time for one answer.
    pub timeout: Duration,
    /// Whether each request gets a connection of its own.
    pub new_connection_per_request: bool,
    /// Service whose hop inside the answer counts, in place of who answered.
    pub hop: Option<String>,
    /// How many single requests to report with their times; 0 reports counts only.
    pub samples: u32,
    /// Whether to report the histogram of latencies.
    pub histogram: bool,
}

impl Request {
    /// A `GET` over one kept connection, with 5 s for an answer and no end.
    #[must_use]
    pub fn to(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            protocol: Protocol::default(),
            method: None,
            body: None,
            headers: BTreeMap::new(),
            requests: None,
            duration: None,
            rate: None,
            connections: 1,
            max_connections: None,
            timeout: Duration::from_secs(5),
            new_connection_per_request: false,
            hop: None,
            samples: 0,
            histogram: false,
        }
    }

    /// The probe's command line.
    pub(super) fn command(&self) -> Vec<String> {
        let mut command = Command(["bookinfo", "probe", "run", "--url", &self.url].map(str::to_owned).to_vec());
        command.option("--connections", Some(self.connections));
        command.option("--timeout", Some(milliseconds(self.timeout)));
        command.option("--requests", self.requests);
        command.option("--duration", self.duration.map(milliseconds));
        command.option("--rate", self.rate);
        command.option("--max-connections", self.max_connections);
        command.option("--method", self.method.as_deref());
        command.option("--body", self.body.as_deref());
        command.option("--hop", self.hop.as_deref());
        for (name, value) in &self.headers {
            command.option("--header", Some(format!("{name}={value}")));
        }
        command.option("--samples", (self.samples > 0).then_some(self.samples));
        command.flag("--histogram", self.histogram);
        command.flag("--new-connection-per-request", self.new_connection_per_request);
        command.flag("--http2", self.protocol == Protocol::Http2);
        command.0
    }

    /// When a run of it is over at the latest: a closed loop when every request of every connection has timed out.
    pub(super) fn deadline(&self) -> Duration {
        let rounds = self.requests.unwrap_or(0).div_ceil(u64::from(self.connections.max(1)));
        let timeouts = self.timeout * u32::try_from(rounds).unwrap_or(u32::MAX).clamp(1, 20);
        let scheduled = self.rate.zip(self.requests).map(|(rate, requests)| {
            Duration::try_from_secs_f64(requests as f64 / f64::from(rate.max(1))).unwrap_or(Duration::MAX)
        });
        let sending = self.duration.or(scheduled).unwrap_or_default();
        sending.saturating_add(timeouts).saturating_add(Duration::from_secs(60))
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

struct Command(Vec<String>);

impl Command {
    /// `--name=value`, so that a value that begins with a dash stays one.
    fn option(&mut self, name: &str, value: Option<impl std::fmt::Display>) {
        self.0.extend(value.map(|value| format!("{name}={value}")));
    }

    fn flag(&mut self, name: &str, on: bool) {
        self.0.extend(on.then(|| name.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_is_not_said() {
        let command = Request { requests: Some(7), ..Request::to("http://echo:8080/") }.command();
        let words = ["bookinfo", "probe", "run", "--url", "http://echo:8080/", "--connections=1", "--timeout=5000ms"];
        assert_eq!(command[..7], words);
        assert_eq!(command[7..], ["--requests=7"]);
    }

    #[test]
    fn everything_can_be_said() {
        let request = Request {
            protocol: Protocol::Http2,
            method: Some("POST".to_owned()),
            body: Some("-text".to_owned()),
            headers: BTreeMap::from([("end-user".to_owned(), "jason".to_owned())]),
            duration: Some(Duration::from_secs(3)),
            rate: Some(500),
            max_connections: Some(100),
            new_connection_per_request: true,
            hop: Some("reviews".to_owned()),
            samples: 1_000,
            histogram: true,
            ..Request::to("http://a/")
        };
        let command = request.command().join(" ");
        for word in [
            "--method=POST",
            "--body=-text",
            "--header=end-user=jason",
            "--duration=3000ms",
            "--rate=500",
            "--max-connections=100",
            "--new-connection-per-request",
            "--hop=reviews",
            "--samples=1000",
            "--histogram",
            "--http2",
        ] {
            assert!(command.contains(word), "{word}: {command}");
        }
    }

    #[test]
    fn a_run_gets_the_time_that_it_may_take() {
        let closed = Request { requests: Some(10), connections: 2, ..Request::to("http://a/") };
        assert_eq!(closed.deadline(), Duration::from_secs(5 * 5 + 60));
        let open = Request { rate: Some(10), requests: Some(600), connections: 100, ..Request::to("http://a/") };
        assert_eq!(open.deadline(), Duration::from_secs(60 + 6 * 5 + 60));
    }
}
