//! One rule of a role.

use serde_json::{Map, Value, json};

use super::Attributes;

/// One rule: what may be done to what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyRule {
    /// Verbs; `*` means all.
    pub verbs: Vec<String>,
    /// API groups; `*` means all.
    pub api_groups: Vec<String>,
    /// Resources such as `pods`, `pods/log`, `*`, `*/status`.
    pub resources: Vec<String>,
    /// Object names; empty means all.
    pub resource_names: Vec<String>,
    /// URL paths; a trailing `*` matches any rest.
    pub non_resource_urls: Vec<String>,
}

impl PolicyRule {
    /// Reads a rule of a Role or ClusterRole.
    pub fn from_value(rule: &Value) -> PolicyRule {
        let list = |name: &str| {
            let list = rule.get(name).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        PolicyRule {
            verbs: list("verbs"),
            api_groups: list("apiGroups"),
            resources: list("resources"),
            resource_names: list("resourceNames"),
            non_resource_urls: list("nonResourceURLs"),
        }
    }

    /// The rules of a Role or ClusterRole.
    pub fn list_of(role: &Value) -> Vec<PolicyRule> {
        role.get("rules").and_then(Value::as_array).into_iter().flatten().map(PolicyRule::from_value).collect()
    }

    /// The rule as an object of the API.
    pub fn to_value(&self) -> Value {
        let mut rule = Map::new();
        rule.insert("verbs".to_owned(), json!(self.verbs));
        let lists = [
            ("apiGroups", &self.api_groups),
            ("resources", &self.resources),
            ("resourceNames", &self.resource_names),
            ("nonResourceURLs", &self.non_resource_urls),
        ];
        for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            rule.insert(name.to_owned(), json!(list));
        }
        Value::Object(rule)
    }

    /// Whether this rule alone allows the request.
    pub(super) fn allows(&self, attributes: &Attributes<'_>) -> bool {
        if !has(&self.verbs, attributes.verb) {
            return false;
        }
        if let Some(path) = attributes.path {
            return self.non_resource_urls.iter().any(|pattern| path_matches(pattern, path));
        }
        has(&self.api_groups, attributes.group)
            && self.has_resource(attributes.resource, attributes.subresource)
            && (self.resource_names.is_empty() || self.resource_names.iter().any(|name| name == attributes.name))
    }

    fn has_resource(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|pattern| match (pattern.as_str(), subresource) {
            ("*", _) => true,
            (pattern, "") => pattern == resource,
            (pattern, subresource) => match pattern.split_once('/') {
                Some((left, right)) => right == subresource && (left == "*" || left == resource),
                None => false,
            },
        })
    }

    /// Whether this rule covers all that `wanted`, a rule with one entry per list, allows.
    pub(super) fn covers(&self, wanted: &PolicyRule) -> bool {
        let all = |mine: &[String], theirs: &[String]| theirs.iter().all(|entry| has(mine, entry));
        let names = self.resource_names.is_empty()
            || (!wanted.resource_names.is_empty()
                && wanted.resource_names.iter().all(|name| self.resource_names.contains(name)));
        let resources = wanted.resources.iter().all(|wanted| {
            let (resource, subresource) = wanted.split_once('/').unwrap_or((wanted, ""));
            self.resources.contains(wanted) || self.has_resource(resource, subresource)
        });
        let paths = wanted.non_resource_urls.iter().all(|wanted| {
            self.non_resource_urls.iter().any(|pattern| pattern == wanted || path_matches(pattern, wanted))
        });
        all(&self.verbs, &wanted.verbs) && all(&self.api_groups, &wanted.api_groups) && resources && names && paths
    }

    /// The rule taken apart into rules with one entry per list.
    pub(super) fn atoms(&self) -> Vec<PolicyRule> {
        let mut atoms = Vec::new();
        let names: Vec<Vec<String>> = match self.resource_names.as_slice() {
            [] => vec![Vec::new()],
            names => names.iter().map(|name| vec![name.clone()]).collect(),
        };
        for verb in &self.verbs {
            let base = PolicyRule { verbs: vec![verb.clone()], ..PolicyRule::default() };
            for url in &self.non_resource_urls {
                atoms.push(PolicyRule { non_resource_urls: vec![url.clone()], ..base.clone() });
            }
            for group in &self.api_groups {
                for resource in &self.resources {
                    atoms.extend(names.iter().map(|names| PolicyRule {
                        api_groups: vec![group.clone()],
                        resources: vec![resource.clone()],
                        resource_names: names.clone(),
                        ..base.clone()
                    }));
                }
            }
        }
        atoms
    }

    /// The rule as escalation messages show it: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`.
    pub(super) fn described(&self) -> String {
        let lists = [
            ("NonResourceURLs", &self.non_resource_urls),
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let parts: Vec<String> = lists
            .into_iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| {
                let quoted: Vec<String> = list.iter().map(|entry| format!("{entry:?}")).collect();
                format!("{name}:[{}]", quoted.join(" "))
            })
            .collect();
        format!("{{{}}}", parts.join(", "))
    }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|entry| entry == "*" || entry == wanted)
}

fn path_matches(pattern: &str, path: &str) -> bool {
    pattern == path || pattern.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}
