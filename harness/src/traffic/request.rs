//! What to send, and the command line of the probe for it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// HTTP/1.1, without TLS: the mesh adds it.
    #[default]
    Http1,
    /// HTTP/2 without TLS.
    Http2,
    /// HTTP/1.1 over the server's own TLS, which the mesh passes through.
    Https,
    /// Unary calls of `echo`.
    Grpc,
    /// Messages over one long stream of `echo` for each connection.
    GrpcStream,
    /// Messages over a WebSocket of `echo`, at the path `/ws`.
    WebSocket,
    /// Lines over TCP to `echo`.
    Tcp,
    /// The same on a port where the server speaks first.
    TcpServerFirst,
    /// Lines over the server's own TLS.
    Tls,
}

impl Protocol {
    /// By the scheme that scenarios write before a URL.
    const SCHEMES: [(&'static str, Self); 9] = [
        ("http", Self::Http1),
        ("http2", Self::Http2),
        ("https", Self::Https),
        ("grpc", Self::Grpc),
        ("grpc-stream", Self::GrpcStream),
        ("ws", Self::WebSocket),
        ("tcp", Self::Tcp),
        ("tcp-server-first", Self::TcpServerFirst),
        ("tls", Self::Tls),
    ];

    /// What a URL asks for, such as `grpc://echo:7070`; `None` where its scheme is unknown.
    #[must_use]
    pub fn of_url(url: &str) -> Option<Self> {
        let (scheme, _) = url.split_once("://")?;
        Self::SCHEMES.into_iter().find(|(known, _)| *known == scheme).map(|(_, protocol)| protocol)
    }

    /// The schemes that [`Self::of_url`] knows.
    pub fn schemes() -> impl Iterator<Item = &'static str> {
        Self::SCHEMES.into_iter().map(|(scheme, _)| scheme)
    }

    /// Whether it is mere bytes to proxies, which then tell the server nothing of its client.
    #[must_use]
    pub fn is_opaque(self) -> bool {
        matches!(self, Self::Tcp | Self::TcpServerFirst) || self.is_encrypted()
    }

    /// Whether the client encrypts it itself, so that nobody on the way can read it with or without the mesh.
    #[must_use]
    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }

    /// Whether a request is a text that is sent as it is, and not one with headers around it.
    #[must_use]
    pub fn is_text(self) -> bool {
        match self {
            Self::Http1 | Self::Http2 | Self::Https => false,
            Self::Grpc | Self::GrpcStream | Self::WebSocket | Self::Tcp | Self::TcpServerFirst | Self::Tls => true,
        }
    }

    /// The scheme by which the probe knows it.
    #[must_use]
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Http1 | Self::Http2 => "http",
            Self::Https => "https",
            Self::Grpc | Self::GrpcStream => "grpc",
            Self::WebSocket => "ws",
            Self::Tcp | Self::TcpServerFirst => "tcp",
            Self::Tls => "tls",
        }
    }

    /// The probe's flag for it, where the scheme alone does not say it.
    fn flag(self) -> Option<&'static str> {
        match self {
            Self::Http2 => Some("--http2"),
            Self::GrpcStream => Some("--stream"),
            Self::TcpServerFirst => Some("--server-first"),
            Self::Http1 | Self::Https | Self::Grpc | Self::WebSocket | Self::Tcp | Self::Tls => None,
        }
    }
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
    /// Absolute URL as the pod resolves it, such as `http://echo:9000/`. Its scheme gives way to the protocol's.
    pub url: String,
    /// What to speak.
    pub protocol: Protocol,
    /// HTTP method; `None` is `GET`.
    pub method: Option<String>,
    /// Body of a request, text of a message or a line; `None` is an empty body, and `hello` where a text is needed.
    pub body: Option<String>,
    /// Additional headers.
    pub headers: BTreeMap<String, String>,
    /// How many requests.
    pub requests: Option<u64>,
    /// How long to start requests.
    pub duration: Option<Duration>,
    /// Requests started a second, whether or not earlier ones were answered; `None` sends the next after an answer.
    pub rate: Option<f64>,
    /// With a rate: time between the beginning and the moment of the first request.
    pub offset: Duration,
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
    /// Headers to report, of answers and of requests as the server got them.
    pub show_headers: BTreeSet<String>,
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
            offset: Duration::ZERO,
            connections: 1,
            max_connections: None,
            timeout: Duration::from_secs(5),
            new_connection_per_request: false,
            hop: None,
            samples: 0,
            histogram: false,
            show_headers: BTreeSet::new(),
        }
    }

    /// The probe's command line.
    pub(super) fn command(&self) -> Vec<String> {
        let place = self.url.split_once("://").map_or(self.url.as_str(), |(_, place)| place);
        let url = format!("{}://{place}", self.protocol.scheme());
        let mut command = Command(["bookinfo", "probe", "run", "--url", &url].map(str::to_owned).to_vec());
        command.option("--connections", Some(self.connections));
        command.option("--timeout", Some(milliseconds(self.timeout)));
        command.option("--requests", self.requests);
        command.option("--duration", self.duration.map(milliseconds));
        command.option("--rate", self.rate);
        command.option("--offset", (!self.offset.is_zero()).then(|| format!("{}us", self.offset.as_micros())));
        command.option("--max-connections", self.max_connections);
        command.option("--method", self.method.as_deref());
        command.option("--body", self.body.as_deref());
        command.option("--hop", self.hop.as_deref());
        for (name, value) in &self.headers {
            command.option("--header", Some(format!("{name}={value}")));
        }
        command.option("--samples", (self.samples > 0).then_some(self.samples));
        for name in &self.show_headers {
            command.option("--show-header", Some(name));
        }
        command.flag("--histogram", self.histogram);
        command.flag("--new-connection-per-request", self.new_connection_per_request);
        command.0.extend(self.protocol.flag().map(str::to_owned));
        command.0
    }

    /// The same in parts, for so many senders at once. With a rate they take turns in its schedule: what is due is due when
    /// it was, whoever sends it. Nothing is lost by the division: the first senders have one more of what is left over.
    #[must_use]
    pub fn dealt(&self, senders: u32) -> Vec<Self> {
        let one = |sender: u32| {
            let count = |all: u32| part(u64::from(all), senders, sender).try_into().unwrap_or(all);
            let turn = self.rate.and_then(|rate| Duration::try_from_secs_f64(f64::from(sender) / rate).ok());
            Self {
                requests: self.requests.map(|requests| part(requests, senders, sender)),
                rate: self.rate.map(|rate| rate / f64::from(senders)),
                offset: self.offset + turn.unwrap_or_default(),
                connections: count(self.connections),
                max_connections: self.max_connections.map(count),
                samples: count(self.samples),
                ..self.clone()
            }
        };
        (0..senders).map(one).collect()
    }

    /// When a run of it is over at the latest: a closed loop when every request of every connection has timed out.
    pub(crate) fn deadline(&self) -> Duration {
        let rounds = self.requests.unwrap_or(0).div_ceil(u64::from(self.connections.max(1)));
        let timeouts = self.timeout * u32::try_from(rounds).unwrap_or(u32::MAX).clamp(1, 20);
        let scheduled = self
            .rate
            .zip(self.requests)
            .map(|(rate, requests)| Duration::try_from_secs_f64(requests as f64 / rate).unwrap_or(Duration::MAX));
        let sending = self.duration.or(scheduled).unwrap_or_default();
        sending.saturating_add(timeouts).saturating_add(Duration::from_secs(60))
    }
}

/// What one of several gets of something that is dealt out to all of them.
pub(crate) fn part(all: u64, among: u32, index: u32) -> u64 {
    let (all_of_them, one) = (u64::from(among.max(1)), u64::from(index));
    all / all_of_them + u64::from(one < all % all_of_them)
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
            rate: Some(500.0),
            offset: Duration::from_micros(2_500),
            max_connections: Some(100),
            new_connection_per_request: true,
            hop: Some("reviews".to_owned()),
            samples: 1_000,
            histogram: true,
            show_headers: BTreeSet::from(["x-one".to_owned()]),
            ..Request::to("http://a/")
        };
        let command = request.command().join(" ");
        for word in [
            "--method=POST",
            "--body=-text",
            "--header=end-user=jason",
            "--duration=3000ms",
            "--rate=500",
            "--offset=2500us",
            "--max-connections=100",
            "--new-connection-per-request",
            "--hop=reviews",
            "--samples=1000",
            "--histogram",
            "--show-header=x-one",
            "--http2",
        ] {
            assert!(command.contains(word), "{word}: {command}");
        }
    }

    #[test]
    fn parts_are_the_whole_and_take_turns() {
        let whole =
            Request { requests: Some(10), rate: Some(400.0), connections: 6, samples: 7, ..Request::to("http://a/") };
        let parts = whole.dealt(4);
        let of = |field: fn(&Request) -> u64| parts.iter().map(field).collect::<Vec<_>>();
        assert_eq!(of(|part| part.requests.unwrap_or(0)), [3, 3, 2, 2]);
        assert_eq!(of(|part| part.connections.into()), [2, 2, 1, 1]);
        assert_eq!(of(|part| part.samples.into()), [2, 2, 2, 1]);
        assert!(parts.iter().all(|part| part.rate == Some(100.0) && part.url == whole.url));
        // The moments of all of them are those of the one: every 2,500 µs.
        let due = |part: &Request| {
            let each = 1_000_000.0 / part.rate.unwrap_or(1.0);
            let first = part.offset.as_micros() as f64;
            (0..part.requests.unwrap_or(0)).map(|index| (first + index as f64 * each) as u64).collect::<Vec<_>>()
        };
        let mut moments: Vec<u64> = parts.iter().flat_map(due).collect();
        moments.sort_unstable();
        assert_eq!(moments, (0..10).map(|index| index * 2_500).collect::<Vec<_>>());
    }

    #[test]
    fn one_sender_sends_it_as_it_is() {
        let closed = Request { requests: Some(7), connections: 3, ..Request::to("http://a/") };
        let parts = closed.dealt(1);
        assert_eq!(parts.iter().map(Request::command).collect::<Vec<_>>(), [closed.command()]);
        assert!(closed.dealt(0).is_empty());
        assert!(
            closed.dealt(2).iter().all(|part| part.rate.is_none() && part.offset.is_zero()),
            "a closed loop has no turns"
        );
    }

    #[test]
    fn the_protocol_decides_about_the_scheme() {
        let command = |protocol| Request { protocol, ..Request::to("http://echo:9001/") }.command();
        assert_eq!(command(Protocol::Tls)[4], "tls://echo:9001/");
        let first = command(Protocol::TcpServerFirst);
        assert_eq!((first[4].as_str(), first.last().map(String::as_str)), ("tcp://echo:9001/", Some("--server-first")));
        assert!(command(Protocol::GrpcStream).contains(&"--stream".to_owned()));
    }

    #[test]
    fn a_url_says_its_protocol() {
        assert_eq!(Protocol::of_url("http2://echo:8081/"), Some(Protocol::Http2));
        assert_eq!(Protocol::of_url("tcp-server-first://echo:9001"), Some(Protocol::TcpServerFirst));
        assert_eq!(Protocol::of_url("ftp://echo/"), None);
        assert_eq!(Protocol::of_url("echo:8080"), None);
    }

    #[test]
    fn a_run_gets_the_time_that_it_may_take() {
        let closed = Request { requests: Some(10), connections: 2, ..Request::to("http://a/") };
        assert_eq!(closed.deadline(), Duration::from_secs(5 * 5 + 60));
        let open = Request { rate: Some(10.0), requests: Some(600), connections: 100, ..Request::to("http://a/") };
        assert_eq!(open.deadline(), Duration::from_secs(60 + 6 * 5 + 60));
    }
}
