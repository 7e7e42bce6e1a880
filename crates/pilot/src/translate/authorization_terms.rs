//! The conditions of an authorization rule as permissions (what is called) and principals (who calls) of Envoy's RBAC.

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::rbac::v3::{Permission, Policy, Principal, permission, principal};
use envoy_types::pb::envoy::config::route::v3::HeaderMatcher;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;
use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::util::pack_any;
use mesh_types::authorization_policy::{Attribute, Condition, Operation, Rule, Source, is_path_template};

use super::pb;

/// Stands for the own trust domain in a policy, whatever its name is.
const OWN_DOMAIN: &str = "cluster.local";

/// Where a rule is looked at.
pub(super) struct Scope<'a> {
    /// Namespace of the policy.
    pub(super) namespace: &'a str,
    /// Whether there are HTTP requests, or only connections.
    pub(super) http: bool,
    /// The trust domains of the mesh, the own one first.
    pub(super) trust_domains: &'a [String],
}

/// Whether a rule has a condition that cannot be looked at; it is then left out of the translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unmatchable(pub(super) bool);

/// What permissions and principals have in common.
trait Term: Sized {
    fn any(any: bool) -> Self;
    fn all(terms: Vec<Self>) -> Self;
    fn either(terms: Vec<Self>) -> Self;
    fn not(term: Self) -> Self;
}

impl Term for Permission {
    fn any(any: bool) -> Self {
        permit(permission::Rule::Any(any))
    }

    fn all(rules: Vec<Self>) -> Self {
        permit(permission::Rule::AndRules(permission::Set { rules }))
    }

    fn either(rules: Vec<Self>) -> Self {
        permit(permission::Rule::OrRules(permission::Set { rules }))
    }

    fn not(rule: Self) -> Self {
        permit(permission::Rule::NotRule(Box::new(rule)))
    }
}

impl Term for Principal {
    fn any(any: bool) -> Self {
        identify(principal::Identifier::Any(any))
    }

    fn all(ids: Vec<Self>) -> Self {
        identify(principal::Identifier::AndIds(principal::Set { ids }))
    }

    fn either(ids: Vec<Self>) -> Self {
        identify(principal::Identifier::OrIds(principal::Set { ids }))
    }

    fn not(id: Self) -> Self {
        identify(principal::Identifier::NotId(Box::new(id)))
    }
}

fn permit(rule: permission::Rule) -> Permission {
    Permission { rule: Some(rule) }
}

fn identify(identifier: principal::Identifier) -> Principal {
    Principal { identifier: Some(identifier) }
}

/// Conditions that all have to hold.
#[derive(Clone)]
struct Terms<T> {
    terms: Vec<T>,
    unmatchable: bool,
}

impl<T: Term + Clone> Terms<T> {
    fn new() -> Self {
        Self { terms: Vec::new(), unmatchable: false }
    }

    /// Adds a list of values and one of values that must not match.
    fn add(&mut self, values: &[String], not_values: &[String], matches: impl Fn(&str) -> Option<T>) {
        self.add_where(true, values, not_values, matches);
    }

    /// Adds lists whose subject can be looked at only where `visible` says so.
    fn add_where(
        &mut self,
        visible: bool,
        values: &[String],
        not_values: &[String],
        matches: impl Fn(&str) -> Option<T>,
    ) {
        let mut either = |values: &[String]| {
            let terms: Option<Vec<T>> = values.iter().map(|value| matches(value).filter(|_| visible)).collect();
            self.unmatchable |= terms.is_none();
            terms.filter(|terms| !terms.is_empty()).map(T::either)
        };
        let (wanted, unwanted) = (either(values), either(not_values));
        self.terms.extend(wanted);
        self.terms.extend(unwanted.map(T::not));
    }

    fn finish(self) -> T {
        T::all(if self.terms.is_empty() { vec![T::any(true)] } else { self.terms })
    }
}

/// A policy that matches no request, by which a policy without rules allows nothing.
pub(super) fn nothing() -> Policy {
    Policy {
        permissions: vec![Permission::not(Permission::any(true))],
        principals: vec![Principal::not(Principal::any(true))],
        ..Default::default()
    }
}

/// A rule, and whether something of it is left out.
pub(super) fn policy(rule: &Rule, scope: &Scope<'_>) -> (Policy, Unmatchable) {
    let (mut called, mut calling) = (Terms::new(), Terms::new());
    for condition in &rule.when {
        attribute(condition, scope, &mut called, &mut calling);
    }
    let operations = rule.to.iter().map(|to| operation(&to.operation.clone().unwrap_or_default(), scope));
    let sources = rule.from.iter().map(|from| source(&from.source.clone().unwrap_or_default(), scope));
    let mut unmatchable = called.unmatchable || calling.unmatchable;
    let permissions = joined(operations.collect(), &called, &mut unmatchable);
    let principals = joined(sources.collect(), &calling, &mut unmatchable);
    (Policy { permissions, principals, ..Default::default() }, Unmatchable(unmatchable))
}

/// One term for each alternative, each with the conditions that hold for all.
fn joined<T: Term + Clone>(mut alternatives: Vec<Terms<T>>, common: &Terms<T>, unmatchable: &mut bool) -> Vec<T> {
    if alternatives.is_empty() {
        alternatives.push(Terms::new());
    }
    let join = |mut terms: Terms<T>| {
        *unmatchable |= terms.unmatchable;
        terms.terms.extend(common.terms.iter().cloned());
        terms.finish()
    };
    alternatives.into_iter().map(join).collect()
}

fn operation(operation: &Operation, scope: &Scope<'_>) -> Terms<Permission> {
    let mut terms = Terms::new();
    terms.add_where(scope.http, &operation.hosts, &operation.not_hosts, |host| {
        Some(permit(permission::Rule::Header(header(":authority", host, true))))
    });
    terms.add_where(scope.http, &operation.methods, &operation.not_methods, |method| {
        Some(permit(permission::Rule::Header(header(":method", method, false))))
    });
    terms.add_where(scope.http, &operation.paths, &operation.not_paths, |path| Some(permit(path_rule(path))));
    terms.add(&operation.ports, &operation.not_ports, destination_port);
    terms
}

fn source(source: &Source, scope: &Scope<'_>) -> Terms<Principal> {
    let mut terms = Terms::new();
    let [principals, not_principals] = [&source.principals, &source.not_principals].map(|names| in_mesh(names, scope));
    terms.add(&principals, &not_principals, |name| Some(identity(spiffe(name))));
    terms.add(&source.namespaces, &source.not_namespaces, |name| Some(namespace(name)));
    terms.add(&source.service_accounts, &source.not_service_accounts, |name| {
        let (namespace, account) = name.split_once('/').unwrap_or((scope.namespace, name));
        Some(identity(expression(format!(".+/ns/{}/sa/{}", regex::escape(namespace), regex::escape(account)))))
    });
    terms.add(&source.ip_blocks, &source.not_ip_blocks, direct_address);
    terms.add(&source.remote_ip_blocks, &source.not_remote_ip_blocks, remote_address);
    // Tokens are not looked at.
    terms.add(&source.request_principals, &source.not_request_principals, |_| None);
    terms
}

fn attribute(condition: &Condition, scope: &Scope<'_>, called: &mut Terms<Permission>, calling: &mut Terms<Principal>) {
    let (values, not_values) = (&condition.values, &condition.not_values);
    match Attribute::of(&condition.key).unwrap_or(Attribute::Unsupported) {
        Attribute::Header(name) => calling.add_where(scope.http, values, not_values, |value| {
            Some(identify(principal::Identifier::Header(header(&name, value, false))))
        }),
        Attribute::SourceIp => calling.add(values, not_values, direct_address),
        Attribute::RemoteIp => calling.add(values, not_values, remote_address),
        Attribute::SourceNamespace => calling.add(values, not_values, |name| Some(namespace(name))),
        Attribute::SourcePrincipal => {
            let [values, not_values] = [values, not_values].map(|names| in_mesh(names, scope));
            calling.add(&values, &not_values, |name| Some(identity(spiffe(name))));
        }
        Attribute::DestinationIp => {
            called.add(values, not_values, |block| Some(permit(permission::Rule::DestinationIp(range(block)?))));
        }
        Attribute::DestinationPort => called.add(values, not_values, destination_port),
        Attribute::ServerName => called
            .add(values, not_values, |name| Some(permit(permission::Rule::RequestedServerName(text(name, "", false))))),
        Attribute::Unsupported => calling.unmatchable = true,
    }
}

/// Exact, `prefix*`, `*suffix`, or `*` for any that is not empty; `before` stands before what is given.
fn text(value: &str, before: &str, ignore_case: bool) -> matcher::StringMatcher {
    let pattern = match (value.strip_prefix('*'), value.strip_suffix('*')) {
        (Some(""), _) => return expression(".+".to_owned()),
        (Some(suffix), _) => MatchPattern::Suffix(suffix.to_owned()),
        (None, Some(prefix)) => MatchPattern::Prefix(format!("{before}{prefix}")),
        (None, None) => MatchPattern::Exact(format!("{before}{value}")),
    };
    matcher::StringMatcher { match_pattern: Some(pattern), ignore_case }
}

fn expression(regex: String) -> matcher::StringMatcher {
    let regex = matcher::RegexMatcher { regex, ..Default::default() };
    matcher::StringMatcher { match_pattern: Some(MatchPattern::SafeRegex(regex)), ..Default::default() }
}

/// Principals with each that an alias of their trust domain makes of them. `cluster.local` stands for the own domain; a
/// pattern that says nothing of a domain, and a domain that is not the mesh's, are left as they are.
fn in_mesh(principals: &[String], scope: &Scope<'_>) -> Vec<String> {
    let aliases = |principal: &String| {
        let of_mesh = principal
            .split_once('/')
            .filter(|(domain, _)| *domain == OWN_DOMAIN || scope.trust_domains.iter().any(|known| known == domain));
        match of_mesh {
            Some((_, rest)) => scope.trust_domains.iter().map(|domain| format!("{domain}/{rest}")).collect(),
            None => vec![principal.clone()],
        }
    };
    principals.iter().flat_map(aliases).collect()
}

fn spiffe(principal: &str) -> matcher::StringMatcher {
    text(principal, "spiffe://", false)
}

fn identity(name: matcher::StringMatcher) -> Principal {
    let authenticated = principal::Authenticated { principal_name: Some(name) };
    identify(principal::Identifier::Authenticated(authenticated))
}

fn namespace(name: &str) -> Principal {
    let name = regex::escape(name).replace("\\*", ".*");
    identity(expression(format!(".*/ns/{name}/.*")))
}

fn header(name: &str, value: &str, ignore_case: bool) -> HeaderMatcher {
    let specifier = if value == "*" {
        HeaderMatchSpecifier::PresentMatch(true)
    } else {
        HeaderMatchSpecifier::StringMatch(text(value, "", ignore_case))
    };
    HeaderMatcher { name: name.to_owned(), header_match_specifier: Some(specifier), ..Default::default() }
}

fn path_rule(path: &str) -> permission::Rule {
    if is_path_template(path) {
        let template = path.replace("{**}", "**").replace("{*}", "*");
        return permission::Rule::UriTemplate(core::TypedExtensionConfig {
            name: "uri-template".to_owned(),
            typed_config: Some(pack_any(UriTemplateMatchConfig { path_template: template })),
        });
    }
    let path = matcher::path_matcher::Rule::Path(text(path, "", false));
    permission::Rule::UrlPath(matcher::PathMatcher { rule: Some(path) })
}

fn destination_port(port: &str) -> Option<Permission> {
    Some(permit(permission::Rule::DestinationPort(port.parse().ok()?)))
}

fn direct_address(block: &str) -> Option<Principal> {
    Some(identify(principal::Identifier::DirectRemoteIp(range(block)?)))
}

fn remote_address(block: &str) -> Option<Principal> {
    Some(identify(principal::Identifier::RemoteIp(range(block)?)))
}

/// An address or a CIDR block.
fn range(block: &str) -> Option<core::CidrRange> {
    let (address, length) = block.split_once('/').map_or((block, None), |(address, length)| (address, Some(length)));
    let whole = if address.parse::<std::net::IpAddr>().ok()?.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Some(whole), |length| length.parse().ok())?;
    Some(core::CidrRange { address_prefix: address.to_owned(), prefix_len: Some(pb::uint(length)) })
}
