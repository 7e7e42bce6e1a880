//! Who sent requests and who answered them: what the drawing of a topology shows on its edges.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Kept;

/// The requests of one measurement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// Cluster of the client.
    pub from_cluster: String,
    /// Namespace of the client.
    pub from_namespace: String,
    /// Workload of the client.
    pub from_workload: String,
    /// Pods that sent in place of the client's own, where there were any; they ran in its cluster and namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<String>,
    /// What was asked for.
    pub url: String,
    /// Requests sent.
    pub requests: u64,
    /// Of these, those that nobody answered with a good status.
    pub failed: u64,
    /// How long it took.
    pub duration_ms: f64,
    /// Milliseconds until an answer, by quantile such as `p99`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub latency_ms: BTreeMap<String, f64>,
    /// Good answers by who gave them.
    pub answers: Vec<Answer>,
    /// How many single requests were kept; `None` where the run keeps none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<Kept>,
    /// What came instead of good answers, the most frequent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failed>,
}

/// Requests without a good answer that agree in all that is known of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    /// Status of the answer; `None` where there was none.
    pub status: Option<u16>,
    /// Class of the error where there was no answer: `timeout`, `reset`, `connect-refused`, ...
    pub error: Option<String>,
    /// The pod that answered; `None` where a proxy answered in its place, or nobody did.
    pub by: Option<String>,
    /// Envoy's response flags, where the answer tells them.
    pub flags: Option<String>,
    /// The beginning of the answer, or the system's words; empty for an answer without a body, `None` where not known.
    pub words: Option<String>,
    /// How many.
    pub count: u64,
}

/// Good answers that agree in all that is known of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Cluster of the pod that answered, where the answer says so.
    pub cluster: Option<String>,
    /// The pod.
    pub pod: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// SPIFFE id of the client as the server saw it; `None` where it saw no mutual TLS.
    pub client_identity: Option<String>,
    /// SPIFFE id that the server presented.
    pub server_identity: Option<String>,
    /// How many.
    pub count: u64,
}
