//! What the tests share: free ports, a TLS client that shows the server's certificate, tests inside namespaces.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use agent::certificate::SigningRequest;

/// Deadline for everything that should take a moment.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// Step between two looks.
pub(crate) const STEP: Duration = Duration::from_millis(25);

/// Ports that nobody listens on now. They are found together, so they differ.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = std::array::from_fn::<_, N, _>(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// Installs the one provider of cryptography; the first test wins.
pub(crate) fn crypto() {
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
}

/// A TLS client that presents a certificate and takes whatever the server presents.
pub(crate) async fn connect(
    port: u16,
    request: &SigningRequest,
    chain: &[String],
) -> std::io::Result<TlsStream<TcpStream>> {
    let certificates = CertificateDer::pem_slice_iter(chain[0].as_bytes()).map(Result::unwrap).collect();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(request.key_pem.as_bytes()).unwrap();
    let config = rustls::ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Any(rustls::crypto::ring::default_provider())))
        .with_client_auth_cert(certificates, key)
        .unwrap();
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let name = ServerName::try_from("workload.invalid").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// One request on an open connection; returns the head of the answer.
pub(crate) async fn get(
    stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin),
) -> std::io::Result<String> {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: workload\r\n\r\n").await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello") {
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend(&buffer[..read]);
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The leaf that the server of a connection presented.
pub(crate) fn leaf(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[derive(Debug)]
struct Any(rustls::crypto::CryptoProvider);

impl rustls::client::danger::ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

const INSIDE: &str = "AGENT_TEST_INSIDE";

/// Runs the rest of a test as root of fresh user and network namespaces, by starting this test binary there for the
/// one test. True inside, false outside when the inner run has passed.
pub(crate) fn in_network_namespace(test: &str) -> bool {
    if is_inside() {
        run("ip link set lo up");
        return true;
    }
    go_inside(test, &["unshare", "--user", "--map-root-user", "--net", "--mount", "--"]);
    false
}

/// Whether this is the part of a test that runs elsewhere than it was started.
pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs the part of a test that runs elsewhere: `enter` is the command that leads there.
pub(crate) fn go_inside(test: &str, enter: &[&str]) {
    let status = Command::new(enter[0])
        .args(&enter[1..])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed inside its namespaces");
}

/// Runs a command that must succeed; returns its output.
pub(crate) fn run(command: &str) -> String {
    let output = Command::new("sh").args(["-ec", command]).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command}: {text}");
    text
}
