//! The agent at work: certificates, secret service, xDS proxy, status server and Envoy, from start to orderly end.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::secret::v3::secret_discovery_service_server::SecretDiscoveryServiceServer;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tracing::{error, info};

use crate::ads::{AdsProxy, Counters};
use crate::dns::upstream::Resolvers;
use crate::dns::{self, ResolvConf, Subscription};
use crate::drain;
use crate::envoy::{Envoy, StartError, write_bootstrap};
use crate::health::{self, Verdict};
use crate::identity;
use crate::sds::SecretService;
use crate::settings::Settings;
use crate::status::{self, AppProbers, Metrics, ProbeConfigError, Readiness, Status};

/// How long Envoy may take to end after it was asked to.
const ENVOY_END: Duration = Duration::from_secs(5);

/// Why the proxy did not start or ended badly.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Envoy.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Probes of the application.
    #[error(transparent)]
    Probes(#[from] ProbeConfigError),
    /// A socket the agent must listen on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Path or address.
        address: String,
        /// The cause.
        source: io::Error,
    },
    /// The operating system.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Runs the proxy until it ends by itself, by a signal or by request; returns the exit code.
///
/// # Errors
/// [`ProxyError`].
pub async fn run(settings: Settings) -> Result<i32, ProxyError> {
    let settings = Arc::new(settings);
    let (publish, secrets) = watch::channel(None);
    let counters = Arc::new(Counters::default());
    let quit = Arc::new(Notify::new());
    let probers = AppProbers::parse(settings.app_probers.as_deref())?;
    write_bootstrap(&settings)?;
    serve_unix(&settings.paths.sds, SecretDiscoveryServiceServer::new(SecretService::new(secrets.clone())))?;
    let names = serve_dns(&settings).await?;
    let health = watch_health(&settings);
    let ads = AdsProxy::new(Arc::clone(&settings), secrets.clone(), Arc::clone(&counters), names, health);
    serve_unix(&settings.paths.xds(), ads)?;
    let status = Status::new(
        Arc::clone(&settings),
        Readiness::new(secrets.clone()),
        Metrics::new(secrets, counters),
        probers,
        Arc::clone(&quit),
    );
    serve_status(&settings, status).await?;
    tokio::spawn(identity::run(Arc::clone(&settings), publish));
    let mut envoy = Envoy::start(&settings)?;
    info!(
        role = settings.role.as_str(),
        pod = settings.pod_name,
        control_plane = settings.discovery_address,
        "proxy started"
    );
    until_end(&settings, &mut envoy, &quit).await
}

async fn until_end(settings: &Settings, envoy: &mut Envoy, quit: &Notify) -> Result<i32, ProxyError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        code = envoy.wait() => {
            let code = code?;
            error!(code, "Envoy ended by itself");
            return Ok(code);
        }
        _ = terminate.recv() => info!("asked to terminate; draining"),
        _ = interrupt.recv() => info!("interrupted; draining"),
        () = quit.notified() => info!("asked to quit; draining"),
    }
    tokio::select! {
        code = envoy.wait() => return Ok(code?),
        () = drain::drain(settings) => {}
    }
    envoy.terminate()?;
    match tokio::time::timeout(ENVOY_END, envoy.wait()).await {
        // Ending by the signal it was sent is what was asked for.
        Ok(code) => Ok(code.map(|code| if code == 128 + 15 { 0 } else { code })?),
        Err(_elapsed) => {
            error!("Envoy does not end; it is killed");
            Ok(128 + 9)
        }
    }
}

fn serve_unix<S>(path: &Path, service: S) -> Result<(), ProxyError>
where
    S: tower::Service<http::Request<tonic::body::Body>, Error = std::convert::Infallible>
        + tonic::server::NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Response: axum::response::IntoResponse,
    S::Future: Future + Send + 'static,
{
    let listener =
        bind_unix(path).map_err(|source| ProxyError::Listen { address: path.display().to_string(), source })?;
    let address = path.display().to_string();
    tokio::spawn(async move {
        let served =
            Server::builder().add_service(service).serve_with_incoming(UnixListenerStream::new(listener)).await;
        if let Err(error) = served {
            error!(%error, address, "a service for Envoy has ended");
        }
    });
    Ok(())
}

/// A socket left behind by an earlier run in the same pod is replaced.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(path)
}

/// Answers DNS where it is captured; returns where its names come from.
async fn serve_dns(settings: &Settings) -> Result<Option<Subscription>, ProxyError> {
    if !settings.captures_dns {
        return Ok(None);
    }
    let system = ResolvConf::read();
    let resolvers = Resolvers::new(system.servers, settings.mark_sockets);
    let (publish, names) = watch::channel(None);
    for (port, names) in [(settings.ports.dns, Some(names)), (settings.ports.dns_upstream, None)] {
        let listening = dns::server::serve(port, names, resolvers.clone()).await;
        listening.map_err(|source| ProxyError::Listen { address: format!("127.0.0.1:{port}"), source })?;
    }
    info!(port = settings.ports.dns, resolvers = ?resolvers.servers, "DNS of the application is answered here");
    Ok(Some(Subscription::new(publish, &settings.pod_namespace, system.search)))
}

/// Looks at the application's health where its WorkloadGroup has a probe.
fn watch_health(settings: &Arc<Settings>) -> Option<watch::Receiver<Verdict>> {
    let probe = settings.proxy_config.readiness_probe.clone()?;
    let (publish, verdict) = watch::channel(None);
    tokio::spawn(health::watch(Arc::clone(settings), probe, publish));
    Some(verdict)
}

async fn serve_status(settings: &Settings, status: Status) -> Result<(), ProxyError> {
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, settings.ports.status));
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| ProxyError::Listen { address: address.to_string(), source })?;
    tokio::spawn(status::serve(listener, Arc::new(status)));
    Ok(())
}
