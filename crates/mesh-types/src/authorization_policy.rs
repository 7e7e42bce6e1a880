//! AuthorizationPolicy: who may call a workload, and how.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kind::Kind;
use crate::object::Resource;
use crate::peer_authentication::WorkloadSelector;

/// Specification of an AuthorizationPolicy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthorizationPolicy {
    /// The workloads it applies to; without it the namespace, or in the root namespace the mesh.
    pub selector: Option<WorkloadSelector>,
    /// Rules, one of which has to match; none matches nothing.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// What happens to requests that match.
    #[serde(default)]
    pub action: Action,
    /// Who decides about requests that match, for action CUSTOM.
    pub provider: Option<Provider>,
}

/// What happens to requests that match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Action {
    /// They are allowed; where there is such a policy, others are not.
    #[default]
    Allow,
    /// They are denied, whatever else allows them.
    Deny,
    /// They are noted.
    Audit,
    /// An extension decides.
    Custom,
}

/// An extension that decides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Provider {
    /// Name in the configuration of the mesh.
    pub name: Option<String>,
}

/// A rule: matches where a source, an operation and every condition match. What is left out matches everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rule {
    /// Sources, one of which has to match.
    #[serde(default)]
    pub from: Vec<From>,
    /// Operations, one of which has to match.
    #[serde(default)]
    pub to: Vec<To>,
    /// Further conditions, which all have to hold.
    #[serde(default)]
    pub when: Vec<Condition>,
}

/// A source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct From {
    /// The source.
    pub source: Option<Source>,
}

/// An operation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct To {
    /// The operation.
    pub operation: Option<Operation>,
}

/// Who calls; every list that is given has to match.
///
/// Texts match exactly, as a prefix (`abc*`), as a suffix (`*abc`), or where there is any (`*`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Source {
    /// Identities from mutual TLS, without `spiffe://`.
    pub principals: Vec<String>,
    /// Identities that do not match.
    pub not_principals: Vec<String>,
    /// Identities from tokens.
    pub request_principals: Vec<String>,
    /// Identities from tokens that do not match.
    pub not_request_principals: Vec<String>,
    /// Namespaces of identities from mutual TLS.
    pub namespaces: Vec<String>,
    /// Namespaces that do not match.
    pub not_namespaces: Vec<String>,
    /// Service accounts, `<namespace>/<name>`, or `<name>` in the namespace of the policy.
    pub service_accounts: Vec<String>,
    /// Service accounts that do not match.
    pub not_service_accounts: Vec<String>,
    /// Addresses of the connection's other end, single or as CIDR.
    pub ip_blocks: Vec<String>,
    /// Addresses that do not match.
    pub not_ip_blocks: Vec<String>,
    /// Addresses of the original caller, single or as CIDR.
    pub remote_ip_blocks: Vec<String>,
    /// Addresses that do not match.
    pub not_remote_ip_blocks: Vec<String>,
}

/// What is called; every list that is given has to match.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Operation {
    /// Authorities of the request, without regard to case.
    pub hosts: Vec<String>,
    /// Authorities that do not match.
    pub not_hosts: Vec<String>,
    /// Ports of the workload.
    pub ports: Vec<String>,
    /// Ports that do not match.
    pub not_ports: Vec<String>,
    /// Methods of the request.
    pub methods: Vec<String>,
    /// Methods that do not match.
    pub not_methods: Vec<String>,
    /// Paths of the request, or templates with `{*}` for a segment and `{**}` for any number of them.
    pub paths: Vec<String>,
    /// Paths that do not match.
    pub not_paths: Vec<String>,
}

/// A further condition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// The attribute that is looked at.
    pub key: String,
    /// Values, one of which it has to have.
    pub values: Vec<String>,
    /// Values that it must not have.
    pub not_values: Vec<String>,
}

/// An attribute that a condition can look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// `request.headers[name]`: a header of the request.
    Header(String),
    /// `source.ip`: address of the connection's other end.
    SourceIp,
    /// `remote.ip`: address of the original caller.
    RemoteIp,
    /// `source.namespace`: namespace of the caller's identity.
    SourceNamespace,
    /// `source.principal`: identity of the caller.
    SourcePrincipal,
    /// `destination.ip`: address that is called.
    DestinationIp,
    /// `destination.port`: port that is called.
    DestinationPort,
    /// `connection.sni`: server name of the connection.
    ServerName,
    /// One that Istio knows and this mesh cannot look at.
    Unsupported,
}

impl Attribute {
    /// The attribute of a key; nothing where Istio has none.
    pub fn of(key: &str) -> Option<Self> {
        if let Some(header) = key.strip_prefix("request.headers[").and_then(|rest| rest.strip_suffix(']')) {
            return (!header.is_empty()).then(|| Self::Header(header.to_owned()));
        }
        Some(match key {
            "source.ip" => Self::SourceIp,
            "remote.ip" => Self::RemoteIp,
            "source.namespace" => Self::SourceNamespace,
            "source.principal" => Self::SourcePrincipal,
            "destination.ip" => Self::DestinationIp,
            "destination.port" => Self::DestinationPort,
            "connection.sni" => Self::ServerName,
            "source.serviceAccount"
            | "request.auth.principal"
            | "request.auth.audiences"
            | "request.auth.presenter" => Self::Unsupported,
            _ if key.starts_with("request.auth.claims[") || key.starts_with("experimental.") => Self::Unsupported,
            _ => return None,
        })
    }
}

/// Whether a path is a template. Such a path has no other wildcards.
pub fn is_path_template(path: &str) -> bool {
    path.contains("{*}") || path.contains("{**}")
}

/// Why a path template cannot be used; nothing where it can.
pub fn path_template_error(path: &str) -> Option<&'static str> {
    let segments: Vec<&str> = path.split('/').collect();
    let operators: BTreeSet<&str> = ["{*}", "{**}"].into();
    let rest = segments.iter().position(|segment| *segment == "{**}").map(|index| &segments[index + 1..]);
    if segments.iter().any(|segment| !operators.contains(segment) && segment.contains(['*', '{', '}'])) {
        return Some("only whole segments can be `{*}` or `{**}`");
    }
    rest.is_some_and(|rest| rest.iter().any(|segment| operators.contains(segment)))
        .then_some("nothing after `{**}` can be `{*}` or `{**}`")
}

impl Resource for AuthorizationPolicy {
    const KIND: Kind = Kind::AuthorizationPolicy;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_known_by_their_keys() {
        assert_eq!(Attribute::of("request.headers[x-a]"), Some(Attribute::Header("x-a".to_owned())));
        assert_eq!(Attribute::of("source.ip"), Some(Attribute::SourceIp));
        assert_eq!(Attribute::of("request.auth.claims[iss]"), Some(Attribute::Unsupported));
        assert_eq!((Attribute::of("request.headers[]"), Attribute::of("colour")), (None, None));
    }

    #[test]
    fn templates_have_operators_as_whole_segments() {
        for good in ["/a/{*}", "/a/{*}/b/{**}", "/{**}/b"] {
            assert_eq!((is_path_template(good), path_template_error(good)), (true, None), "{good}");
        }
        for bad in ["/a{*}", "/{**}/{*}", "/{*}/b*", "/{**}/{**}"] {
            assert!(path_template_error(bad).is_some(), "{bad}");
        }
        assert!(!is_path_template("/a/*"));
    }
}
