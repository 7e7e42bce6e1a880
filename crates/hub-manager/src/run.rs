//! The program: listens, waits until it leads, works, and ends when it is told to, or leads no longer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::Router;
use kube::{Client, Config};
use kube_support::{flag, pause};
use mesh_types::hub::names;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Sources, View};
use crate::clusters::Agents;
use crate::event::Events;
use crate::manager::Manager;
use crate::plane::Plane;
use crate::telemetry;
use crate::{admission, lease};

/// After how long a manager that waits for the lease is ready: it stands by.
const STAND_BY: std::time::Duration = std::time::Duration::from_secs(3);

/// Settings of the process, from its command line or environment.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Namespace of the hub.
    #[arg(long, env = "POD_NAMESPACE", default_value = names::NAMESPACE)]
    pub namespace: String,
    /// Who this is among several managers; the name of its pod.
    #[arg(long, env = "POD_NAME", default_value = names::MANAGER)]
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
    /// A part of it ended, which none does by itself.
    #[error("{0} of the manager ended by itself, which is a defect; see the log before this")]
    Broken(&'static str),
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
    let everywhere = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
    let (ready, is_ready) = watch::channel(false);
    let (view, views) = watch::channel(None);
    let (leads, leading) = watch::channel(None);
    let (in_step, judges) = watch::channel(false);
    let agents = Agents::default();
    let telemetry = telemetry::Sources { agents: agents.clone(), namespace: options.namespace.clone() };
    let sources = Sources { view: views, ready: is_ready.clone(), telemetry };
    let probe = listen(everywhere(names::PORT_PROBE)).await?;
    let administration = listen(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), names::PORT_MANAGER_ADMIN)).await?;
    let webhook = listen(everywhere(names::PORT_MANAGER_WEBHOOK)).await?;
    tokio::spawn(serve(probe, admin::readiness(is_ready), cancel.clone()));
    tokio::spawn(serve(administration, admin::router(sources), cancel.clone()));
    let namespace = options.namespace.clone();
    tokio::spawn(admission::run(client.clone(), namespace, webhook, leading, in_step, cancel.clone()));
    stop_when_signalled(&cancel)?;
    let publish = Publish { ready, view, leads, judges, agents };
    match lead(client, &options, publish, &cancel).await {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn stop_when_signalled(cancel: &CancellationToken) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signal)?;
    let cancel = cancel.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        cancel.cancel();
    });
    Ok(())
}

/// Where it is told how far the manager is.
struct Publish {
    ready: watch::Sender<bool>,
    view: watch::Sender<Option<View>>,
    leads: watch::Sender<Option<Events>>,
    judges: watch::Receiver<bool>,
    agents: Agents,
}

/// Leads once it may, until it is cancelled or may not any longer; then it says why.
async fn lead(client: Client, options: &Options, mut publish: Publish, cancel: &CancellationToken) -> Option<RunError> {
    let settings = lease::Settings::new(&options.namespace, names::MANAGER, &options.identity);
    let acquire = async {
        let plane = Plane::of(&client, &options.namespace).await;
        (plane, lease::acquire(client.clone(), settings).await)
    };
    let stand_by = async {
        // Whoever waits for the lease is as ready as it can be.
        pause::for_a(STAND_BY).await;
        flag::is_set(&mut publish.judges).await;
        publish.ready.send_replace(true);
        std::future::pending::<()>().await;
    };
    let (plane, mut held) = tokio::select! {
        held = cancel.run_until_cancelled(acquire) => held?,
        () = stand_by => return None,
    };
    let mut manager = Manager::start_with(client, &plane, publish.agents.clone());
    publish.view.send_replace(Some(manager.view()));
    publish.leads.send_replace(Some(manager.events.clone()));
    let mut began = manager.began.clone();
    let tell = async {
        flag::is_set(&mut began).await;
        flag::is_set(&mut publish.judges).await;
        publish.ready.send_replace(true);
        std::future::pending::<()>().await;
    };
    let error = tokio::select! {
        lost = cancel.run_until_cancelled(held.keep()) => lost.map(RunError::LeaseLost),
        part = manager.ended() => Some(RunError::Broken(part)),
        () = tell => None,
    };
    publish.view.send_replace(None);
    publish.leads.send_replace(None);
    // Nothing is written any more before another may begin.
    manager.stop().await;
    if !matches!(error, Some(RunError::LeaseLost(_))) {
        held.release().await;
    }
    error
}

async fn listen(address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address).await.map_err(|source| RunError::Listen { address, source })
}

async fn serve(listener: TcpListener, router: Router, cancel: CancellationToken) {
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(cancel.cancelled_owned()).await {
        tracing::error!(%error, "a listener ended");
    }
}
