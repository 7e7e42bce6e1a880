//! HTTP/1.1 and HTTP/2 over one connection, one exchange at a time; gRPC's unary call is such an exchange.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinHandle;

use super::connection::{Answer, Sent};
use super::failure::{ErrorClass, Failure};
use super::transport::Stream;
use crate::grpc;

/// An answer that is longer than this is a failure.
const BODY_LIMIT: usize = 4 << 20;

/// A request that can be sent many times.
#[derive(Clone, Debug)]
pub(super) struct RequestTemplate {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Whether it is a call, whose status comes in trailers.
    pub(super) grpc: bool,
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

/// An open connection: the side that requests go in at, and the task that moves the bytes.
pub(super) struct Http {
    /// Whether the answer to the last request has begun.
    begun: bool,
    sender: Sender,
    driver: JoinHandle<Result<(), hyper::Error>>,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Http {
    /// Shakes hands.
    pub(super) async fn open(stream: Stream, http2: bool) -> Result<Self, Failure> {
        let io = TokioIo::new(stream);
        if http2 {
            let handshake = http2::handshake(TokioExecutor::new(), io).await;
            let (sender, connection) = handshake.map_err(|error| Failure::of_exchange(&error))?;
            Ok(Self { begun: false, sender: Sender::Http2(sender), driver: tokio::spawn(connection) })
        } else {
            let handshake = http1::handshake(io).await;
            let (sender, connection) = handshake.map_err(|error| Failure::of_exchange(&error))?;
            Ok(Self { begun: false, sender: Sender::Http1(sender), driver: tokio::spawn(connection) })
        }
    }

    /// Whether the other side has ended it.
    pub(super) fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }

    /// Whether the last request got the beginning of an answer, complete or not.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn send(&mut self, template: &RequestTemplate) -> Sent {
        self.begun = false;
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
            Ok(response) => {
                self.begun = true;
                read(response, template.grpc).await
            }
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

async fn read(response: Response<Incoming>, grpc: bool) -> Sent {
    let (head, body) = response.into_parts();
    let collected = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(collected) => collected,
        Err(error) => {
            return Sent::Failed(match error.downcast_ref::<hyper::Error>() {
                Some(error) => Failure::of_exchange(error),
                None => Failure::new(ErrorClass::Protocol, error.to_string()),
            });
        }
    };
    let trailers = collected.trailers().cloned();
    let answer = Answer { status: head.status, grpc_status: None, headers: head.headers, body: collected.to_bytes() };
    if grpc { with_status(answer, trailers) } else { Sent::Answered(answer) }
}

/// Reads the status of a call: in trailers, or in headers where there was nothing else to say.
pub(super) fn with_status(mut answer: Answer, trailers: Option<HeaderMap>) -> Sent {
    if answer.status != StatusCode::OK {
        return Sent::Answered(answer);
    }
    answer.headers.extend(trailers.unwrap_or_default());
    let Some(status) = grpc::status(&answer.headers) else {
        return Sent::Failed(Failure::new(ErrorClass::Protocol, "the answer has no grpc-status"));
    };
    answer.grpc_status = Some(status);
    answer.status = StatusCode::from_u16(grpc::http_status(status)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Sent::Answered(answer)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn answer(status: u16) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, grpc_status: None, headers: HeaderMap::new(), body: Bytes::new() }
    }

    fn trailers(status: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(grpc::STATUS), HeaderValue::from_static(status))])
    }

    #[test]
    fn a_calls_status_becomes_the_answers() {
        let Sent::Answered(answer) = with_status(answer(200), Some(trailers("14"))) else { panic!("no answer") };
        assert_eq!((answer.status.as_u16(), answer.grpc_status), (503, Some(14)));
    }

    #[test]
    fn a_call_without_a_status_is_no_answer_unless_http_says_why() {
        assert!(matches!(with_status(answer(200), None), Sent::Failed(_)));
        let Sent::Answered(answer) = with_status(answer(503), None) else { panic!("no answer") };
        assert_eq!((answer.status.as_u16(), answer.grpc_status), (503, None));
    }
}
