//! Certificates of gateways, from Secrets in the namespace of the control plane, which is that of its gateways. Pure.

use std::fmt;

use k8s_openapi::api::core::v1::Secret;

/// What a Secret has for TLS, in PEM.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credential {
    /// Certificates, the own one first (`tls.crt` or `cert`).
    pub certificate: String,
    /// Its key (`tls.key` or `key`).
    pub key: String,
    /// Authorities that certificates of clients are verified by (`ca.crt` or `cacert`).
    pub authority: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credential").finish_non_exhaustive()
    }
}

/// Reads a Secret; one that has nothing for TLS is nothing.
pub fn credential(secret: Secret) -> Option<Credential> {
    let data = secret.data.unwrap_or_default();
    let text = |names: [&str; 2]| {
        let found = names.iter().find_map(|name| data.get(*name));
        found.map(|value| String::from_utf8_lossy(&value.0).into_owned()).unwrap_or_default()
    };
    let read = Credential {
        certificate: text(["tls.crt", "cert"]),
        key: text(["tls.key", "key"]),
        authority: text(["ca.crt", "cacert"]),
    };
    (read != Credential::default()).then_some(read)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::ByteString;

    use super::*;

    #[test]
    fn what_is_for_tls_is_read_and_not_shown() {
        let secret = |entries: &[(&str, &str)]| {
            let data = entries.iter().map(|(name, value)| ((*name).to_owned(), ByteString(value.as_bytes().to_vec())));
            credential(Secret { data: Some(data.collect::<BTreeMap<_, _>>()), ..Secret::default() })
        };
        let read = secret(&[("tls.crt", "a"), ("tls.key", "b"), ("ca.crt", "c")]).unwrap();
        assert_eq!((read.certificate.as_str(), read.key.as_str(), read.authority.as_str()), ("a", "b", "c"));
        assert_eq!(format!("{read:?}"), "Credential { .. }");
        assert_eq!(secret(&[("cacert", "c")]).unwrap().authority, "c");
        assert_eq!(secret(&[("token", "t")]), None);
    }
}
