//! Connections from the agent to the control plane: marked sockets, TLS verified by the mesh root, gRPC channels.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper_util::rt::TokioIo;
use nix::sys::socket::{setsockopt, sockopt};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpSocket, TcpStream};
use tonic::transport::{Channel, Endpoint, Uri};

use crate::certificate::{Secrets, bundle_holds, parse_certificates};
use crate::settings::{PROXY_MARK, Settings};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the control plane cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The address is not `host:port`.
    #[error("{0:?} is not host:port")]
    Address(String),
    /// The file with the mesh roots cannot be used.
    #[error("roots of the mesh in {path}: {problem}")]
    Roots {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// TLS could not be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The channel could not be opened.
    #[error("cannot connect to {address}: {problem}")]
    Connect {
        /// `host:port`.
        address: String,
        /// The chain of causes, outermost first.
        problem: String,
    },
}

/// Opens a gRPC channel to `address`, presenting the workload certificate where there is one.
///
/// # Errors
/// [`UpstreamError`].
pub async fn connect(settings: &Settings, address: &str, secrets: Option<&Secrets>) -> Result<Channel, UpstreamError> {
    let bad_address = || UpstreamError::Address(address.to_owned());
    let (host, _port) = address.rsplit_once(':').ok_or_else(bad_address)?;
    let server = ServerName::try_from(host.to_owned()).map_err(|_error| bad_address())?;
    let origin: Uri = format!("https://{address}").parse().map_err(|_error| bad_address())?;
    let tls = tokio_rustls::TlsConnector::from(Arc::new(client_config(settings, secrets)?));
    let mark = settings.mark_sockets;
    let target = address.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let (tls, server, target) = (tls.clone(), server.clone(), target.clone());
        async move {
            let stream = dial(&target, mark).await?;
            tls.connect(server, stream).await.map(TokioIo::new)
        }
    });
    // The connector does TLS itself; the endpoint's own scheme must be plain for tonic to leave it to that.
    let endpoint: Endpoint = Channel::from_static("http://control-plane.invalid")
        .origin(origin)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true);
    endpoint
        .connect_with_connector(connector)
        .await
        .map_err(|error| UpstreamError::Connect { address: address.to_owned(), problem: causes(&error) })
}

/// gRPC's own errors say little; what happened is in their sources.
fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(error.source(), |cause| cause.source());
    let texts: Vec<String> = chain.map(ToString::to_string).collect();
    if texts.is_empty() { error.to_string() } else { texts.join(": ") }
}

fn client_config(settings: &Settings, secrets: Option<&Secrets>) -> Result<ClientConfig, UpstreamError> {
    let path = &settings.paths.root_certificate;
    let refused = |problem: String| UpstreamError::Roots { path: path.display().to_string(), problem };
    let pem = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in parse_certificates(&pem).map_err(|error| refused(error.to_string()))? {
        roots.add(certificate).map_err(|error| refused(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(refused("no certificate".to_owned()));
    }
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let mut config = match secrets.filter(|secrets| is_presentable(secrets, &pem)) {
        Some(secrets) => {
            let chain =
                parse_certificates(&secrets.chain_pem).map_err(|error| rustls::Error::General(error.to_string()))?;
            let key = PrivateKeyDer::from_pem_slice(secrets.key_pem.as_bytes())
                .map_err(|error| rustls::Error::General(error.to_string()))?;
            builder.with_client_auth_cert(chain, key)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Whether the server would accept a certificate: it verifies by the same roots. What it would refuse is better not
/// shown, since a token may do.
fn is_presentable(secrets: &Secrets, roots_pem: &str) -> bool {
    secrets.not_after > SystemTime::now() && bundle_holds(roots_pem, &secrets.issuer_root_pem)
}

/// Whether the certificate alone says who the workload is: once a machine has one, its token is not shown again.
#[must_use]
pub fn certificate_suffices(settings: &Settings, secrets: Option<&Secrets>) -> bool {
    let roots = || std::fs::read_to_string(&settings.paths.root_certificate).unwrap_or_default();
    settings.paths.provisioned.is_some() && secrets.is_some_and(|secrets| is_presentable(secrets, &roots()))
}

/// Connects to the first address of `host:port` that answers, from a socket that capture leaves alone.
async fn dial(address: &str, mark: bool) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{address} has no address"));
    for candidate in tokio::net::lookup_host(address).await? {
        match connect_tcp(candidate, mark).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn connect_tcp(address: SocketAddr, mark: bool) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if mark {
        mark_socket(&socket)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Marks a socket as the proxy's own.
///
/// # Errors
/// The kernel refuses it without `CAP_NET_ADMIN`.
pub fn mark_socket(socket: &impl AsFd) -> io::Result<()> {
    setsockopt(socket, sockopt::Mark, &PROXY_MARK).map_err(|errno| {
        io::Error::other(format!("SO_MARK is refused ({errno}); the container needs the capability NET_ADMIN"))
    })
}
