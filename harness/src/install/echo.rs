//! The certificate that `echo` serves TLS of its own with, and the authority that `sleep` checks it by: one pair for an
//! environment, so that a client on one cluster can check the server on another.
//!
//! It has nothing to do with the mesh's trust: what the mesh passes through must not look like the mesh's own.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::topology::apps::AppName;
use crate::topology::{App, Topology};
use crate::trust::LIFETIME;

/// Secret with the server's chain and key.
const CERTIFICATE: &str = "echo-certificate";
/// ConfigMap with the authority.
const AUTHORITY: &str = "echo-authority";

/// The objects that `echo` and `sleep` mount.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Certificate {
    authority: String,
    chain: String,
    key: String,
}

impl Certificate {
    /// Generates one where the topology has an `echo`.
    ///
    /// # Errors
    /// Where the system gives no randomness.
    pub fn of(topology: &Topology) -> Result<Option<Self>, rcgen::Error> {
        let namespaces = namespaces(topology);
        if namespaces.is_empty() { Ok(None) } else { Self::generate(&namespaces).map(Some) }
    }

    fn generate(namespaces: &[&str]) -> Result<Self, rcgen::Error> {
        let authority_key = KeyPair::generate()?;
        let mut parameters = parameters(Vec::new(), "echo authority")?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let authority = parameters.self_signed(&authority_key)?.pem();
        let issuer = Issuer::new(parameters, authority_key);
        let names = namespaces
            .iter()
            .flat_map(|namespace| ["", ".svc", ".svc.cluster.local"].map(|suffix| format!("echo.{namespace}{suffix}")));
        let names = std::iter::once("echo".to_owned()).chain(names).collect();
        let key = KeyPair::generate()?;
        let mut server = self::parameters(names, "echo")?;
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let chain = server.signed_by(&key, &issuer)?.pem();
        Ok(Self { authority, chain, key: key.serialize_pem() })
    }

    /// What an application needs of it in its namespace.
    #[must_use]
    pub fn object(&self, app: &App) -> Option<Value> {
        match app.app {
            AppName::Echo => Some(json!({
                "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
                "metadata": { "name": CERTIFICATE, "namespace": app.namespace },
                "stringData": { "tls.crt": self.chain, "tls.key": self.key },
            })),
            AppName::Sleep => Some(json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "name": AUTHORITY, "namespace": app.namespace },
                "data": { "ca.crt": self.authority },
            })),
            AppName::Bookinfo | AppName::Probe => None,
        }
    }
}

/// The namespaces that `echo` is served in, which the certificate names.
#[must_use]
pub fn namespaces(topology: &Topology) -> Vec<&str> {
    topology.apps.iter().filter(|app| app.app == AppName::Echo).map(|app| app.namespace.as_str()).collect()
}

fn parameters(names: Vec<String>, common_name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = CertificateParams::new(names)?;
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    let now = OffsetDateTime::now_utc();
    parameters.not_before = now - time::Duration::minutes(2);
    parameters.not_after = now + LIFETIME;
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_authority_vouches_for_echo_by_the_names_that_clients_use() {
        let certificate = Certificate::generate(&["apps"]).expect("generated");
        let authority = CertificateDer::from_pem_slice(certificate.authority.as_bytes()).expect("PEM");
        let server = CertificateDer::from_pem_slice(certificate.chain.as_bytes()).expect("PEM");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().expect("a verifier");
        let vouches = |name: &str| {
            let name = ServerName::try_from(name.to_owned()).expect("a name");
            verifier.verify_server_cert(&server, &[], &name, &[], UnixTime::now()).is_ok()
        };
        assert!(vouches("echo") && vouches("echo.apps") && vouches("echo.apps.svc.cluster.local"));
        assert!(!vouches("echo.other"));
    }
}
