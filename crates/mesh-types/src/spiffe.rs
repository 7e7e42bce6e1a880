//! Workload identities: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.

use std::fmt;
use std::str::FromStr;

/// The identity of a workload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    /// Root of trust that issued the identity, for example `cluster.local`.
    pub trust_domain: String,
    /// Kubernetes namespace of the workload.
    pub namespace: String,
    /// Kubernetes service account of the workload.
    pub service_account: String,
}

/// Why a text is not the identity of a workload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not of the form spiffe://<trust domain>/ns/<namespace>/sa/<service account>")]
pub struct NotASpiffeId(String);

impl SpiffeId {
    /// Builds an identity from its three parts.
    pub fn new(trust_domain: &str, namespace: &str, service_account: &str) -> Self {
        Self {
            trust_domain: trust_domain.to_owned(),
            namespace: namespace.to_owned(),
            service_account: service_account.to_owned(),
        }
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "spiffe://{}/ns/{}/sa/{}", self.trust_domain, self.namespace, self.service_account)
    }
}

impl FromStr for SpiffeId {
    type Err = NotASpiffeId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || NotASpiffeId(text.to_owned());
        let parts: Vec<&str> = text.strip_prefix("spiffe://").ok_or_else(refuse)?.split('/').collect();
        match parts.as_slice() {
            [trust_domain, "ns", namespace, "sa", account]
                if ![trust_domain, namespace, account].iter().any(|part| part.is_empty()) =>
            {
                Ok(Self::new(trust_domain, namespace, account))
            }
            _ => Err(refuse()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_identity_reads_back() {
        let id = SpiffeId::new("cluster.local", "bookinfo", "bookinfo-reviews");
        assert_eq!(id.to_string(), "spiffe://cluster.local/ns/bookinfo/sa/bookinfo-reviews");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn incomplete_identities_are_refused() {
        for text in ["", "spiffe://td", "spiffe://td/ns//sa/x", "spiffe://td/ns/a/sa/b/c", "https://td/ns/a/sa/b"] {
            assert!(text.parse::<SpiffeId>().is_err(), "{text}");
        }
    }
}
