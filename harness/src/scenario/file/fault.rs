//! The YAML form of faults, and of traffic that runs through them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::WorkloadFile;
use crate::scenario::keys::LinkDirection;

/// Something that fails, until it is healed: exactly one of these. What is not healed by a `heal` step heals at the end
/// of the group of the step, whatever happened.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FaultFile {
    /// The pods of a workload are killed without notice; it is healed when others are ready. The power of a virtual machine is
    /// cut; it is healed when it was started again and is counted on.
    pub kill: Option<WorkloadFile>,
    /// A workload has no pods; it is healed when it has as many as before. With `istiod`, the control plane is down. A virtual
    /// machine is stopped in order.
    pub scale_to_zero: Option<WorkloadFile>,
    /// A program of a virtual machine is killed without notice and kept off; it is healed when it was started again and the
    /// machine is counted on. The rest of the machine goes on.
    pub kill_program: Option<ProgramOnFile>,
    /// A server answers a share of its requests with errors, and stays ready.
    pub storm: Option<StormFile>,
    /// What one network sends to another is dropped.
    pub cut: Option<LinkFaultFile>,
    /// What one network sends to another comes later.
    pub delay: Option<DelayFile>,
    /// What one network sends to another is lost at random.
    pub loss: Option<LossFile>,
    /// A cluster's API server answers nothing.
    pub pause_api_server: Option<PauseFile>,
    /// After this time it heals in any case, where the environment keeps such a limit; `60s` when left out.
    pub limit: Option<String>,
}

/// A program of a virtual machine.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProgramOnFile {
    /// Name of the virtual machine.
    pub vm: String,
    /// Name of the program; `proxy` is the agent with its proxy.
    pub program: String,
}

/// A server that answers with errors.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StormFile {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the Deployment, such as `details-v1`: a server of the applications.
    pub workload: String,
    /// Its namespace; needed only where several have such a workload.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Status of the answers.
    #[serde(default = "internal_error")]
    #[schemars(range(min = 500, max = 599))]
    pub status: u16,
    /// How many of a hundred requests.
    #[serde(default = "all")]
    #[schemars(range(min = 0.001, max = 100.0))]
    pub percent: f64,
}

fn internal_error() -> u16 {
    500
}

fn all() -> f64 {
    100.0
}

/// A link between two networks.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LinkFaultFile {
    /// A network.
    pub from: String,
    /// Another network.
    pub to: String,
    /// Which way.
    #[serde(default)]
    pub direction: LinkDirection,
}

/// A slow link.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DelayFile {
    /// A network.
    pub from: String,
    /// Another network.
    pub to: String,
    /// Which way.
    #[serde(default)]
    pub direction: LinkDirection,
    /// How much later, such as `50ms`.
    pub by: String,
    /// Up to how much earlier or later than that.
    #[serde(default)]
    pub jitter: Option<String>,
}

/// A lossy link.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LossFile {
    /// A network.
    pub from: String,
    /// Another network.
    pub to: String,
    /// Which way.
    #[serde(default)]
    pub direction: LinkDirection,
    /// How many of a hundred packets.
    #[schemars(range(min = 0.001, max = 100.0))]
    pub percent: f64,
}

/// A cluster whose API server is paused.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PauseFile {
    /// Name of the cluster.
    pub cluster: String,
}

/// Ends a fault and checks that it has healed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealFile {
    /// Name of the step with the `fault`.
    pub fault: String,
}

/// Traffic in the background.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackgroundFile {
    /// Name of the step with the `traffic`.
    pub traffic: String,
    /// How many requests more.
    #[serde(default)]
    pub requests: Option<u64>,
}

/// A timeline of requests through a fault, each promise with its largest value. What is not promised is not judged.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FailoverFile {
    /// Name of the step with the `fault`.
    pub fault: String,
    /// Clusters, or virtual machines, that answer as long as nothing has failed.
    pub from: Vec<String>,
    /// Clusters, or virtual machines, that answer instead.
    pub to: Vec<String>,
    /// An answer later than this is slow; `500ms` when left out.
    pub slow_after: Option<String>,
    /// From the fault until the first answer of a cluster in `to`.
    pub detect: Option<String>,
    /// The longest time without a good answer.
    pub gap: Option<String>,
    /// From the fault until every answer is good again.
    pub recover: Option<String>,
    /// From the healing until the first answer of a cluster in `from`.
    pub fail_back: Option<String>,
    /// Requests that nobody answered well.
    pub lost: Option<u64>,
    /// Answers that came late.
    pub slow: Option<u64>,
    /// Answers of clusters that are in neither list.
    pub wrong: Option<u64>,
}
