//! VirtualDestination: one host over Services of several clusters, of which one takes over for the other.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::object::Resource;
use super::reference::{ClusterObjectRef, ObjectRef};
use super::selector::DestinationSelector;
use super::status::{Approval, Condition, State};
use super::traffic_policy::OutlierDetection;

/// Specification of a VirtualDestination. It is known to the members of `virtualMesh`, or to those of `meshList`; its
/// backends are named by `static`, or selected by `localized`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualDestination {
    /// The host, which ends in the suffix of the VirtualMesh.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// Its port.
    pub port: VirtualPort,
    /// Known to all members of this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_mesh: Option<ObjectRef>,
    /// Known to these meshes, which are members of one VirtualMesh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh_list: Option<MeshList>,
    /// Backends in the order in which they take over.
    #[serde(rename = "static", skip_serializing_if = "Option::is_none")]
    pub static_backends: Option<StaticBackends>,
    /// Backends of which the nearest is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub localized: Option<LocalizedBackends>,
    /// When an endpoint is taken out of use, which is what lets the next one take over. Needed for more than one backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlier_detection: Option<OutlierDetection>,
}

/// The port of a VirtualDestination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualPort {
    /// Number that callers use.
    pub number: u16,
    /// `http`, `http2`, `grpc`, `tcp` or `tls`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// Name of the port of the backends' Services.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target_name: String,
    /// Number of the port of the backends' Services; that of this port where neither is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_number: Option<u16>,
}

/// Meshes by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshList {
    /// The meshes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub meshes: Vec<ObjectRef>,
}

/// Backends in the order in which they take over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StaticBackends {
    /// The first one is used while it can be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<Backend>,
}

/// A backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Backend {
    /// The Service.
    pub kube_service: ClusterObjectRef,
}

/// Backends of which the nearest is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalizedBackends {
    /// The Services, at most one in each cluster.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destination_selectors: Vec<DestinationSelector>,
    /// Which region takes over for which; without it the nearest by region and zone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failover_directives: Vec<FailoverDirective>,
}

/// Which regions take over for one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FailoverDirective {
    /// Region of the callers.
    pub from: Place,
    /// Regions that take over, in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<Place>,
}

/// A place by its region.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Place {
    /// Region of the nodes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub region: String,
}

/// Status of a VirtualDestination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualDestinationStatus {
    /// Generation that this is about.
    pub observed_generation: i64,
    /// The worst of its meshes' states.
    pub state: State,
    /// What is wrong as a whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// What is worth a look.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Address that stands for the host and is nobody's. Kept once given.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// What became of each mesh that knows it (`name.namespace`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub meshes: BTreeMap<String, Approval>,
    /// Its backends, those that are named in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub selected_destinations: Vec<ClusterObjectRef>,
    /// Standard conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

impl Resource for VirtualDestination {
    const KIND: Kind = Kind::VirtualDestination;
    type Status = VirtualDestinationStatus;
}
