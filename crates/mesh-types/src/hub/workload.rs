//! Workload: what runs behind proxies of a mesh. It stays while its controller does, also at zero replicas.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::object::Resource;
use super::reference::{ClusterObjectRef, ObjectRef};

/// Specification of a Workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Workload {
    /// The controller, or the WorkloadEntry of a virtual machine.
    pub controller: ClusterObjectRef,
    /// `Deployment`, `DaemonSet`, `StatefulSet` or `WorkloadEntry`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub controller_kind: String,
    /// Labels of its pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_labels: BTreeMap<String, String>,
    /// Service account of its pods.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_account_name: String,
    /// The mesh that its proxies belong to.
    pub mesh: ObjectRef,
}

/// Status of a Workload: nothing yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadStatus {
    /// Generation that this is about.
    pub observed_generation: i64,
}

impl Resource for Workload {
    const KIND: Kind = Kind::Workload;
    type Status = WorkloadStatus;
}
