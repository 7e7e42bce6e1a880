//! Keys, signing requests and certificates of the workload. Pure apart from randomness and the clock given to it.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// A certificate or key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The key or the request could not be made.
    #[error("cannot make the signing request: {0}")]
    Request(#[from] rcgen::Error),
    /// PEM that does not hold certificates.
    #[error("not a PEM certificate: {0}")]
    Pem(String),
    /// The control plane answered with too little.
    #[error("the certificate service answered with {0} PEM texts; a leaf and its roots are needed")]
    ShortChain(usize),
}

/// A fresh key and the request for its certificate.
pub struct SigningRequest {
    /// PKCS#8, PEM.
    pub key_pem: String,
    /// PEM.
    pub csr_pem: String,
}

/// What Envoy presents and whom it trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets {
    /// Grows with every change; the version in SDS answers.
    pub version: u64,
    /// PKCS#8, PEM.
    pub key_pem: String,
    /// Leaf and intermediates, PEM.
    pub chain_pem: String,
    /// Roots that the certificate service named last in its answer, PEM.
    pub issuer_root_pem: String,
    /// Every trusted root, PEM.
    pub roots_pem: String,
    /// Start of the leaf's validity.
    pub not_before: SystemTime,
    /// End of the leaf's validity.
    pub not_after: SystemTime,
}

/// Makes an ECDSA P-256 key and a request that carries the SPIFFE id. The control plane takes the identity from the
/// authenticated caller; the id in the request is for people who read it.
///
/// # Errors
/// [`CertificateError::Request`].
pub fn signing_request(spiffe_id: &str) -> Result<SigningRequest, CertificateError> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.subject_alt_names = vec![SanType::URI(spiffe_id.try_into()?)];
    let csr = parameters.serialize_request(&key)?;
    Ok(SigningRequest { key_pem: key.serialize_pem(), csr_pem: csr.pem()? })
}

/// Turns the answer of the certificate service (leaf, intermediates, roots) into secrets of version 0.
///
/// # Errors
/// [`CertificateError`] where the answer is not such a chain.
pub fn secrets(key_pem: String, answer: &[String], bundle_pem: &str) -> Result<Secrets, CertificateError> {
    let [chain @ .., roots] = answer else { return Err(CertificateError::ShortChain(answer.len())) };
    let roots = parse_certificates(roots)?;
    let mut chain = chain.iter().map(|pem| parse_certificates(pem)).collect::<Result<Vec<_>, _>>()?.concat();
    let leaf = chain.first().filter(|_| !roots.is_empty()).ok_or(CertificateError::ShortChain(answer.len()))?;
    let (not_before, not_after) = validity(leaf)?;
    // Whoever verifies has the roots; an authority may have them in its chain as well.
    chain.retain(|certificate| !roots.contains(certificate));
    let issuer_root_pem = to_pem(&roots);
    Ok(Secrets {
        version: 0,
        key_pem,
        chain_pem: to_pem(&chain),
        roots_pem: merge_roots(&issuer_root_pem, bundle_pem)?,
        issuer_root_pem,
        not_before,
        not_after,
    })
}

/// All certificates of both bundles, each once.
///
/// # Errors
/// [`CertificateError::Pem`].
pub fn merge_roots(first_pem: &str, second_pem: &str) -> Result<String, CertificateError> {
    let mut roots = parse_certificates(first_pem)?;
    for root in parse_certificates(second_pem)? {
        if !roots.contains(&root) {
            roots.push(root);
        }
    }
    Ok(to_pem(&roots))
}

/// The certificates of a PEM text, in order; an empty text has none.
///
/// # Errors
/// [`CertificateError::Pem`].
pub fn parse_certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| CertificateError::Pem(error.to_string()))
}

/// Whether every root of `roots_pem` is in `bundle_pem`. Texts that cannot be read settle nothing, and an empty bundle is
/// one that is being written.
#[must_use]
pub fn bundle_holds(bundle_pem: &str, roots_pem: &str) -> bool {
    let (Ok(bundle), Ok(roots)) = (parse_certificates(bundle_pem), parse_certificates(roots_pem)) else { return true };
    bundle.is_empty() || roots.iter().all(|root| bundle.contains(root))
}

fn validity(leaf: &CertificateDer<'_>) -> Result<(SystemTime, SystemTime), CertificateError> {
    let (_, parsed) =
        x509_parser::parse_x509_certificate(leaf).map_err(|error| CertificateError::Pem(error.to_string()))?;
    let time = |seconds: i64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap_or(0));
    Ok((time(parsed.validity().not_before.timestamp()), time(parsed.validity().not_after.timestamp())))
}

fn to_pem(certificates: &[CertificateDer<'_>]) -> String {
    use base64::Engine as _;
    let mut text = String::new();
    for certificate in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = base64::engine::general_purpose::STANDARD.encode(certificate);
        for line in encoded.as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

/// When to renew: after `ratio` of the lifetime that is left at `issued`, moved by up to one hundredth of it either
/// way (`jitter` in -1..=1), so that pods of one start do not renew together.
#[must_use]
pub fn renewal_delay(issued: SystemTime, not_after: SystemTime, ratio: f64, jitter: f64) -> Duration {
    let left = not_after.duration_since(issued).unwrap_or_default();
    left.mul_f64((ratio + 0.01 * jitter.clamp(-1.0, 1.0)).clamp(0.0, 1.0))
}

#[cfg(test)]
pub(crate) mod tests {
    use rcgen::{BasicConstraints, CertifiedIssuer, IsCa};

    use super::*;

    pub(crate) fn root(name: &str) -> CertifiedIssuer<'static, KeyPair> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
    }

    fn leaf(root: &CertifiedIssuer<'static, KeyPair>) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::default().signed_by(&key, root).unwrap();
        (key.serialize_pem(), certificate.pem())
    }

    #[test]
    fn an_answer_becomes_chain_and_root() {
        let (root, other) = (root("one"), root("other"));
        let (key, leaf) = leaf(&root);
        let bundle = format!("{}{}", root.pem(), other.pem());
        let secrets = secrets(key, &[leaf.clone(), root.pem(), root.pem()], &bundle).unwrap();
        assert_eq!(parse_certificates(&secrets.chain_pem).unwrap(), parse_certificates(&leaf).unwrap());
        assert_eq!(parse_certificates(&secrets.roots_pem).unwrap(), parse_certificates(&bundle).unwrap());
        assert!(secrets.not_after > secrets.not_before);
    }

    #[test]
    fn a_chain_without_root_is_refused() {
        let (key, leaf) = leaf(&root("one"));
        assert!(matches!(secrets(key.clone(), &[leaf], ""), Err(CertificateError::ShortChain(1))));
        assert!(matches!(secrets(key, &[], ""), Err(CertificateError::ShortChain(0))));
    }

    #[test]
    fn a_root_that_left_the_bundle_is_noticed() {
        let (one, two) = (root("one").pem(), root("two").pem());
        assert!(bundle_holds(&format!("{one}{two}"), &one));
        assert!(!bundle_holds(&two, &one));
        assert!(bundle_holds("", &one));
    }

    #[test]
    fn broken_pem_is_refused() {
        let broken = "-----BEGIN CERTIFICATE-----\n???\n-----END CERTIFICATE-----\n";
        assert!(matches!(merge_roots(broken, ""), Err(CertificateError::Pem(_))));
    }

    #[test]
    fn the_request_proves_possession_and_names_the_id() {
        use x509_parser::prelude::FromDer as _;
        let request = signing_request("spiffe://cluster.local/ns/a/sa/b").unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(request.csr_pem.as_bytes()).unwrap();
        let (_, csr) = x509_parser::certification_request::X509CertificationRequest::from_der(&pem.contents).unwrap();
        csr.verify_signature().unwrap();
        assert!(csr.certification_request_info.subject.iter().next().is_none());
    }

    #[test]
    fn renewal_is_at_half_life_with_jitter() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let end = now + Duration::from_secs(1000);
        assert_eq!(renewal_delay(now, end, 0.5, 0.0), Duration::from_secs(500));
        assert_eq!(renewal_delay(now, end, 0.5, -1.0), Duration::from_secs(490));
        assert_eq!(renewal_delay(end, now, 0.5, 1.0), Duration::ZERO);
    }
}
