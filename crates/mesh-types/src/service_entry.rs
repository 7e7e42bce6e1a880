//! ServiceEntry: a service that no cluster has a Service for, inside the mesh or outside.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kind::Kind;
use crate::object::Resource;
use crate::virtual_service::one_of;
use crate::workload_entry::WorkloadEntry;

/// Label by which a ServiceEntry says that it wants no automatic address (`false`).
pub const LABEL_AUTOMATIC_ADDRESS: &str = "networking.istio.io/enable-autoallocate-ip";

/// Specification of a ServiceEntry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("oneOf" = one_of(&["workloadSelector", "endpoints"])))]
pub struct ServiceEntry {
    /// Names of the service; may be wildcards.
    pub hosts: Vec<String>,
    /// Virtual addresses of the service, single or as CIDR; without them it may get one by itself.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Ports of the service.
    #[serde(default)]
    pub ports: Vec<EntryPort>,
    /// Whether it is a part of the mesh, so that mutual TLS is spoken with it.
    #[serde(default)]
    pub location: Location,
    /// How its endpoints' addresses are found.
    #[serde(default)]
    pub resolution: Resolution,
    /// Its endpoints; without them the hosts themselves are, where names are resolved.
    #[serde(default)]
    pub endpoints: Vec<WorkloadEntry>,
    /// Chooses pods and WorkloadEntries of the same namespace as endpoints.
    pub workload_selector: Option<LabelSelector>,
    /// Namespaces that see it: `.`, `*` or names; none means all.
    #[serde(default)]
    pub export_to: Vec<String>,
    /// Identities that its endpoints may have, besides those of their service accounts.
    #[serde(default)]
    pub subject_alt_names: Vec<String>,
}

/// A port of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EntryPort {
    /// Number of the port.
    pub number: u32,
    /// `HTTP`, `HTTP2`, `GRPC`, `HTTPS`, `TLS`, `TCP` or `MONGO`; none is found out per connection.
    #[serde(default)]
    pub protocol: String,
    /// Name of the port, by which endpoints name theirs.
    pub name: String,
    /// Port of the endpoints, where it is another.
    pub target_port: Option<u32>,
}

/// Whether a service is a part of the mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Location {
    /// It is not.
    #[default]
    MeshExternal,
    /// It is.
    MeshInternal,
}

/// How the addresses of a service's endpoints are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Resolution {
    /// The caller has found the address already.
    #[default]
    None,
    /// The endpoints are addresses.
    Static,
    /// The endpoints are names; all addresses of each are used.
    Dns,
    /// The endpoint is a name; a new connection goes to the first address that it has then.
    DnsRoundRobin,
    /// The name of each request is resolved.
    DynamicDns,
}

/// Chooses workloads by labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LabelSelector {
    /// Labels that all have to match.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Resource for ServiceEntry {
    const KIND: Kind = Kind::ServiceEntry;
}
