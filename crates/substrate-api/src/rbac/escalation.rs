//! Nobody may grant what they do not hold, unless a role allows them `escalate` or `bind`.

use serde_json::Value;

use super::rules::PolicyRule;
use super::snapshot::{RbacSnapshot, rules_for};
use super::{Attributes, authorize};

/// A role or binding that would give more than its writer holds; answered with 403.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "user {user:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
    quoted(groups),
    described(missing)
)]
pub struct EscalationError {
    /// Who tried.
    pub user: String,
    /// The groups of the user.
    pub groups: Vec<String>,
    /// What the user does not hold.
    pub missing: Vec<PolicyRule>,
}

fn quoted(groups: &[String]) -> String {
    groups.iter().map(|group| format!("{group:?}")).collect::<Vec<_>>().join(" ")
}

fn described(missing: &[PolicyRule]) -> String {
    missing.iter().map(PolicyRule::described).collect::<Vec<_>>().join("\n")
}

/// Checks the write of a Role or ClusterRole. `request` is the request that writes it.
pub fn check_role_escalation(
    snapshot: &RbacSnapshot,
    request: &Attributes<'_>,
    role: &Value,
) -> Result<(), EscalationError> {
    if authorize(snapshot, &Attributes { verb: "escalate", ..*request }).allowed {
        return Ok(());
    }
    covered(snapshot, request, &PolicyRule::list_of(role))
}

/// Checks the write of a RoleBinding or ClusterRoleBinding. `request` is the request that writes it.
pub fn check_binding_escalation(
    snapshot: &RbacSnapshot,
    request: &Attributes<'_>,
    binding: &Value,
) -> Result<(), EscalationError> {
    let text = |pointer: &str| binding.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (role, resource, namespace) = match text("/roleRef/kind") {
        "Role" => (text("/roleRef/name"), "roles", request.namespace),
        _ => (text("/roleRef/name"), "clusterroles", ""),
    };
    let bind = Attributes { verb: "bind", resource, subresource: "", name: role, ..*request };
    if authorize(snapshot, &bind).allowed {
        return Ok(());
    }
    covered(snapshot, request, snapshot.rules_of(namespace, role).unwrap_or_default())
}

fn covered(snapshot: &RbacSnapshot, request: &Attributes<'_>, wanted: &[PolicyRule]) -> Result<(), EscalationError> {
    let held = rules_for(snapshot, request.user, request.groups, request.namespace).rules;
    let atoms = wanted.iter().flat_map(PolicyRule::atoms);
    let missing: Vec<PolicyRule> = atoms.filter(|atom| !held.iter().any(|rule| rule.covers(atom))).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(EscalationError { user: request.user.to_owned(), groups: request.groups.to_vec(), missing })
}
