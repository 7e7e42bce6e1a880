//! `probe connect`: can this address be reached, and does it answer plaintext HTTP?

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::args::ConnectArgs;
use super::failure::{ErrorClass, Failure};
use crate::hop::{PEER_HEADER, Peer};
use crate::identity::{SERVED_BY_HEADER, ServedBy};

/// Bytes of an answer that are read to find its status.
const HEAD_LIMIT: usize = 16 << 10;

/// What came of a connection attempt.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectReport {
    /// Where it went.
    pub address: SocketAddr,
    /// What came of it.
    pub outcome: TcpOutcome,
    /// The system's words for a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Time until the outcome of connecting was known, in milliseconds.
    pub elapsed_ms: f64,
    /// What came of the HTTP request, if one was asked for and could be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpReport>,
}

/// The TCP side of the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TcpOutcome {
    /// Connected; and still open at the end of `--settle`.
    Connected,
    /// Connected, and ended by the other side within `--settle`.
    ConnectedThenClosed,
    /// The other side refused.
    Refused,
    /// Nothing came back in time.
    Timeout,
    /// The network said that there is no way.
    Unreachable,
    /// Something else.
    Error,
}

/// What came of a plaintext HTTP request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpReport {
    /// What came of it.
    pub outcome: HttpOutcome,
    /// Status of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The system's words for a failure, or the first line of what is not HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Who answered, where the answer says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_by: Option<ServedBy>,
    /// Which identities the server saw, where the answer says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Peer>,
}

impl HttpReport {
    fn failed(outcome: HttpOutcome, detail: Option<String>) -> Self {
        Self { outcome, status: None, detail, served_by: None, peer: None }
    }
}

/// The HTTP side of the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HttpOutcome {
    /// An HTTP answer came.
    Answered,
    /// The connection was reset.
    Reset,
    /// The connection was closed without an answer.
    Closed,
    /// Nothing came back in time.
    Timeout,
    /// What came back was not HTTP.
    Protocol,
}

/// Tries once.
pub(super) async fn run(args: &ConnectArgs) -> ConnectReport {
    let begun = Instant::now();
    let connected = timeout(args.timeout, TcpStream::connect(args.address)).await;
    let elapsed_ms = (begun.elapsed().as_secs_f64() * 1_000_000.0).round() / 1_000.0;
    let report = |outcome, detail| ConnectReport { address: args.address, outcome, detail, elapsed_ms, http: None };
    let mut stream = match connected {
        Err(_) => return report(TcpOutcome::Timeout, None),
        Ok(Err(error)) => {
            let failure = Failure::of_connect(&error);
            return report(outcome_of(failure.class), Some(failure.text));
        }
        Ok(Ok(stream)) => stream,
    };
    if let Some(end) = watch(&mut stream, args.settle).await {
        return report(TcpOutcome::ConnectedThenClosed, Some(end));
    }
    let mut report = report(TcpOutcome::Connected, None);
    if args.plaintext_http {
        report.http = Some(request(&mut stream, args).await);
    }
    report
}

fn outcome_of(class: ErrorClass) -> TcpOutcome {
    match class {
        ErrorClass::ConnectRefused => TcpOutcome::Refused,
        ErrorClass::ConnectTimeout => TcpOutcome::Timeout,
        ErrorClass::ConnectUnreachable => TcpOutcome::Unreachable,
        _ => TcpOutcome::Error,
    }
}

/// How the other side ended the connection within the time, if it did. Data that arrives is no end.
async fn watch(stream: &mut TcpStream, settle: Duration) -> Option<String> {
    if settle.is_zero() {
        return None;
    }
    let mut byte = [0; 1];
    match timeout(settle, stream.peek(&mut byte)).await {
        Ok(Ok(0)) => Some("closed".to_owned()),
        Ok(Err(error)) => Some(error.to_string()),
        Ok(Ok(_)) | Err(_) => None,
    }
}

async fn request(stream: &mut TcpStream, args: &ConnectArgs) -> HttpReport {
    match timeout(args.timeout, exchange(stream, args)).await {
        Ok(Ok(answer)) => read_status(&answer),
        Ok(Err(error)) => HttpReport::failed(HttpOutcome::Reset, Some(error.to_string())),
        Err(_) => HttpReport::failed(HttpOutcome::Timeout, None),
    }
}

/// Sends the request and reads the head of what comes back, or all until the end of the connection.
async fn exchange(stream: &mut TcpStream, args: &ConnectArgs) -> io::Result<Vec<u8>> {
    let host = args.host.clone().unwrap_or_else(|| args.address.to_string());
    let request = format!("GET {} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n", args.path);
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while answer.len() < HEAD_LIMIT && !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut answer).await? == 0 {
            break;
        }
    }
    Ok(answer)
}

fn read_status(answer: &[u8]) -> HttpReport {
    if answer.is_empty() {
        return HttpReport::failed(HttpOutcome::Closed, None);
    }
    let text = String::from_utf8_lossy(answer);
    let mut lines = text.lines();
    let line = lines.next().unwrap_or_default();
    let Some(status) = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.parse().ok()) else {
        return HttpReport::failed(HttpOutcome::Protocol, Some(line.chars().take(80).collect()));
    };
    let headers: Vec<_> = lines.take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(": ")).collect();
    let header = |name: &str| headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
    HttpReport {
        outcome: HttpOutcome::Answered,
        status: Some(status),
        served_by: header(SERVED_BY_HEADER).map(ServedBy::from_header),
        peer: header(PEER_HEADER).map(Peer::from_header),
        detail: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_from_other_bytes() {
        let report = read_status(b"HTTP/1.1 403 Forbidden\r\n\r\n");
        assert_eq!((report.outcome, report.status), (HttpOutcome::Answered, Some(403)));
        assert_eq!(report.served_by, None);
        let report =
            read_status(b"HTTP/1.1 200 OK\r\nX-Served-By: pod=reviews-v3-1;cluster=cluster2\r\n\r\nx-served-by: no");
        assert_eq!(report.served_by.and_then(|by| by.cluster).as_deref(), Some("cluster2"));
        assert_eq!(read_status(b"").outcome, HttpOutcome::Closed);
        // A TLS alert, as a server sends it to a client that speaks plaintext.
        assert_eq!(read_status(&[0x15, 3, 3, 0, 2, 2, 10]).outcome, HttpOutcome::Protocol);
    }
}
