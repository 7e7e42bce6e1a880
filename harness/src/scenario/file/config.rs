//! The YAML form of what a proxy is asked for, and of what it must hold.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::WorkloadFile;

/// What a proxy holds.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigFile {
    /// The workload whose proxy is asked; gateways are possible too. `hub-manager` and `hub-agent` are asked themselves.
    pub of: WorkloadFile,
    /// What its administration interface is asked for: a path that answers with JSON, such as
    /// `/clusters?format=json` or `/config_dump?resource=dynamic_listeners`. Only `cel` can judge it. When left out, the
    /// proxy is asked for its clusters, routes and listeners. Of `hub-manager`, `/v1/graph` or `/v1/metrics` are such
    /// paths; what is no JSON comes as a list of lines.
    #[serde(default)]
    pub path: Option<String>,
}

/// A cluster of a proxy: where it sends requests for a host.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeldClusterFile {
    /// The host, such as `reviews.bookinfo.svc.cluster.local`.
    pub host: String,
    /// The port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// The subset; that of the whole host when left out.
    #[serde(default)]
    pub subset: Option<String>,
    /// How many endpoints it has that are healthy; any number when left out.
    #[serde(default)]
    pub healthy: Option<usize>,
    /// With `true`: that there is no such cluster.
    #[serde(default)]
    pub absent: bool,
}

/// A route of a proxy: how it splits requests for a host.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeldRouteFile {
    /// The host, such as `reviews.bookinfo.svc.cluster.local`.
    pub host: String,
    /// Percent by subset; the host itself stands for what goes to no subset. They sum to 100.
    pub weights: BTreeMap<String, f64>,
}

/// A listener of a proxy.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeldListenerFile {
    /// Its port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// With `true`: that there is no such listener.
    #[serde(default)]
    pub absent: bool,
}
