//! One client connection: connecting, and one exchange at a time over it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::clock::{Noted, Timed, Times};
use super::failure::{ErrorClass, Failure};

/// An answer that is longer than this is a failure.
const BODY_LIMIT: usize = 4 << 20;

/// Where to connect and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) http2: bool,
}

/// A request that can be sent many times.
#[derive(Clone, Debug)]
pub(super) struct RequestTemplate {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl RequestTemplate {
    /// HTTP/1.1 names the path in its first line and the host in a header; HTTP/2 takes both from the whole URI.
    fn request(&self, http2: bool) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = self.headers.clone();
        if http2 {
            *request.uri_mut() = self.uri.clone();
            *request.version_mut() = Version::HTTP_2;
            request.headers_mut().remove(header::HOST);
        } else {
            let path = self.uri.path_and_query().cloned().unwrap_or_else(|| http::uri::PathAndQuery::from_static("/"));
            *request.uri_mut() = Uri::from(path);
        }
        request
    }
}

/// A complete answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) grpc_status: Option<u16>,
    pub(super) headers: HeaderMap<HeaderValue>,
    pub(super) body: Bytes,
}

/// An open connection: the side that requests go in at, and the task that moves the bytes.
pub(super) struct Connection {
    /// Its place among the connections of the run, given by whoever opened it.
    pub(super) number: u64,
    times: Arc<Times>,
    sender: Sender,
    driver: JoinHandle<Result<(), hyper::Error>>,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// What came of sending.
pub(super) enum Sent {
    Answered(Answer),
    Failed(Failure),
    /// The connection had ended before the request left: it may be sent over a new one without being sent twice.
    Unsent,
}

impl Connection {
    /// Connects, and for HTTP/2 shakes hands, until the deadline.
    pub(super) async fn open(target: Target, deadline: Instant) -> Result<Self, Failure> {
        match tokio::time::timeout_at(deadline, Self::connect(target)).await {
            Ok(connection) => connection,
            Err(_) => Err(Failure::new(ErrorClass::ConnectTimeout, format!("no connection to {}", target.address))),
        }
    }

    async fn connect(target: Target) -> Result<Self, Failure> {
        let stream = TcpStream::connect(target.address).await.map_err(|error| Failure::of_connect(&error))?;
        stream.set_nodelay(true).map_err(|error| Failure::of_connect(&error))?;
        let times = Times::new();
        let io = TokioIo::new(Timed::new(stream, Arc::clone(&times)));
        if target.http2 {
            let handshake = http2::handshake(TokioExecutor::new(), io).await;
            let (sender, connection) = handshake.map_err(|error| Failure::of_exchange(&error))?;
            Ok(Self { number: 0, times, sender: Sender::Http2(sender), driver: tokio::spawn(connection) })
        } else {
            let handshake = http1::handshake(io).await;
            let (sender, connection) = handshake.map_err(|error| Failure::of_exchange(&error))?;
            Ok(Self { number: 0, times, sender: Sender::Http1(sender), driver: tokio::spawn(connection) })
        }
    }

    /// Whether the other side has ended it.
    pub(super) fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }

    /// When the last request left and its answer began.
    pub(super) fn noted(&self) -> Noted {
        self.times.noted()
    }

    /// Sends a request and reads the whole answer until the deadline.
    pub(super) async fn exchange(&mut self, template: &RequestTemplate, deadline: Instant, limit: Duration) -> Sent {
        self.times.reset();
        match tokio::time::timeout_at(deadline, self.send(template)).await {
            Ok(sent) => sent,
            Err(_) => Sent::Failed(Failure::new(ErrorClass::Timeout, format!("no complete answer within {limit:?}"))),
        }
    }

    async fn send(&mut self, template: &RequestTemplate) -> Sent {
        let result = match &mut self.sender {
            Sender::Http1(sender) => match sender.ready().await {
                Ok(()) => sender.try_send_request(template.request(false)).await,
                Err(_) => return Sent::Unsent,
            },
            Sender::Http2(sender) => match sender.ready().await {
                Ok(()) => sender.try_send_request(template.request(true)).await,
                Err(_) => return Sent::Unsent,
            },
        };
        match result {
            Ok(response) => read(response).await,
            Err(error) => sent_or_not(error),
        }
    }

    /// Why a connection ended that took no request.
    pub(super) async fn ending(self) -> Failure {
        drop(self.sender);
        match self.driver.await {
            Ok(Err(error)) => Failure::of_exchange(&error),
            Ok(Ok(())) => Failure::new(ErrorClass::Reset, "the other side closed a new connection"),
            Err(error) => Failure::new(ErrorClass::Protocol, error.to_string()),
        }
    }
}

fn sent_or_not(mut error: TrySendError<Request<Full<Bytes>>>) -> Sent {
    match error.take_message() {
        Some(_) => Sent::Unsent,
        None => Sent::Failed(Failure::of_exchange(error.error())),
    }
}

async fn read(response: Response<Incoming>) -> Sent {
    let (head, body) = response.into_parts();
    match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => Sent::Answered(Answer {
            status: head.status,
            grpc_status: None,
            headers: head.headers,
            body: body.to_bytes(),
        }),
        Err(error) => Sent::Failed(match error.downcast_ref::<hyper::Error>() {
            Some(error) => Failure::of_exchange(error),
            None => Failure::new(ErrorClass::Protocol, error.to_string()),
        }),
    }
}
