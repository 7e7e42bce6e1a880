//! KubernetesCluster: a cluster that is registered.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::object::Resource;
use super::status::{Condition, State};

/// Specification of a KubernetesCluster; its name is that of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KubernetesCluster {
    /// Secret with the kubeconfig, in the namespace of this object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub secret_name: String,
    /// DNS domain of its Services; `cluster.local` where it is empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster_domain: String,
}

/// Status of a KubernetesCluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KubernetesClusterStatus {
    /// Generation that this is about.
    pub observed_generation: i64,
    /// `ACTIVE` while its API server answers.
    pub state: State,
    /// Why it is not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// Namespace of the registration's objects in the cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Standard conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

impl KubernetesCluster {
    /// Domain where none is said.
    pub const DEFAULT_DOMAIN: &'static str = "cluster.local";

    /// DNS domain of the cluster's Services.
    pub fn domain(&self) -> &str {
        if self.cluster_domain.is_empty() { Self::DEFAULT_DOMAIN } else { &self.cluster_domain }
    }
}

impl Resource for KubernetesCluster {
    const KIND: Kind = Kind::KubernetesCluster;
    type Status = KubernetesClusterStatus;
}
