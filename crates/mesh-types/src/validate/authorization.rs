//! The rules of Istio's validation of authorization policies that a schema cannot express.

use super::meaning::Errors;
use super::{address_block, refuse};
use crate::AuthorizationPolicy;
use crate::authorization_policy::{
    Action, Attribute, Condition, Operation, Source, is_path_template, path_template_error,
};

pub(super) fn check(policy: &AuthorizationPolicy, errors: &mut Errors) {
    let labels = policy.selector.iter().flat_map(|selector| &selector.match_labels);
    for (name, value) in labels {
        if name.is_empty() || name.contains('*') || value.contains('*') {
            refuse(errors, format!("spec.selector.matchLabels.{name}"), "labels are compared exactly, without `*`");
        }
    }
    let provider = policy.provider.as_ref().and_then(|provider| provider.name.as_deref()).unwrap_or_default();
    match policy.action {
        Action::Custom if provider.is_empty() => {
            refuse(errors, "spec.provider.name", "action CUSTOM needs a provider");
        }
        Action::Allow | Action::Deny | Action::Audit if policy.provider.is_some() => {
            refuse(errors, "spec.provider", "only action CUSTOM has a provider");
        }
        _ => {}
    }
    for (index, rule) in policy.rules.iter().enumerate() {
        let path = format!("spec.rules[{index}]");
        for (at, from) in rule.from.iter().enumerate() {
            source(from.source.as_ref(), &format!("{path}.from[{at}].source"), errors);
        }
        for (at, to) in rule.to.iter().enumerate() {
            operation(to.operation.as_ref(), &format!("{path}.to[{at}].operation"), errors);
        }
        for (at, when) in rule.when.iter().enumerate() {
            condition(when, &format!("{path}.when[{at}]"), errors);
        }
    }
}

type Lists<'a> = [(&'static str, &'a [String])];

/// Refuses empty lists and empty texts.
fn filled(lists: &Lists<'_>, path: &str, errors: &mut Errors) {
    if lists.iter().all(|(_, values)| values.is_empty()) {
        refuse(errors, path, "must name something");
    }
    for (name, values) in lists {
        if values.iter().any(String::is_empty) {
            refuse(errors, format!("{path}.{name}"), "a value must not be empty");
        }
    }
}

fn each(lists: &Lists<'_>, path: &str, errors: &mut Errors, wrong: fn(&str) -> Option<String>) {
    for (name, values) in lists {
        for problem in values.iter().filter_map(|value| wrong(value)) {
            refuse(errors, format!("{path}.{name}"), problem);
        }
    }
}

fn source(source: Option<&Source>, path: &str, errors: &mut Errors) {
    let source = source.cloned().unwrap_or_default();
    let accounts: &Lists<'_> =
        &[("serviceAccounts", &source.service_accounts), ("notServiceAccounts", &source.not_service_accounts)];
    let identities: &Lists<'_> = &[
        ("principals", &source.principals),
        ("notPrincipals", &source.not_principals),
        ("namespaces", &source.namespaces),
        ("notNamespaces", &source.not_namespaces),
    ];
    let requests: &Lists<'_> =
        &[("requestPrincipals", &source.request_principals), ("notRequestPrincipals", &source.not_request_principals)];
    let addresses: &Lists<'_> = &[
        ("ipBlocks", &source.ip_blocks),
        ("notIpBlocks", &source.not_ip_blocks),
        ("remoteIpBlocks", &source.remote_ip_blocks),
        ("notRemoteIpBlocks", &source.not_remote_ip_blocks),
    ];
    filled(&[accounts, identities, requests, addresses].concat(), path, errors);
    each(addresses, path, errors, address_block);
    each(accounts, path, errors, |account| {
        (account.contains('*') || account.matches('/').count() > 1)
            .then(|| format!("`{account}` is not `<namespace>/<name>` or `<name>`"))
    });
    let given = |lists: &Lists<'_>| lists.iter().any(|(_, values)| !values.is_empty());
    if given(accounts) && given(identities) {
        refuse(errors, path, "serviceAccounts cannot be combined with principals or namespaces");
    }
}

fn operation(operation: Option<&Operation>, path: &str, errors: &mut Errors) {
    let operation = operation.cloned().unwrap_or_default();
    let ports: &Lists<'_> = &[("ports", &operation.ports), ("notPorts", &operation.not_ports)];
    let paths: &Lists<'_> = &[("paths", &operation.paths), ("notPaths", &operation.not_paths)];
    let others: &Lists<'_> = &[
        ("hosts", &operation.hosts),
        ("notHosts", &operation.not_hosts),
        ("methods", &operation.methods),
        ("notMethods", &operation.not_methods),
    ];
    filled(&[ports, paths, others].concat(), path, errors);
    each(ports, path, errors, wrong_port);
    each(paths, path, errors, |template| {
        let wrong = path_template_error(template).filter(|_| is_path_template(template))?;
        Some(format!("`{template}`: {wrong}"))
    });
}

fn condition(condition: &Condition, path: &str, errors: &mut Errors) {
    let lists: &Lists<'_> = &[("values", &condition.values), ("notValues", &condition.not_values)];
    filled(lists, path, errors);
    match Attribute::of(&condition.key) {
        None => refuse(errors, format!("{path}.key"), format!("`{}` is not an attribute", condition.key)),
        Some(Attribute::SourceIp | Attribute::RemoteIp | Attribute::DestinationIp) => {
            each(lists, path, errors, address_block);
        }
        Some(Attribute::DestinationPort) => each(lists, path, errors, wrong_port),
        Some(_) => {}
    }
}

fn wrong_port(port: &str) -> Option<String> {
    (!port.parse::<u16>().is_ok_and(|number| number != 0)).then(|| format!("port `{port}` must be between 1 and 65535"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::validate;

    fn errors(spec: Value) -> Vec<String> {
        let result = validate(&json!({ "kind": "AuthorizationPolicy", "spec": spec }));
        result.err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn good_policies_pass() {
        for spec in [
            json!({}),
            json!({ "rules": [{}] }),
            json!({ "action": "DENY", "rules": [{ "from": [{ "source": { "notNamespaces": ["a"], "ipBlocks": ["10.0.0.0/8", "::1"] } }],
                "to": [{ "operation": { "ports": ["80"], "paths": ["/a*", "/a/{*}/b"] } }],
                "when": [{ "key": "request.headers[x]", "notValues": ["*"] }] }] }),
        ] {
            assert_eq!(errors(spec), Vec::<String>::new());
        }
    }

    #[test]
    fn bad_policies_name_the_place() {
        let rule = |rule: Value| errors(json!({ "rules": [rule] }));
        for (found, path) in [
            (errors(json!({ "action": "PERMIT" })), "spec.action:"),
            (errors(json!({ "action": "CUSTOM", "rules": [{}] })), "spec.provider.name:"),
            (errors(json!({ "provider": { "name": "x" } })), "spec.provider:"),
            (errors(json!({ "selector": { "matchLabels": { "app": "a*" } } })), "spec.selector.matchLabels.app:"),
            (rule(json!({ "from": [{}] })), "spec.rules[0].from[0].source:"),
            (
                rule(json!({ "from": [{ "source": { "principals": [""] } }] })),
                "spec.rules[0].from[0].source.principals:",
            ),
            (
                rule(json!({ "from": [{ "source": { "ipBlocks": ["10.0.0.0/33"] } }] })),
                "spec.rules[0].from[0].source.ipBlocks:",
            ),
            (
                rule(json!({ "from": [{ "source": { "serviceAccounts": ["a/b/c"] } }] })),
                "spec.rules[0].from[0].source.serviceAccounts:",
            ),
            (
                rule(json!({ "from": [{ "source": { "serviceAccounts": ["a"], "namespaces": ["b"] } }] })),
                "spec.rules[0].from[0].source:",
            ),
            (rule(json!({ "to": [{ "operation": { "ports": ["http"] } }] })), "spec.rules[0].to[0].operation.ports:"),
            (rule(json!({ "to": [{ "operation": { "paths": ["/a{*}"] } }] })), "spec.rules[0].to[0].operation.paths:"),
            (rule(json!({ "when": [{ "key": "colour", "values": ["red"] }] })), "spec.rules[0].when[0].key:"),
            (rule(json!({ "when": [{ "key": "source.ip" }] })), "spec.rules[0].when[0]:"),
        ] {
            assert!(found.len() == 1 && found[0].starts_with(path), "{path} {found:?}");
        }
    }
}
