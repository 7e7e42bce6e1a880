//! `echo` over gRPC, unary and streaming, and gRPC's health protocol: handlers of the HTTP/2 requests that they are.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::App;
use crate::context::SharedContext;
use crate::grpc::{self, Decoder, EchoRequest, EchoResponse, HealthCheckResponse};

/// Statuses that the handlers answer with.
const OK: u32 = 0;
const INVALID_ARGUMENT: u32 = 3;
const UNIMPLEMENTED: u32 = 12;
/// Answers that may wait for a slow reader.
const QUEUE: usize = 16;
/// `SERVING` of the health protocol.
const SERVING: i32 = 1;

type Item = Result<Frame<Bytes>, std::convert::Infallible>;

/// The routes, for a router that also serves plain HTTP.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route(grpc::ECHO, post(stream))
        .route(grpc::STREAM, post(stream))
        .route("/grpc.health.v1.Health/Check", post(async || answer(&HealthCheckResponse { status: SERVING })))
        .route("/grpc.health.v1.Health/Watch", post(watch))
}

/// Whether a request is a gRPC call.
pub(super) fn is_call(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type.is_some_and(|value| value.starts_with(grpc::CONTENT_TYPE.as_bytes()))
}

/// The answer to a call that this server does not have.
pub(super) fn unimplemented() -> Response {
    let mut response = headers(Body::empty());
    response.headers_mut().extend(trailers(UNIMPLEMENTED, "this server has no such method"));
    response
}

/// One answer to each message. A unary call is a stream of one.
async fn stream(State(app): State<App>, SharedContext(context): SharedContext, body: Body) -> Response {
    let (answers, receiver) = mpsc::channel::<Item>(QUEUE);
    let (served_by, peer) = (app.served_by.to_header(), context.peer.to_header());
    tokio::spawn(async move {
        let (status, message) = echo(body, &answers, &served_by, &peer).await;
        // Who went away needs no trailers.
        let _ = answers.send(Ok(Frame::trailers(trailers(status, &message)))).await;
    });
    headers(Body::new(StreamBody::new(ReceiverStream::new(receiver))))
}

/// Answers until the stream ends; returns its status.
async fn echo(mut body: Body, answers: &mpsc::Sender<Item>, served_by: &str, peer: &str) -> (u32, String) {
    let mut decoder = Decoder::default();
    while let Some(Ok(frame)) = body.frame().await {
        decoder.extend(frame.data_ref().map_or(&[][..], |data| data));
        loop {
            let EchoRequest { message, status } = match decoder.message() {
                Ok(Some(request)) => request,
                Ok(None) => break,
                Err(error) => return (INVALID_ARGUMENT, error.to_string()),
            };
            if status != OK {
                return (status, "as the request asked".to_owned());
            }
            let response = EchoResponse { served_by: served_by.to_owned(), peer: peer.to_owned(), message };
            if answers.send(Ok(Frame::data(grpc::frame(&response)))).await.is_err() {
                return (OK, String::new());
            }
        }
    }
    (OK, String::new())
}

/// Says once that all is well, and leaves the stream open as long as the server lives: its end is the news.
async fn watch() -> Response {
    let (answers, receiver) = mpsc::channel::<Item>(QUEUE);
    let _ = answers.send(Ok(Frame::data(grpc::frame(&HealthCheckResponse { status: SERVING })))).await;
    tokio::spawn(async move { answers.closed().await });
    headers(Body::new(StreamBody::new(ReceiverStream::new(receiver))))
}

fn answer(message: &impl prost::Message) -> Response {
    let body = http_body_util::Full::new(grpc::frame(message));
    headers(Body::new(body.with_trailers(async { Some(Ok(trailers(OK, ""))) })))
}

fn headers(body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(grpc::CONTENT_TYPE));
    response
}

fn trailers(status: u32, message: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(grpc::STATUS, HeaderValue::from(status));
    if !message.is_empty()
        && let Ok(message) = HeaderValue::from_str(message)
    {
        trailers.insert("grpc-message", message);
    }
    trailers
}
