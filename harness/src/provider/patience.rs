//! How long an API server may take to answer: a limit for the whole of an answer, and for the beginning of one that is a
//! stream. Nobody waits without end.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode, Uri};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tower::{BoxError, Layer, Service};

/// Limits a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience(pub(super) Duration);

/// An API server took too long.
#[derive(Debug, thiserror::Error)]
enum Late {
    #[error("the API server timed out: it did not begin to answer within {} s", .0.as_secs_f64())]
    Silent(Duration),
    #[error("the API server timed out: it began to answer, and had not ended after {} s", .0.as_secs_f64())]
    Stalled(Duration),
}

impl<S> Layer<S> for Patience {
    type Service = Patient<S>;

    fn layer(&self, inner: S) -> Patient<S> {
        Patient { inner, limit: self.0 }
    }
}

/// A client that is limited.
#[derive(Clone, Debug)]
pub(super) struct Patient<S> {
    inner: S,
    limit: Duration,
}

impl<S, B, A> Service<Request<B>> for Patient<S>
where
    S: Service<Request<B>, Response = Response<A>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
{
    type Response = Response<Whole<A>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (limit, stream) = (self.limit, is_stream(request.uri()));
        let until = Instant::now() + limit;
        let answer = self.inner.call(request);
        async move {
            let answer = timeout_at(until, answer).await.map_err(|_| Late::Silent(limit))?.map_err(Into::into)?;
            let endless = stream || answer.status() == StatusCode::SWITCHING_PROTOCOLS;
            Ok(answer.map(|body| Whole { body, until: (!endless).then(|| Box::pin(sleep_until(until))), limit }))
        }
        .boxed()
    }
}

/// Whether an answer goes on until somebody ends it: a watch, or a log that is followed.
fn is_stream(uri: &Uri) -> bool {
    let mut parameters = uri.query().unwrap_or_default().split('&').filter_map(|one| one.split_once('='));
    parameters.any(|(name, value)| matches!(name, "watch" | "follow") && value != "false")
}

/// The body of an answer, which fails when it has not ended in time.
pub(super) struct Whole<B> {
    body: B,
    until: Option<Pin<Box<Sleep>>>,
    limit: Duration,
}

impl<B> fmt::Debug for Whole<B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Whole").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin> Body for Whole<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let limit = self.limit;
        match &mut self.until {
            Some(until) => until.as_mut().poll(context).map(|()| Some(Err(Late::Stalled(limit).into()))),
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_watched_or_followed_may_go_on_without_end() {
        let is_stream = |text: &str| is_stream(&text.parse().expect("a URI"));
        assert!(is_stream("/api/v1/pods?limit=1&watch=true") && is_stream("/api/v1/x/log?follow=true"));
        assert!(!is_stream("/api/v1/pods?limit=1") && !is_stream("/api/v1/pods?watch=false"));
        assert!(!is_stream("/api/v1/watch"));
    }
}
