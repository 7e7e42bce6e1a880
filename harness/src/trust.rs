//! The shared root of trust and an intermediate authority per cluster, in the form of Istio's secret `cacerts`.
//!
//! Pure but for the randomness of keys and the clock. Everything generated expires after [`LIFETIME`].

use std::collections::BTreeMap;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use time::OffsetDateTime;

/// How long generated authorities are valid: longer than any environment is kept, short enough to be worthless later.
pub const LIFETIME: Duration = Duration::from_secs(14 * 24 * 3600);
/// Clocks of containers and hosts may differ by this much.
const BACKDATE: Duration = Duration::from_secs(120);

/// A root authority whose key stays in this process.
pub struct Root {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
}

impl Root {
    /// Generates a root.
    ///
    /// # Errors
    /// Where the system gives no randomness.
    pub fn generate(mesh: &str) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let parameters = authority(&format!("{mesh} root"), None);
        let certificate = parameters.self_signed(&key)?;
        Ok(Self { certificate_pem: certificate.pem(), issuer: Issuer::new(parameters, key) })
    }

    /// The root certificate.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Data of the secret `cacerts` where the root itself signs workload certificates.
    #[must_use]
    pub fn without_intermediate(&self) -> BTreeMap<String, String> {
        secret(&self.certificate_pem, &self.issuer.key().serialize_pem(), &self.certificate_pem, &self.certificate_pem)
    }

    /// Data of the secret `cacerts` for one cluster: `ca-cert.pem`, `ca-key.pem`, `root-cert.pem`, `cert-chain.pem`.
    ///
    /// # Errors
    /// Where the system gives no randomness.
    pub fn intermediate(&self, cluster: &str) -> Result<BTreeMap<String, String>, rcgen::Error> {
        let key = KeyPair::generate()?;
        let certificate = authority("Intermediate CA", Some(cluster)).signed_by(&key, &self.issuer)?.pem();
        let chain = format!("{certificate}{}", self.certificate_pem);
        Ok(secret(&certificate, &key.serialize_pem(), &chain, &self.certificate_pem))
    }
}

fn secret(certificate: &str, key: &str, chain: &str, root: &str) -> BTreeMap<String, String> {
    [("ca-cert.pem", certificate), ("ca-key.pem", key), ("cert-chain.pem", chain), ("root-cert.pem", root)]
        .map(|(name, content)| (name.to_owned(), content.to_owned()))
        .into()
}

/// Names as Istio's own tooling writes them: `O=Istio, CN=…`, for an intermediate also `L=<cluster>`.
fn authority(common_name: &str, cluster: Option<&str>) -> CertificateParams {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Istio");
    name.push(DnType::CommonName, common_name);
    let mut parameters = CertificateParams::default();
    if let Some(cluster) = cluster {
        name.push(DnType::LocalityName, cluster);
        let host = "istiod.istio-system.svc".try_into().expect("invariant: an ASCII host name");
        parameters.subject_alt_names.push(SanType::DnsName(host));
        parameters.use_authority_key_identifier_extension = true;
    }
    parameters.distinguished_name = name;
    let constraint = if cluster.is_some() { BasicConstraints::Constrained(0) } else { BasicConstraints::Unconstrained };
    parameters.is_ca = IsCa::Ca(constraint);
    parameters.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let now = OffsetDateTime::now_utc();
    parameters.not_before = now - BACKDATE;
    parameters.not_after = now + LIFETIME;
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::prelude::{FromDer as _, X509Certificate};

    #[test]
    fn an_intermediate_is_signed_by_the_root_and_names_its_cluster() {
        let root = Root::generate("mesh1").expect("generated");
        let secret = root.intermediate("cluster1").expect("generated");
        let (_, pem) = x509_parser::pem::parse_x509_pem(secret["ca-cert.pem"].as_bytes()).expect("PEM");
        let (_, intermediate) = X509Certificate::from_der(&pem.contents).expect("DER");
        let (_, root_pem) = x509_parser::pem::parse_x509_pem(secret["root-cert.pem"].as_bytes()).expect("PEM");
        let (_, root) = X509Certificate::from_der(&root_pem.contents).expect("DER");
        intermediate.verify_signature(Some(root.public_key())).expect("signed by the root");
        assert!(intermediate.subject().to_string().contains("L=cluster1"), "{}", intermediate.subject());
        assert!(intermediate.is_ca());
        assert!(!secret["ca-cert.pem"].contains("PRIVATE KEY"));
    }

    #[test]
    fn authorities_expire() {
        let root = Root::generate("mesh1").expect("generated");
        let (_, pem) = x509_parser::pem::parse_x509_pem(root.certificate_pem().as_bytes()).expect("PEM");
        let (_, certificate) = X509Certificate::from_der(&pem.contents).expect("DER");
        let left = certificate.validity().time_to_expiration().expect("not expired");
        assert!(left.whole_seconds() <= i64::try_from(LIFETIME.as_secs()).expect("small"));
    }
}
