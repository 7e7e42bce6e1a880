//! Which webhooks are asked about which writes: rules, scope, selectors. Pure.

use serde_json::Value;

use crate::selectors::LabelSelector;

/// One entry of a webhook's `rules`.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    scope: String,
}

/// What a rule is held against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) operation: &'a str,
    pub(super) group: &'a str,
    pub(super) version: &'a str,
    pub(super) resource: &'a str,
    pub(super) subresource: &'a str,
    pub(super) namespaced: bool,
}

impl Rule {
    pub(super) fn read(rule: &Value) -> Rule {
        let texts = |key: &str| -> Vec<String> {
            rule[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Rule {
            operations: texts("operations"),
            groups: texts("apiGroups"),
            versions: texts("apiVersions"),
            resources: texts("resources"),
            scope: rule["scope"].as_str().unwrap_or("*").to_owned(),
        }
    }

    pub(super) fn matches(&self, target: &Target<'_>) -> bool {
        let has = |list: &[String], text: &str| list.iter().any(|entry| entry == "*" || entry == text);
        let in_scope = match self.scope.as_str() {
            "Namespaced" => target.namespaced,
            "Cluster" => !target.namespaced,
            _ => true,
        };
        in_scope
            && has(&self.operations, target.operation)
            && has(&self.groups, target.group)
            && has(&self.versions, target.version)
            && self.resources.iter().any(|pattern| matches_resource(pattern, target))
    }
}

fn matches_resource(pattern: &str, target: &Target<'_>) -> bool {
    let (resource, subresource) = match pattern.split_once('/') {
        Some((resource, subresource)) => (resource, subresource),
        // A lone `*` stands for all resources, but not for their subresources.
        None => (pattern, ""),
    };
    let resource_fits = resource == "*" || resource == target.resource;
    let part_fits = subresource == target.subresource || (subresource == "*");
    resource_fits && part_fits
}

/// Whether any of the given objects carries labels that the selector wants.
pub(super) fn selects(selector: &LabelSelector, objects: &[Option<&Value>]) -> bool {
    selector.is_empty() || objects.iter().flatten().any(|object| selector.matches(object))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn target<'a>(resource: &'a str, subresource: &'a str) -> Target<'a> {
        Target { operation: "CREATE", group: "", version: "v1", resource, subresource, namespaced: true }
    }

    #[test]
    fn rules_match_resources_and_parts() {
        let rule = |resources: Value| {
            Rule::read(
                &json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": resources}),
            )
        };
        assert!(rule(json!(["pods"])).matches(&target("pods", "")));
        assert!(!rule(json!(["pods"])).matches(&target("pods", "status")));
        assert!(rule(json!(["pods/*"])).matches(&target("pods", "status")));
        assert!(rule(json!(["*"])).matches(&target("services", "")));
        assert!(!rule(json!(["*"])).matches(&target("services", "status")));
        assert!(rule(json!(["*/*"])).matches(&target("services", "status")));
        assert!(!rule(json!(["pods"])).matches(&Target { operation: "DELETE", ..target("pods", "") }));
    }

    #[test]
    fn a_rule_can_be_limited_to_a_scope() {
        let rule = Rule::read(
            &json!({"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"], "scope": "Cluster"}),
        );
        assert!(!rule.matches(&target("pods", "")));
        assert!(rule.matches(&Target { namespaced: false, ..target("nodes", "") }));
    }
}
