//! The probe's options, checked while they are read, so that a wrong one ends with exit code 2.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use http::{HeaderName, HeaderValue, Method, Uri};

use super::url::Url;

/// Options of `probe run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// What to request: http://, https://, grpc://, ws://, tcp:// or tls://; the last four mean `bookinfo echo`
    #[arg(long, value_parser = Url::parse)]
    pub url: Url,
    /// How many requests to send; 1 without --duration, no end with --controlled
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub requests: Option<u64>,
    /// How long to start requests
    #[arg(long, value_parser = duration)]
    pub duration: Option<Duration>,
    /// Connections, each with one request at a time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub connections: u16,
    /// Open loop: open more connections, up to this many, when all wait for answers
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4096), requires = "rate")]
    pub max_connections: Option<u16>,
    /// Open loop: requests started per second, whether or not earlier ones were answered
    #[arg(long, value_parser = rate)]
    pub rate: Option<f64>,
    /// A request header, `name=value`; `host=…` replaces the URL's
    #[arg(long = "header", value_parser = header, value_name = "NAME=VALUE")]
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Method of the requests
    #[arg(long, default_value = "GET")]
    pub method: Method,
    /// Body of the requests; text of messages and lines, `hello` without one
    #[arg(long, default_value = "")]
    pub body: String,
    /// Close the connection after each answer
    #[arg(long)]
    pub new_connection_per_request: bool,
    /// http, https: speak HTTP/2
    #[arg(long)]
    pub http2: bool,
    /// grpc: send messages over one long stream for each connection, in place of calls
    #[arg(long)]
    pub stream: bool,
    /// tcp, tls: wait for the server's greeting before sending
    #[arg(long)]
    pub server_first: bool,
    /// https, tls: take only a server that an authority of this PEM file vouches for; any without it
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<String>,
    /// https, tls: name to ask for and to check in place of the URL's host
    #[arg(long, value_name = "NAME")]
    pub tls_server_name: Option<String>,
    /// How long one request may take, connecting included
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub timeout: Duration,
    /// Connect here instead of to the URL's host, which stays the host header
    #[arg(long, value_name = "IP:PORT")]
    pub connect_to: Option<SocketAddr>,
    /// Group by this service's hop inside the JSON answers instead of by who answered
    #[arg(long, value_name = "SERVICE")]
    pub hop: Option<String>,
    /// Report each request with its times, up to this many
    #[arg(long, value_name = "MOST", default_value_t = 0)]
    pub samples: usize,
    /// Report this header of answers, and of requests where the server says what it got, as distinct exchanges
    #[arg(long = "show-header", value_name = "NAME")]
    pub show_headers: Vec<HeaderName>,
    /// Report the histogram of latencies
    #[arg(long)]
    pub histogram: bool,
    /// Open loop: time between the beginning and the moment of the first request
    #[arg(long, value_parser = duration, requires = "rate")]
    pub offset: Option<Duration>,
    /// Print one line when sending begins, and end when standard input ends or says `stop`
    #[arg(long)]
    pub controlled: bool,
    /// Look the name up, print one line more, and do not begin before standard input says `start`
    #[arg(long, requires = "controlled")]
    pub held: bool,
}

/// Options of `probe connect`.
#[derive(Clone, Debug, Args)]
pub struct ConnectArgs {
    /// Where to connect
    #[arg(long, value_name = "IP:PORT")]
    pub address: SocketAddr,
    /// How long connecting may take, and then the HTTP request
    #[arg(long, default_value = "2s", value_parser = duration)]
    pub timeout: Duration,
    /// Watch an open connection this long for its end, without sending
    #[arg(long, default_value = "0s", value_parser = duration)]
    pub settle: Duration,
    /// Send one plaintext HTTP/1.1 request over the connection
    #[arg(long)]
    pub plaintext_http: bool,
    /// Path of that request
    #[arg(long, default_value = "/", value_parser = path)]
    pub path: String,
    /// Host header of that request; the address without one
    #[arg(long)]
    pub host: Option<String>,
}

/// `5s`, `250ms`, `2m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text.parse().map_err(|_| "write it as 5s, 250ms or 2m".to_owned())?;
    Duration::try_from(span).map_err(|_| "it must not be negative".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "a number of requests per second".to_owned())?;
    if rate.is_finite() && (0.001..=1_000_000.0).contains(&rate) {
        Ok(rate)
    } else {
        Err("from 0.001 to 1000000".to_owned())
    }
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once('=').ok_or("write it as name=value")?;
    let name = name.trim().parse().map_err(|_| format!("`{name}` is not a header name"))?;
    let value = value.parse().map_err(|_| format!("`{value}` cannot stand in a header"))?;
    Ok((name, value))
}

fn path(text: &str) -> Result<String, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
    if text.starts_with('/') { Ok(uri.to_string()) } else { Err("a path begins with /".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_refused() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(duration("-1s").is_err() && duration("5").is_err());
        assert!(rate("0").is_err() && rate("NaN").is_err() && rate("50").is_ok());
        assert!(header("end-user=jason").is_ok() && header("end-user").is_err() && header("a b=c").is_err());
        assert!(path("/x y").is_err() && path("x").is_err() && path("/x").is_ok());
    }
}
