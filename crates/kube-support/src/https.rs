//! TLS on a port, with a configuration that may change while it is served.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures::StreamExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// Connections whose handshake is done and that nobody has taken yet.
const BACKLOG: usize = 64;

/// Accepts TLS connections, each handshake on its own, with the configuration of the moment. Ends with the listener's
/// taker: dropping the stream stops it. Fit for tonic's `serve_with_incoming`, which then knows the peer's certificates.
#[must_use]
pub fn incoming(
    listener: TcpListener,
    config: watch::Receiver<Arc<ServerConfig>>,
) -> ReceiverStream<io::Result<TlsStream<TcpStream>>> {
    let (sender, receiver) = mpsc::channel(BACKLOG);
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = sender.closed() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let acceptor = TlsAcceptor::from(config.borrow().clone());
                    let sender = sender.clone();
                    tokio::spawn(async move {
                        match tokio::time::timeout(HANDSHAKE_DEADLINE, handshake(acceptor, stream)).await {
                            // A taker that is gone needs no connection.
                            Ok(Ok(stream)) => drop(sender.send(Ok(stream)).await),
                            Ok(Err(error)) => debug!(%peer, %error, "TLS handshake failed"),
                            Err(_elapsed) => debug!(%peer, "TLS handshake took too long"),
                        }
                    });
                }
                Err(error) => {
                    warn!(%error, "a connection was not accepted");
                    tokio::task::yield_now().await;
                }
            }
        }
    });
    ReceiverStream::new(receiver)
}

async fn handshake(acceptor: TlsAcceptor, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    acceptor.accept(stream).await
}

/// Serves HTTP/1.1 and HTTP/2 until cancelled.
pub async fn serve(
    listener: TcpListener,
    tls: watch::Receiver<Arc<ServerConfig>>,
    router: Router,
    cancel: CancellationToken,
) {
    let mut connections = incoming(listener, tls);
    while let Some(Some(connection)) = cancel.run_until_cancelled(connections.next()).await {
        let Ok(stream) = connection else { continue };
        let service = TowerToHyperService::new(router.clone());
        let cancel = cancel.clone();
        tokio::spawn(async move {
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let served = builder.serve_connection(TokioIo::new(stream), service);
            if let Some(Err(error)) = cancel.run_until_cancelled(served).await {
                debug!(%error, "a webhook connection broke");
            }
        });
    }
}
