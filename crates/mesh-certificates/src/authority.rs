//! An authority that signs those of meshes: a root that is made here, or one that was brought in, which may be an intermediate.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData as _, SerialNumber,
};

use crate::chain::{self, allows_below};
use crate::pem::{self, Certificate, NotCertificates, parse, signed_by};
use crate::request::{Requested, uris};

/// Clocks of clusters may be this far behind.
const CLOCK_SKEW: Duration = Duration::from_secs(120);

/// Why something is no authority, or does not sign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// A text does not hold certificates.
    #[error("{field} {source}")]
    Pem {
        /// Which field of the Secret.
        field: &'static str,
        /// What is wrong.
        source: NotCertificates,
    },
    /// A field of the Secret is absent.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// The key cannot be used.
    #[error("tls.key: {0}")]
    Key(String),
    /// The key belongs to another certificate.
    #[error("tls.key is not the key of tls.crt")]
    OtherKey,
    /// It may not sign others.
    #[error("tls.crt is no authority (basicConstraints CA:TRUE and keyUsage keyCertSign are needed)")]
    NoAuthority,
    /// It may not sign authorities.
    #[error("{0} has a path length that allows no authority of a mesh below it")]
    PathLength(&'static str),
    /// An intermediate without its root.
    #[error("tls.crt is no root, and ca.crt does not hold the root that it leads to")]
    NoRoot,
    /// Nothing may be signed any more.
    #[error("the authority has expired")]
    Expired,
    /// There is only its certificate.
    #[error("the key of the authority is not here any more")]
    NoKey,
    /// Signing failed.
    #[error("cannot sign: {0}")]
    Sign(String),
}

/// What is signed for, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Organisation in the subject.
    pub organisation: String,
    /// Longest life; an authority signs for nothing beyond its own end.
    pub life: Duration,
    /// The time.
    pub now: SystemTime,
}

/// An authority that signs those of meshes.
pub struct Authority {
    /// From the certificate that signs up to and with its root.
    path: Vec<Certificate>,
    key: Option<KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Authority").field("root", &self.root_fingerprint()).finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a root.
    ///
    /// # Errors
    /// [`AuthorityError::Sign`]; only where the machine gives no randomness.
    pub fn generate(terms: &Terms) -> Result<Self, AuthorityError> {
        let broken = |error: rcgen::Error| AuthorityError::Sign(error.to_string());
        let key = KeyPair::generate().map_err(broken)?;
        let serial = serial();
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::OrganizationName, terms.organisation.as_str());
        // Two roots of one name would be taken for each other where both are trusted.
        let name: String = serial.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        parameters.distinguished_name.push(DnType::CommonName, format!("root {name}"));
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        parameters.serial_number = Some(SerialNumber::from_slice(&serial));
        set_validity(&mut parameters, terms.now - CLOCK_SKEW, terms.now + terms.life);
        let certificate = parameters.self_signed(&key).map_err(broken)?;
        Ok(Self { path: vec![certificate.der().clone()], key: Some(key) })
    }

    /// An authority from the fields of a Secret: the certificate with what is above it, its key where it is there, and the root
    /// where the certificate is none itself.
    ///
    /// # Errors
    /// [`AuthorityError`], naming the field.
    pub fn load(certificate: &str, key: Option<&str>, root: Option<&str>) -> Result<Self, AuthorityError> {
        let read = |field, text| pem::certificates(text).map_err(|source| AuthorityError::Pem { field, source });
        let certificates = read("tls.crt", certificate)?;
        let roots = read("ca.crt", root.unwrap_or_default())?;
        let Some(own) = certificates.first() else { return Err(AuthorityError::Missing("tls.crt")) };
        let parsed = parse(own).ok_or(AuthorityError::Missing("tls.crt"))?;
        let may_sign = parsed.key_usage().ok().flatten().is_none_or(|usage| usage.value.key_cert_sign());
        if !parsed.is_ca() || !may_sign {
            return Err(AuthorityError::NoAuthority);
        }
        let path = path(own, &certificates[1..], &roots).ok_or(AuthorityError::NoRoot)?;
        for (index, authority) in path.iter().enumerate() {
            if !allows_below(authority, index + 1) {
                return Err(AuthorityError::PathLength(if index == 0 {
                    "tls.crt"
                } else {
                    "an authority above tls.crt"
                }));
            }
        }
        let key = match key.filter(|text| !text.trim().is_empty()) {
            Some(text) => Some(chain::key_pair(text).map_err(|error| AuthorityError::Key(error.to_string()))?),
            None => None,
        };
        if key.as_ref().is_some_and(|key| key.der_bytes() != parsed.public_key().subject_public_key.data.as_ref()) {
            return Err(AuthorityError::OtherKey);
        }
        Ok(Self { path, key })
    }

    /// Whether it can sign.
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// Its key, PEM, where it is there.
    pub fn key_pem(&self) -> Option<String> {
        self.key.as_ref().map(KeyPair::serialize_pem)
    }

    /// The certificate that signs, and what is between it and its root, PEM.
    pub fn chain_pem(&self) -> String {
        let end = if self.path.len() == 1 { 1 } else { self.path.len() - 1 };
        pem::to_pem(&self.path[..end])
    }

    /// The certificate that signs, and what is above it up to and with its root, PEM.
    pub fn path_pem(&self) -> String {
        pem::to_pem(&self.path)
    }

    /// Its root, PEM.
    pub fn root_pem(&self) -> String {
        pem::to_pem(self.path.last())
    }

    /// Fingerprint of its root.
    pub fn root_fingerprint(&self) -> String {
        self.path.last().map(pem::fingerprint).unwrap_or_default()
    }

    /// Begin and end of what it can sign for: those of its certificate, and of none above it that is shorter.
    pub fn validity(&self) -> (SystemTime, SystemTime) {
        let all = self.path.iter().filter_map(pem::validity);
        let widest = (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + Duration::from_secs(u32::MAX.into()));
        all.fold(widest, |(from, to), (begin, end)| (from.max(begin), to.min(end)))
    }

    /// Signs the authority of a mesh: the certificate, and what is above it up to and with the root, PEM. It may sign workloads
    /// only, and is valid no longer than what it is signed by.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn sign(&self, request: &Requested, terms: &Terms) -> Result<String, AuthorityError> {
        let broken = |error: rcgen::Error| AuthorityError::Sign(error.to_string());
        let (Some(key), Some(own)) = (&self.key, self.path.first()) else { return Err(AuthorityError::NoKey) };
        let not_after = (terms.now + terms.life).min(self.validity().1);
        if not_after <= terms.now {
            return Err(AuthorityError::Expired);
        }
        let issuer = Issuer::from_ca_cert_der(own, key).map_err(broken)?;
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::OrganizationName, terms.organisation.as_str());
        parameters.distinguished_name.push(DnType::CommonName, "Intermediate CA");
        parameters.subject_alt_names = uris(&request.hosts).map_err(broken)?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        parameters.use_authority_key_identifier_extension = true;
        parameters.serial_number = Some(SerialNumber::from_slice(&serial()));
        set_validity(&mut parameters, terms.now - CLOCK_SKEW, not_after);
        let signed = parameters.signed_by(&request.key, &issuer).map_err(broken)?;
        Ok(format!("{}{}", signed.pem().replace("\r\n", "\n"), pem::to_pem(&self.path)))
    }
}

fn path(own: &Certificate, beside: &[Certificate], roots: &[Certificate]) -> Option<Vec<Certificate>> {
    let mut path = vec![own.clone()];
    loop {
        let last = path.last()?;
        if signed_by(last, last) {
            return Some(path);
        }
        let mut known = beside.iter().chain(roots);
        let next = known.find(|candidate| !path.contains(candidate) && signed_by(last, candidate))?.clone();
        path.push(next);
    }
}

/// 127 random bits, positive.
fn serial() -> [u8; 16] {
    ((rand::random::<u128>() >> 1) | (1 << 120)).to_be_bytes()
}

/// Writes a validity down in the terms of rcgen, whose type for times is not exported.
fn set_validity(parameters: &mut CertificateParams, from: SystemTime, to: SystemTime) {
    let since_epoch = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    parameters.not_before = epoch + Duration::from_secs(since_epoch(from));
    parameters.not_after = epoch + Duration::from_secs(since_epoch(to));
}

#[cfg(test)]
mod tests;
