//! PeerAuthentication: whether workloads demand, accept or refuse mutual TLS.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kind::Kind;
use crate::object::Resource;

/// Specification of a PeerAuthentication.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeerAuthentication {
    /// The workloads it applies to; without it the namespace, or in the root namespace the mesh.
    pub selector: Option<WorkloadSelector>,
    /// Mode of every port that has none of its own.
    pub mtls: Option<MutualTls>,
    /// Modes by the port of the workload (not of the Service), as decimal text.
    #[serde(default)]
    #[schemars(extend("minProperties" = 1))]
    pub port_level_mtls: BTreeMap<String, MutualTls>,
}

/// Chooses workloads by labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadSelector {
    /// Labels that all have to match; none matches every workload.
    #[serde(default)]
    pub match_labels: BTreeMap<String, String>,
}

/// Settings of mutual TLS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MutualTls {
    /// The mode; unset inherits.
    #[serde(default)]
    pub mode: MutualTlsMode,
}

/// What a workload does with a connection that is, or is not, mutual TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum MutualTlsMode {
    /// Inherit from the namespace or the mesh.
    #[default]
    Unset,
    /// Take plain text only.
    Disable,
    /// Take both.
    Permissive,
    /// Take mutual TLS only.
    Strict,
}

impl Resource for PeerAuthentication {
    const KIND: Kind = Kind::PeerAuthentication;
}
