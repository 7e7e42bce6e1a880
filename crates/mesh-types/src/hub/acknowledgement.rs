//! What an agent tells of its cluster's proxies: which state of each object they have. One line of JSON each time, the whole
//! table at first, then what changed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Acknowledgements {
    /// Objects by `Kind/namespace/name`; `None` (`null`) for one that is gone.
    pub resources: BTreeMap<String, Option<Acknowledgement>>,
}

/// How far an object got among the proxies that it concerns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Acknowledgement {
    /// The state of the object that this is about.
    pub resource_version: String,
    /// Whether every proxy concerned has it.
    pub acknowledged: bool,
    /// Proxies (`pod.namespace`) that have not answered yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<String>,
    /// Proxies that refused it, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<String, String>,
}
