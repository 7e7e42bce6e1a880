//! Lists of certificates as PEM texts.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;

/// A certificate, encoded.
pub type Certificate = CertificateDer<'static>;

/// A text that is no list of certificates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a list of PEM certificates: {0}")]
pub struct NotCertificates(String);

/// The certificates of a text, in order; an empty text has none.
///
/// # Errors
/// [`NotCertificates`].
pub fn certificates(pem: &str) -> Result<Vec<Certificate>, NotCertificates> {
    let read: Vec<Certificate> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| NotCertificates(error.to_string()))?;
    match read.iter().position(|certificate| parse(certificate).is_none()) {
        Some(place) => Err(NotCertificates(format!("number {} is not X.509", place + 1))),
        None => Ok(read),
    }
}

/// Writes certificates one after the other.
pub fn to_pem<'a>(certificates: impl IntoIterator<Item = &'a Certificate>) -> String {
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

/// SHA-256 of a certificate, in hexadecimal.
pub fn fingerprint(certificate: &Certificate) -> String {
    Sha256::digest(certificate).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Begin and end of a certificate's validity.
pub fn validity(certificate: &Certificate) -> Option<(SystemTime, SystemTime)> {
    let parsed = parse(certificate)?;
    let time = |seconds: i64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap_or(0));
    Some((time(parsed.validity().not_before.timestamp()), time(parsed.validity().not_after.timestamp())))
}

pub(crate) fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    x509_parser::parse_x509_certificate(certificate).ok().map(|(_, parsed)| parsed)
}

/// Whether one is signed by the other, by name and by key.
pub(crate) fn signed_by(certificate: &Certificate, issuer: &Certificate) -> bool {
    let (Some(certificate), Some(issuer)) = (parse(certificate), parse(issuer)) else { return false };
    certificate.issuer() == issuer.subject() && certificate.verify_signature(Some(issuer.public_key())).is_ok()
}
