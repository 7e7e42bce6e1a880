//! The YAML form of expectations beyond the first ones.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::WorkloadFile;
use crate::scenario::keys::DenialReason;

/// The largest share of requests that may fail.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ErrorsFile {
    /// Percent of requests that are not answered with status 200. To show 0.1 takes thousands of requests.
    #[schemars(range(min = 0.0001, max = 99.0))]
    pub at_most: f64,
    /// Largest probability that a rate above this passes, and that one below it fails.
    #[serde(default)]
    pub false_pass: Option<f64>,
}

/// Who calls and who answers.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct IdentityFile {
    /// SPIFFE id of the caller as the server's proxy verified it; `none` where it must have verified nobody.
    pub client: Option<String>,
    /// SPIFFE id that the server presented; `none` where it must have presented none.
    pub server: Option<String>,
}

/// Every request is refused, for one reason in one place.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeniedFile {
    /// The workload whose proxy refuses; gateways are possible too.
    pub at: WorkloadFile,
    /// Why, as that proxy's own counters tell it.
    pub reason: DenialReason,
}

/// The largest time for an answer, by quantile, such as `p50: 20ms` and `p99: 200ms`.
pub type LatencyFile = BTreeMap<String, String>;
