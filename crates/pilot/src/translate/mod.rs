//! From a snapshot of the mesh to the configuration of one proxy. Pure: the same inputs give the same resources.

mod access_log;
mod authorization;
mod authorization_terms;
mod cluster;
mod destination;
mod endpoint;
mod gateway;
mod http;
mod inbound;
mod lookup;
mod outbound;
mod pb;
mod policy;
mod proxy;
mod rbac;
mod route;
mod route_action;
mod route_fault;
mod route_match;
mod tls;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use mesh_types::node::NodeType;

use crate::model::{Problem, Settings, State};

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
    /// What of the input has no effect, or not the effect that its author wants.
    pub problems: Vec<Problem>,
}

/// The inputs of a translation, with the lookups that all translators share.
pub(crate) struct Context<'a> {
    settings: &'a Settings,
    state: &'a State,
    proxy: &'a Proxy,
    problems: Vec<Problem>,
}

impl Context<'_> {
    fn problem(&mut self, object: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::new(object, message));
    }
}

/// Translates for a proxy whose pod the state may know: what it shares with others of its kind, and its own part.
pub fn translate(settings: &Settings, state: &State, proxy: &Proxy) -> Translation {
    let proxy = proxy.refreshed(state);
    let mut translation = shared(settings, state, &View::of(&proxy, state));
    let own = own(settings, state, &proxy);
    translation.clusters.extend(own.clusters);
    translation.listeners.extend(own.listeners);
    translation.problems.extend(own.problems);
    translation
}

/// The part that all proxies with the same view share: everything but what belongs to a sidecar's own application.
pub fn shared(settings: &Settings, state: &State, view: &View) -> Translation {
    let mut context = Context { settings, state, proxy: &view.0, problems: Vec::new() };
    let mut translation = match view.0.node_type {
        NodeType::Sidecar => sidecar(&mut context),
        NodeType::Router => router(&mut context),
    };
    translation.problems = context.problems;
    translation.problems.sort();
    translation.problems.dedup();
    translation
}

/// The part of a sidecar that belongs to its application. The proxy has been refreshed from the state.
pub fn own(settings: &Settings, state: &State, proxy: &Proxy) -> Translation {
    if proxy.node_type != NodeType::Sidecar {
        return Translation::default();
    }
    let context = Context { settings, state, proxy, problems: Vec::new() };
    let ports = inbound::ports(&context);
    let mut clusters = cluster::inbound(&context, &ports);
    clusters.extend(cluster::well_known(&context));
    Translation { clusters, listeners: vec![inbound::listener(&context, &ports)], ..Translation::default() }
}

fn sidecar(context: &mut Context<'_>) -> Translation {
    let cluster::Outbound { clusters, endpoints } = cluster::outbound(context);
    let (listeners, routes) = outbound::listeners(context);
    Translation { clusters, endpoints, listeners, routes, problems: Vec::new() }
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
        problems: Vec::new(),
    }
}
