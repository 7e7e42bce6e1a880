//! Starts and stops the agent: its listeners, and what looks after certificates.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use envoy_types::pb::envoy::service::accesslog::v3::access_log_service_server::AccessLogServiceServer;
use kube::{Client, Config};
use mesh_types::hub::names;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::acknowledged::follow;
use crate::admin::{self, Sources};
use crate::pods::Pods;
use crate::run::{self, Settings};
use crate::telemetry::AccessLogs;

/// Port of the kubelet's probe.
const PORT_PROBE: u16 = 8080;

/// Settings of the process, from its command line or environment.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Namespace of the agent, with its resources.
    #[arg(long, env = "POD_NAMESPACE", default_value = names::NAMESPACE)]
    pub namespace: String,
    /// Name under which the cluster is registered with the plane.
    #[arg(long, env = "CLUSTER_NAME")]
    pub cluster: String,
}

/// Why the agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
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
}

/// Runs the agent until a signal ends it.
///
/// # Errors
/// [`StartError`].
pub async fn run(options: Options) -> Result<(), StartError> {
    // A second provider cannot be there in this program; the first call wins in any case.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = Config::infer().await?;
    config.default_retry = false;
    let client = Client::try_from(config)?;
    let cancel = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let probe = listen(Ipv4Addr::UNSPECIFIED, PORT_PROBE).await?;
    let ready = Router::new().route("/ready", get(|| async { StatusCode::OK }));
    tasks.spawn(http(probe, ready, cancel.clone()));
    let pods = Pods::watch(client.clone(), &cancel);
    let (sender, acknowledged) = watch::channel(Arc::default());
    tasks.spawn(follow::run(pods.clone(), sender, cancel.clone()));
    let known = pods.clone();
    let access_logs = AccessLogs::new(Arc::new(move |address| known.workload(address)));
    let listener = listen(Ipv4Addr::UNSPECIFIED, names::PORT_ACCESS_LOG).await?;
    tasks.spawn(grpc(listener, access_logs.clone(), cancel.clone()));
    let listener = listen(Ipv4Addr::LOCALHOST, names::PORT_AGENT_ADMIN).await?;
    tasks.spawn(http(listener, admin::router(Sources { acknowledged, access_logs }), cancel.clone()));
    let settings = Settings { namespace: options.namespace.clone(), cluster: options.cluster.clone() };
    tasks.spawn(run::run(client, pods, settings, cancel.clone()));
    tracing::info!(cluster = options.cluster, namespace = options.namespace, "looking after the cluster");
    until_signalled().await?;
    tracing::info!("stopping");
    cancel.cancel();
    tasks.shutdown().await;
    Ok(())
}

async fn listen(address: Ipv4Addr, port: u16) -> Result<TcpListener, StartError> {
    let address = SocketAddr::new(IpAddr::V4(address), port);
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

async fn http(listener: TcpListener, router: Router, cancel: CancellationToken) {
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(cancel.cancelled_owned()).await {
        tracing::error!(%error, "a listener ended");
    }
}

async fn grpc(listener: TcpListener, access_logs: AccessLogs, cancel: CancellationToken) {
    let served = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .add_service(AccessLogServiceServer::new(access_logs))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), cancel.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "the access log service ended");
    }
}

async fn until_signalled() -> Result<(), StartError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signal)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
