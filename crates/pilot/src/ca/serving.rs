//! TLS for istiod's own ports, with certificates of the mesh's own authority that renew themselves.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
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
    // Who resumes a session is not verified again: a certificate that has expired meanwhile would buy another.
    grpc.session_storage = Arc::new(NoServerSessionStorage {});
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

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use rustls::pki_types::{ServerName, UnixTime};
    use rustls::time_provider::TimeProvider;
    use rustls::{ClientConfig, ClientConnection, ConnectionCommon, ServerConnection};

    use super::*;

    /// The clock of a server, later.
    #[derive(Debug)]
    struct Later(Duration);

    impl TimeProvider for Later {
        fn current_time(&self) -> Option<UnixTime> {
            Some(UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs()) + self.0))
        }
    }

    fn carry<A, B>(from: &mut ConnectionCommon<A>, to: &mut ConnectionCommon<B>) -> Result<usize, rustls::Error> {
        let mut bytes = Vec::new();
        while from.wants_write() {
            from.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            to.read_tls(&mut rest).unwrap();
            to.process_new_packets()?;
        }
        Ok(bytes.len())
    }

    fn connect(server: &ServerConfig, client: &Arc<ClientConfig>) -> Result<(), rustls::Error> {
        let name = ServerName::try_from("istiod.istio-system.svc").unwrap();
        let mut client = ClientConnection::new(Arc::clone(client), name)?;
        let mut server = ServerConnection::new(Arc::new(server.clone()))?;
        while carry(&mut client, &mut server)? + carry(&mut server, &mut client)? > 0 {}
        Ok(())
    }

    #[test]
    fn a_certificate_that_has_expired_is_refused_also_in_a_session_that_was_good() {
        let hour = Duration::from_secs(3600);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let now = SystemTime::now();
        let keys = SigningKeys::load(SigningKeys::self_signed("cluster.local", now).unwrap()).unwrap();
        let (grpc, _) = configurations(&keys, &names("istiod", "istio-system")).unwrap();
        let key = KeyPair::generate().unwrap();
        let csr = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        let id = "spiffe://cluster.local/ns/bookinfo/sa/reviews";
        let leaf = sign::workload(&keys, &csr, id, Some(hour), now).unwrap().remove(0);
        let mut roots = RootCertStore::empty();
        roots.add(certificates(&keys.root_pem).unwrap().remove(0)).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates(&leaf).unwrap(), PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .unwrap();
        let client = Arc::new(client);
        connect(&grpc, &client).unwrap();
        connect(&grpc, &client).unwrap();
        let mut later = (*grpc).clone();
        later.time_provider = Arc::new(Later(2 * hour));
        let refused = connect(&later, &client).unwrap_err();
        assert!(refused.to_string().contains("expired"), "{refused}");
    }
}
