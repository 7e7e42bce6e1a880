//! The certificate of the webhook: an authority in a Secret that all managers share, and from it a certificate of each manager's own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use kube_support::error::describe;
use kube_support::pause;
use mesh_types::hub::names::MANAGER;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::sync::watch;

/// Secret with the authority.
const SECRET: &str = "hub-manager-webhook";
/// Days for which the authority is valid, and days that have to be left of it.
const AUTHORITY: (i64, i64) = (3_650, 400);
/// Days for which a certificate is valid; it is renewed at half of that.
const LIFE: i64 = 365;
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The Secret with the authority cannot be read or written.
    #[error("the authority of the webhook cannot be kept in Secret {SECRET}: {0}")]
    Secret(String),
    /// The certificate cannot be made or used.
    #[error("no certificate for the webhook: {0}")]
    Certificate(String),
}

fn certificate(error: &dyn std::error::Error) -> CertificateError {
    CertificateError::Certificate(describe(error))
}

/// An authority in PEM.
#[derive(Clone, PartialEq, Eq)]
struct Authority {
    certificate: String,
    key: String,
}

/// What the webhook is served with, and the root that it is trusted by.
#[derive(Clone)]
pub struct Served {
    /// TLS.
    pub config: Arc<ServerConfig>,
    /// Root in PEM.
    pub root: String,
}

/// Makes what the webhook is served with; tries until it succeeds.
pub async fn first(client: &Client, namespace: &str) -> Served {
    loop {
        match make(client, namespace).await {
            Ok(served) => return served,
            Err(error) => tracing::warn!(%error, "the webhook is not served yet"),
        }
        pause::for_a(RETRY_AFTER).await;
    }
}

/// Keeps what the webhook is served with valid, for as long as it is polled.
pub async fn renew(client: Client, namespace: String, served: watch::Sender<Served>) {
    loop {
        let half = u64::try_from(LIFE / 2).unwrap_or_default() * 24 * 3600;
        pause::for_a(Duration::from_secs(half)).await;
        served.send_replace(first(&client, &namespace).await);
        tracing::info!("the webhook is served with a new certificate");
    }
}

async fn make(client: &Client, namespace: &str) -> Result<Served, CertificateError> {
    let authority = authority(client, namespace).await?;
    serve(&authority, namespace)
}

async fn authority(client: &Client, namespace: &str) -> Result<Authority, CertificateError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let failed = |error: kube::Error| CertificateError::Secret(describe(&error));
    let there = secrets.get_opt(SECRET).await.map_err(failed)?;
    if let Some(authority) = there.as_ref().and_then(read).filter(is_usable) {
        return Ok(authority);
    }
    let made = generate()?;
    let data = [("tls.crt", &made.certificate), ("tls.key", &made.key)];
    let data = data.map(|(name, text)| (name.to_owned(), ByteString(text.clone().into_bytes())));
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(SECRET.to_owned()),
            resource_version: there.as_ref().and_then(|secret| secret.metadata.resource_version.clone()),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(BTreeMap::from(data)),
        ..Secret::default()
    };
    // Of two managers that begin at the same time one fails, and takes the other's.
    let params = PostParams::default();
    match there {
        Some(_) => secrets.replace(SECRET, &params, &secret).await.map_err(failed)?,
        None => secrets.create(&params, &secret).await.map_err(failed)?,
    };
    Ok(made)
}

fn read(secret: &Secret) -> Option<Authority> {
    let data = secret.data.as_ref()?;
    let text = |name: &str| String::from_utf8(data.get(name)?.0.clone()).ok();
    Some(Authority { certificate: text("tls.crt")?, key: text("tls.key")? })
}

fn is_usable(authority: &Authority) -> bool {
    let Ok(certificates) = mesh_certificates::pem::certificates(&authority.certificate) else { return false };
    let ends = certificates.first().and_then(mesh_certificates::pem::validity).map(|(_, ends)| ends);
    let left = Duration::from_secs(u64::try_from(AUTHORITY.1).unwrap_or_default() * 24 * 3600);
    ends.is_some_and(|ends| ends > std::time::SystemTime::now() + left) && KeyPair::from_pem(&authority.key).is_ok()
}

/// Parameters of a certificate that is valid from an hour ago, since clocks differ.
fn valid_for(params: &mut CertificateParams, days: i64) {
    let now = std::time::SystemTime::now();
    params.not_before = (now - Duration::from_secs(3_600)).into();
    params.not_after = (now + Duration::from_secs(u64::try_from(days).unwrap_or_default() * 24 * 3600)).into();
}

fn generate() -> Result<Authority, CertificateError> {
    let key = KeyPair::generate().map_err(|error| certificate(&error))?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "meshproof hub webhook");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid_for(&mut params, AUTHORITY.0);
    let made = params.self_signed(&key).map_err(|error| certificate(&error))?;
    Ok(Authority { certificate: made.pem(), key: key.serialize_pem() })
}

fn serve(authority: &Authority, namespace: &str) -> Result<Served, CertificateError> {
    let failed = |error: rcgen::Error| certificate(&error);
    let issuer_key = KeyPair::from_pem(&authority.key).map_err(failed)?;
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, issuer_key).map_err(failed)?;
    let key = KeyPair::generate().map_err(failed)?;
    let names = ["svc", "svc.cluster.local"].map(|suffix| format!("{MANAGER}.{namespace}.{suffix}"));
    let mut params = CertificateParams::new(names.to_vec()).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, MANAGER);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    valid_for(&mut params, LIFE);
    let own = params.signed_by(&key, &issuer).map_err(failed)?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(own.pem().as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| CertificateError::Certificate(error.to_string()))?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| certificate(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Served { config: Arc::new(config), root: authority.certificate.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_used_as_long_as_enough_of_it_is_left() {
        let good = generate().unwrap();
        assert!(is_usable(&good));
        assert!(serve(&good, "meshproof-hub").is_ok());
        assert!(!is_usable(&Authority { certificate: String::new(), ..good.clone() }));
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        valid_for(&mut params, AUTHORITY.1 - 1);
        let old = Authority { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() };
        assert!(!is_usable(&old));
    }
}
