//! Signing requests: made where the key is, checked where it is signed.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PublicKeyData as _, SanType, SubjectPublicKeyInfo};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;

const MINIMUM_RSA_BITS: usize = 2048;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate signing request {0}")]
pub struct RequestError(String);

/// A new key and the request for its certificate.
pub struct SigningRequest {
    /// PKCS #8, PEM. Never leaves the cluster that it is made in.
    pub key_pem: String,
    /// PKCS #10, PEM.
    pub csr_pem: String,
}

/// A request whose form, proof of possession and names are right.
pub struct Requested {
    pub(crate) key: SubjectPublicKeyInfo,
    /// The identities, URIs.
    pub(crate) hosts: Vec<String>,
}

impl std::fmt::Debug for Requested {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Requested").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// Makes an ECDSA P-256 key and a request for these identities.
///
/// # Errors
/// [`RequestError`] for an identity that is no URI, and where the machine gives no randomness.
pub fn make(hosts: &[String], organisation: &str) -> Result<SigningRequest, RequestError> {
    let key = KeyPair::generate().map_err(|error| RequestError(format!("cannot be made: {error}")))?;
    Ok(SigningRequest { csr_pem: with_key(&key, hosts, organisation)?, key_pem: key.serialize_pem() })
}

/// Makes another request for a key that is there already.
///
/// # Errors
/// [`RequestError`] for a key that cannot be read, and an identity that is no URI.
pub fn again(key_pem: &str, hosts: &[String], organisation: &str) -> Result<String, RequestError> {
    let key = crate::chain::key_pair(key_pem).map_err(|error| RequestError(format!("cannot be made: {error}")))?;
    with_key(&key, hosts, organisation)
}

fn with_key(key: &KeyPair, hosts: &[String], organisation: &str) -> Result<String, RequestError> {
    let refuse = |error: rcgen::Error| RequestError(format!("cannot be made: {error}"));
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::OrganizationName, organisation);
    parameters.subject_alt_names = uris(hosts).map_err(refuse)?;
    parameters.serialize_request(key).and_then(|request| request.pem()).map_err(refuse)
}

/// Whether a request is for this key.
pub fn is_for(csr_pem: &str, key_pem: &str) -> bool {
    let requested = pem_content(csr_pem).ok();
    let requested = requested.as_deref().and_then(|der| X509CertificationRequest::from_der(der).ok());
    let key = crate::chain::key_pair(key_pem).ok();
    let (Some((_, request)), Some(key)) = (requested, key) else { return false };
    request.certification_request_info.subject_pki.subject_public_key.data.as_ref() == key.der_bytes()
}

/// Checks a request: it is signed by its key, the key is strong enough, and it asks for exactly the identities that its cluster
/// shall have, and for no other name.
///
/// # Errors
/// [`RequestError`].
pub fn check(csr_pem: &str, hosts: &[String]) -> Result<Requested, RequestError> {
    let refuse = |problem: String| RequestError(problem);
    let der = pem_content(csr_pem)?;
    let (rest, request) =
        X509CertificationRequest::from_der(&der).map_err(|error| refuse(format!("cannot be read: {error}")))?;
    if !rest.is_empty() {
        return Err(refuse("has more behind its end".to_owned()));
    }
    request.verify_signature().map_err(|_error| refuse("is not signed by the key that it is for".to_owned()))?;
    let key = &request.certification_request_info.subject_pki;
    if let Ok(PublicKey::RSA(rsa)) = key.parsed()
        && rsa.key_size() < MINIMUM_RSA_BITS
    {
        let bits = rsa.key_size();
        return Err(refuse(format!("is for an RSA key of {bits} bits; at least {MINIMUM_RSA_BITS} are needed")));
    }
    let key = SubjectPublicKeyInfo::from_der(key.raw)
        .map_err(|_error| refuse("is for a kind of key that is not supported".to_owned()))?;
    same_names(&names(&request)?, hosts)?;
    Ok(Requested { key, hosts: hosts.to_vec() })
}

fn pem_content(csr_pem: &str) -> Result<Vec<u8>, RequestError> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(csr_pem.as_bytes())
        .map_err(|error| RequestError(format!("is not PEM: {error}")))?;
    if !["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"].contains(&pem.label.as_str()) {
        return Err(RequestError(format!("is a `{}`", pem.label)));
    }
    Ok(pem.contents)
}

/// Every alternative name of a request, in words.
fn names(request: &X509CertificationRequest<'_>) -> Result<Vec<String>, RequestError> {
    let unreadable = || RequestError("has an extension that cannot be read".to_owned());
    let mut names = Vec::new();
    for extension in request.requested_extensions().into_iter().flatten() {
        match extension {
            ParsedExtension::SubjectAlternativeName(alternative) => {
                names.extend(alternative.general_names.iter().map(|name| match name {
                    GeneralName::URI(uri) => (*uri).to_owned(),
                    other => other.to_string(),
                }));
            }
            ParsedExtension::ParseError { .. } | ParsedExtension::Unparsed => return Err(unreadable()),
            // What a certificate may do is decided by who signs it.
            _ => {}
        }
    }
    Ok(names)
}

fn same_names(asked: &[String], hosts: &[String]) -> Result<(), RequestError> {
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort();
        names
    };
    if sorted(asked) == sorted(hosts) {
        return Ok(());
    }
    let list = |names: &[String]| if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    Err(RequestError(format!("asks for {}; this mesh may only be {}", list(asked), list(hosts))))
}

pub(crate) fn uris(hosts: &[String]) -> Result<Vec<SanType>, rcgen::Error> {
    hosts.iter().map(|host| Ok(SanType::URI(host.as_str().try_into()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "spiffe://cluster.local/ns/istio-system/sa/istiod";

    fn hosts() -> Vec<String> {
        vec![ID.to_owned()]
    }

    #[test]
    fn a_request_for_the_own_identity_is_taken() {
        let request = make(&hosts(), "Istio").unwrap();
        assert_eq!(check(&request.csr_pem, &hosts()).unwrap().hosts, hosts());
        assert!(is_for(&request.csr_pem, &request.key_pem));
        assert!(!is_for(&request.csr_pem, &make(&hosts(), "Istio").unwrap().key_pem));
    }

    #[test]
    fn other_names_are_refused() {
        let other = "spiffe://cluster.local/ns/istio-system/sa/other".to_owned();
        let message =
            |asked: &[String]| check(&make(asked, "Istio").unwrap().csr_pem, &hosts()).unwrap_err().to_string();
        let refused = message(std::slice::from_ref(&other));
        assert!(refused.contains("asks for spiffe://cluster.local/ns/istio-system/sa/other"), "{refused}");
        assert!(message(&[ID.to_owned(), other]).contains("may only be"));
        assert!(message(&[]).contains("asks for nothing"));
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::default();
        parameters.subject_alt_names = uris(&hosts()).unwrap();
        parameters.subject_alt_names.push(SanType::DnsName("istiod.istio-system.svc".try_into().unwrap()));
        let csr = parameters.serialize_request(&key).unwrap().pem().unwrap();
        assert!(check(&csr, &hosts()).unwrap_err().to_string().contains("istiod.istio-system.svc"));
    }

    #[test]
    fn a_request_that_another_key_signed_is_refused() {
        let request = make(&hosts(), "Istio").unwrap();
        let mut der = pem_content(&request.csr_pem).unwrap();
        let last = der.len() - 1;
        der[last] ^= 1;
        use base64::Engine as _;
        let body = base64::engine::general_purpose::STANDARD.encode(&der);
        let forged = format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n");
        let refused = check(&forged, &hosts()).unwrap_err().to_string();
        assert!(refused.contains("not signed by the key"), "{refused}");
        assert!(check("hello", &hosts()).is_err());
        assert!(check(&request.key_pem, &hosts()).unwrap_err().to_string().contains("PRIVATE KEY"));
    }
}
