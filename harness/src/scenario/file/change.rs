//! The YAML form of steps that change single objects and workloads, or wait for them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ObjectFile, WorkloadFile};
use crate::scenario::keys::{CertificateKind, TokenKind};

/// A change of parts of an object: exactly one of `merge` and `json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PatchFile {
    /// Clusters to change it on.
    pub clusters: Vec<String>,
    /// The object.
    pub object: ObjectFile,
    /// Fields to set, or with `null` to remove (RFC 7396).
    #[serde(default)]
    pub merge: Option<Map<String, Value>>,
    /// Operations one after the other (RFC 6902).
    #[serde(default)]
    pub json: Option<Vec<Value>>,
}

/// How many pods a workload shall have.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScaleFile {
    /// Name of the cluster.
    #[serde(default)]
    pub cluster: String,
    /// Name of the Deployment, such as `reviews-v3`; gateways and `istiod` are possible too.
    #[serde(default)]
    pub workload: String,
    /// Its namespace; needed only where several have such a workload.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Name of a virtual machine, in place of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<String>,
    /// Number of pods.
    #[schemars(range(min = 0, max = 100))]
    pub replicas: u32,
    /// Longest wait, such as `30s`.
    #[serde(default)]
    pub timeout: Option<String>,
}

/// A workload whose pods are replaced, or a virtual machine.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RestartFile {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the Deployment, such as `reviews-v3`; gateways and `istiod` are possible too.
    pub workload: String,
    /// Its namespace; needed only where several have such a workload.
    pub namespace: Option<String>,
    /// Name of a virtual machine, in place of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm: Option<String>,
    /// Longest wait, such as `30s`.
    pub timeout: Option<String>,
}

/// A workload whose pods are killed.
pub type KillFile = RestartFile;

/// A virtual machine that joins the mesh anew.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OnboardFile {
    /// Name of the virtual machine.
    pub vm: String,
    /// The token among its files. With one that is not good, the control plane must refuse it: it gets no certificate, and the
    /// machine is on without being a part of the mesh.
    #[serde(default)]
    pub token: TokenKind,
    /// A second certificate among its files, `/etc/certs/other/cert-chain.pem` and `key.pem`, of its identity and by its
    /// cluster's authority. The machine presents it where a DestinationRule in mode `MUTUAL` names these files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateKind>,
    /// Longest wait, such as `30s`.
    #[serde(default)]
    pub timeout: Option<String>,
}

/// A command to run in a pod or on a virtual machine.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecFile {
    /// The workload in whose pod it runs; gateways, `istiod` and virtual machines are possible too.
    #[serde(rename = "in")]
    pub within: WorkloadFile,
    /// The container, or the program of the machine beside which it runs; by default that of the application.
    #[serde(default)]
    pub container: Option<String>,
    /// Program and arguments; no shell is involved.
    pub command: Vec<String>,
    /// The exit code that it must have; 0 when left out.
    #[serde(default)]
    pub exit_code: i32,
    /// Texts that its standard output must contain.
    #[serde(default)]
    pub contains: Vec<String>,
    /// Longest wait, such as `10s`.
    #[serde(default)]
    pub timeout: Option<String>,
}

/// What to wait for: exactly one of `condition`, `path`, `cel`, `exists` and `gone`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WaitFile {
    /// Name of the cluster.
    pub cluster: String,
    /// The object.
    pub object: ObjectFile,
    /// A condition in its status.
    #[serde(default)]
    pub condition: Option<ConditionFile>,
    /// A JSONPath, such as `{.status.readyReplicas}`, that must lead to a value; see `equals`.
    #[serde(default)]
    pub path: Option<String>,
    /// The value that `path` must lead to.
    #[serde(default)]
    pub equals: Option<Value>,
    /// An expression in CEL that must be true of it, such as `object.status.state == 'ACTIVE'`. A field that it does not have
    /// makes it untrue.
    #[serde(default)]
    pub cel: Option<String>,
    /// With `true`: that it is there.
    #[serde(default)]
    pub exists: Option<bool>,
    /// With `true`: that it is gone.
    #[serde(default)]
    pub gone: Option<bool>,
    /// Longest wait, such as `30s`.
    #[serde(default)]
    pub timeout: Option<String>,
}

/// A condition in the status of an object.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConditionFile {
    /// Its type, such as `Available`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its status; `True` when left out.
    #[serde(default = "true_word")]
    pub status: String,
}

fn true_word() -> String {
    "True".to_owned()
}
