//! The signing key with its certificates: from the files of a `cacerts` secret, or newly made. Pure but for randomness.

use std::time::{Duration, SystemTime};

use mesh_certificates::der::{self, KeyFormError};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;

/// Lifetime of a self-signed root.
const SELF_SIGNED_LIFETIME: Duration = Duration::from_secs(3650 * 24 * 3600);

/// Files of a secret that do not make an authority.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file is absent.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A file holds no usable certificate.
    #[error("{file}: {problem}")]
    Certificate {
        /// The file.
        file: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The key is unusable.
    #[error("ca-key.pem: {0}")]
    Key(String),
    /// The key does not belong to the certificate.
    #[error("ca-key.pem is not the key of ca-cert.pem")]
    Mismatch,
    /// The certificate must not sign others.
    #[error("ca-cert.pem is not a certificate authority (basicConstraints CA:TRUE is needed)")]
    NotAnAuthority,
    /// No path to the root.
    #[error("ca-cert.pem is not signed by root-cert.pem, and cert-chain.pem does not connect them")]
    NoPath,
}

impl From<KeyFormError> for KeysError {
    fn from(error: KeyFormError) -> Self {
        Self::Key(error.to_string())
    }
}

/// PEM texts under Istio's names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFiles {
    /// `ca-cert.pem`: the certificate that signs.
    pub ca_cert: String,
    /// `ca-key.pem`: its key.
    pub ca_key: String,
    /// `root-cert.pem`: what everybody trusts; may hold several roots.
    pub root_cert: String,
    /// `cert-chain.pem`: from the signing certificate up; empty where the root signs.
    pub cert_chain: String,
}

/// A loaded authority.
pub struct SigningKeys {
    pub(super) issuer: Issuer<'static, KeyPair>,
    /// Certificates between a leaf and the roots, PEM; empty where a root signs.
    pub chain_pem: String,
    /// Trusted roots, PEM, as given.
    pub root_pem: String,
    /// End of the signing certificate's validity.
    pub not_after: SystemTime,
    files: KeyFiles,
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SigningKeys").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

impl SigningKeys {
    /// Loads and checks an authority.
    ///
    /// # Errors
    /// [`KeysError`], naming the file.
    pub fn load(files: KeyFiles) -> Result<Self, KeysError> {
        let signing = certificates("ca-cert.pem", &files.ca_cert)?;
        let roots = certificates("root-cert.pem", &files.root_cert)?;
        let chain = optional_certificates("cert-chain.pem", &files.cert_chain)?;
        let signer = &signing[0];
        let not_after = check_authority(signer)?;
        let intermediates = path_to_root(signer, &signing[1..], &chain, &roots)?;
        let key = key_pair(&files.ca_key)?;
        if !owns(&key, signer) {
            return Err(KeysError::Mismatch);
        }
        let issuer = Issuer::from_ca_cert_der(signer, key)
            .map_err(|error| KeysError::Certificate { file: "ca-cert.pem", problem: error.to_string() })?;
        Ok(Self { issuer, chain_pem: to_pem(&intermediates), root_pem: to_pem(&roots), not_after, files })
    }

    /// Makes a self-signed authority for a trust domain.
    ///
    /// # Errors
    /// [`KeysError`]; only where the machine gives no randomness.
    pub fn self_signed(trust_domain: &str, now: SystemTime) -> Result<KeyFiles, KeysError> {
        let broken = |error: rcgen::Error| KeysError::Key(error.to_string());
        let key = KeyPair::generate().map_err(broken)?;
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::OrganizationName, trust_domain);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        super::sign::set_validity(&mut parameters, now, now + SELF_SIGNED_LIFETIME);
        let certificate = parameters.self_signed(&key).map_err(broken)?.pem();
        Ok(KeyFiles {
            ca_cert: certificate.clone(),
            ca_key: key.serialize_pem(),
            root_cert: certificate,
            cert_chain: String::new(),
        })
    }

    /// The texts it was loaded from.
    #[must_use]
    pub fn files(&self) -> &KeyFiles {
        &self.files
    }
}

fn certificates(file: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, KeysError> {
    if pem.trim().is_empty() {
        return Err(KeysError::Missing(file));
    }
    let found = optional_certificates(file, pem)?;
    if found.is_empty() {
        return Err(KeysError::Certificate { file, problem: "holds no certificate".to_owned() });
    }
    Ok(found)
}

fn optional_certificates(file: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, KeysError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| KeysError::Certificate { file, problem: error.to_string() })
}

fn key_pair(pem: &str) -> Result<KeyPair, KeysError> {
    if pem.trim().is_empty() {
        return Err(KeysError::Missing("ca-key.pem"));
    }
    let der = PrivatePkcs8KeyDer::from(der::pkcs8(pem)?);
    KeyPair::try_from(&der).map_err(|error| KeysError::Key(error.to_string()))
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Option<x509_parser::certificate::X509Certificate<'a>> {
    x509_parser::parse_x509_certificate(certificate).ok().map(|(_, parsed)| parsed)
}

/// Returns the end of validity.
fn check_authority(certificate: &CertificateDer<'_>) -> Result<SystemTime, KeysError> {
    let unreadable = || KeysError::Certificate { file: "ca-cert.pem", problem: "not an X.509 certificate".to_owned() };
    let parsed = parse(certificate).ok_or_else(unreadable)?;
    if !parsed.is_ca() {
        return Err(KeysError::NotAnAuthority);
    }
    let seconds = parsed.validity().not_after.timestamp().try_into().unwrap_or(0);
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn owns(key: &KeyPair, certificate: &CertificateDer<'_>) -> bool {
    parse(certificate)
        .is_some_and(|parsed| parsed.public_key().subject_public_key.data.as_ref() == key.public_key_raw())
}

/// The certificates from the signer up to but without a root; empty where the signer is a root itself.
fn path_to_root(
    signer: &CertificateDer<'static>,
    beside: &[CertificateDer<'static>],
    chain: &[CertificateDer<'static>],
    roots: &[CertificateDer<'static>],
) -> Result<Vec<CertificateDer<'static>>, KeysError> {
    let mut path: Vec<CertificateDer<'static>> = Vec::new();
    let mut current = signer;
    let known = || beside.iter().chain(chain);
    while !roots.contains(current) {
        path.push(current.clone());
        if roots.iter().any(|root| signed_by(current, root)) {
            return Ok(path);
        }
        let next = known().find(|candidate| !path.contains(candidate) && signed_by(current, candidate));
        current = next.ok_or(KeysError::NoPath)?;
    }
    Ok(path)
}

fn signed_by(certificate: &CertificateDer<'_>, issuer: &CertificateDer<'_>) -> bool {
    let (Some(certificate), Some(issuer)) = (parse(certificate), parse(issuer)) else { return false };
    certificate.issuer() == issuer.subject() && certificate.verify_signature(Some(issuer.public_key())).is_ok()
}

pub(super) fn to_pem(certificates: &[CertificateDer<'_>]) -> String {
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
