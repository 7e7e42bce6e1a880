//! Role-based access control: decisions, rule reviews, escalation checks and the objects every cluster starts with.
//!
//! Works on snapshots of roles and bindings; it stores nothing and watches nothing.

mod bootstrap;
mod escalation;
mod rules;
mod snapshot;

use std::fmt::Write as _;

pub use bootstrap::bootstrap_objects;
pub use escalation::{EscalationError, check_binding_escalation, check_role_escalation};
pub use rules::PolicyRule;
pub use snapshot::{RbacSnapshot, SubjectRules, aggregated_rules, rules_for};

/// The group that may do everything, whatever the roles say: without it a broken role could lock everybody out.
pub const PRIVILEGED_GROUP: &str = "system:masters";

/// Who wants to do what. Unused fields are empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct Attributes<'a> {
    /// User name.
    pub user: &'a str,
    /// The user's groups, `system:authenticated` included.
    pub groups: &'a [String],
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, ...
    pub verb: &'a str,
    /// API group.
    pub group: &'a str,
    /// Resource in plural; empty for a request that names no resource.
    pub resource: &'a str,
    /// Subresource such as `status`.
    pub subresource: &'a str,
    /// Object name.
    pub name: &'a str,
    /// Namespace; empty at cluster scope.
    pub namespace: &'a str,
    /// URL path of a request that names no resource.
    pub path: Option<&'a str>,
}

/// The outcome of one authorization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether the request may proceed.
    pub allowed: bool,
    /// Which binding allowed it; empty when nothing did.
    pub reason: String,
}

/// Decides whether the roles of `snapshot` allow a request.
pub fn authorize(snapshot: &RbacSnapshot, attributes: &Attributes<'_>) -> Decision {
    if attributes.groups.iter().any(|group| group == PRIVILEGED_GROUP) {
        return Decision { allowed: true, reason: String::new() };
    }
    for grant in snapshot.grants(attributes.user, attributes.groups, attributes.namespace) {
        if grant.rules.iter().any(|rule| rule.allows(attributes)) {
            return Decision { allowed: true, reason: format!("RBAC: allowed by {}", grant.described()) };
        }
    }
    Decision { allowed: false, reason: String::new() }
}

/// The message of the 403 status, in Kubernetes' words.
pub fn forbidden_message(attributes: &Attributes<'_>) -> String {
    let Attributes { user, verb, group, resource, subresource, name, namespace, path, .. } = *attributes;
    if let Some(path) = path {
        return format!("forbidden: User {user:?} cannot {verb} path {path:?}");
    }
    let qualified = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
    let shown = if name.is_empty() { qualified } else { format!("{qualified} {name:?}") };
    let full = if subresource.is_empty() { resource.to_owned() } else { format!("{resource}/{subresource}") };
    let mut message =
        format!("{shown} is forbidden: User {user:?} cannot {verb} resource {full:?} in API group {group:?}");
    // Writing to a String cannot fail.
    let _ = match namespace {
        "" => write!(message, " at the cluster scope"),
        namespace => write!(message, " in the namespace {namespace:?}"),
    };
    message
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn snapshot(extra: &[Value]) -> RbacSnapshot {
        RbacSnapshot::from_objects(bootstrap_objects().iter().chain(extra))
    }

    fn role(kind: &str, namespace: &str, name: &str, rules: Value) -> Value {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, "rules": rules})
    }

    fn binding(kind: &str, namespace: &str, role: (&str, &str), subject: Value) -> Value {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": "b", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role.0, "name": role.1}, "subjects": [subject]})
    }

    fn may(
        snapshot: &RbacSnapshot,
        user: &str,
        groups: &[&str],
        what: (&str, &str, &str),
        namespace: &str,
        name: &str,
    ) -> bool {
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        let (resource, subresource) = what.2.split_once('/').unwrap_or((what.2, ""));
        let attributes = Attributes {
            user,
            groups: &groups,
            verb: what.0,
            group: what.1,
            resource,
            subresource,
            name,
            namespace,
            path: None,
        };
        authorize(snapshot, &attributes).allowed
    }

    #[test]
    fn the_view_role_reads_but_does_not_write_or_see_secrets() {
        let snapshot = snapshot(&[binding(
            "RoleBinding",
            "shop",
            ("ClusterRole", "view"),
            json!({"kind": "User", "name": "ann"}),
        )]);
        for (verb, group, resource, namespace, expected) in [
            ("get", "", "pods", "shop", true),
            ("watch", "apps", "deployments", "shop", true),
            ("get", "", "pods/log", "shop", true),
            ("get", "", "pods", "other", false),
            ("list", "", "pods", "", false),
            ("delete", "", "pods", "shop", false),
            ("get", "", "secrets", "shop", false),
            ("create", "", "pods/exec", "shop", false),
        ] {
            assert_eq!(
                may(&snapshot, "ann", &[], (verb, group, resource), namespace, "x"),
                expected,
                "{verb} {resource} {namespace}"
            );
        }
    }

    #[test]
    fn admin_aggregates_edit_and_view() {
        let snapshot = snapshot(&[binding(
            "RoleBinding",
            "shop",
            ("ClusterRole", "admin"),
            json!({"kind": "Group", "name": "ops"}),
        )]);
        assert!(may(&snapshot, "ann", &["ops"], ("create", "rbac.authorization.k8s.io", "roles"), "shop", ""));
        assert!(may(&snapshot, "ann", &["ops"], ("create", "", "pods/exec"), "shop", "p"));
        assert!(may(&snapshot, "ann", &["ops"], ("get", "", "secrets"), "shop", "p"));
        assert!(!may(&snapshot, "ann", &["ops"], ("update", "", "namespaces"), "", "shop"));
    }

    #[test]
    fn roles_aggregate_custom_roles_by_label() {
        let mut custom = role(
            "ClusterRole",
            "",
            "crontabs-view",
            json!([{"apiGroups": ["x.io"], "resources": ["crontabs"], "verbs": ["get"]}]),
        );
        custom["metadata"]["labels"] = json!({"rbac.authorization.k8s.io/aggregate-to-view": "true"});
        let snapshot = snapshot(&[
            custom,
            binding("ClusterRoleBinding", "", ("ClusterRole", "edit"), json!({"kind": "User", "name": "ann"})),
        ]);
        assert!(may(&snapshot, "ann", &[], ("get", "x.io", "crontabs"), "any", "c"));
    }

    #[test]
    fn resource_names_wildcards_and_subresources_are_honoured() {
        let rules = json!([
            {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["one"], "verbs": ["get", "update"]},
            {"apiGroups": ["*"], "resources": ["*/status"], "verbs": ["patch"]},
            {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["*"]},
        ]);
        let snapshot = snapshot(&[
            role("Role", "shop", "r", rules),
            binding(
                "RoleBinding",
                "shop",
                ("Role", "r"),
                json!({"kind": "ServiceAccount", "name": "sa", "namespace": "shop"}),
            ),
        ]);
        let check = |verb, group, resource, name| {
            may(&snapshot, "system:serviceaccount:shop:sa", &[], (verb, group, resource), "shop", name)
        };
        assert!(check("get", "", "configmaps", "one"));
        assert!(!check("get", "", "configmaps", "two"));
        assert!(!check("list", "", "configmaps", ""));
        assert!(check("patch", "", "pods/status", "p"));
        assert!(!check("patch", "", "pods", "p"));
        assert!(check("escalate", "apps", "deployments", "d"));
        assert!(!check("get", "apps", "deployments/scale", "d"));
        assert!(!may(&snapshot, "system:serviceaccount:other:sa", &[], ("get", "", "configmaps"), "shop", "one"));
    }

    #[test]
    fn paths_are_matched_exactly_or_by_prefix() {
        let snapshot = snapshot(&[]);
        let allowed = |user: &str, group: &str, path| {
            let groups = [group.to_owned()];
            authorize(
                &snapshot,
                &Attributes { user, groups: &groups, verb: "get", path: Some(path), ..Attributes::default() },
            )
            .allowed
        };
        assert!(allowed("ann", "system:authenticated", "/apis/apps/v1"));
        assert!(allowed("ann", "system:authenticated", "/openapi/v3"));
        assert!(!allowed("system:anonymous", "system:unauthenticated", "/apis"));
        assert!(allowed("system:anonymous", "system:unauthenticated", "/version"));
        assert!(!allowed("ann", "system:authenticated", "/metrics"));
        assert!(allowed("root", "system:masters", "/metrics"));
    }

    #[test]
    fn decisions_say_why() {
        let snapshot = snapshot(&[binding(
            "ClusterRoleBinding",
            "",
            ("ClusterRole", "view"),
            json!({"kind": "User", "name": "ann"}),
        )]);
        let attributes = Attributes {
            user: "ann",
            verb: "get",
            resource: "pods",
            namespace: "shop",
            name: "p",
            ..Attributes::default()
        };
        assert_eq!(
            authorize(&snapshot, &attributes).reason,
            "RBAC: allowed by ClusterRoleBinding \"b\" of ClusterRole \"view\" to User \"ann\""
        );
        let denied =
            Attributes { verb: "delete", group: "apps", resource: "deployments", subresource: "scale", ..attributes };
        assert_eq!(authorize(&snapshot, &denied), Decision { allowed: false, reason: String::new() });
        assert_eq!(
            forbidden_message(&denied),
            "deployments.apps \"p\" is forbidden: User \"ann\" cannot delete resource \"deployments/scale\" in API group \"apps\" in the namespace \"shop\""
        );
        let listing = Attributes { name: "", namespace: "", ..attributes };
        assert_eq!(
            forbidden_message(&listing),
            "pods is forbidden: User \"ann\" cannot get resource \"pods\" in API group \"\" at the cluster scope"
        );
        let path = Attributes { user: "ann", verb: "get", path: Some("/metrics"), ..Attributes::default() };
        assert_eq!(forbidden_message(&path), "forbidden: User \"ann\" cannot get path \"/metrics\"");
    }

    #[test]
    fn rule_reviews_list_what_the_user_holds() {
        let snapshot = snapshot(&[binding(
            "RoleBinding",
            "shop",
            ("ClusterRole", "view"),
            json!({"kind": "User", "name": "ann"}),
        )]);
        let rules = rules_for(&snapshot, "ann", &["system:authenticated".to_owned()], "shop");
        let status = rules.to_status();
        assert_eq!(status["incomplete"], false);
        assert!(
            status["resourceRules"]
                .as_array()
                .unwrap()
                .iter()
                .any(|rule| rule["resources"].as_array().unwrap().contains(&json!("pods/log")))
        );
        assert!(
            status["nonResourceRules"]
                .as_array()
                .unwrap()
                .iter()
                .any(|rule| rule["nonResourceURLs"].as_array().unwrap().contains(&json!("/apis/*")))
        );
        assert!(rules_for(&snapshot, "ann", &[], "other").to_status()["resourceRules"].as_array().unwrap().is_empty());
    }

    #[test]
    fn nobody_grants_more_than_they_hold() {
        let snapshot = snapshot(&[binding(
            "RoleBinding",
            "shop",
            ("ClusterRole", "edit"),
            json!({"kind": "User", "name": "ann"}),
        )]);
        let request = Attributes {
            user: "ann",
            group: "rbac.authorization.k8s.io",
            resource: "roles",
            verb: "create",
            namespace: "shop",
            ..Attributes::default()
        };
        let small = role(
            "Role",
            "shop",
            "r",
            json!([{"apiGroups": [""], "resources": ["pods", "configmaps"], "verbs": ["get", "list"]}]),
        );
        assert_eq!(check_role_escalation(&snapshot, &request, &small), Ok(()));
        let large = role("Role", "shop", "r", json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]));
        let error = check_role_escalation(&snapshot, &request, &large).unwrap_err();
        assert_eq!(
            error.to_string(),
            "user \"ann\" (groups=[]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}"
        );
        let bind = binding("RoleBinding", "shop", ("ClusterRole", "admin"), json!({"kind": "User", "name": "bob"}));
        assert!(check_binding_escalation(&snapshot, &request, &bind).is_err());
        let bind_held = binding("RoleBinding", "shop", ("ClusterRole", "edit"), json!({"kind": "User", "name": "bob"}));
        assert_eq!(check_binding_escalation(&snapshot, &request, &bind_held), Ok(()));
    }

    #[test]
    fn the_bootstrap_objects_are_what_kubernetes_starts_with() {
        let names: Vec<String> = bootstrap_objects()
            .iter()
            .map(|object| {
                format!("{} {}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap())
            })
            .collect();
        insta::assert_snapshot!(names.join("\n"));
        for object in bootstrap_objects() {
            let kind = object["kind"].as_str().unwrap();
            let schema = crate::schema::builtin("rbac.authorization.k8s.io", "v1", kind).unwrap();
            assert_eq!(schema.validate(&object), [], "{object}");
            assert!(schema.unknown_fields(&object).is_empty(), "{object}");
        }
    }
}
