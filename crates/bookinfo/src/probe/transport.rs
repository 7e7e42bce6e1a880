//! The way to a server: TCP, and where it is asked for TLS of the probe's own over it.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::args::RunArgs;
use super::clock::{Timed, Times};
use super::failure::{ErrorClass, Failure};
use super::url::Scheme;

/// An open way.
pub(super) type Stream = Timed<Either<TcpStream, TlsStream<TcpStream>>>;

/// Where to connect and how.
#[derive(Clone)]
pub(super) struct Transport {
    pub(super) address: SocketAddr,
    tls: Option<Tls>,
}

#[derive(Clone)]
struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Transport {
    /// The way that the options describe.
    pub(super) fn new(args: &RunArgs, address: SocketAddr) -> anyhow::Result<Self> {
        let tls = if args.url.scheme.is_tls() { Some(Tls::new(args)?) } else { None };
        Ok(Self { address, tls })
    }

    /// Connects. The times of the stream are noted.
    pub(super) async fn open(&self) -> Result<(Stream, Arc<Times>), Failure> {
        let stream = TcpStream::connect(self.address).await.map_err(|error| Failure::of_connect(&error))?;
        stream.set_nodelay(true).map_err(|error| Failure::of_connect(&error))?;
        let stream = match &self.tls {
            None => Either::Left(stream),
            Some(tls) => Either::Right(tls.shake_hands(stream).await?),
        };
        let times = Times::new();
        Ok((Timed::new(stream, Arc::clone(&times)), times))
    }
}

impl Tls {
    fn new(args: &RunArgs) -> anyhow::Result<Self> {
        let name = args.tls_server_name.clone().unwrap_or_else(|| args.url.host.clone());
        let name = ServerName::try_from(name).context("the server's name is none")?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let mut config = match &args.tls_ca {
            Some(file) => {
                let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(file)?), provider).build()?;
                builder.with_webpki_verifier(verifier).with_no_client_auth()
            }
            None => {
                let anybody = Arc::new(Anybody(provider));
                builder.dangerous().with_custom_certificate_verifier(anybody).with_no_client_auth()
            }
        };
        config.alpn_protocols = match (args.url.scheme, args.http2) {
            (Scheme::Https, true) => vec![b"h2".to_vec()],
            (Scheme::Https, false) => vec![b"http/1.1".to_vec()],
            _ => Vec::new(),
        };
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }

    async fn shake_hands(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, Failure> {
        let stream = self.connector.connect(self.name.clone(), stream).await;
        stream.map_err(|error| Failure::new(ErrorClass::Tls, error.to_string()))
    }
}

fn roots(file: &str) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let read = || format!("cannot read certificates from {file}");
    for certificate in CertificateDer::pem_file_iter(file).with_context(read)? {
        roots.add(certificate.with_context(read)?).with_context(read)?;
    }
    anyhow::ensure!(!roots.is_empty(), "there is no certificate in {file}");
    Ok(roots)
}

/// Takes any certificate: the probe measures, and without an authority it was not asked to judge who answers.
#[derive(Debug)]
struct Anybody(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
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
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
