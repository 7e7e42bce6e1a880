//! Certificates of workloads as their proxies hold them, and which cluster's authority signed them. Pure.

use base64::Engine as _;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// The certificate of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// Hexadecimal SHA-256, by which servers know it.
    pub hash: String,
    /// Its SPIFFE id.
    pub identity: Option<String>,
    /// The proxy that holds it, as `cluster/pod`.
    pub holder: String,
    /// Name of its issuer, as it says itself.
    pub issuer: String,
    /// Clusters whose authority signed it, by its signature.
    pub signed_by: Vec<String>,
}

/// What cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

fn unreadable(error: impl std::fmt::Display) -> Unreadable {
    Unreadable(error.to_string())
}

/// The certificate that signs on a cluster, DER.
#[derive(Clone, Debug)]
pub struct Authority {
    /// The cluster.
    pub cluster: String,
    der: Vec<u8>,
}

impl Authority {
    /// From the file `ca-cert.pem` of a cluster's authority.
    ///
    /// # Errors
    /// Where that is no certificate.
    pub fn read(cluster: &str, pem: &[u8]) -> Result<Self, Unreadable> {
        Ok(Self { cluster: cluster.to_owned(), der: first(pem)? })
    }

    fn signed(&self, certificate: &X509Certificate<'_>) -> bool {
        let authority = X509Certificate::from_der(&self.der);
        authority.is_ok_and(|(_, authority)| certificate.verify_signature(Some(authority.public_key())).is_ok())
    }
}

impl Certificate {
    /// From what a proxy answers to `config_dump?resource=dynamic_active_secrets`.
    ///
    /// # Errors
    /// Where there is no certificate in it.
    pub fn read(holder: &str, dump: &str, authorities: &[Authority]) -> Result<Self, Unreadable> {
        let dump: Value = serde_json::from_str(dump).map_err(unreadable)?;
        let secrets = dump["configs"].as_array().into_iter().flatten();
        let mut chains =
            secrets.filter_map(|one| one.pointer("/secret/tls_certificate/certificate_chain/inline_bytes"));
        let chain =
            chains.next().and_then(Value::as_str).ok_or_else(|| unreadable("the proxy holds no certificate"))?;
        let pem = base64::engine::general_purpose::STANDARD.decode(chain).map_err(unreadable)?;
        let der = first(&pem)?;
        let (_, leaf) = X509Certificate::from_der(&der).map_err(unreadable)?;
        let names = leaf.subject_alternative_name().ok().flatten();
        let identity = names.and_then(|names| {
            names.value.general_names.iter().find_map(|name| match name {
                GeneralName::URI(uri) => Some((*uri).to_owned()),
                _ => None,
            })
        });
        let signed_by = authorities.iter().filter(|authority| authority.signed(&leaf));
        Ok(Self {
            hash: Sha256::digest(&der).iter().map(|byte| format!("{byte:02x}")).collect(),
            identity,
            holder: holder.to_owned(),
            issuer: leaf.issuer().to_string(),
            signed_by: signed_by.map(|authority| authority.cluster.clone()).collect(),
        })
    }
}

/// The first certificate of a chain.
fn first(pem: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let first = Pem::iter_from_buffer(pem).next().ok_or_else(|| unreadable("there is no certificate"))?;
    first.map(|pem| pem.contents).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, Issuer, KeyPair, SanType};
    use serde_json::json;

    use super::*;
    use crate::trust::Root;

    #[test]
    fn a_certificate_tells_its_cluster_by_the_signature() {
        let root = Root::generate("mesh1").expect("generated");
        let clusters = ["cluster1", "cluster2"].map(|name| (name, root.intermediate(name).expect("generated")));
        let authorities: Vec<Authority> = clusters
            .iter()
            .map(|(name, secret)| Authority::read(name, secret["ca-cert.pem"].as_bytes()).expect("a certificate"))
            .collect();
        let secret = &clusters[1].1;
        let key = KeyPair::from_pem(&secret["ca-key.pem"]).expect("a key");
        let issuer = Issuer::from_ca_cert_pem(&secret["ca-cert.pem"], key).expect("an authority");
        let mut parameters = CertificateParams::default();
        let id = "spiffe://cluster.local/ns/a/sa/b";
        parameters.subject_alt_names.push(SanType::URI(id.try_into().expect("a URI")));
        let leaf = parameters.signed_by(&KeyPair::generate().expect("a key"), &issuer).expect("signed");
        let chain = base64::engine::general_purpose::STANDARD.encode(leaf.pem() + &secret["ca-cert.pem"]);
        let dump = json!({ "configs": [
            { "name": "ROOTCA", "secret": { "validation_context": {} } },
            { "name": "default", "secret": { "tls_certificate": { "certificate_chain": { "inline_bytes": chain } } } },
        ] });
        let read = Certificate::read("cluster2/sleep-x", &dump.to_string(), &authorities).expect("a certificate");
        assert_eq!(read.signed_by, ["cluster2"], "both authorities have the same common name");
        assert_eq!(read.identity.as_deref(), Some(id));
        assert!(read.issuer.contains("L=cluster2"), "{}", read.issuer);
        assert_eq!(read.hash.len(), 64);
    }

    #[test]
    fn a_proxy_without_a_certificate_says_so() {
        let read = Certificate::read("a/b", r#"{"configs":[]}"#, &[]);
        assert_eq!(read.unwrap_err().to_string(), "the proxy holds no certificate");
    }
}
