//! `echo` below HTTP: lines over TCP, a server that speaks first, and TLS with a certificate of its own.
//!
//! Over TLS the client chooses: with ALPN `h2` or `http/1.1` it is served HTTP, without ALPN lines.

use std::io;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::line;

/// Who speaks first on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// The client, as in HTTP: a proxy can tell the protocol from its first bytes.
    Client,
    /// The server, as in SMTP or MySQL: a proxy that waits for the client waits for ever.
    Server,
}

/// What is served on a port.
#[derive(Clone)]
pub enum Kind {
    /// Lines.
    Lines(First),
    /// TLS, and in it lines or HTTP.
    Tls(TlsAcceptor, Router),
}

/// Serves connections until the token is cancelled. A connection that breaks ends only itself.
pub async fn serve(listener: TcpListener, kind: Kind, server: Arc<str>, stop: CancellationToken) -> anyhow::Result<()> {
    let address = listener.local_addr().context("cannot read the address of the listener")?;
    tracing::info!(%address, "serving streams");
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => return Err(error).context("cannot accept connections"),
        };
        let (kind, server) = (kind.clone(), Arc::clone(&server));
        tokio::spawn(async move {
            if let Err(error) = connection(stream, kind, &server).await {
                tracing::debug!(%error, "a connection ended");
            }
        });
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn connection(stream: TcpStream, kind: Kind, server: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (acceptor, router) = match kind {
        Kind::Lines(first) => return lines(stream, first, server).await,
        Kind::Tls(acceptor, router) => (acceptor, router),
    };
    let stream = acceptor.accept(stream).await?;
    if stream.get_ref().1.alpn_protocol().is_none() {
        return lines(stream, First::Client, server).await;
    }
    let service = TowerToHyperService::new(router);
    let served = auto::Builder::new(TokioExecutor::new());
    served.serve_connection_with_upgrades(TokioIo::new(stream), service).await.map_err(io::Error::other)
}

/// Gives every line back behind who served it.
async fn lines(stream: impl AsyncRead + AsyncWrite + Unpin, first: First, server: &str) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    if first == First::Server {
        let greeting = format!("{}\n", line::write(server, line::UNKNOWN_PEER, line::GREETING));
        stream.write_all(greeting.as_bytes()).await?;
        stream.flush().await?;
    }
    let mut received = Vec::new();
    loop {
        received.clear();
        let limit = u64::try_from(line::LIMIT).unwrap_or(u64::MAX);
        if (&mut stream).take(limit).read_until(b'\n', &mut received).await? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&received);
        let text = text.trim_end_matches(['\r', '\n']);
        let answer = format!("{}\n", line::write(server, line::UNKNOWN_PEER, text));
        stream.write_all(answer.as_bytes()).await?;
        stream.flush().await?;
    }
}

/// Reads a certificate chain and its key, both as PEM.
pub fn acceptor(certificate: &str, key: &str) -> anyhow::Result<TlsAcceptor> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.with_context(|| format!("cannot read the certificate {certificate}"))?;
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("cannot read the key {key}"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .with_context(|| format!("the certificate {certificate} does not serve"))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
