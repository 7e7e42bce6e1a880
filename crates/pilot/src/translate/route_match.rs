//! The conditions of a route. What only the control plane can judge (port, gateway, caller) is judged here, the rest
//! is left to Envoy.

use envoy_types::pb::envoy::config::route::v3 as envoy;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::query_parameter_matcher::QueryParameterMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
use mesh_types::virtual_service::{HttpMatch, HttpRoute, StringMatch};
use mesh_types::{Object, VirtualService};

use super::lookup::{bound, selects};
use super::route::Scope;
use super::{Context, pb};

/// A condition for Envoy.
pub(super) struct Found {
    /// Name of the condition in its resource.
    pub(super) name: Option<String>,
    /// The condition.
    pub(super) condition: envoy::RouteMatch,
    /// Whether every request meets it.
    pub(super) everything: bool,
}

/// The conditions of a route that can hold in a scope; an error names what Envoy would refuse.
pub(super) fn of(
    context: &Context<'_>,
    scope: &Scope,
    rule: &Object<VirtualService>,
    route: &HttpRoute,
) -> Result<Vec<Found>, String> {
    if route.matches.is_empty() {
        return Ok(vec![Found { name: None, condition: everything(), everything: true }]);
    }
    let possible = route.matches.iter().filter(|condition| applies(context, scope, rule, condition));
    possible
        .map(|condition| {
            let translated = translate(condition)?;
            let everything = translated == everything() || translated == everything_by_regex();
            Ok(Found { name: condition.name.clone(), condition: translated, everything })
        })
        .collect()
}

fn applies(context: &Context<'_>, scope: &Scope, rule: &Object<VirtualService>, condition: &HttpMatch) -> bool {
    let gateway = condition.gateways.is_empty() || bound(&condition.gateways, &rule.metadata.namespace, &scope.gateway);
    let port = condition.port.is_none_or(|port| port == u32::from(scope.port));
    let namespace = condition.source_namespace.as_ref().is_none_or(|namespace| *namespace == context.proxy.namespace);
    gateway && port && namespace && selects(&condition.source_labels, &context.proxy.labels)
}

pub(super) fn everything() -> envoy::RouteMatch {
    envoy::RouteMatch { path_specifier: Some(PathSpecifier::Prefix("/".to_owned())), ..Default::default() }
}

fn everything_by_regex() -> envoy::RouteMatch {
    let path = PathSpecifier::SafeRegex(matcher::RegexMatcher { regex: ".*".to_owned(), ..Default::default() });
    envoy::RouteMatch { path_specifier: Some(path), ..Default::default() }
}

fn translate(condition: &HttpMatch) -> Result<envoy::RouteMatch, String> {
    let mut found = everything();
    if let Some(uri) = &condition.uri {
        found.path_specifier = Some(match pattern(uri)? {
            Some(Pattern::Exact(path)) => PathSpecifier::Path(path),
            Some(Pattern::Prefix(prefix)) => PathSpecifier::Prefix(prefix),
            Some(Pattern::Regex(regex)) => PathSpecifier::SafeRegex(regex),
            None => PathSpecifier::Prefix("/".to_owned()),
        });
        if condition.ignore_uri_case == Some(true) {
            found.case_sensitive = Some(pb::boolean(false));
        }
    }
    for (name, text) in
        [(":method", &condition.method), (":authority", &condition.authority), (":scheme", &condition.scheme)]
    {
        if let Some(text) = text {
            found.headers.push(header(name, text)?);
        }
    }
    for (name, text) in &condition.headers {
        found.headers.push(header(name, text)?);
    }
    for (name, text) in &condition.without_headers {
        let without = envoy::HeaderMatcher {
            invert_match: true,
            treat_missing_header_as_empty: text != &StringMatch::default(),
            ..header(name, text)?
        };
        found.headers.push(without);
    }
    for (name, text) in &condition.query_params {
        let specifier = match string(text)? {
            Some(text) => QueryParameterMatchSpecifier::StringMatch(text),
            None => QueryParameterMatchSpecifier::PresentMatch(true),
        };
        found.query_parameters.push(envoy::QueryParameterMatcher {
            name: name.clone(),
            query_parameter_match_specifier: Some(specifier),
        });
    }
    Ok(found)
}

fn header(name: &str, text: &StringMatch) -> Result<envoy::HeaderMatcher, String> {
    let specifier = match string(text)? {
        Some(text) => HeaderMatchSpecifier::StringMatch(text),
        None => HeaderMatchSpecifier::PresentMatch(true),
    };
    Ok(envoy::HeaderMatcher { name: name.to_owned(), header_match_specifier: Some(specifier), ..Default::default() })
}

enum Pattern {
    Exact(String),
    Prefix(String),
    Regex(matcher::RegexMatcher),
}

fn pattern(text: &StringMatch) -> Result<Option<Pattern>, String> {
    Ok(match (&text.exact, &text.prefix, &text.regex) {
        (Some(exact), _, _) => Some(Pattern::Exact(exact.clone())),
        (_, Some(prefix), _) => Some(Pattern::Prefix(prefix.clone())),
        (_, _, Some(regex)) => Some(Pattern::Regex(expression(regex)?)),
        _ => None,
    })
}

/// A text to compare with; nothing where only presence is asked for.
pub(super) fn string(text: &StringMatch) -> Result<Option<matcher::StringMatcher>, String> {
    use matcher::string_matcher::MatchPattern;
    let found = pattern(text)?.map(|pattern| match pattern {
        Pattern::Exact(text) => MatchPattern::Exact(text),
        Pattern::Prefix(text) => MatchPattern::Prefix(text),
        Pattern::Regex(regex) => MatchPattern::SafeRegex(regex),
    });
    Ok(found.map(|pattern| matcher::StringMatcher { match_pattern: Some(pattern), ..Default::default() }))
}

/// An expression that Envoy takes. One that it refuses would cost the whole route configuration.
pub(super) fn expression(regex: &str) -> Result<matcher::RegexMatcher, String> {
    match mesh_types::regular_expression::check(regex) {
        Ok(()) => Ok(matcher::RegexMatcher { regex: regex.to_owned(), ..Default::default() }),
        Err(reason) => Err(format!("`{regex}` cannot be used as a regular expression: {reason}")),
    }
}
