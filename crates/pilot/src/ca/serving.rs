//! TLS for istiod's own ports, with certificates of the mesh's own authority that renew themselves.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::authority::Authority;
use super::keys::SigningKeys;
use super::sign::{self, SignError};

const LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// TLS configuration of the moment for the two kinds of ports.
#[derive(Clone)]
pub struct ServingTls {
    /// For xDS and certificates: client certificates of the mesh are verified where they are offered.
    pub grpc: watch::Receiver<Arc<ServerConfig>>,
    /// For webhooks: no client certificates.
    pub https: watch::Receiver<Arc<ServerConfig>>,
}

/// Why istiod cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServingError {
    /// No certificate.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The certificate or the roots are not usable for TLS.
    #[error("TLS: {0}")]
    Tls(String),
}

/// The DNS names under which istiod is known.
#[must_use]
pub fn names(service: &str, namespace: &str) -> Vec<String> {
    ["svc", "svc.cluster.local"]
        .iter()
        .map(|suffix| format!("{service}.{namespace}.{suffix}"))
        .chain([format!("{service}.{namespace}")])
        .collect()
}

impl ServingTls {
    /// Issues certificates for `names` and keeps them valid and in step with the authority until cancelled.
    ///
    /// # Errors
    /// [`ServingError`] of the first certificate; later ones are logged, and the last good one stays.
    pub fn start(authority: &Authority, names: Vec<String>, cancel: CancellationToken) -> Result<Self, ServingError> {
        let mut keys = authority.subscribe();
        let (grpc, https) = configurations(&keys.borrow_and_update(), &names)?;
        let (grpc, https) = (watch::Sender::new(grpc), watch::Sender::new(https));
        let serving = Self { grpc: grpc.subscribe(), https: https.subscribe() };
        tokio::spawn(async move {
            let renew = async {
                while next_renewal(&mut keys).await {
                    match configurations(&keys.borrow_and_update(), &names) {
                        Ok((new_grpc, new_https)) => {
                            grpc.send_replace(new_grpc);
                            https.send_replace(new_https);
                            info!("serving with a new certificate");
                        }
                        Err(error) => error!(%error, "no new serving certificate"),
                    }
                }
            };
            cancel.run_until_cancelled(renew).await;
        });
        Ok(serving)
    }
}

/// Waits for half of the lifetime or new keys; false when there will be no more keys.
async fn next_renewal(keys: &mut watch::Receiver<Arc<SigningKeys>>) -> bool {
    tokio::time::timeout(LIFETIME / 2, keys.changed()).await.map_or(true, |changed| changed.is_ok())
}

type Configurations = (Arc<ServerConfig>, Arc<ServerConfig>);

fn configurations(keys: &SigningKeys, names: &[String]) -> Result<Configurations, ServingError> {
    let tls = |error: String| ServingError::Tls(error);
    let served = sign::server(keys, names, LIFETIME, SystemTime::now())?;
    let chain = certificates(&served.chain_pem)?;
    let key = || PrivateKeyDer::from(PrivatePkcs8KeyDer::from(served.key.clone()));
    let mut roots = RootCertStore::empty();
    for root in certificates(&keys.root_pem)? {
        roots.add(root).map_err(|error| tls(error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .map_err(|error| tls(error.to_string()))?;
    let builder = || {
        ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| tls(error.to_string()))
    };
    let mut grpc = builder()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), key())
        .map_err(|error| tls(error.to_string()))?;
    grpc.alpn_protocols = vec![b"h2".to_vec()];
    let mut https =
        builder()?.with_no_client_auth().with_single_cert(chain, key()).map_err(|error| tls(error.to_string()))?;
    https.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((Arc::new(grpc), Arc::new(https)))
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, ServingError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| ServingError::Tls(error.to_string()))
}
