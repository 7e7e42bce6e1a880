//! A gRPC stream that stays open: one message out, one back.

use std::convert::Infallible;

use bytes::Bytes;
use futures::channel::mpsc;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::connection::{Answer, Sent};
use super::failure::{ErrorClass, Failure};
use super::http::{RequestTemplate, with_status};
use super::transport::Stream;
use crate::grpc::{self, Decoder, EchoResponse};

type Messages = mpsc::UnboundedSender<Result<Frame<Bytes>, Infallible>>;
type Body = StreamBody<mpsc::UnboundedReceiver<Result<Frame<Bytes>, Infallible>>>;

/// A connection with one call on it.
pub(super) struct Call {
    connection: http2::SendRequest<Body>,
    open: Option<Open>,
    over: bool,
}

/// A call that has begun to be answered.
struct Open {
    messages: Messages,
    headers: HeaderMap,
    body: Incoming,
    decoder: Decoder,
}

impl Call {
    /// Shakes hands; the first exchange begins the call.
    pub(super) async fn open(stream: Stream) -> Result<Self, Failure> {
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| Failure::of_exchange(&error))?;
        tokio::spawn(connection);
        Ok(Self { connection: sender, open: None, over: false })
    }

    /// Whether nothing can go over it any more.
    pub(super) fn is_over(&self) -> bool {
        self.over || (self.open.is_none() && self.connection.is_closed())
    }

    /// Sends a message and reads the one that answers it. A call that ends is an answer with its status.
    pub(super) async fn send(&mut self, template: &RequestTemplate) -> Sent {
        self.over = true;
        let mut open = match self.open.take() {
            Some(open) => {
                if open.messages.unbounded_send(Ok(Frame::data(template.body.clone()))).is_err() {
                    return Sent::Failed(Failure::new(ErrorClass::Reset, "the stream has ended"));
                }
                open
            }
            None => match self.begin(template).await {
                Ok((messages, response)) => {
                    let (head, body) = response.into_parts();
                    if head.status != http::StatusCode::OK || grpc::status(&head.headers).is_some() {
                        let (grpc_status, body) = (None, Bytes::new());
                        let answer = Answer { status: head.status, grpc_status, headers: head.headers, body };
                        return with_status(answer, None);
                    }
                    Open { messages, headers: head.headers, body, decoder: Decoder::default() }
                }
                Err(error) => return Sent::Failed(Failure::of_exchange(&error)),
            },
        };
        let sent = open.receive().await;
        if matches!(&sent, Sent::Answered(answer) if answer.grpc_status == Some(0)) {
            (self.open, self.over) = (Some(open), false);
        }
        sent
    }

    async fn begin(&mut self, template: &RequestTemplate) -> Result<(Messages, Response<Incoming>), hyper::Error> {
        let (messages, receiver) = mpsc::unbounded();
        let _ = messages.unbounded_send(Ok(Frame::data(template.body.clone())));
        let mut request = Request::new(StreamBody::new(receiver));
        *request.method_mut() = template.method.clone();
        *request.uri_mut() = template.uri.clone();
        *request.headers_mut() = template.headers.clone();
        request.headers_mut().remove(http::header::HOST);
        self.connection.ready().await?;
        Ok((messages, self.connection.send_request(request).await?))
    }
}

impl Open {
    async fn receive(&mut self) -> Sent {
        loop {
            match self.decoder.message::<EchoResponse>() {
                Ok(Some(_)) => {
                    let (status, headers) = (http::StatusCode::OK, self.headers.clone());
                    return Sent::Answered(Answer { status, grpc_status: Some(0), headers, body: Bytes::new() });
                }
                Ok(None) => {}
                Err(error) => return Sent::Failed(Failure::new(ErrorClass::Protocol, error.to_string())),
            }
            match self.body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.decoder.extend(&data),
                    Err(frame) => return self.ended(frame.into_trailers().unwrap_or_default()),
                },
                Some(Err(error)) => return Sent::Failed(Failure::of_exchange(&error)),
                None => return Sent::Failed(Failure::new(ErrorClass::Reset, "the stream ended without a status")),
            }
        }
    }

    /// The server ended the call before it answered the message.
    fn ended(&self, trailers: HeaderMap) -> Sent {
        if grpc::status(&trailers) == Some(0) {
            return Sent::Failed(Failure::new(ErrorClass::Reset, "the server ended the stream"));
        }
        let (status, headers) = (http::StatusCode::OK, self.headers.clone());
        with_status(Answer { status, grpc_status: None, headers, body: Bytes::new() }, Some(trailers))
    }
}
