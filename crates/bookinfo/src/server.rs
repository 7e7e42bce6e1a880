//! Listening, serving and stopping. Knows nothing of what is served.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long requests in flight may take after the signal to stop.
const GRACE: Duration = Duration::from_millis(800);

/// A token that SIGTERM and SIGINT cancel. The first process of a container gets no default action for them.
pub fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        cancelled.cancel();
    });
    Ok(stop)
}

/// Binds the address; port 0 takes any free port.
pub async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// Serves HTTP/1.1 and HTTP/2 without TLS until the token is cancelled, then gives requests in flight a short grace.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) -> anyhow::Result<()> {
    let address = listener.local_addr().context("cannot read the address of the listener")?;
    tracing::info!(%address, "serving");
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::warn!(%error, "cannot set TCP_NODELAY");
        }
    });
    let server = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    let server = tokio::spawn(server.into_future());
    stop.cancelled().await;
    match tokio::time::timeout(GRACE, server).await {
        Ok(ended) => ended.context("the server ended abnormally")?.context("cannot serve"),
        Err(_) => {
            tracing::info!("stopping with requests in flight");
            Ok(())
        }
    }
}
