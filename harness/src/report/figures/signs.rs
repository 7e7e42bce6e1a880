//! What was out of order in an environment when a scenario had not passed: facts, from which reports tell likely causes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A look at the environment before clean-up changed it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Situation {
    /// What was out of order.
    pub signs: Vec<Sign>,
    /// What could not be looked at, and why: without it nothing is excluded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<String>,
}

/// Something that was out of order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sign {
    /// What kind of thing.
    pub kind: SignKind,
    /// The cluster where it was seen; `None` between networks.
    pub cluster: Option<String>,
    /// What is concerned: a workload, the cluster that is not watched, a pair of networks.
    pub of: String,
    /// A sentence.
    pub what: String,
}

/// Kinds of things that can be out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SignKind {
    /// Packets between two networks are dropped, delayed or lost.
    LinkDisturbed,
    /// A gateway has no pod that is ready.
    GatewayDown,
    /// A control plane does not watch another cluster.
    ClusterNotWatched,
    /// A workload's container crashes again and again.
    WorkloadCrashes,
    /// A workload has no pod that is ready.
    WorkloadDown,
    /// Requests that were asked again: a proxy on their way refused the certificate of the other side.
    CertificateRefused,
    /// Requests that were asked again: they came in plain text to a proxy that takes none.
    PlaintextRefused,
    /// Requests that were asked again: the client asked for another server name than that of the service.
    ServerNameWrong,
    /// Requests that were asked again: a gateway does not serve the name of the service.
    ServerNameUnknown,
    /// Requests that were asked again: a TLS handshake broke off.
    HandshakeBroken,
}
