//! Roles and bindings of a cluster, resolved for quick decisions.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};

use super::PRIVILEGED_GROUP;
use super::rules::PolicyRule;
use crate::selectors::LabelSelector;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Subject {
    kind: String,
    name: String,
    namespace: String,
}

#[derive(Debug, Clone)]
struct Binding {
    name: String,
    /// Empty for a ClusterRoleBinding.
    namespace: String,
    role_kind: String,
    role_name: String,
    subjects: Vec<Subject>,
}

/// The roles and bindings of a cluster at one moment, with aggregated roles resolved.
#[derive(Debug, Clone, Default)]
pub struct RbacSnapshot {
    /// By namespace and name; the namespace of a ClusterRole is empty.
    roles: HashMap<(String, String), Vec<PolicyRule>>,
    bindings: Vec<Binding>,
}

/// What one binding gives to one subject.
pub(super) struct Grant<'a> {
    pub(super) rules: &'a [PolicyRule],
    binding: &'a Binding,
    subject: &'a Subject,
}

impl RbacSnapshot {
    /// Builds a snapshot from Roles, ClusterRoles, RoleBindings and ClusterRoleBindings in any order; other kinds are
    /// passed over.
    pub fn from_objects<'a>(objects: impl IntoIterator<Item = &'a Value>) -> RbacSnapshot {
        let mut snapshot = RbacSnapshot::default();
        let mut cluster_roles = Vec::new();
        for object in objects {
            let namespace = text(object, "/metadata/namespace");
            match text(object, "/kind") {
                "Role" => {
                    let key = (namespace.to_owned(), text(object, "/metadata/name").to_owned());
                    snapshot.roles.insert(key, PolicyRule::list_of(object));
                }
                "ClusterRole" => cluster_roles.push(object),
                "RoleBinding" => snapshot.bindings.push(Binding::read(object, namespace)),
                "ClusterRoleBinding" => snapshot.bindings.push(Binding::read(object, "")),
                _ => {}
            }
        }
        for (name, rules) in resolve(&cluster_roles) {
            snapshot.roles.insert((String::new(), name), rules);
        }
        snapshot
    }

    /// The rules of a Role (with its namespace) or ClusterRole (with an empty one).
    pub(super) fn rules_of(&self, namespace: &str, name: &str) -> Option<&[PolicyRule]> {
        self.roles.get(&(namespace.to_owned(), name.to_owned())).map(Vec::as_slice)
    }

    /// Everything that is granted to a user in a namespace (empty: at cluster scope).
    pub(super) fn grants<'a>(
        &'a self,
        user: &'a str,
        groups: &'a [String],
        namespace: &'a str,
    ) -> impl Iterator<Item = Grant<'a>> {
        let in_scope = move |binding: &&Binding| binding.namespace.is_empty() || binding.namespace == namespace;
        self.bindings.iter().filter(in_scope).filter_map(move |binding| {
            let subject = binding.subjects.iter().find(|subject| subject.is(user, groups, &binding.namespace))?;
            let namespace = if binding.role_kind == "Role" { binding.namespace.as_str() } else { "" };
            Some(Grant { rules: self.rules_of(namespace, &binding.role_name)?, binding, subject })
        })
    }
}

impl Grant<'_> {
    pub(super) fn described(&self) -> String {
        let Binding { name, namespace, role_kind, role_name, .. } = self.binding;
        let (kind, shown) = match namespace.as_str() {
            "" => ("ClusterRoleBinding", name.clone()),
            namespace => ("RoleBinding", format!("{name}/{namespace}")),
        };
        let subject = match self.subject.kind.as_str() {
            "ServiceAccount" => format!("{}/{}", self.subject.name, self.subject.namespace),
            _ => self.subject.name.clone(),
        };
        format!("{kind} {shown:?} of {role_kind} {role_name:?} to {} {subject:?}", self.subject.kind)
    }
}

impl Subject {
    fn is(&self, user: &str, groups: &[String], binding_namespace: &str) -> bool {
        match self.kind.as_str() {
            "User" => self.name == "*" || self.name == user,
            "Group" => groups.contains(&self.name),
            "ServiceAccount" => {
                let namespace = if self.namespace.is_empty() { binding_namespace } else { &self.namespace };
                let account = user.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
                account == Some((namespace, self.name.as_str()))
            }
            _ => false,
        }
    }
}

impl Binding {
    fn read(object: &Value, namespace: &str) -> Binding {
        let subjects = object.get("subjects").and_then(Value::as_array).into_iter().flatten().map(|subject| Subject {
            kind: text(subject, "/kind").to_owned(),
            name: text(subject, "/name").to_owned(),
            namespace: text(subject, "/namespace").to_owned(),
        });
        Binding {
            name: text(object, "/metadata/name").to_owned(),
            namespace: namespace.to_owned(),
            role_kind: text(object, "/roleRef/kind").to_owned(),
            role_name: text(object, "/roleRef/name").to_owned(),
            subjects: subjects.collect(),
        }
    }
}

/// The rules that each ClusterRole with an `aggregationRule` should carry: `(name, rules)`, as its controller writes.
pub fn aggregated_rules(cluster_roles: &[&Value]) -> Vec<(String, Vec<Value>)> {
    let resolved = resolve(cluster_roles);
    let aggregating = cluster_roles.iter().filter(|role| role.get("aggregationRule").is_some_and(Value::is_object));
    aggregating
        .filter_map(|role| {
            let name = text(role, "/metadata/name").to_owned();
            let rules = resolved.get(&name)?.iter().map(PolicyRule::to_value).collect();
            Some((name, rules))
        })
        .collect()
}

fn resolve(cluster_roles: &[&Value]) -> BTreeMap<String, Vec<PolicyRule>> {
    let names = cluster_roles.iter().map(|role| text(role, "/metadata/name"));
    names.map(|name| (name.to_owned(), collect(cluster_roles, name, &mut BTreeSet::new()))).collect()
}

/// The rules of one ClusterRole; an aggregating one has those of the roles it selects, and of the roles they select.
fn collect<'a>(cluster_roles: &[&'a Value], name: &str, visited: &mut BTreeSet<&'a str>) -> Vec<PolicyRule> {
    let Some(role) = cluster_roles.iter().find(|role| text(role, "/metadata/name") == name) else { return Vec::new() };
    if !visited.insert(text(role, "/metadata/name")) {
        return Vec::new();
    }
    let Some(aggregation) = role.get("aggregationRule").filter(|rule| rule.is_object()) else {
        return PolicyRule::list_of(role);
    };
    let selectors = aggregation.get("clusterRoleSelectors").and_then(Value::as_array);
    let selectors: Vec<LabelSelector> = selectors
        .into_iter()
        .flatten()
        .filter_map(|selector| LabelSelector::from_object(selector).ok().flatten())
        .collect();
    let mut rules: Vec<PolicyRule> = Vec::new();
    for selected in cluster_roles.iter().filter(|role| selectors.iter().any(|selector| selector.matches(role))) {
        for rule in collect(cluster_roles, text(selected, "/metadata/name"), visited) {
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
    }
    rules
}

/// What a user may do in a namespace, for a SelfSubjectRulesReview.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubjectRules {
    /// Rules that name resources or paths, in the order of the bindings, each once.
    pub rules: Vec<PolicyRule>,
}

/// Lists the rules that a user holds in `namespace`, those of cluster-wide bindings included.
pub fn rules_for(snapshot: &RbacSnapshot, user: &str, groups: &[String], namespace: &str) -> SubjectRules {
    let mut rules: Vec<PolicyRule> = Vec::new();
    if groups.iter().any(|group| group == PRIVILEGED_GROUP) {
        let all = || vec!["*".to_owned()];
        rules.push(PolicyRule { verbs: all(), api_groups: all(), resources: all(), ..PolicyRule::default() });
        rules.push(PolicyRule { verbs: all(), non_resource_urls: all(), ..PolicyRule::default() });
    }
    for rule in snapshot.grants(user, groups, namespace).flat_map(|grant| grant.rules) {
        if !rules.contains(rule) {
            rules.push(rule.clone());
        }
    }
    SubjectRules { rules }
}

impl SubjectRules {
    /// The `status` of a SelfSubjectRulesReview.
    pub fn to_status(&self) -> Value {
        let (paths, resources): (Vec<&PolicyRule>, Vec<&PolicyRule>) =
            self.rules.iter().partition(|rule| !rule.non_resource_urls.is_empty());
        json!({
            "resourceRules": resources.into_iter().map(PolicyRule::to_value).collect::<Vec<_>>(),
            "nonResourceRules": paths.into_iter().map(PolicyRule::to_value).collect::<Vec<_>>(),
            "incomplete": false,
        })
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
