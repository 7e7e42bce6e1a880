//! The YAML form of a scenario, as people write it. Field documentation here becomes the published schema.
//!
//! A step and an expectation are each a mapping with one key that says what it is. In Rust that is a struct of options,
//! of which [`super::check`] demands exactly one: unlike an untagged enum it leaves every field its own place, its own
//! documentation and its own error.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

mod change;
mod config;
mod expect;
mod fault;
mod headers;
mod reachability;
mod traffic;

pub use change::{ConditionFile, ExecFile, KillFile, OnboardFile, PatchFile, RestartFile, ScaleFile, WaitFile};
pub use config::{ConfigFile, HeldClusterFile, HeldListenerFile, HeldRouteFile};
pub use expect::{DeniedFile, ErrorsFile, IdentityFile, LatencyFile};
pub use fault::{
    BackgroundFile, DelayFile, FailoverFile, FaultFile, HealFile, LinkFaultFile, LossFile, PauseFile, ProgramOnFile,
    StormFile,
};
pub use headers::{HeaderFile, HeadersFile};
pub use reachability::{PairFile, ReachabilityFile, ReachableFile, ServiceFile, SideFile};
pub(super) use traffic::eight;
pub use traffic::{SourcesFile, TrafficFile};

use super::keys::{Capability, ConnectionOutcome, FailureReason};
use crate::topology::GatewayKind;
use crate::topology::file::ApiVersion;

/// The kind of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ScenarioKind {
    /// A scenario.
    Scenario,
}

/// What is done to a mesh and what must hold then.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = "meshproof scenario")]
pub struct ScenarioFile {
    /// Version of the format.
    #[serde(rename = "apiVersion")]
    pub api_version: ApiVersion,
    /// Kind of the file.
    pub kind: ScenarioKind,
    /// Name of the scenario: lower-case letters, digits and `-`.
    pub name: String,
    /// What it shows, in a sentence.
    pub description: String,
    /// File of the topology that it runs on, relative to this file.
    pub topology: String,
    /// Words to select it by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Values by name; `${parameters.name}` in any text below stands for them.
    #[serde(default)]
    pub parameters: BTreeMap<String, Value>,
    /// Values by name; the scenario is run once for each combination, as a case of its own with the name
    /// `scenario[name=value]`. `${matrix.name}` in any text below stands for the value of the case.
    /// Values that belong together are a mapping with a `name`: `${matrix.direction.from}` is one of them.
    #[serde(default)]
    pub matrix: BTreeMap<String, Vec<Value>>,
    /// What the environment must be able to do; where it cannot, the scenario is skipped and the report says why.
    #[serde(default)]
    pub requires: Vec<Capability>,
    /// The most that it may take.
    #[serde(default)]
    pub budget: BudgetFile,
    /// What is done, in order. The first step that fails ends the scenario.
    pub steps: Vec<StepFile>,
    /// What is done afterwards, whatever happened.
    #[serde(default)]
    pub finally: Vec<StepFile>,
}

/// The most that a scenario may take.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BudgetFile {
    /// Longest time of its steps, such as `60s`. A run that takes longer is inconclusive.
    pub time: Option<String>,
    /// Most requests that it may send; a plan that needs more is refused.
    pub requests: Option<u64>,
}

/// One step: a name and exactly one thing to do.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StepFile {
    /// Name of the step, unique in the scenario; said for it when left out.
    pub name: Option<String>,
    /// Steps one after the other, under one name.
    pub sequence: Option<Vec<StepFile>>,
    /// Steps at once, under one name. It ends when all have ended; the worst of their outcomes is its own.
    pub parallel: Option<Vec<StepFile>>,
    /// Steps one after the other; `catch` and `finally` beside it say what follows.
    #[serde(rename = "try")]
    pub attempt: Option<Vec<StepFile>>,
    /// Beside `try`: what is done when one of its steps did not pass. The verdict stays what it is.
    pub catch: Option<Vec<StepFile>>,
    /// Beside `try`: what is done afterwards, whatever happened.
    pub finally: Option<Vec<StepFile>>,
    /// What undoes this step: done at the end of its group, whatever happened, that of the last step first.
    pub cleanup: Option<Vec<StepFile>>,
    /// A remark in the report.
    pub note: Option<String>,
    /// Creates or changes objects, by server-side apply.
    pub apply: Option<ApplyFile>,
    /// Deletes objects.
    pub delete: Option<DeleteFile>,
    /// Changes parts of an object.
    pub patch: Option<PatchFile>,
    /// Sets the number of pods of a workload and waits until it is so. A virtual machine is stopped by 0 and started by 1.
    pub scale: Option<ScaleFile>,
    /// Replaces the pods of a workload, as `kubectl rollout restart` does, and waits until that is done. A virtual machine is
    /// rebooted, and is counted on again afterwards.
    pub restart: Option<RestartFile>,
    /// Kills the pods of a workload without notice and waits until others are ready in their place. The power of a virtual
    /// machine is cut, and comes back at once.
    pub kill: Option<KillFile>,
    /// Lets a virtual machine join anew: with fresh files, and without the certificate that it had.
    pub onboard: Option<OnboardFile>,
    /// Runs a command in a pod, or on a virtual machine.
    pub exec: Option<ExecFile>,
    /// Waits until an object is as described.
    pub wait: Option<WaitFile>,
    /// Creates remote secrets, so that the control planes of these clusters read each other.
    pub link: Option<LinkFile>,
    /// Removes remote secrets.
    pub unlink: Option<LinkFile>,
    /// Registers clusters with the management plane, as `meshproof mesh register` does, and waits until it has found them.
    pub register: Option<RegisterFile>,
    /// Takes clusters from the management plane, and waits until nothing of it is left there.
    pub deregister: Option<RegisterFile>,
    /// Waits until every proxy concerned acknowledged what was changed since the last `converge`.
    pub converge: Option<ConvergeFile>,
    /// Sends requests.
    pub traffic: Option<TrafficFile>,
    /// Opens one connection to the address of a pod.
    pub connect: Option<ConnectFile>,
    /// Measures who reaches whom: every source asks every service.
    pub reachability: Option<ReachabilityFile>,
    /// Lets something fail.
    pub fault: Option<FaultFile>,
    /// Ends a fault and checks that it has healed.
    pub heal: Option<HealFile>,
    /// Lets traffic in the background go on for some requests more.
    pub during: Option<BackgroundFile>,
    /// Ends traffic in the background; what is expected beside it is expected of all of it.
    pub stop: Option<BackgroundFile>,
    /// Asks a proxy what it holds.
    pub config: Option<ConfigFile>,
    /// A negative control: breaks the mesh on purpose and demands that an earlier measurement is refuted.
    pub control: Option<ControlFile>,
    /// What must hold of `traffic`, `stop`, `connect`, `reachability` or `config`.
    pub expect: Option<Vec<ExpectFile>>,
}

/// Objects to apply.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ApplyFile {
    /// Clusters to apply to.
    pub clusters: Vec<String>,
    /// Files with Kubernetes objects, relative to this file.
    pub files: Vec<String>,
    /// Kubernetes objects, written out.
    pub objects: Vec<Map<String, Value>>,
    /// With it, admission must refuse each of them, and say this.
    pub refused: Option<String>,
}

/// Objects to delete.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DeleteFile {
    /// Clusters to delete from.
    pub clusters: Vec<String>,
    /// Which objects.
    pub objects: Vec<ObjectFile>,
}

/// Names an object.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectFile {
    /// Group and version, such as `networking.istio.io/v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Kind, such as `VirtualService`.
    pub kind: String,
    /// Namespace; leave it out for objects outside of namespaces.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

/// Clusters whose control planes read each other.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LinkFile {
    /// Each of these with each other, both ways.
    pub clusters: Vec<String>,
}

/// Clusters of the management plane.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegisterFile {
    /// Which; each has a mesh.
    pub clusters: Vec<String>,
}

/// How long to wait for the proxies.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ConvergeFile {
    /// Longest wait, such as `30s`.
    pub timeout: Option<String>,
}

/// Names a workload on a cluster, by `cluster` and `workload`, or a virtual machine, by `vm`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WorkloadFile {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the Deployment, such as `reviews-v3`.
    pub workload: String,
    /// Its namespace; needed only where several have such a workload.
    pub namespace: Option<String>,
    /// Name of the virtual machine, in place of the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm: Option<String>,
}

/// A connection to open.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectFile {
    /// The workload whose pod connects.
    pub from: WorkloadFile,
    /// The workload whose pod address is connected to.
    pub to: WorkloadFile,
    /// Port; by default that of the application.
    #[serde(default)]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Whether to send a plain-text HTTP request once connected.
    #[serde(default)]
    pub plaintext_http: bool,
    /// Longest wait, such as `2s`.
    #[serde(default)]
    pub timeout: Option<String>,
}

/// A negative control.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControlFile {
    /// Changes of the mesh or of its configuration. Never of the measurement: that is repeated as it was.
    pub change: Vec<StepFile>,
    /// Name of an earlier step with `traffic`, `connect`, `reachability` or `config`, to be measured again.
    pub repeat: String,
    /// Which of its expectations must be refuted now: a key means each of that name, those of a single source included.
    pub refutes: Vec<RefutedFile>,
    /// What must hold of the repetition instead: that the mesh did what the change asked for, and is not merely broken.
    pub expect: Vec<ExpectFile>,
    /// Undoes the change; done in any case.
    pub restore: Vec<StepFile>,
}

/// Expectations that a control must refute.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RefutedFile {
    /// Each with this key.
    Each(String),
    /// Some of those with this key.
    Some(RefutedSomeFile),
}

/// Some of the expectations with the same key.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RefutedSomeFile {
    /// Their key, such as `split`.
    pub expect: String,
    /// Those about the requests of this source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<WorkloadFile>,
    /// The one in this place among those of the key, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub number: Option<usize>,
}

impl From<&str> for RefutedFile {
    fn from(key: &str) -> Self {
        Self::Each(key.to_owned())
    }
}

/// One expectation: exactly one thing that must hold.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExpectFile {
    /// Of `traffic` with several sources: the one whose requests this is about; all of them where nothing is said.
    pub from: Option<WorkloadFile>,
    /// Requests are answered with status 200.
    pub answered: Option<AnsweredFile>,
    /// Answers are split by weight.
    pub split: Option<SplitFile>,
    /// Every answer came over mutual TLS between two identities.
    pub mtls: Option<MtlsFile>,
    /// Some requests fail, all for one reason in one place.
    pub failures: Option<FailuresFile>,
    /// At most such a share of the requests fails.
    pub errors: Option<ErrorsFile>,
    /// Who calls and who answers, as each other's proxies saw them.
    pub identity: Option<IdentityFile>,
    /// Every request or connection is refused, for one reason in one place.
    pub denied: Option<DeniedFile>,
    /// Answers come in time.
    pub latency: Option<LatencyFile>,
    /// What traffic in the background sees of a fault.
    pub failover: Option<FailoverFile>,
    /// An expression in CEL that must be true of what was observed, such as `statuses["200"] == requests`.
    pub cel: Option<String>,
    /// How the connection attempt ends: any of these.
    pub connection: Option<Vec<ConnectionOutcome>>,
    /// Whether the pod itself is reached. An answer of another pod with the same address does not count.
    pub reached: Option<bool>,
    /// Every source reaches every service on each cluster where it has pods, but for exceptions, which do not.
    pub reachable: Option<ReachableFile>,
    /// What servers receive, and what the client gets back.
    pub headers: Option<HeadersFile>,
    /// A proxy has such a cluster.
    pub cluster: Option<HeldClusterFile>,
    /// A proxy splits requests so.
    pub route: Option<HeldRouteFile>,
    /// A proxy has such a listener.
    pub listener: Option<HeldListenerFile>,
}

/// How many requests must be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AnsweredFile {
    /// Every single one.
    All,
}

/// A split by weight.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SplitFile {
    /// What tells the categories apart: `version`, `cluster`, `network` or `pod`, or several joined by `@` as in
    /// `version@cluster`.
    pub by: String,
    /// Percent by category; they sum to 100. A category of 0 must get nothing, and so must any that is not named.
    /// `failed` stands for requests that are not answered with status 200.
    #[serde(default)]
    pub weights: BTreeMap<String, f64>,
    /// Categories that share everything equally, in place of `weights`.
    #[serde(default)]
    pub equal: Vec<String>,
    /// How far a share may be from its weight, in points of 100.
    pub margin: f64,
    /// Largest probability that a right split fails.
    #[serde(default)]
    pub false_fail: Option<f64>,
    /// Largest probability that a split which is off by the margin passes.
    #[serde(default)]
    pub false_pass: Option<f64>,
}

/// Mutual TLS between two identities.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MtlsFile {
    /// SPIFFE id of the caller, as the server's proxy verified it.
    pub client: String,
    /// SPIFFE id of the server, as it presented it.
    pub server: String,
    /// Cluster whose authority must have issued the client's certificate, by its signature. It tells clusters apart that
    /// share a trust domain.
    #[serde(default)]
    pub issuer: Option<String>,
    /// Gateways that the answers from beyond them must have come through, by the gateways' own counters.
    #[serde(default)]
    pub through: Vec<GatewayFile>,
    /// Whether what passes the links to these gateways is captured, and must not hold the requests in plain text. By
    /// default it is where there are such gateways, unless the client itself encrypts. With `true` the environment must
    /// be able to.
    #[serde(default)]
    pub capture: Option<bool>,
}

/// A gateway on a cluster.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayFile {
    /// Name of the cluster.
    pub cluster: String,
    /// Which gateway.
    pub gateway: GatewayKind,
}

/// Failures of one kind.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FailuresFile {
    /// HTTP statuses that the client sees.
    pub status: Vec<u16>,
    /// Where the cause lies.
    pub at: GatewayFile,
    /// What the counters there must show.
    pub reason: FailureReason,
}
