//! From a snapshot of the mesh to the configuration of one proxy. Pure: the same inputs give the same resources.

mod access_log;
mod authorization;
mod authorization_terms;
mod cluster;
mod destination;
mod endpoint;
mod gateway;
mod gateway_tls;
mod http;
mod inbound;
mod lookup;
mod names;
mod outbound;
mod pb;
mod policy;
mod proxy;
mod rbac;
mod route;
mod route_action;
mod route_fault;
mod route_match;
mod telemetry;
mod tls;

use std::collections::BTreeMap;
use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use mesh_types::node::NodeType;

use crate::ads::name_table::NameTable;
use crate::model::{Configs, Problem, Service, Settings, State};

pub(crate) use proxy::json_object;
pub use proxy::{Proxy, View};

/// The configuration of one proxy, and what of the input has no effect on it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Translation {
    /// Resources of CDS.
    pub clusters: Vec<Cluster>,
    /// Resources of EDS: one for every cluster that asks for endpoints.
    pub endpoints: Vec<ClusterLoadAssignment>,
    /// Resources of LDS.
    pub listeners: Vec<Listener>,
    /// Resources of RDS: one for every name that a listener asks for.
    pub routes: Vec<RouteConfiguration>,
    /// Resources of SDS: what the listeners of a gateway ask for.
    pub secrets: Vec<Secret>,
    /// Resource of NDS, where the agent beside the proxy answers DNS.
    pub names: Option<NameTable>,
    /// What of the input has no effect, or not the effect that its author wants.
    pub problems: Vec<Problem>,
}

/// The inputs of a translation, with the lookups that all translators share.
pub(crate) struct Context<'a> {
    settings: &'a Settings,
    state: &'a State,
    proxy: &'a Proxy,
    /// The services that the proxy sees, one for each host.
    visible: BTreeMap<&'a str, &'a Service>,
    telemetry: telemetry::Telemetry,
    problems: Vec<Problem>,
}

impl<'a> Context<'a> {
    fn new(settings: &'a Settings, state: &'a State, proxy: &'a Proxy) -> Self {
        let visible = lookup::visible(&state.services, &proxy.namespace);
        let telemetry = telemetry::Telemetry::of(settings, &visible);
        Self { settings, state, proxy, visible, telemetry, problems: Vec::new() }
    }

    /// The services that the proxy sees, by host.
    fn services(&self) -> Vec<&'a Service> {
        self.visible.values().copied().collect()
    }

    fn problem(&mut self, object: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::new(object, message));
    }
}

/// Translates for a proxy whose pod the state may know: what it shares with others of its kind, and its own part.
pub fn translate(settings: &Settings, state: &State, proxy: &Proxy) -> Translation {
    let proxy = proxy.refreshed(state);
    let mut translation = shared(settings, state, &View::of(&proxy, state));
    let own = own(settings, &of_applications(state), &proxy);
    translation.clusters.extend(own.clusters);
    translation.listeners.extend(own.listeners);
    translation.problems.extend(own.problems);
    translation
}

/// The part that all proxies with the same view share: everything but what belongs to a sidecar's own application.
pub fn shared(settings: &Settings, state: &State, view: &View) -> Translation {
    let mut context = Context::new(settings, state, &view.0);
    let mut translation = match view.0.node_type {
        NodeType::Sidecar => sidecar(&mut context),
        NodeType::Router => router(&mut context),
    };
    translation.problems = context.problems;
    translation.problems.sort();
    translation.problems.dedup();
    translation
}

/// What of a state [`own`] looks at: a change of anything else means nothing to it.
pub fn of_applications(state: &State) -> State {
    let configs = Configs {
        peer_authentications: state.configs.peer_authentications.clone(),
        authorization_policies: state.configs.authorization_policies.clone(),
        ..Configs::default()
    };
    State { services: Arc::clone(&state.services), configs: Arc::new(configs), ..State::default() }
}

/// The part of a sidecar that belongs to its application, of a state [`of_applications`]. The proxy has been refreshed from the
/// whole state.
pub fn own(settings: &Settings, state: &State, proxy: &Proxy) -> Translation {
    if proxy.node_type != NodeType::Sidecar {
        return Translation::default();
    }
    let context = Context::new(settings, state, proxy);
    let ports = inbound::ports(&context);
    let mut clusters = cluster::inbound(&context, &ports);
    clusters.extend(cluster::well_known(&context));
    Translation { clusters, listeners: vec![inbound::listener(&context, &ports)], ..Translation::default() }
}

fn sidecar(context: &mut Context<'_>) -> Translation {
    let cluster::Outbound { clusters, endpoints } = cluster::outbound(context);
    let (listeners, routes) = outbound::listeners(context);
    Translation { clusters, endpoints, listeners, routes, names: names::table(context), ..Translation::default() }
}

fn router(context: &mut Context<'_>) -> Translation {
    let gateway = gateway::translate(context);
    let mut outbound = cluster::outbound(context);
    outbound.clusters.extend(gateway.clusters);
    outbound.endpoints.extend(gateway.endpoints);
    outbound.clusters.extend(cluster::black_hole());
    Translation {
        clusters: outbound.clusters,
        endpoints: outbound.endpoints,
        listeners: gateway.listeners,
        routes: gateway.routes,
        secrets: gateway.secrets,
        ..Translation::default()
    }
}
