//! Prints the rules of RBAC filters: `ALLOW name: who -> what`.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::rbac::v3::rbac::Action;
use envoy_types::pb::envoy::config::rbac::v3::{Permission, Policy, Principal, Rbac, permission, principal};
use envoy_types::pb::envoy::config::route::v3::HeaderMatcher;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::extensions::filters::{http, network};
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, path_matcher, string_matcher::MatchPattern};
use prost::Message as _;

pub(crate) fn http(bytes: &[u8]) -> String {
    rules(&http::rbac::v3::Rbac::decode(bytes).unwrap().rules.unwrap())
}

pub(crate) fn network(bytes: &[u8]) -> String {
    let filter = network::rbac::v3::Rbac::decode(bytes).unwrap();
    format!("{} stat={}", rules(&filter.rules.unwrap()), filter.stat_prefix)
}

fn rules(rules: &Rbac) -> String {
    let policies: BTreeMap<&String, &Policy> = rules.policies.iter().collect();
    let policies: Vec<String> = policies.into_iter().map(|(name, one)| format!("{name}: {}", policy(one))).collect();
    format!("{} {{{}}}", Action::try_from(rules.action).unwrap().as_str_name(), policies.join("; "))
}

fn policy(policy: &Policy) -> String {
    let who: Vec<String> = policy.principals.iter().map(caller).collect();
    let what: Vec<String> = policy.permissions.iter().map(call).collect();
    format!("{} -> {}", who.join(" | "), what.join(" | "))
}

fn list(parts: Vec<String>, sign: &str) -> String {
    match parts.as_slice() {
        [only] => only.clone(),
        _ => format!("({})", parts.join(sign)),
    }
}

fn caller(id: &Principal) -> String {
    use principal::Identifier;
    match id.identifier.as_ref().unwrap() {
        Identifier::AndIds(set) => list(set.ids.iter().map(caller).collect(), " & "),
        Identifier::OrIds(set) => list(set.ids.iter().map(caller).collect(), " | "),
        Identifier::NotId(inner) => format!("!{}", caller(inner)),
        Identifier::Any(true) => "any".to_owned(),
        Identifier::Authenticated(name) => text(name.principal_name.as_ref().unwrap()),
        Identifier::DirectRemoteIp(range) => {
            format!("from {}/{}", range.address_prefix, range.prefix_len.unwrap().value)
        }
        Identifier::RemoteIp(range) => format!("remote {}/{}", range.address_prefix, range.prefix_len.unwrap().value),
        Identifier::Header(condition) => header(condition),
        other => panic!("{other:?}"),
    }
}

fn call(permission: &Permission) -> String {
    use permission::Rule;
    match permission.rule.as_ref().unwrap() {
        Rule::AndRules(set) => list(set.rules.iter().map(call).collect(), " & "),
        Rule::OrRules(set) => list(set.rules.iter().map(call).collect(), " | "),
        Rule::NotRule(inner) => format!("!{}", call(inner)),
        Rule::Any(true) => "any".to_owned(),
        Rule::Header(condition) => header(condition),
        Rule::UrlPath(path) => match path.rule.as_ref().unwrap() {
            path_matcher::Rule::Path(path) => format!("path={}", text(path)),
        },
        Rule::UriTemplate(extension) => {
            format!("template {}", String::from_utf8_lossy(&extension.typed_config.as_ref().unwrap().value[2..]))
        }
        Rule::DestinationPort(port) => format!("port={port}"),
        Rule::DestinationIp(range) => format!("to {}/{}", range.address_prefix, range.prefix_len.unwrap().value),
        Rule::RequestedServerName(name) => format!("sni={}", text(name)),
        other => panic!("{other:?}"),
    }
}

fn header(condition: &HeaderMatcher) -> String {
    match condition.header_match_specifier.as_ref().unwrap() {
        HeaderMatchSpecifier::StringMatch(value) => format!("{}={}", condition.name, text(value)),
        HeaderMatchSpecifier::PresentMatch(true) => condition.name.clone(),
        other => panic!("{other:?}"),
    }
}

fn text(text: &StringMatcher) -> String {
    let case = if text.ignore_case { "(i)" } else { "" };
    let pattern = match text.match_pattern.as_ref().unwrap() {
        MatchPattern::Exact(text) => text.clone(),
        MatchPattern::Prefix(text) => format!("{text}*"),
        MatchPattern::Suffix(text) => format!("*{text}"),
        MatchPattern::SafeRegex(regex) => format!("~{}", regex.regex),
        other => panic!("{other:?}"),
    };
    format!("{pattern}{case}")
}
