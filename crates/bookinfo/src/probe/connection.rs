//! One client connection of any protocol: opening it, and one exchange at a time over it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::time::Instant;

use super::args::RunArgs;
use super::call::Call;
use super::clock::{Noted, Times};
use super::failure::{ErrorClass, Failure};
use super::http::{Http, RequestTemplate};
use super::lines::Lines;
use super::transport::{Stream, Transport};
use super::url::Scheme;
use super::websocket::WebSocket;

/// What goes over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Requests of HTTP/1.1 or HTTP/2; unary calls of gRPC.
    Http { http2: bool },
    /// Messages of one gRPC stream.
    Call,
    /// Messages of a WebSocket.
    WebSocket,
    /// Lines.
    Lines { server_first: bool },
}

impl Protocol {
    pub(super) fn of(args: &RunArgs) -> Self {
        match args.url.scheme {
            Scheme::Http | Scheme::Https => Self::Http { http2: args.http2 },
            Scheme::Grpc if args.stream => Self::Call,
            Scheme::Grpc => Self::Http { http2: true },
            Scheme::Ws => Self::WebSocket,
            Scheme::Tcp | Scheme::Tls => Self::Lines { server_first: args.server_first },
        }
    }
}

/// Where to connect, what to speak, and what to send.
pub(super) struct Target {
    pub(super) transport: Transport,
    pub(super) protocol: Protocol,
    pub(super) template: RequestTemplate,
    /// The text of lines and messages.
    pub(super) text: String,
}

/// A complete answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// HTTP status, or the one that stands for the protocol's own.
    pub(super) status: StatusCode,
    pub(super) grpc_status: Option<u16>,
    pub(super) headers: HeaderMap<HeaderValue>,
    pub(super) body: Bytes,
}

/// What came of sending.
pub(super) enum Sent {
    Answered(Answer),
    Failed(Failure),
    /// The connection had ended before the request left: it may be sent over a new one without being sent twice.
    Unsent,
}

/// An open connection.
pub(super) struct Connection {
    /// Its place among the connections of the run, given by whoever opened it.
    pub(super) number: u64,
    times: Arc<Times>,
    kind: Kind,
}

#[expect(clippy::large_enum_variant, reason = "there is one for each connection, in use all the time")]
enum Kind {
    Http(Http),
    Call(Call),
    WebSocket(WebSocket),
    Lines(Lines),
}

impl Connection {
    /// Connects, and shakes hands where the protocol does, until the deadline.
    pub(super) async fn open(target: &Target, deadline: Instant) -> Result<Self, Failure> {
        match tokio::time::timeout_at(deadline, Self::connect(target)).await {
            Ok(connection) => connection,
            Err(_) => {
                let text = format!("no connection to {}", target.transport.address);
                Err(Failure::new(ErrorClass::ConnectTimeout, text))
            }
        }
    }

    async fn connect(target: &Target) -> Result<Self, Failure> {
        let (stream, times) = target.transport.open().await?;
        let kind = Kind::open(stream, target.protocol).await?;
        Ok(Self { number: 0, times, kind })
    }

    /// Whether it is known that nothing can go over it any more.
    pub(super) fn is_closed(&self) -> bool {
        match &self.kind {
            Kind::Http(http) => http.is_closed(),
            Kind::Call(call) => call.is_over(),
            Kind::WebSocket(socket) => socket.is_over(),
            // A stream of lines that breaks is a loss, not something to be renewed in silence.
            Kind::Lines(_) => false,
        }
    }

    /// When the last request left and its answer began.
    pub(super) fn noted(&self) -> Noted {
        self.times.noted()
    }

    /// Sends a request and reads the whole answer until the deadline.
    pub(super) async fn exchange(&mut self, target: &Target, deadline: Instant, limit: Duration) -> Sent {
        self.times.reset();
        match tokio::time::timeout_at(deadline, self.kind.send(target)).await {
            Ok(sent) => sent,
            Err(_) if self.kind.has_begun() => {
                let text = format!("the answer began, and was not complete within {limit:?}");
                Sent::Failed(Failure::new(ErrorClass::Stalled, text))
            }
            Err(_) => Sent::Failed(Failure::new(ErrorClass::Timeout, format!("no complete answer within {limit:?}"))),
        }
    }

    /// Why a connection ended that took no request.
    pub(super) async fn ending(self) -> Failure {
        match self.kind {
            Kind::Http(http) => http.ending().await,
            _ => Failure::new(ErrorClass::Reset, "the other side closed a new connection"),
        }
    }
}

impl Kind {
    async fn open(stream: Stream, protocol: Protocol) -> Result<Self, Failure> {
        Ok(match protocol {
            Protocol::Http { http2 } => Self::Http(Http::open(stream, http2).await?),
            Protocol::Call => Self::Call(Call::open(stream).await?),
            Protocol::WebSocket => Self::WebSocket(WebSocket::Fresh(Box::new(stream))),
            Protocol::Lines { server_first } => Self::Lines(Lines::open(stream, server_first).await?),
        })
    }

    /// Whether an answer is known to have begun: of messages and lines only whole ones are seen.
    fn has_begun(&self) -> bool {
        matches!(self, Self::Http(http) if http.has_begun())
    }

    async fn send(&mut self, target: &Target) -> Sent {
        match self {
            Self::Http(http) => http.send(&target.template).await,
            Self::Call(call) => call.send(&target.template).await,
            Self::WebSocket(socket) => socket.send(&target.template.uri, &target.template.headers, &target.text).await,
            Self::Lines(lines) => lines.send(&target.text).await,
        }
    }
}
