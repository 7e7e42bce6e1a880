//! The user that a verified client certificate names: common name, and one group per organization.

use x509_parser::prelude::{FromDer, X509Certificate};

use super::User;

/// Reads the user from a certificate (DER); `None` where it names nobody.
pub(crate) fn user(certificate: &[u8]) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?;
    let groups: Vec<&str> = subject.iter_organization().filter_map(|organization| organization.as_str().ok()).collect();
    Some(User::authenticated(name, &groups))
}
