//! Stands in for an API server: a client that lists what it was given, and watches that deliver what is sent later.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

/// What the API server has of one kind.
pub(crate) struct Kind {
    plural: &'static str,
    items: Value,
    events: Mutex<Option<mpsc::UnboundedReceiver<Value>>>,
}

impl Kind {
    /// A kind with its objects, and the sender of its watch events.
    pub(crate) fn new(plural: &'static str, items: Value) -> (Self, mpsc::UnboundedSender<Value>) {
        let (sender, events) = mpsc::unbounded_channel();
        (Self { plural, items, events: Mutex::new(Some(events)) }, sender)
    }

    fn list(&self) -> Bytes {
        json!({"metadata": {"resourceVersion": "1"}, "items": self.items}).to_string().into()
    }

    /// The first watch gets the events; later ones stay silent.
    fn watch(&self) -> BoxBody<Bytes, Infallible> {
        let events = self.events.lock().expect("no panic while locked").take();
        let events = events.unwrap_or_else(|| mpsc::unbounded_channel().1);
        let frames = UnboundedReceiverStream::new(events).map(|event| Ok(Frame::data(format!("{event}\n").into())));
        BodyExt::boxed(StreamBody::new(frames))
    }
}

/// A client of an API server that has these kinds.
pub(crate) fn client(kinds: Vec<Kind>) -> kube::Client {
    let kinds = Arc::new(kinds);
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let kinds = kinds.clone();
        async move {
            let kind = kinds.iter().find(|kind| request.uri().path().ends_with(kind.plural));
            let watching = request.uri().query().is_some_and(|query| query.contains("watch=true"));
            let body = match kind {
                Some(kind) if watching => kind.watch(),
                Some(kind) => Full::new(kind.list()).boxed(),
                None => Full::new(Bytes::from_static(b"{}")).boxed(),
            };
            Ok::<_, Infallible>(Response::new(body))
        }
    });
    kube::Client::new(service, "default")
}
