//! A client of which a test counts requests, refuses them, or holds their answers up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use tokio::sync::watch;

const FORBIDDEN: &str =
    r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"not for you","reason":"Forbidden","code":403}"#;

/// Which requests are meant, by method and path.
type Meant = fn(&Method, &str) -> bool;

/// What happens to the requests that are meant.
pub(crate) struct Spy {
    meant: Meant,
    count: AtomicUsize,
    answered: AtomicUsize,
    refuses: watch::Sender<bool>,
    holds: watch::Sender<bool>,
}

impl Spy {
    /// A client like another one, and who watches it.
    pub(crate) fn on(client: &Client, meant: Meant) -> (Client, Arc<Self>) {
        let spy = Arc::new(Self {
            meant,
            count: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
            refuses: watch::Sender::new(false),
            holds: watch::Sender::new(false),
        });
        let (client, watching) = (client.clone(), Arc::clone(&spy));
        let service = tower::service_fn(move |request| Arc::clone(&watching).pass(client.clone(), request));
        (Client::new(service, "default"), spy)
    }

    async fn pass(self: Arc<Self>, client: Client, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
        if !(self.meant)(request.method(), request.uri().path()) {
            return client.send(request).await;
        }
        self.count.fetch_add(1, Ordering::SeqCst);
        if *self.refuses.borrow() {
            let refusal =
                Response::builder().status(StatusCode::FORBIDDEN).body(Body::from(FORBIDDEN.as_bytes().to_vec()));
            return Ok(refusal.unwrap());
        }
        let answer = client.send(request).await;
        self.answered.fetch_add(1, Ordering::SeqCst);
        self.holds.subscribe().wait_for(|holds| !holds).await.unwrap();
        answer
    }

    /// How many there were.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// How many of them the cluster has answered.
    pub(crate) fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }

    /// From now on they are refused, or are not.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.refuses.send_replace(refuses);
    }

    /// From now on their answers wait, or go on their way. The cluster has done what was asked for.
    pub(crate) fn hold(&self, holds: bool) {
        self.holds.send_replace(holds);
    }
}
