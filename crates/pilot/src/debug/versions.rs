//! What a proxy has accepted, resource by resource, in a form that can be laid beside Envoy's own `/config_dump`. Pure.
//!
//! Envoy's dump has the version of every cluster, listener and route configuration that it holds. It has none for
//! endpoints, so these are written out.

use std::collections::BTreeMap;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::{Address, address, socket_address};
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, lb_endpoint};
use prost::Message as _;
use serde::Serialize;

use crate::ads::Type;
use crate::ads::resources::unknown;
use crate::ads::status::{ProxyStatus, Registry};

/// What one proxy has accepted.
#[derive(Debug, Serialize)]
pub struct ConfigVersions {
    /// Node id.
    pub id: String,
    /// Name of the pod.
    pub pod: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Whether its stream is open.
    pub connected: bool,
    /// By type URL.
    pub types: BTreeMap<&'static str, TypeVersions>,
    /// By name of the EDS resource: what its accepted version says. A name is missing while a newer version is under
    /// way.
    pub endpoints: BTreeMap<String, Vec<EndpointVersion>>,
}

/// What one proxy has accepted of one type.
#[derive(Debug, Serialize)]
pub struct TypeVersions {
    /// Newest snapshot whose meaning the proxy holds.
    pub snapshot: u64,
    /// Nonce of the last response that it accepted on this connection.
    pub nonce: Option<String>,
    /// Why it refused the last response.
    pub error: Option<String>,
    /// Versions by name of the resource.
    pub resources: Arc<BTreeMap<String, String>>,
}

/// An address that a proxy was told.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct EndpointVersion {
    /// Address with port.
    pub address: String,
    /// Rank: a lower one is preferred.
    pub priority: u32,
    /// Share within its locality.
    pub weight: u32,
}

/// The document of `/debug/config_versions`. `id` is a node id, or `<pod>.<namespace>`.
pub fn config_versions(registry: &Registry, id: &str) -> Option<ConfigVersions> {
    let status = registry.find(id)?;
    let of_type = |kind: Type| {
        let account = status.types.get(&kind).cloned().unwrap_or_default();
        let accepted = status.acknowledged.get(&kind).cloned().unwrap_or_default();
        let versions = TypeVersions {
            snapshot: account.acked,
            nonce: accepted.nonce,
            error: account.error,
            resources: accepted.versions,
        };
        (kind.url(), versions)
    };
    Some(ConfigVersions {
        types: Type::ALL.into_iter().map(of_type).collect(),
        endpoints: endpoints(&status),
        id: status.proxy.id,
        pod: status.proxy.name,
        namespace: status.proxy.namespace,
        connected: status.connected,
    })
}

fn endpoints(status: &ProxyStatus) -> BTreeMap<String, Vec<EndpointVersion>> {
    let accepted = status.acknowledged.get(&Type::Eds).cloned().unwrap_or_default();
    let table = status.resources.table(Type::Eds);
    let known = accepted.versions.iter().filter_map(|(name, version)| {
        let resource = table.get(name).cloned().or_else(|| unknown(Type::Eds, name))?;
        if resource.version != *version {
            return None;
        }
        let assignment = ClusterLoadAssignment::decode(resource.any.value.as_slice()).ok()?;
        Some((name.clone(), listed(&assignment)))
    });
    known.collect()
}

fn listed(assignment: &ClusterLoadAssignment) -> Vec<EndpointVersion> {
    let of_group = assignment.endpoints.iter().flat_map(|group| {
        group.lb_endpoints.iter().filter_map(|one| {
            let Some(lb_endpoint::HostIdentifier::Endpoint(endpoint)) = &one.host_identifier else { return None };
            let weight = one.load_balancing_weight.map_or(1, |weight| weight.value);
            Some(EndpointVersion { address: socket(endpoint.address.as_ref()?)?, priority: group.priority, weight })
        })
    });
    let mut listed: Vec<_> = of_group.collect();
    listed.sort();
    listed
}

fn socket(address: &Address) -> Option<String> {
    let address::Address::SocketAddress(socket) = address.address.as_ref()? else { return None };
    match socket.port_specifier {
        Some(socket_address::PortSpecifier::PortValue(port)) => Some(format!("{}:{port}", socket.address)),
        _ => None,
    }
}
