//! Listening: TLS with optional client certificates, HTTP/1.1 and HTTP/2, until cancelled.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::authentication::certificate;
use crate::http::{Caller, handle};
use crate::pki::Authority;
use crate::server::{ApiServer, Error};

/// How long a client may take for its TLS handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// The pause after a failed accept, so that a lasting cause does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// TLS for a server with the given names; client certificates of the same authority are verified, none is demanded.
pub(crate) fn tls_config(authority: &Authority, names: &[String]) -> Result<Arc<rustls::ServerConfig>, Error> {
    let identity = authority.server(names)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate())?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![identity.certificate, authority.certificate()], identity.key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

impl ApiServer {
    /// Serves HTTPS on a listener until `cancel`; open connections, watches included, end then. May be called for
    /// several listeners.
    pub async fn serve(self: &Arc<Self>, listener: TcpListener, cancel: CancellationToken) {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.tls));
        loop {
            let accepted = tokio::select! {
                () = cancel.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let connection = serve_connection(Arc::clone(self), acceptor.clone(), stream);
                    let cancel = cancel.clone();
                    tokio::spawn(async move { cancel.run_until_cancelled(connection).await });
                }
                Err(error) => {
                    // A full descriptor table or an aborted connection: the listener itself stays usable, after a while.
                    tracing::warn!(cluster = %self.cluster_name, %error, "cannot accept a connection");
                    let _ = tokio::time::timeout(ACCEPT_PAUSE, cancel.cancelled()).await;
                }
            }
        }
    }
}

async fn serve_connection(server: Arc<ApiServer>, acceptor: TlsAcceptor, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(cluster = %server.cluster_name, %error, "a TLS handshake failed");
            return;
        }
        Err(_) => return,
    };
    let certificates = stream.get_ref().1.peer_certificates();
    let user = certificates.and_then(|chain| chain.first()).and_then(|leaf| certificate::user(leaf));
    let caller = Caller::Connection(user);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (server, caller) = (Arc::clone(&server), caller.clone());
        async move { Ok::<_, std::convert::Infallible>(handle(server, request.map(Body::new), caller).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().enable_connect_protocol().max_concurrent_streams(1000);
    let served = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
    if let Err(error) = served {
        tracing::debug!(error, "a connection ended early");
    }
}
