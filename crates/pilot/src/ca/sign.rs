//! Issues certificates. Pure: the identity, the time and the keys are given; only serial numbers come from chance.

use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PublicKeyData,
    SanType, SerialNumber, SubjectPublicKeyInfo,
};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

use super::keys::SigningKeys;

/// Lifetime of a workload certificate where the caller asks for none.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Longest lifetime of a workload certificate.
pub const MAXIMUM_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);
/// Clocks of callers may be this far behind.
const CLOCK_SKEW: Duration = Duration::from_secs(120);
const MINIMUM_RSA_BITS: usize = 2048;

/// Why no certificate is issued.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The request is unusable.
    #[error("the certificate signing request {0}")]
    Request(String),
    /// The lifetime is unusable.
    #[error("a lifetime of {asked:?} is more than the allowed {MAXIMUM_LIFETIME:?}")]
    Lifetime {
        /// What was asked for.
        asked: Duration,
    },
    /// The authority itself is at fault.
    #[error("the authority cannot sign: {0}")]
    Authority(String),
}

/// Checks a request's form and its proof of possession, and returns the key it is for. What the request says about
/// names is not read: the identity is the caller's.
///
/// # Errors
/// [`SignError::Request`].
pub fn requested_key(csr_pem: &str) -> Result<SubjectPublicKeyInfo, SignError> {
    let refuse = |problem: String| SignError::Request(problem);
    let (_, pem) =
        x509_parser::pem::parse_x509_pem(csr_pem.as_bytes()).map_err(|error| refuse(format!("is not PEM: {error}")))?;
    if !["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"].contains(&pem.label.as_str()) {
        return Err(refuse(format!("is a `{}`", pem.label)));
    }
    let (_, request) = X509CertificationRequest::from_der(&pem.contents)
        .map_err(|error| refuse(format!("cannot be read: {error}")))?;
    request.verify_signature().map_err(|_error| refuse("is not signed by the key it is for".to_owned()))?;
    let key = &request.certification_request_info.subject_pki;
    if let Ok(x509_parser::public_key::PublicKey::RSA(rsa)) = key.parsed()
        && rsa.key_size() < MINIMUM_RSA_BITS
    {
        return Err(refuse(format!(
            "is for an RSA key of {} bits; at least {MINIMUM_RSA_BITS} are needed",
            rsa.key_size()
        )));
    }
    SubjectPublicKeyInfo::from_der(key.raw)
        .map_err(|_error| refuse("is for a kind of key that is not supported".to_owned()))
}

/// The certificate of a workload: no subject, the SPIFFE id as critical URI, for both ends of TLS.
///
/// # Errors
/// [`SignError`].
pub fn workload(
    keys: &SigningKeys,
    csr_pem: &str,
    spiffe_id: &str,
    lifetime: Option<Duration>,
    now: SystemTime,
) -> Result<Vec<String>, SignError> {
    let key = requested_key(csr_pem)?;
    let lifetime = lifetime.filter(|asked| !asked.is_zero()).unwrap_or(DEFAULT_LIFETIME);
    if lifetime > MAXIMUM_LIFETIME {
        return Err(SignError::Lifetime { asked: lifetime });
    }
    let id = spiffe_id.try_into().map_err(|error: rcgen::Error| SignError::Authority(error.to_string()))?;
    let leaf = issue(keys, &key, vec![SanType::URI(id)], DistinguishedName::new(), lifetime, now)?;
    let chain = [leaf, keys.chain_pem.clone(), keys.root_pem.clone()];
    Ok(chain.into_iter().filter(|pem| !pem.is_empty()).collect())
}

/// A certificate that istiod serves with, and its key.
pub struct Served {
    /// Leaf and intermediates, PEM.
    pub chain_pem: String,
    /// PKCS#8, DER.
    pub key: Vec<u8>,
}

/// Issues a certificate for istiod's own ports.
///
/// # Errors
/// [`SignError::Authority`].
pub fn server(keys: &SigningKeys, names: &[String], lifetime: Duration, now: SystemTime) -> Result<Served, SignError> {
    let broken = |error: rcgen::Error| SignError::Authority(error.to_string());
    let key = KeyPair::generate().map_err(broken)?;
    let sans = names
        .iter()
        .map(|name| Ok(SanType::DnsName(name.as_str().try_into()?)))
        .collect::<Result<Vec<_>, rcgen::Error>>()
        .map_err(broken)?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "istiod");
    let leaf = issue(keys, &key, sans, subject, lifetime, now)?;
    Ok(Served { chain_pem: format!("{leaf}{}", keys.chain_pem), key: key.serialize_der() })
}

fn issue(
    keys: &SigningKeys,
    key: &impl PublicKeyData,
    sans: Vec<SanType>,
    subject: DistinguishedName,
    lifetime: Duration,
    now: SystemTime,
) -> Result<String, SignError> {
    let not_after = (now + lifetime).min(keys.not_after);
    if not_after <= now {
        return Err(SignError::Authority("its certificate has expired".to_owned()));
    }
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = subject;
    parameters.subject_alt_names = sans;
    set_validity(&mut parameters, now - CLOCK_SKEW, not_after);
    parameters.serial_number = Some(serial());
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    parameters.is_ca = rcgen::IsCa::ExplicitNoCa;
    parameters.use_authority_key_identifier_extension = true;
    let signed = parameters.signed_by(key, &keys.issuer);
    signed.map(|certificate| certificate.pem()).map_err(|error| SignError::Authority(error.to_string()))
}

/// 127 random bits, positive.
fn serial() -> SerialNumber {
    let bytes = ((rand::random::<u128>() >> 1) | 1).to_be_bytes();
    SerialNumber::from_slice(&bytes)
}

/// Writes a validity down in the terms of rcgen, whose type for times is not exported.
pub(super) fn set_validity(parameters: &mut CertificateParams, from: SystemTime, to: SystemTime) {
    let since_epoch = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    parameters.not_before = epoch + Duration::from_secs(since_epoch(from));
    parameters.not_after = epoch + Duration::from_secs(since_epoch(to));
}

#[cfg(test)]
mod tests;
