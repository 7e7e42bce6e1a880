//! The program: listens, waits until it leads, works, and ends when it is told to, or leads no longer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use kube::{Client, Config};
use mesh_types::hub::names;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::lease;
use crate::manager::Manager;

/// Settings of the process, from its command line or environment.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Namespace of the hub.
    #[arg(long, env = "POD_NAMESPACE", default_value = names::NAMESPACE)]
    pub namespace: String,
    /// Who this is among several managers; the name of its pod.
    #[arg(long, env = "HOSTNAME", default_value = "hub-manager")]
    pub identity: String,
}

/// Why the manager ends.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no cluster to work in.
    #[error("no cluster configuration: {0}")]
    Configuration(#[from] kube::config::InferConfigError),
    /// No client can be made of the configuration.
    #[error("no client for the cluster: {0}")]
    Client(#[from] kube::Error),
    /// A port is taken.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// No handler for signals.
    #[error("cannot handle signals: {0}")]
    Signal(std::io::Error),
    /// Another manager leads.
    #[error("the lease is lost: {0}; another manager may lead, so this one ends")]
    LeaseLost(String),
}

/// Runs the manager until a signal ends it, or it loses its lease.
///
/// # Errors
/// It cannot start, or has to end.
pub async fn run(options: Options) -> Result<(), RunError> {
    // A second provider cannot be there in this program; the first call wins in any case.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = Config::infer().await?;
    config.default_retry = false;
    let client = Client::try_from(config)?;
    let cancel = CancellationToken::new();
    let (ready, is_ready) = watch::channel(false);
    let probe = listen(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), names::PORT_PROBE)).await?;
    tokio::spawn(serve(probe, readiness(is_ready), cancel.clone()));
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signal)?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let stopping = cancel.clone();
    tokio::spawn(async move {
        stop.await;
        tracing::info!("stopping");
        stopping.cancel();
    });
    match lead(client, &options, &ready, &cancel).await {
        Some(lost) => Err(RunError::LeaseLost(lost)),
        None => Ok(()),
    }
}

/// Leads once it may, until it is cancelled or may not any longer; then it says why.
async fn lead(
    client: Client,
    options: &Options,
    ready: &watch::Sender<bool>,
    cancel: &CancellationToken,
) -> Option<String> {
    let settings = lease::Settings::new(&options.namespace, names::MANAGER, &options.identity);
    let mut held = cancel.run_until_cancelled(lease::acquire(client.clone(), settings)).await?;
    let manager = Manager::start(client, &options.namespace);
    let mut began = manager.began.clone();
    let tell = async {
        if began.wait_for(|began| *began).await.is_ok() {
            ready.send_replace(true);
        }
    };
    let keep = cancel.run_until_cancelled(held.keep());
    let tell = async {
        tell.await;
        std::future::pending::<()>().await;
    };
    let lost = tokio::select! {
        lost = keep => lost,
        () = tell => None,
    };
    // Nothing is written any more before another may begin.
    manager.stop().await;
    if lost.is_none() {
        held.release().await;
    }
    lost
}

fn readiness(ready: watch::Receiver<bool>) -> Router {
    Router::new().route("/ready", get(is_ready)).with_state(ready)
}

async fn is_ready(State(ready): State<watch::Receiver<bool>>) -> (StatusCode, &'static str) {
    if *ready.borrow() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not everything has been read yet\n")
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address).await.map_err(|source| RunError::Listen { address, source })
}

async fn serve(listener: TcpListener, router: Router, cancel: CancellationToken) {
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(cancel.cancelled_owned()).await {
        tracing::error!(%error, "a listener ended");
    }
}
