//! TLS of a gateway: servers that terminate it, with certificates over SDS, and such that pass it through by server name.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, FilterChainMatch};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use mesh_types::gateway::{Gateway, Server, ServerTlsMode};
use mesh_types::virtual_service::{TlsMatch, TlsRoute};
use mesh_types::{Object, VirtualService, host, names};

use super::gateway::{admits, bare_host};
use super::lookup::bound;
use super::{Context, http, tls};

/// Whether a server terminates TLS with HTTP inside.
pub(super) fn terminates(server: &Server) -> bool {
    let mode = server.tls.as_ref().and_then(|tls| tls.mode);
    let modes =
        [ServerTlsMode::Simple, ServerTlsMode::Mutual, ServerTlsMode::OptionalMutual, ServerTlsMode::IstioMutual];
    server.port.protocol.eq_ignore_ascii_case("HTTPS") && mode.is_some_and(|mode| modes.contains(&mode))
}

/// Name of the routes of a server that terminates TLS, as in Istio.
pub(super) fn routes_name(port: u16, gateway: &Object<Gateway>, server: &Server) -> String {
    format!("https.{port}.{}.{}.{}", server.port.name, gateway.metadata.name, gateway.metadata.namespace)
}

/// The chain of a server that terminates TLS, and the secrets that it asks for; an error says what is missing.
pub(super) fn chain(
    context: &Context<'_>,
    server: &Server,
    taken: &mut BTreeSet<String>,
    filter: Filter,
) -> Result<(FilterChain, Vec<Secret>), String> {
    let settings = server.tls.clone().unwrap_or_default();
    let names = server_names(server.hosts.iter().map(|entry| bare_host(entry)), taken)?;
    let mutual = settings.mode == Some(ServerTlsMode::IstioMutual);
    let (socket, secrets) = if mutual {
        (tls::server(&context.settings.client_trust_domains(), true), Vec::new())
    } else {
        if context.proxy.namespace != context.settings.root_namespace {
            let root = &context.settings.root_namespace;
            return Err(format!("certificates by credentialName are served to gateways in {root} only"));
        }
        tls::credential(&settings, &context.state.credentials)?
    };
    let chain = FilterChain {
        filter_chain_match: Some(FilterChainMatch { server_names: names, ..Default::default() }),
        transport_socket: Some(socket),
        filters: vec![filter],
        ..Default::default()
    };
    Ok((chain, secrets))
}

/// The server names of a chain: `*` covers all, for which none is given. Envoy refuses a name that two chains have.
fn server_names<'a>(hosts: impl Iterator<Item = &'a str>, taken: &mut BTreeSet<String>) -> Result<Vec<String>, String> {
    let mut names: Vec<String> = hosts.map(str::to_lowercase).collect();
    names.sort();
    names.dedup();
    if names.iter().any(|name| name == "*") {
        names = vec!["*".to_owned()];
    }
    names.retain(|name| taken.insert(name.clone()));
    match names.as_slice() {
        [] => Err("another server of this port has the same hosts, and serves them".to_owned()),
        [only] if only == "*" => Ok(Vec::new()),
        _ => Ok(names),
    }
}

/// The chains by which a server passes TLS through to what virtual services say of its server names.
pub(super) fn pass_through(
    context: &mut Context<'_>,
    gateway: &Object<Gateway>,
    server: &Server,
    taken: &mut BTreeSet<String>,
) -> Vec<FilterChain> {
    let name = format!("{}/{}", gateway.metadata.namespace, gateway.metadata.name);
    let mut chains = Vec::new();
    for rule in context.virtual_services(&name) {
        for route in &rule.spec.tls {
            for condition in &route.matches {
                let here = condition.gateways.is_empty() || bound(&condition.gateways, &rule.metadata.namespace, &name);
                if !here || condition.port.is_some_and(|port| port != server.port.number) {
                    continue;
                }
                let admitted = |entry: &&String| admits(entry, &gateway.metadata.namespace, &rule.metadata.namespace);
                let hosts: Vec<&String> = server.hosts.iter().filter(admitted).collect();
                let wanted = sni_hosts(&hosts, condition);
                if wanted.is_empty() {
                    let message = format!("spec.tls: no host of {} is for these server names", gateway.reference());
                    context.problem(rule.reference(), message);
                    continue;
                }
                match server_names(wanted.iter().map(String::as_str), taken) {
                    Ok(names) => chains.push(routed(context, &rule, route, server, names)),
                    Err(message) => context.problem(rule.reference(), format!("spec.tls: {message}")),
                }
            }
        }
    }
    chains
}

/// The server names that both the hosts of a server and a condition allow.
fn sni_hosts(hosts: &[&String], condition: &TlsMatch) -> BTreeSet<String> {
    let pairs = condition.sni_hosts.iter().flat_map(|wanted| hosts.iter().map(move |entry| (wanted, *entry)));
    pairs.filter_map(|(wanted, entry)| host::intersection(bare_host(entry), wanted)).map(str::to_owned).collect()
}

fn routed(
    context: &Context<'_>,
    rule: &Object<VirtualService>,
    route: &TlsRoute,
    server: &Server,
    server_names: Vec<String>,
) -> FilterChain {
    let cluster = |index: usize| {
        let destination = &route.route[index].destination;
        let host = host::resolve_short_name(&destination.host, &rule.metadata.namespace, &context.settings.domain);
        let chosen = destination.port.as_ref().and_then(|selector| u16::try_from(selector.number).ok());
        let only = context.visible.get(host.as_str()).and_then(|service| match service.ports.as_slice() {
            [only] => Some(only.number),
            _ => None,
        });
        let port = chosen.or(only).or_else(|| u16::try_from(server.port.number).ok()).unwrap_or_default();
        names::outbound_cluster(port, destination.subset.as_deref().unwrap_or_default(), &host)
    };
    let shares = (0..route.route.len()).map(|index| {
        let share = u32::try_from(route.route[index].weight).unwrap_or_default();
        (cluster(index), if route.route.len() == 1 { 1 } else { share })
    });
    FilterChain {
        filter_chain_match: Some(FilterChainMatch { server_names, ..Default::default() }),
        filters: vec![http::weighted_tcp_proxy(&shares.filter(|(_, share)| *share > 0).collect::<Vec<_>>())],
        ..Default::default()
    }
}
