//! The xDS proxy: Envoy speaks to a Unix socket, the agent carries each stream to the control plane, authenticated.
//!
//! One stream of Envoy is one stream upstream. While the control plane cannot be reached, a stream of Envoy is held
//! open and the agent tries on; when an established stream breaks, Envoy's is ended too and Envoy starts a new one,
//! naming what it already has. Envoy keeps serving its last configuration all along.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{Stream, StreamExt as _};
use http::uri::PathAndQuery;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::server::{NamedService, StreamingService};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::dns::Subscription;
use crate::health::{self, Verdict};
use crate::identity::{self, SecretsWatch};
use crate::raw_codec::RawCodec;
use crate::settings::Settings;
use crate::upstream;

const DELTA: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
const STATE_OF_THE_WORLD: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
/// A full push to a proxy of a large mesh exceeds gRPC's usual 4 MiB.
const MESSAGE_LIMIT: usize = 256 << 20;
/// Messages under way in each direction; more are left in HTTP/2 flow control.
const BUFFERED: usize = 8;

/// Figures of the proxy, for metrics.
#[derive(Debug, Default)]
pub struct Counters {
    /// Streams that reached the control plane.
    pub streams: AtomicU64,
    /// Attempts to reach the control plane that failed.
    pub failures: AtomicU64,
}

/// The service to offer to Envoy.
#[derive(Clone)]
pub struct AdsProxy {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Arc<Settings>,
    secrets: SecretsWatch,
    counters: Arc<Counters>,
    /// The agent's own part of each stream, where it answers DNS.
    names: Option<Subscription>,
    /// The health of the application, where it is looked at.
    health: Option<watch::Receiver<Verdict>>,
}

impl AdsProxy {
    /// A proxy to the control plane of `settings`.
    #[must_use]
    pub fn new(
        settings: Arc<Settings>,
        secrets: SecretsWatch,
        counters: Arc<Counters>,
        names: Option<Subscription>,
        health: Option<watch::Receiver<Verdict>>,
    ) -> Self {
        Self { shared: Arc::new(Shared { settings, secrets, counters, names, health }) }
    }
}

impl NamedService for AdsProxy {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

impl tower::Service<http::Request<Body>> for AdsProxy {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let path = match request.uri().path() {
            DELTA => PathAndQuery::from_static(DELTA),
            STATE_OF_THE_WORLD => PathAndQuery::from_static(STATE_OF_THE_WORLD),
            other => {
                let status = Status::unimplemented(format!("{other} is not served here"));
                return Box::pin(async move { Ok(status.into_http()) });
            }
        };
        let method = Method { shared: Arc::clone(&self.shared), path };
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(RawCodec).max_decoding_message_size(MESSAGE_LIMIT);
            Ok(grpc.streaming(method, request).await)
        })
    }
}

struct Method {
    shared: Arc<Shared>,
    path: PathAndQuery,
}

impl StreamingService<Bytes> for Method {
    type Response = Bytes;
    type ResponseStream = ReceiverStream<Result<Bytes, Status>>;
    type Future = std::future::Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let (answers, stream) = mpsc::channel(BUFFERED);
        tokio::spawn(carry(Arc::clone(&self.shared), self.path.clone(), request.into_inner(), answers));
        std::future::ready(Ok(Response::new(ReceiverStream::new(stream))))
    }
}

type Answers = mpsc::Sender<Result<Bytes, Status>>;

async fn carry(shared: Arc<Shared>, path: PathAndQuery, requests: Streaming<Bytes>, answers: Answers) {
    let end = tokio::select! {
        end = carry_upstream(&shared, path, requests, &answers) => end,
        () = answers.closed() => return,
    };
    warn!(code = ?end.code(), message = end.message(), "the stream to the control plane has ended");
    if answers.send(Err(end)).await.is_err() {
        info!("Envoy closed its stream first");
    }
}

async fn carry_upstream(shared: &Shared, path: PathAndQuery, requests: Streaming<Bytes>, answers: &Answers) -> Status {
    let (channel, by_certificate) = connect_until_success(shared).await;
    match exchange(shared, (channel, by_certificate), path, requests, answers).await {
        Ok(()) => Status::unavailable("the control plane closed the stream"),
        Err(status) => {
            shared.counters.failures.fetch_add(1, Ordering::Relaxed);
            status
        }
    }
}

/// A channel, and whether the certificate that it presents says who the workload is.
async fn connect_until_success(shared: &Shared) -> (Channel, bool) {
    let mut backoff = Backoff::new(Duration::from_secs(2));
    loop {
        let secrets = shared.secrets.borrow().clone();
        let by_certificate = upstream::certificate_suffices(&shared.settings, secrets.as_deref());
        match upstream::connect(&shared.settings, &shared.settings.discovery_address, secrets.as_deref()).await {
            Ok(channel) => return (channel, by_certificate),
            Err(error) => {
                shared.counters.failures.fetch_add(1, Ordering::Relaxed);
                warn!(%error, "the control plane is out of reach; Envoy keeps its configuration");
            }
        }
        backoff.pause().await;
    }
}

/// Envoy's requests with the agent's own among them, which follow the first: that one introduces the proxy.
fn merged(
    requests: Streaming<Bytes>,
    subscription: Option<Bytes>,
    own: mpsc::Receiver<Bytes>,
) -> impl Stream<Item = Bytes> + Send + 'static {
    // The requests end where Envoy ends them or breaks off; the answer's side learns of the latter by itself.
    let mut requests = requests.filter_map(|message| std::future::ready(message.ok()));
    let own = ReceiverStream::new(own);
    futures::stream::once(async move {
        let first = requests.next().await;
        let introduced = futures::stream::iter(first.into_iter().chain(subscription));
        introduced.chain(futures::stream::select(requests, own))
    })
    .flatten()
}

async fn exchange(
    shared: &Shared,
    (channel, by_certificate): (Channel, bool),
    path: PathAndQuery,
    requests: Streaming<Bytes>,
    answers: &Answers,
) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(MESSAGE_LIMIT);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let names = shared.names.as_ref().filter(|_| path.path() == DELTA);
    let (own, own_requests) = mpsc::channel(BUFFERED);
    let mut outgoing = Request::new(merged(requests, names.map(Subscription::request), own_requests));
    identity::authenticate(&shared.settings, by_certificate, outgoing.metadata_mut());
    let mut health = shared.health.clone().filter(|_| path.path() == DELTA);
    let mut incoming = client.streaming(outgoing, path, RawCodec).await?.into_inner();
    shared.counters.streams.fetch_add(1, Ordering::Relaxed);
    info!("connected to the control plane");
    // Every control plane that the proxy meets hears of it first.
    if let Some(health) = &mut health {
        health.mark_changed();
    }
    loop {
        let message = tokio::select! {
            message = incoming.message() => message?,
            verdict = turned(&mut health) => {
                let _ended = own.send(health::message(&verdict)).await;
                continue;
            }
        };
        let Some(message) = message else { return Ok(()) };
        if let Some(acknowledgement) = names.and_then(|names| names.take(&message)) {
            // Where the requests have ended, the stream ends too.
            let _ended = own.send(acknowledgement).await;
            continue;
        }
        if answers.send(Ok(message)).await.is_err() {
            return Ok(());
        }
    }
}

/// The next verdict; never where there is none to come.
async fn turned(health: &mut Option<watch::Receiver<Verdict>>) -> Result<(), String> {
    let Some(health) = health else { return std::future::pending().await };
    while health.changed().await.is_ok() {
        if let Some(verdict) = health.borrow_and_update().clone() {
            return verdict;
        }
    }
    std::future::pending().await
}
