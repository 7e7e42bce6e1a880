//! AccessPolicy: who may call destinations. The first one on a destination denies everybody else.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::object::Resource;
use super::selector::{DestinationSelector, IdentitySelector};
use super::status::PolicyStatus;

/// Specification of an AccessPolicy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessPolicy {
    /// Who may call; none means everybody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source_selector: Vec<IdentitySelector>,
    /// What may be called; none means every destination.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destination_selector: Vec<DestinationSelector>,
    /// Paths that may be called, exactly or with `*` at one end; none means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_paths: Vec<String>,
    /// Methods that may be used, in capitals; none means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_methods: Vec<String>,
    /// Ports of the workloads that may be called; none means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_ports: Vec<u16>,
}

impl Resource for AccessPolicy {
    const KIND: Kind = Kind::AccessPolicy;
    type Status = PolicyStatus;
}
