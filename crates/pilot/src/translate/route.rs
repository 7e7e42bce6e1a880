//! RDS: virtual hosts with the routes that virtual services give them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use envoy_types::pb::envoy::config::route::v3 as envoy;
use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use envoy_types::util::pack_any;
use mesh_types::{Object, VirtualService, host, names};

use super::{Context, http, pb, route_action, route_match};
use crate::model::{Protocol, Service, ServicePort};

/// Where the routes are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    /// `mesh`, or the gateway as `namespace/name`.
    pub(super) gateway: String,
    /// Port that the caller addresses.
    pub(super) port: u16,
}

/// A virtual service with one of the hosts that it names.
type Named = (String, Arc<Object<VirtualService>>);

/// The routes of a port: a virtual host for every service that has it.
pub(super) fn of_port(
    context: &mut Context<'_>,
    port: u16,
    services: &[(&Service, &ServicePort)],
) -> RouteConfiguration {
    let scope = Scope { gateway: names::GATEWAY_MESH.to_owned(), port };
    let named = named(context);
    let mut hosts = Vec::new();
    for (service, port) in services {
        hosts.push(service_host(context, &scope, &named, service, port));
    }
    // Hosts of virtual services that no cluster has a Service for.
    let foreign =
        named.iter().filter(|(name, _)| !name.starts_with('*') && !context.visible.contains_key(name.as_str()));
    let foreign: Vec<_> = foreign.collect();
    for (name, rule) in foreign {
        let routes = custom(context, &scope, rule);
        hosts.push(virtual_host(format!("{name}:{port}"), vec![name.clone()], routes));
    }
    hosts.push(allow_any());
    configuration(port.to_string(), hosts)
}

/// The routes of a port whose protocol is found out per connection.
pub(super) fn detected(context: &mut Context<'_>, service: &Service, port: &ServicePort) -> RouteConfiguration {
    let scope = Scope { gateway: names::GATEWAY_MESH.to_owned(), port: port.number };
    let named = named(context);
    // The address has been matched already, so every authority belongs to the service.
    let mut host = service_host(context, &scope, &named, service, port);
    host.domains = vec!["*".to_owned()];
    configuration(format!("{}:{}", service.host, port.number), vec![host])
}

/// The hosts of the virtual services for sidecars, the most specific first, the oldest first among equals.
fn named(context: &Context<'_>) -> Vec<Named> {
    let mut named: Vec<Named> = Vec::new();
    for rule in context.virtual_services(names::GATEWAY_MESH) {
        for name in &rule.spec.hosts {
            let name = host::resolve_short_name(name, &rule.metadata.namespace, &context.settings.domain);
            if !named.iter().any(|(known, _)| *known == name) {
                named.push((name, Arc::clone(&rule)));
            }
        }
    }
    named.sort_by_key(|(name, _)| host::specificity(name));
    named
}

fn service_host(
    context: &mut Context<'_>,
    scope: &Scope,
    named: &[Named],
    service: &Service,
    port: &ServicePort,
) -> VirtualHost {
    let rule = named.iter().find(|(name, rule)| host::matches(name, &service.host) && !rule.spec.http.is_empty());
    let routes = match rule {
        Some((_, rule)) => custom(context, scope, rule),
        None => vec![route_action::default_route(&service.host, port.number)],
    };
    let mut host = virtual_host(format!("{}:{}", service.host, port.number), domains(context, service), routes);
    if port.protocol != Protocol::Http {
        host.typed_per_filter_config = HashMap::from([(http::ALPN.to_owned(), pack_any(http::alpn(port.protocol)))]);
    }
    host
}

fn domains(context: &Context<'_>, service: &Service) -> Vec<String> {
    let written = |address: &String| if address.contains(':') { format!("[{address}]") } else { address.clone() };
    if let Some(entry) = &service.entry {
        // The name of an entry is complete, whatever it looks like.
        let absolute = (!service.host.starts_with('*')).then(|| format!("{}.", service.host));
        let addresses = entry.addresses_for(context.proxy.captures_dns);
        let addresses = addresses.iter().map(written);
        return std::iter::once(service.host.clone()).chain(absolute).chain(addresses).collect();
    }
    let mut domains =
        host::service_domains(&service.name, &service.namespace, &context.settings.domain, &context.proxy.namespace);
    if let Some(own) = service.clusters.get(&context.proxy.cluster) {
        if own.headless {
            let below: Vec<String> = domains.iter().map(|domain| format!("*.{domain}")).collect();
            domains.extend(below);
        }
        domains.extend(own.addresses.iter().map(written));
    }
    domains
}

/// The routes of a virtual service that hold in a scope, up to the first that takes everything.
pub(super) fn custom(context: &mut Context<'_>, scope: &Scope, rule: &Object<VirtualService>) -> Vec<envoy::Route> {
    let mut routes = Vec::new();
    for (index, http) in rule.spec.http.iter().enumerate() {
        let matches = match route_match::of(context, scope, rule, http) {
            Ok(matches) => matches,
            Err(message) => {
                context.problem(rule.reference(), format!("spec.http[{index}]: {message}"));
                continue;
            }
        };
        for found in matches {
            let name =
                [http.name.as_deref(), found.name.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(".");
            let name = if name.is_empty() { "default".to_owned() } else { name };
            match route_action::route(context, scope, rule, http, found.condition) {
                Ok(route) => routes.push(envoy::Route { name, ..route }),
                Err(message) => {
                    context.problem(rule.reference(), format!("spec.http[{index}]: {message}"));
                    continue;
                }
            }
            if found.everything {
                return routes;
            }
        }
    }
    routes
}

pub(super) fn virtual_host(name: String, domains: Vec<String>, routes: Vec<envoy::Route>) -> VirtualHost {
    VirtualHost { name, domains, routes, include_request_attempt_count: true, ..Default::default() }
}

fn allow_any() -> VirtualHost {
    let route = route_action::plain("allow_any", "PassthroughCluster");
    VirtualHost {
        name: "allow_any".to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![route],
        include_request_attempt_count: true,
        ..Default::default()
    }
}

/// A configuration in which every domain occurs once: Envoy refuses a second one, so the first keeps it.
pub(super) fn configuration(name: String, mut hosts: Vec<VirtualHost>) -> RouteConfiguration {
    let mut taken = BTreeSet::new();
    for host in &mut hosts {
        host.domains.retain(|domain| taken.insert(domain.to_lowercase()));
    }
    hosts.retain(|host| !host.domains.is_empty());
    RouteConfiguration {
        name,
        virtual_hosts: hosts,
        validate_clusters: Some(pb::boolean(false)),
        ignore_port_in_host_matching: true,
        max_direct_response_body_size_bytes: Some(pb::uint(1_048_576)),
        ..Default::default()
    }
}
