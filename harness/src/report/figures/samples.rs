//! Single requests that an expectation was not met by.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The first of each kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailingSamples {
    /// How many requests it was not met by, as far as they were kept.
    pub count: u64,
    /// The first of each kind, in the order in which they were to be sent; ten at most.
    pub first: Vec<FailingSample>,
}

/// A request, and how many like it there were. Times count from the moment that the first was to be sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailingSample {
    /// Who sent it: workload and cluster.
    pub from: String,
    /// When it was to be sent, in milliseconds.
    pub at_ms: f64,
    /// How long it took from then on, in milliseconds.
    pub took_ms: f64,
    /// Status of the answer; `None` where there was none.
    pub status: Option<u16>,
    /// Class of the error where there was no answer.
    pub error: Option<String>,
    /// Envoy's response flags, where the answer tells them.
    pub flags: Option<String>,
    /// Version of the pod that answered.
    pub version: Option<String>,
    /// Its cluster.
    pub cluster: Option<String>,
    /// Its name.
    pub pod: Option<String>,
    /// SPIFFE id of the client as the server saw it.
    pub client_identity: Option<String>,
    /// SPIFFE id that the server presented.
    pub server_identity: Option<String>,
    /// How many requests came to the same.
    pub count: u64,
}

/// How many single requests of a measurement were kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// Requests that are listed in the file of single requests.
    pub kept: u64,
    /// Requests that are counted only, because there were more than are kept.
    pub dropped: u64,
}
