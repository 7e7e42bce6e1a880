//! The YAML form of traffic: what is sent, and from where.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::WorkloadFile;

/// Who sends requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SourcesFile {
    /// One workload.
    One(WorkloadFile),
    /// Several at once; each sends as many requests as the others.
    Several(Vec<WorkloadFile>),
}

impl SourcesFile {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[WorkloadFile] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(all) => all,
        }
    }
}

impl From<WorkloadFile> for SourcesFile {
    fn from(one: WorkloadFile) -> Self {
        Self::One(one)
    }
}

impl<const COUNT: usize> From<[WorkloadFile; COUNT]> for SourcesFile {
    fn from(all: [WorkloadFile; COUNT]) -> Self {
        Self::Several(all.into())
    }
}

/// Requests to send.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrafficFile {
    /// The workload whose pod sends them, or the virtual machine, or a list of those that send at once.
    pub from: SourcesFile,
    /// Pods of their own that send in place of the pods of `from`, for load that is too much for one: so many in all, as many
    /// for each workload as for the others. They are made for the step, spread over nodes and zones, and removed after it.
    /// To the mesh they are the workload that they send for; what it sends is divided among them.
    #[serde(default)]
    #[schemars(range(min = 1, max = 256))]
    pub workers: Option<u32>,
    /// Absolute URL as that pod resolves it. Its scheme is the protocol: `http`, `http2`, `https`, `grpc`,
    /// `grpc-stream`, `ws`, `tcp`, `tcp-server-first` or `tls`; all but the first three speak to `echo`.
    pub url: String,
    /// Service whose hop inside the answer counts in place of who answered; who called it is then who is seen.
    #[serde(default)]
    pub hop: Option<String>,
    /// Method of HTTP requests, such as `POST`; `GET` where nothing is said.
    #[serde(default)]
    pub method: Option<String>,
    /// Body of an HTTP request, or text of a message or line. Where a link is captured, a message or line has the marker
    /// of the capture behind it.
    #[serde(default)]
    pub body: Option<String>,
    /// Additional headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// How many requests each source sends; by default as many as the expectations need to be decided.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub requests: Option<u64>,
    /// How many connections of each source at a time, at most 1,024 of one pod. With 1, each request waits for the answer to
    /// the one before.
    #[serde(default = "eight")]
    #[schemars(range(min = 1, max = 262_144))]
    pub connections: u32,
    /// Whether each request opens its own connection.
    #[serde(default)]
    pub new_connection_per_request: bool,
    /// Requests that each source sends a second, whether or not earlier ones were answered; at most 10,000 from one pod.
    /// Needed in the background.
    #[serde(default)]
    #[schemars(range(min = 1, max = 2_560_000))]
    pub rate: Option<u32>,
    /// With `true`, requests are sent while the next steps are done, until a step with `stop`.
    #[serde(default)]
    pub background: bool,
    /// With `true`, ends as soon as every `split` is decided: clearly right or clearly wrong. The error rates of the split
    /// hold for all looks together, but fewer requests see less of what is rarer than the margin: a leak of one in a thousand
    /// to a target of zero, one request that fails. What needs a fixed number of requests (`errors`, `latency`) cannot
    /// stand beside it.
    #[serde(default)]
    pub early_stop: bool,
    /// Longest time for one answer, such as `5s`.
    #[serde(default)]
    pub timeout: Option<String>,
}

pub(in crate::scenario) fn eight() -> u32 {
    8
}
