//! VirtualMesh: meshes that shall be one, with one trust and one name space of services.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::certificate::IssueState;
use super::kind::Kind;
use super::object::Resource;
use super::reference::ObjectRef;
use super::selector::DestinationSelector;
use super::status::{Approval, Condition, State};
use crate::duration::IstioDuration;

/// Specification of a VirtualMesh.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualMesh {
    /// Its members. A mesh is a member of one VirtualMesh only; the one that came first holds it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub meshes: Vec<ObjectRef>,
    /// How identities of the members are trusted by each other; without it certificates are left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtls_config: Option<MtlsConfig>,
    /// Which services the members know of each other; without it none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub federation: Option<FederationConfig>,
    /// Whether calls are denied that no AccessPolicy allows.
    pub global_access_policy: GlobalAccessPolicy,
}

/// How identities are trusted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MtlsConfig {
    /// All members sign with intermediates of one root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared: Option<SharedTrust>,
    /// Restart control planes, gateways and workloads, in this order, when the trust changes.
    pub auto_restart_pods: bool,
}

/// One root for all members.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SharedTrust {
    /// Where the root comes from; generated where nothing is said.
    pub root_certificate_authority: RootCertificateAuthority,
    /// The intermediates that the members sign with.
    pub intermediate_cert_options: IntermediateOptions,
}

/// Where the root comes from; at most one field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("oneOf" = crate::virtual_service::one_of(&["generated", "secret"])))]
pub struct RootCertificateAuthority {
    /// The plane makes one, and keeps its key in the management cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generated: Option<CertificateOptions>,
    /// A Secret in the namespace of the hub, with `tls.crt`, `tls.key` and, for an authority that is no root, `ca.crt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<ObjectRef>,
}

/// A certificate that is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CertificateOptions {
    /// Days for which it is valid; 365 where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_days: Option<u32>,
    /// Organisation in its subject; `meshproof` where nothing is said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub org_name: String,
}

/// The intermediates that the members sign with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IntermediateOptions {
    /// Days for which they are valid; 365 where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_days: Option<u32>,
    /// Organisation in their subject; `Istio` where nothing is said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub org_name: String,
    /// Share of the life that is left when a new one is asked for, 0 to 1; 0.1 where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_rotation_grace_period_ratio: Option<f64>,
}

/// Which services the members know of each other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FederationConfig {
    /// Everybody knows everything. Not together with `selectors`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissive: Option<Permissive>,
    /// Who knows what. Neither this nor `permissive`: nobody knows anything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub selectors: Vec<FederationSelector>,
    /// Last labels of the hosts, `global` where nothing is said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname_suffix: String,
    /// Call endpoints of other members without a gateway between: their networks are one.
    pub flat_network: bool,
    /// Gateways by which destinations are reached; every gateway with a port `tls` where nothing is said.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub east_west_ingress_gateway_selectors: Vec<GatewaySelector>,
    /// Keep-alive probes on connections to other members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_keepalive: Option<TcpKeepalive>,
}

/// Everybody knows everything; it has no fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Permissive {}

/// Some destinations for some members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FederationSelector {
    /// The destinations; none selects all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destination_selectors: Vec<DestinationSelector>,
    /// The members that know them; none means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub meshes: Vec<ObjectRef>,
}

/// Gateways by which members are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewaySelector {
    /// Services of gateways; none selects all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destination_selectors: Vec<DestinationSelector>,
    /// Name of the port for mutual TLS; `tls` where nothing is said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub port_name: String,
}

/// Keep-alive probes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpKeepalive {
    /// Lost probes after which a connection is dead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes: Option<u32>,
    /// Idle time before the first probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<IstioDuration>,
    /// Time between probes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<IstioDuration>,
}

/// Whether calls are denied that no AccessPolicy allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum GlobalAccessPolicy {
    /// As the mesh has it: the plane writes nothing.
    #[default]
    MeshDefault,
    /// Denied.
    Enabled,
    /// Allowed: the plane writes nothing.
    Disabled,
}

/// Status of a VirtualMesh.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualMeshStatus {
    /// Generation that this is about.
    pub observed_generation: i64,
    /// The worst of its members' states.
    pub state: State,
    /// What is wrong as a whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// What became of each member (`name.namespace`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub meshes: BTreeMap<String, Approval>,
    /// How many destinations are known to other members.
    pub federated_destinations: u32,
    /// How far the shared trust is; none where the members share none, or nothing is known of it yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<TrustStatus>,
    /// Standard conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// How far a change of the root is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RootPhase {
    /// There is one root.
    #[default]
    Steady,
    /// Members sign under the root in force, and learn to trust the next one.
    Introduce,
    /// Members sign under the next root, and trust the one before still.
    Switch,
}

/// How far the shared trust of a VirtualMesh is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrustStatus {
    /// How far a change of the root is.
    pub phase: RootPhase,
    /// SHA-256 of the root in force, in hexadecimal.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub root_fingerprint: String,
    /// SHA-256 of the root that takes its place.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub next_root_fingerprint: String,
    /// Whom the change waits for, or why nothing can be signed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub waiting: String,
    /// How far each member (`name.namespace`) is.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub meshes: BTreeMap<String, MeshTrust>,
}

/// How far the authority of a member is, and the restart of what has to use it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshTrust {
    /// How far its certificate got; `FINISHED` once everything that has to use it does.
    pub state: IssueState,
    /// Why it does not go on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// SHA-256 of the root that it signs under.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub root_fingerprint: String,
    /// SHA-256 of every root that it trusts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trusted_roots: Vec<String>,
    /// When its certificate ends, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
    /// Steps of its restart; none where nobody restarts anything.
    pub restart_steps: u32,
    /// Steps that are done for the roots that it trusts now.
    pub restart_steps_done: u32,
}

impl TrustStatus {
    /// Whether the members trust each other: everything runs under the root in force, or under two that all of them trust while
    /// one takes the place of the other.
    pub fn is_shared(&self) -> bool {
        self.phase != RootPhase::Steady || self.is_settled()
    }

    /// Whether every member signs under the root in force, and everything uses what it signs.
    pub fn is_settled(&self) -> bool {
        let done =
            |mesh: &MeshTrust| mesh.state == IssueState::Finished && mesh.root_fingerprint == self.root_fingerprint;
        self.phase == RootPhase::Steady && !self.root_fingerprint.is_empty() && self.meshes.values().all(done)
    }
}

impl FederationConfig {
    /// Last labels of hosts where nothing is said.
    pub const DEFAULT_SUFFIX: &'static str = "global";

    /// Last labels of the hosts.
    pub fn suffix(&self) -> &str {
        if self.hostname_suffix.is_empty() { Self::DEFAULT_SUFFIX } else { &self.hostname_suffix }
    }
}

impl GatewaySelector {
    /// Name of a port for mutual TLS where nothing is said.
    pub const DEFAULT_PORT: &'static str = "tls";

    /// Name of the port for mutual TLS.
    pub fn port(&self) -> &str {
        if self.port_name.is_empty() { Self::DEFAULT_PORT } else { &self.port_name }
    }
}

impl Resource for VirtualMesh {
    const KIND: Kind = Kind::VirtualMesh;
    type Status = VirtualMeshStatus;
}
