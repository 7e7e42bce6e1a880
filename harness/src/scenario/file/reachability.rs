//! The YAML form of a measurement of who reaches whom.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::WorkloadFile;
use crate::traffic::probe::Protocol;

/// From where to where it is measured: every source to every service, on each cluster where it has pods.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ReachabilityFile {
    /// Workloads whose pods send; by default every client of the mesh: what has a sidecar and no port of its own.
    pub from: Vec<WorkloadFile>,
    /// Services that they ask; by default every Service of the mesh at the port of its application.
    pub to: Vec<ServiceFile>,
    /// Longest time for one answer, such as `2s`.
    pub timeout: Option<String>,
}

/// A Service, and how it is spoken to.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceFile {
    /// Its name.
    pub service: String,
    /// Its namespace; needed only where several have such a Service.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Its port; by default that of the application.
    #[serde(default)]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// What is spoken there.
    #[serde(default)]
    pub protocol: Protocol,
}

/// Every source gets answers of every destination, and only answers with status 200, but for these.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ReachableFile {
    /// Pairs of which the source gets no answer of the destination.
    pub except: Vec<PairFile>,
}

/// Pairs of a source and a destination: each that has all the properties that are said.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PairFile {
    /// Which sources; every one where nothing is said.
    pub from: SideFile,
    /// Which destinations; every one where nothing is said.
    pub to: SideFile,
}

/// Properties of a source or a destination.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SideFile {
    /// Its cluster.
    pub cluster: Option<String>,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Name of the workload that sends, or of the Service that is asked.
    pub name: Option<String>,
    /// Of a destination: the port that it is asked at.
    pub port: Option<u16>,
}
