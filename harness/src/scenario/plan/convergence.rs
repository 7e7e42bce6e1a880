//! Checked steps that wait for what proxies and the management plane make of changes, and that register clusters.

use std::time::Duration;

use serde::Serialize;

use super::{Deployment, ObjectRef};

/// Clusters that are registered with the management plane, or taken from it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Register {
    /// Whether they are registered; otherwise taken away.
    pub registered: bool,
    /// The management cluster.
    pub management: String,
    /// The clusters.
    pub clusters: Vec<String>,
}

/// What every proxy concerned must have acknowledged.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Converge {
    /// One entry a cluster that earlier steps changed.
    pub clusters: Vec<ClusterConvergence>,
    /// Longest wait.
    #[serde(serialize_with = "crate::scenario::keys::serialize_duration")]
    pub timeout: Duration,
    /// Nothing of this scenario is measured any more: old connections may end meanwhile, and who measures next waits for that.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub last: bool,
}

/// What one control plane and its proxies must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterConvergence {
    /// The cluster.
    pub cluster: String,
    /// Mesh configuration that must be in force, as last applied.
    pub present: Vec<ObjectRef>,
    /// Mesh configuration that must be gone.
    pub absent: Vec<ObjectRef>,
    /// Clusters that must be watched and read completely.
    pub watched: Vec<String>,
    /// Clusters that must not be watched.
    pub not_watched: Vec<String>,
    /// Workloads whose pods changed: proxies must hold exactly those that are ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Deployment>,
    /// Clusters without a control plane of their own, whose proxies this one serves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remotes: Vec<String>,
    /// Whether the management plane on this cluster must have carried out all of it, and the proxies of every mesh hold what it
    /// made of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub plane: bool,
    /// Resources of the management plane, on this cluster, that it must have judged as they are now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub managed: Vec<ObjectRef>,
    /// Resources of the management plane that must be gone, and with them everything that followed from them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub withdrawn: Vec<ObjectRef>,
}
