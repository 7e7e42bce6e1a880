//! The checked form of a scenario, ready to be run: every name resolved, every sample planned.
//!
//! Nothing in here can be wrong in itself; what is left to go wrong is the world. [`super::check`] makes it from
//! [`super::file`].

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use verdict::{EarlySplit, RatePlan, SplitPlan};

mod change;
mod config;
mod convergence;
mod expect;
mod fault;
mod headers;
mod reachability;
mod touched;
mod traffic;
mod walk;

pub use change::{Change, Deployment, Exec, Onboard, Patch, Replace, Scale, Until, Wait};
pub use config::{ConfigOf, Held};
pub use convergence::{ClusterConvergence, Converge, Register};
pub use expect::{Denied, Identity, LatencyBound, Peer};
pub use fault::{Await, Background, Between, Failover, Fault, FaultKind, Stop, Storm};
pub use headers::{Header, Headers};
pub use reachability::{Exception, Reachability, Side, Target};
pub use touched::{Part, Touched};
pub use traffic::{Traffic, Workers};

use super::keys::{Capability, ConnectionOutcome, FailureReason, SplitKey};
use crate::diagnostic::Location;
use crate::topology::{GatewayKind, Topology, Vm, Workload};

/// A scenario that can be run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Name, unique in the catalogue: a DNS label, and for a case of a matrix its values in brackets.
    pub name: String,
    /// What it shows, for people.
    pub description: String,
    /// Name of the folder it lies in, such as `traffic-shift`.
    pub area: String,
    /// Words to select it by.
    pub tags: Vec<String>,
    /// Its file.
    pub file: String,
    /// The topology it runs on.
    #[serde(skip)]
    pub topology: Topology,
    /// What the environment must be able to do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Capability>,
    /// Longest time of the steps, clean-up not included.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "super::keys::serialize_some_duration")]
    pub time_budget: Option<Duration>,
    /// What is done, in order. The first step that fails ends the scenario.
    pub steps: Vec<Step>,
    /// What is done afterwards in any case, in order; a failure here does not stop the rest.
    pub finally: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Position: `3`, and `3.2` for the second step inside it. Steps of `finally` start with `f`.
    pub id: String,
    /// Its name, unique in the scenario.
    pub name: String,
    /// Where it stands.
    pub location: Location,
    /// What it does.
    pub action: Action,
    /// What undoes it at the end of its group, in any case.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cleanup: Vec<Step>,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Steps one after the other, under one name.
    Sequence(Vec<Step>),
    /// Steps at once, under one name.
    Parallel(Vec<Step>),
    /// Steps one after the other, and what follows.
    Try(Try),
    /// A remark for the report.
    Note(String),
    /// Parts of an object are changed.
    Patch(Patch),
    /// A workload gets another number of pods.
    Scale(Scale),
    /// The pods of a workload are replaced.
    Replace(Replace),
    /// A virtual machine joins anew.
    Onboard(Onboard),
    /// A command runs in a pod.
    Exec(Exec),
    /// An object comes to be as described.
    Wait(Wait),
    /// Server-side apply of objects on clusters.
    Apply(Apply),
    /// Deletion of objects on clusters; an object that is not there is no error.
    Delete(Delete),
    /// Remote secrets are created or removed.
    Link(Link),
    /// Registers clusters with the management plane, or takes them away.
    Register(Register),
    /// Waits until every proxy concerned acknowledged what earlier steps changed.
    Converge(Converge),
    /// Requests are sent, once, and judged.
    Traffic(Traffic),
    /// One connection attempt to a pod address, judged.
    Connect(Box<Connect>),
    /// Every source asks every service, judged.
    Reachability(Reachability),
    /// Something fails until it is healed.
    Fault(Fault),
    /// A fault, by the name of its step, is ended and checked to have healed.
    Heal(String),
    /// Requests are sent from here on, while the next steps are done.
    Background(Background),
    /// Traffic in the background goes on for a while.
    Await(Await),
    /// Traffic in the background is ended and judged.
    Stop(Stop),
    /// A proxy is asked what it holds, and the answer is judged.
    Config(ConfigOf),
    /// A negative control: after a change of the mesh, an earlier measurement must be refuted.
    Control(Control),
}

/// Steps one after the other, and what follows. What follows changes a passed verdict only.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Try {
    /// The steps.
    pub steps: Vec<Step>,
    /// Done when one of them did not pass.
    pub catch: Vec<Step>,
    /// Done afterwards in any case.
    pub finally: Vec<Step>,
}

/// Objects to apply.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Apply {
    /// On each of these clusters.
    pub clusters: Vec<String>,
    /// Whole objects, in order.
    pub objects: Vec<Value>,
    /// What admission must say when it refuses each of them; `None` where it must take them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// Objects to delete.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delete {
    /// On each of these clusters.
    pub clusters: Vec<String>,
    /// Which, in order.
    pub objects: Vec<ObjectRef>,
}

/// Names an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// `networking.istio.io/v1`.
    pub api_version: String,
    /// `VirtualService`.
    pub kind: String,
    /// Its namespace; `None` for objects outside of namespaces.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl ObjectRef {
    /// The name of a whole object. What it lacks stays empty.
    #[must_use]
    pub fn of(object: &Value) -> Self {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        Self {
            api_version: text("/apiVersion").unwrap_or_default(),
            kind: text("/kind").unwrap_or_default(),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name").unwrap_or_default(),
        }
    }

    /// The least of a manifest that names it.
    #[must_use]
    pub fn manifest(&self) -> Value {
        let mut manifest = serde_json::json!({
            "apiVersion": self.api_version, "kind": self.kind, "metadata": { "name": self.name },
        });
        if let Some(namespace) = &self.namespace {
            manifest["metadata"]["namespace"] = namespace.clone().into();
        }
        manifest
    }

    /// As control planes report it: `VirtualService/bookinfo/reviews`.
    #[must_use]
    pub fn key(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{}/{namespace}/{}", self.kind, self.name),
            None => format!("{}/{}", self.kind, self.name),
        }
    }
}

/// Remote secrets to create or remove.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// Whether they shall exist afterwards.
    pub linked: bool,
    /// Each pair: the cluster whose control plane reads, and the cluster that it reads.
    pub pairs: Vec<(String, String)>,
}

/// One connection attempt and what to expect of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Connect {
    /// The workload whose pod connects.
    pub from: Workload,
    /// The workload whose pod address is connected to.
    pub to: Workload,
    /// Port at that address.
    pub port: u16,
    /// Whether a plain-text HTTP request is sent once connected.
    pub plaintext_http: bool,
    /// Longest wait.
    #[serde(serialize_with = "super::keys::serialize_duration")]
    pub timeout: Duration,
    /// What must hold; at least one.
    pub expectations: Vec<Expectation>,
}

/// A negative control.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Control {
    /// Changes of the mesh or its configuration; never measurements.
    pub change: Vec<Step>,
    /// The earlier measurement, exactly as it was judged then.
    pub measure: Box<Step>,
    /// Which of its expectations must now be refuted, by index. The control fails unless each comes out as
    /// [`verdict::Outcome::Fail`].
    pub refuted: Vec<usize>,
    /// What must hold of the repetition instead, so that it is refuted for the right reason; at least one.
    pub expectations: Vec<Expectation>,
    /// Undoes the change; run in any case.
    pub restore: Vec<Step>,
    /// What has to be waited for where the control is the last step that runs, because it did not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restored: Option<Converge>,
}

/// Something that must hold of a measurement.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Expectation {
    /// The key it has in the file: `split`, `mtls`, ...
    pub name: String,
    /// Where it stands.
    pub location: Location,
    /// Of several sources, the one whose requests it is about; `None` is all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Workload>,
    /// What must hold.
    pub check: Check,
}

impl Control {
    /// Titles of the expectations that must be refuted, and they themselves.
    #[must_use]
    pub fn refuted_expectations(&self) -> Vec<(String, &Expectation)> {
        let measured = self.measure.judged();
        let one = |index: &usize| Some((measured.title(*index), measured.expectations().get(*index)?));
        self.refuted.iter().filter_map(one).collect()
    }

    /// Titles of those that have the key of a refuted one and need not be refuted themselves.
    #[must_use]
    pub fn spared_expectations(&self) -> Vec<String> {
        let (measured, refuted) = (self.measure.judged(), self.refuted_expectations());
        let is_spared = |(index, one): &(usize, &Expectation)| {
            !self.refuted.contains(index) && refuted.iter().any(|(_, refuted)| refuted.name == one.name)
        };
        measured.expectations().iter().enumerate().filter(is_spared).map(|(index, _)| measured.title(index)).collect()
    }
}

impl Step {
    /// The key of an expectation, by its index, and what tells it from others of the same key: whose requests it is about,
    /// else its place among them.
    #[must_use]
    pub fn title(&self, index: usize) -> String {
        let Some(one) = self.expectations().get(index) else { return String::new() };
        let alike: Vec<usize> =
            (0..self.expectations().len()).filter(|other| self.expectations()[*other].name == one.name).collect();
        let source = one.from.as_ref().map(|source| format!("{} of {} of {}", one.name, source.name, source.cluster));
        let is_twin = |other: &usize| *other != index && self.expectations()[*other].from == one.from;
        let title = source.unwrap_or_else(|| one.name.clone());
        match alike.iter().position(|other| *other == index) {
            Some(place) if alike.iter().any(is_twin) => format!("{title}, no. {}", place + 1),
            _ => title,
        }
    }
}

/// What must hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Check {
    /// Requests that are not answered with status 200 are at most so frequent.
    Answered(RatePlan),
    /// Samples fall into categories by weight. Requests that are not answered with status 200 are in the category
    /// [`super::keys::FAILED`].
    Split(Split),
    /// Every answer came over mutual TLS between these identities.
    MutualTls(MutualTls),
    /// Requests that failed did so for one reason in one place, and some did.
    Failures(Failures),
    /// Who calls and who answers.
    Identity(Identity),
    /// Everything is refused, for one reason in one place.
    Denied(Denied),
    /// What traffic in the background sees of a fault.
    Failover(Failover),
    /// Quantiles of the time until an answer.
    Latency(Vec<LatencyBound>),
    /// An expression in CEL is true of the observation.
    Cel(String),
    /// The connection attempt ends in one of these ways.
    Connection(Vec<ConnectionOutcome>),
    /// Whether the pod itself was reached. An answer of another pod, which may have the same address on its own
    /// network, does not count as reaching it.
    Reached(bool),
    /// Every pair reach each other but these, which do not.
    Reachable(Vec<Exception>),
    /// Headers of requests as servers got them, and of answers.
    Headers(Headers),
    /// A proxy holds this.
    Holds(Held),
}

/// A split by weight.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Split {
    /// What tells the categories apart.
    pub by: SplitKey,
    /// Targets, margin, error rates and sample size.
    pub plan: SplitPlan,
    /// How it is decided early, where the traffic may stop early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early: Option<EarlySplit>,
}

/// Mutual TLS between two identities.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MutualTls {
    /// SPIFFE id of the caller, as the server's proxy verified it.
    pub client: String,
    /// SPIFFE id of the server, as it presented it.
    pub server: String,
    /// Cluster whose authority must have signed the client's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Gateways whose own counters must show the connections of the answers from beyond them.
    pub through: Vec<Gateway>,
    /// Whether the links to these gateways are captured.
    pub capture: Capturing,
    /// Virtual machines that have one of these identities.
    #[serde(skip)]
    pub vms: Vec<Vm>,
}

/// Whether what passes a link is captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capturing {
    /// It is not.
    #[default]
    No,
    /// It is; where that cannot be done, nothing is proved.
    Wanted,
    /// It is; where that cannot be done, the scenario is skipped.
    Required,
}

/// Failures of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failures {
    /// HTTP status that the client sees.
    pub status: Vec<u16>,
    /// Where the cause lies.
    pub at: Gateway,
    /// What the counters there must show.
    pub reason: FailureReason,
}

/// A gateway on a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// The cluster.
    pub cluster: String,
    /// Which gateway.
    pub kind: GatewayKind,
}
