//! What was signed is checked before a control plane signs with it: a wrong authority is worse than an old one.

use std::time::SystemTime;

use rcgen::{KeyPair, PublicKeyData as _};
use rustls::pki_types::PrivatePkcs8KeyDer;
use x509_parser::extensions::GeneralName;

use crate::der;
use crate::pem::{self, Certificate, NotCertificates, parse, signed_by};

/// Longest path that is followed.
const LONGEST: usize = 8;

/// Why a certificate is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A text does not hold certificates.
    #[error("{what} {source}")]
    Pem {
        /// Which text.
        what: &'static str,
        /// What is wrong.
        source: NotCertificates,
    },
    /// The key cannot be read.
    #[error("the private key cannot be read: {0}")]
    Key(String),
    /// It was signed for another key.
    #[error("the signed certificate is not for the key that was made here")]
    OtherKey,
    /// It may not sign.
    #[error("the signed certificate is no authority (basicConstraints CA:TRUE and keyUsage keyCertSign are needed)")]
    NoAuthority,
    /// It is for somebody else.
    #[error("the signed certificate is for {found}; expected {expected}")]
    OtherIdentity {
        /// What it says.
        found: String,
        /// What it has to say.
        expected: String,
    },
    /// A certificate of the path is not valid now.
    #[error("certificate {place} of the chain is not valid now: from {from} to {to}")]
    NotValid {
        /// Counted from 1, the signed one.
        place: usize,
        /// Begin, seconds since 1970.
        from: u64,
        /// End, seconds since 1970.
        to: u64,
    },
    /// It leads to no root.
    #[error("the signed certificate leads to none of the roots that came with it")]
    NoPath,
    /// An authority above it does not allow so many below it.
    #[error("certificate {0} of the chain does not allow an authority so far below it (path length)")]
    PathLength(usize),
}

/// What a certificate has to be.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// Its identities.
    pub hosts: &'a [String],
    /// Its key, PEM.
    pub key_pem: &'a str,
    /// When it is used.
    pub now: SystemTime,
}

/// A certificate that may be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The certificate itself.
    pub certificate: Certificate,
    /// From the certificate up to and with its root.
    pub path: Vec<Certificate>,
    /// What is trusted, the root of the path first.
    pub roots: Vec<Certificate>,
    /// Begin of its validity.
    pub not_before: SystemTime,
    /// End of its validity.
    pub not_after: SystemTime,
}

impl Installed {
    /// Fingerprint of the root that it leads to.
    pub fn root_fingerprint(&self) -> String {
        self.path.last().map(pem::fingerprint).unwrap_or_default()
    }

    /// Fingerprints of everything that is trusted, the own root first.
    pub fn trusted(&self) -> Vec<String> {
        self.roots.iter().map(pem::fingerprint).collect()
    }
}

/// Checks a signed certificate, with what leads from it to a root, and the roots.
///
/// # Errors
/// [`ChainError`]: the first thing that is not right.
pub fn check(wanted: &Wanted<'_>, signed_pem: &str, roots_pem: &str) -> Result<Installed, ChainError> {
    let read = |what, text| pem::certificates(text).map_err(|source| ChainError::Pem { what, source });
    let signed = read("the signed certificate", signed_pem)?;
    let mut roots = read("the list of roots", roots_pem)?;
    let Some(certificate) = signed.first() else { return Err(ChainError::NoPath) };
    is_authority_of(certificate, wanted)?;
    let path = path_to_root(certificate, &signed[1..], &roots)?;
    check_path(&path, wanted.now)?;
    let root = path.last().ok_or(ChainError::NoPath)?.clone();
    roots.retain(|known| *known != root);
    roots.insert(0, root);
    roots.dedup();
    let (not_before, not_after) = pem::validity(certificate).ok_or(ChainError::NoPath)?;
    Ok(Installed { certificate: certificate.clone(), path, roots, not_before, not_after })
}

fn is_authority_of(certificate: &Certificate, wanted: &Wanted<'_>) -> Result<(), ChainError> {
    let parsed = parse(certificate).ok_or(ChainError::NoPath)?;
    let key = key_pair(wanted.key_pem)?;
    if parsed.public_key().subject_public_key.data.as_ref() != key.der_bytes() {
        return Err(ChainError::OtherKey);
    }
    let may_sign = parsed.key_usage().ok().flatten().is_some_and(|usage| usage.value.key_cert_sign());
    if !parsed.is_ca() || !may_sign {
        return Err(ChainError::NoAuthority);
    }
    let names = parsed.subject_alternative_name().ok().flatten();
    let found: Vec<String> = names
        .iter()
        .flat_map(|names| &names.value.general_names)
        .map(|name| match name {
            GeneralName::URI(uri) => (*uri).to_owned(),
            other => other.to_string(),
        })
        .collect();
    if found == wanted.hosts {
        return Ok(());
    }
    let list = |names: &[String]| if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
    Err(ChainError::OtherIdentity { found: list(&found), expected: list(wanted.hosts) })
}

/// The path from a certificate up to and with one of the roots.
fn path_to_root(
    certificate: &Certificate,
    known: &[Certificate],
    roots: &[Certificate],
) -> Result<Vec<Certificate>, ChainError> {
    let mut path = vec![certificate.clone()];
    while path.len() <= LONGEST {
        let Some(last) = path.last() else { break };
        if let Some(root) = roots.iter().find(|root| signed_by(last, root)) {
            if root != last {
                path.push(root.clone());
            }
            return Ok(path);
        }
        let next = known.iter().find(|candidate| !path.contains(candidate) && signed_by(last, candidate));
        path.push(next.ok_or(ChainError::NoPath)?.clone());
    }
    Err(ChainError::NoPath)
}

fn check_path(path: &[Certificate], now: SystemTime) -> Result<(), ChainError> {
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    for (index, certificate) in path.iter().enumerate() {
        let (from, to) = pem::validity(certificate).ok_or(ChainError::NoPath)?;
        let place = index + 1;
        if now < from || now >= to {
            return Err(ChainError::NotValid { place, from: seconds(from), to: seconds(to) });
        }
        if index > 0 && !allows_below(certificate, index) {
            return Err(ChainError::PathLength(place));
        }
    }
    Ok(())
}

/// Whether an authority allows so many authorities below it.
pub(crate) fn allows_below(authority: &Certificate, below: usize) -> bool {
    let Some(parsed) = parse(authority) else { return false };
    let Ok(Some(constraints)) = parsed.basic_constraints() else { return false };
    let longest = constraints.value.path_len_constraint;
    constraints.value.ca && longest.is_none_or(|longest| usize::try_from(longest).is_ok_and(|longest| longest >= below))
}

pub(crate) fn key_pair(pem: &str) -> Result<KeyPair, ChainError> {
    let der = PrivatePkcs8KeyDer::from(der::pkcs8(pem).map_err(|error| ChainError::Key(error.to_string()))?);
    KeyPair::try_from(&der).map_err(|error| ChainError::Key(error.to_string()))
}
