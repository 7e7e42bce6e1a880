//! The agent's HTTP server on port 15020: readiness, merged metrics, the application's probes, and the end of the pod.

mod metrics;
mod probes;
mod readiness;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tracing::debug;

pub use metrics::Metrics;
pub(crate) use probes::{Action, perform};
pub use probes::{AppProbers, ProbeConfigError};
pub use readiness::Readiness;

use crate::settings::Settings;

type Reply = Response<Full<Bytes>>;

/// What the server answers from.
pub struct Status {
    settings: Arc<Settings>,
    readiness: Readiness,
    metrics: Metrics,
    probers: AppProbers,
    quit: Arc<Notify>,
}

impl Status {
    /// `quit` is notified when someone in the pod asks for its end.
    #[must_use]
    pub fn new(
        settings: Arc<Settings>,
        readiness: Readiness,
        metrics: Metrics,
        probers: AppProbers,
        quit: Arc<Notify>,
    ) -> Self {
        Self { settings, readiness, metrics, probers, quit }
    }

    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Reply {
        match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/healthz/ready") => self.ready().await,
            (&Method::GET, "/stats/prometheus" | "/metrics") => self.metrics.merged(&self.settings).await,
            (&Method::POST, "/quitquitquit") => self.quit(peer),
            (_, "/quitquitquit") => text(StatusCode::METHOD_NOT_ALLOWED, "only POST"),
            (_, path) if path.starts_with("/app-health/") => {
                self.probers.answer(path, request.headers(), self.settings.instance_ip()).await
            }
            (_, path) => text(StatusCode::NOT_FOUND, format!("nothing is served at {path}")),
        }
    }

    async fn ready(&self) -> Reply {
        match self.readiness.check(&self.settings).await {
            Ok(()) => text(StatusCode::OK, ""),
            Err(reason) => {
                debug!(reason, "not ready");
                text(StatusCode::SERVICE_UNAVAILABLE, reason)
            }
        }
    }

    fn quit(&self, peer: SocketAddr) -> Reply {
        if !peer.ip().to_canonical().is_loopback() {
            return text(StatusCode::FORBIDDEN, "only from inside the pod");
        }
        self.quit.notify_one();
        text(StatusCode::OK, "ok")
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply
}

/// Serves for ever.
pub async fn serve(listener: TcpListener, status: Arc<Status>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                tokio::spawn(connection(stream, peer, Arc::clone(&status)));
            }
            // Such as too many open files: the next connection may do better, after those at work had their turn.
            Err(error) => {
                debug!(%error, "a connection was not accepted");
                tokio::task::yield_now().await;
            }
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, status: Arc<Status>) {
    let service = service_fn(move |request| {
        let status = Arc::clone(&status);
        async move { Ok::<_, Infallible>(status.answer(request, peer).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(30))
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!(%error, %peer, "a status connection broke");
    }
}
