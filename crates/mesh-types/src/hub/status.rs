//! What the plane reports: states, conditions, and what became of a policy on each of its targets.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reference::ObjectRef;

/// How far a resource got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// Not looked at yet.
    #[default]
    Pending,
    /// Accepted; what follows from it is to be written, or is written.
    Accepted,
    /// Written, and acknowledged by every proxy concerned.
    Active,
    /// Refused, at least for one target; the errors say why.
    Invalid,
    /// Accepted, but something that follows from it could not be written; the errors say what.
    Failed,
}

/// A condition in Kubernetes' form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// `Accepted`, `Written` or `Acknowledged`; `Trusted` of a VirtualMesh that shares its trust.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// One word for programs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// A sentence for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Generation of the resource that it is about.
    pub observed_generation: i64,
    /// When it last changed, RFC 3339; set by whoever writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<String>,
}

/// What became of a policy on one target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Approval {
    /// Place among the policies of the target, from 1. Where two conflict the smaller one holds. It is kept until the policy
    /// changes or goes away.
    pub acceptance_order: u32,
    /// Whether it has effect on the target.
    pub state: State,
    /// Why it has none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// What is worth a look.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Status of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyStatus {
    /// Generation of the policy that this is about.
    pub observed_generation: i64,
    /// The worst of its targets' states.
    pub state: State,
    /// What is wrong with the policy as a whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// What is worth a look.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// How many targets it has.
    pub targets: u32,
    /// What became of it on each target (`name.namespace.cluster`): all of them, or of many the troubled ones first.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub destinations: BTreeMap<String, Approval>,
    /// Standard conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// A policy on a target, as the target reports it. This is where the order of acceptance is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AppliedPolicy {
    /// The policy.
    #[serde(rename = "ref")]
    pub reference: ObjectRef,
    /// Generation of the policy that was looked at.
    pub observed_generation: i64,
    /// Place among the policies of the target, from 1.
    pub acceptance_order: u32,
    /// Whether it has effect.
    pub accepted: bool,
}
