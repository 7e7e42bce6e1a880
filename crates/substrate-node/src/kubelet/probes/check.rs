//! Carries out one check: dials from the node's namespace, or runs a command in the container.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::spec::{Check, HttpCheck, target};
use crate::fabric::ClusterNetwork;
use crate::runtime::{Container, ExecSpec};

/// How much of a command's output goes into a message.
const LONGEST_OUTPUT: u64 = 4096;

/// Where a check is carried out.
#[derive(Clone)]
pub(in crate::kubelet) struct Place {
    pub(in crate::kubelet) network: Arc<ClusterNetwork>,
    pub(in crate::kubelet) pod: Ipv4Addr,
    pub(in crate::kubelet) container: Container,
}

/// Carries out a check within `timeout`.
///
/// # Errors
/// Why it failed, as a sentence for an event.
pub(in crate::kubelet) async fn carry_out(check: &Check, place: &Place, timeout: Duration) -> Result<(), String> {
    let attempt = async {
        match check {
            Check::Http(check) => http(check, place).await,
            Check::Tcp { host, port } => {
                let address = target(host.as_deref(), *port, place.pod)?;
                place.network.dial(address).await.map(drop).map_err(|error| format!("dial tcp {address}: {error}"))
            }
            Check::Exec { command } => exec(command, &place.container).await,
            Check::Grpc { port, service } => grpc(place, *port, service).await,
        }
    };
    match tokio::time::timeout(timeout, attempt).await {
        Ok(result) => result,
        Err(_) if matches!(check, Check::Exec { .. }) => Err(format!("command timed out after {timeout:?}")),
        Err(_) => Err(format!("no answer within {timeout:?}")),
    }
}

/// Sends one GET request and judges the status.
///
/// # Errors
/// As [`carry_out`].
pub(in crate::kubelet) async fn http(check: &HttpCheck, place: &Place) -> Result<(), String> {
    let address = target(check.host.as_deref(), check.port, place.pod)?;
    let stream = place.network.dial(address).await.map_err(|error| format!("dial tcp {address}: {error}"))?;
    let request = request(check, address)?;
    let status = if check.tls {
        let name = ServerName::IpAddress(address.ip().into());
        let stream = connector().connect(name, stream).await.map_err(|error| format!("TLS with {address}: {error}"))?;
        exchange(stream, request).await
    } else {
        exchange(stream, request).await
    };
    match status.map_err(|error| format!("GET http://{address}{}: {error}", check.path))? {
        200..=399 => Ok(()),
        status => Err(format!("HTTP probe failed with statuscode: {status}")),
    }
}

/// `kube-probe/1.33`: the version without its patch level.
fn user_agent() -> String {
    let version = substrate_api::kubernetes_version();
    let minor = version.trim_start_matches('v').rsplit_once('.').map_or("", |(minor, _)| minor);
    format!("kube-probe/{minor}")
}

fn request(check: &HttpCheck, address: SocketAddr) -> Result<Request<Full<Bytes>>, String> {
    let mut request = Request::builder().method(Method::GET).uri(&check.path);
    let has = |name: &str| check.headers.keys().any(|header| header.eq_ignore_ascii_case(name));
    if !has("host") {
        request = request.header("host", address.to_string());
    }
    if !has("user-agent") {
        request = request.header("user-agent", user_agent());
    }
    if !has("accept") {
        request = request.header("accept", "*/*");
    }
    let request = request.header("connection", "close");
    let request = check.headers.iter().fold(request, |request, (name, value)| request.header(name, value));
    request.body(Full::default()).map_err(|error| format!("the request of the probe is malformed: {error}"))
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> hyper::Result<u16> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = sender.send_request(request);
    tokio::pin!(answer, connection);
    tokio::select! {
        answer = &mut answer => answer.map(|answer| answer.status().as_u16()),
        // The connection may end in the same moment in which the answer arrives.
        ended = &mut connection => { ended?; answer.await.map(|answer| answer.status().as_u16()) }
    }
}

async fn exec(command: &[String], container: &Container) -> Result<(), String> {
    let spec = ExecSpec { command: command.to_vec(), ..ExecSpec::default() };
    let mut session = container.exec(spec).await.map_err(|error| error.to_string())?;
    let mut output = Vec::new();
    let read = async {
        let _ended = (&mut session.stdout).take(LONGEST_OUTPUT).read_to_end(&mut output).await;
        if let Some(stderr) = &mut session.stderr {
            let _ended = stderr.take(LONGEST_OUTPUT).read_to_end(&mut output).await;
        }
    };
    let (code, ()) = tokio::join!(session.exit, read);
    match code {
        Ok(0) => Ok(()),
        Ok(code) => {
            let output = String::from_utf8_lossy(&output);
            Err(format!("command \"{}\" exited with {code}: {}", command.join(" "), output.trim()))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// `grpc.health.v1.Health/Check`, whose two messages are small enough to be written by hand.
async fn grpc(place: &Place, port: u16, service: &str) -> Result<(), String> {
    let address = SocketAddr::from((place.pod, port));
    let stream = place.network.dial(address).await.map_err(|error| format!("dial tcp {address}: {error}"))?;
    let failed = |error: hyper::Error| format!("health check at {address}: {error}");
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(failed)?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(health_request(service)))
        .map_err(|error| error.to_string())?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(failed)?;
        answer.into_body().collect().await.map_err(failed)
    };
    tokio::pin!(connection);
    let answer = tokio::select! {
        answer = exchange => answer?,
        ended = &mut connection => return Err(format!("health check at {address}: the connection ended ({ended:?})")),
    };
    match health_status(&answer.to_bytes()) {
        Some(1) => Ok(()),
        status => Err(format!("service unhealthy (responded with {})", health_name(status))),
    }
}

fn health_request(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        // Field 1, a string.
        message.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.push(0x80 | u8::try_from(length & 0x7f).unwrap_or(0));
            length >>= 7;
        }
        message.push(u8::try_from(length).unwrap_or(0));
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(0).to_be_bytes();
    [&[0], &length[..], &message].concat().into()
}

/// Field 1 of the answer, an enum; absent means 0. `None` if there is no message.
fn health_status(frame: &[u8]) -> Option<u8> {
    match frame.get(5..)? {
        [0x08, status, ..] => Some(*status),
        _ => Some(0),
    }
}

fn health_name(status: Option<u8>) -> &'static str {
    match status {
        None => "no answer",
        Some(2) => "NOT_SERVING",
        Some(3) => "SERVICE_UNKNOWN",
        Some(_) => "UNKNOWN",
    }
}

/// TLS without verification: a probe asks whether the server answers, not who it is, as in Kubernetes.
fn connector() -> TlsConnector {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(AnyCertificate(provider.signature_verification_algorithms.supported_schemes()));
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("invariant: ring supports the default TLS versions")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

#[derive(Debug)]
struct AnyCertificate(Vec<SignatureScheme>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_messages() {
        assert_eq!(&health_request("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&health_request("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = "x".repeat(200);
        assert_eq!(&health_request(&long)[..8], [0, 0, 0, 0, 203, 0x0a, 0xc8, 0x01]);
        assert_eq!(health_status(&[0, 0, 0, 0, 2, 0x08, 1]), Some(1));
        assert_eq!(health_status(&[0, 0, 0, 0, 0]), Some(0));
        assert_eq!(health_status(&[]), None);
    }
}
