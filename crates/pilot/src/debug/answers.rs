//! The documents of the debug port. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::ads::Type;
use crate::ads::status::{ProxyStatus, Registry, TypeStatus};
use crate::model::{ConfigVersion, Mesh};

/// Who holds which snapshot.
#[derive(Debug, Serialize)]
pub struct Syncz {
    /// Id of the own cluster.
    pub cluster: String,
    /// Number of the latest snapshot.
    pub snapshot: u64,
    /// Changes with everything that is told here; who has seen it can wait for the next one.
    pub revision: String,
    /// Other clusters.
    pub clusters: Vec<Value>,
    /// Configuration objects by `Kind/namespace/name`.
    pub resources: BTreeMap<String, ConfigVersion>,
    /// Proxies of this control plane.
    pub proxies: Vec<ProxySync>,
}

/// What one proxy holds.
#[derive(Debug, Serialize)]
pub struct ProxySync {
    /// Node id.
    pub id: String,
    /// Name of the pod.
    pub pod: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Whether its stream is open.
    pub connected: bool,
    /// When it acknowledged the newest of what it has acknowledged.
    #[serde(rename = "acknowledgedAt")]
    pub acknowledged_at: Option<Timestamp>,
    /// By type of resource.
    pub types: BTreeMap<Type, TypeStatus>,
}

/// The document of `/debug/syncz`.
pub fn syncz(mesh: &Mesh, registry: &Registry, revision: String) -> Syncz {
    let own = &mesh.settings.cluster;
    let clusters = mesh.state.clusters.iter().filter(|cluster| cluster.id != *own);
    Syncz {
        cluster: own.clone(),
        snapshot: mesh.number,
        revision,
        clusters: clusters.map(|cluster| json!({ "id": cluster.id, "synced": cluster.synced, "network": cluster.network, "error": cluster.error })).collect(),
        resources: (*mesh.config_versions).clone(),
        proxies: proxies(mesh, registry).into_iter().map(proxy_sync).collect(),
    }
}

fn proxies(mesh: &Mesh, registry: &Registry) -> Vec<ProxyStatus> {
    registry.forget_gone(|key| mesh.state.workloads.contains_key(key));
    registry.all()
}

fn proxy_sync(status: ProxyStatus) -> ProxySync {
    let ProxyStatus { proxy, connected, types, acknowledged_at, .. } = status;
    ProxySync { id: proxy.id, pod: proxy.name, namespace: proxy.namespace, connected, acknowledged_at, types }
}

/// The document of `/debug/endpointz`: services with their endpoints, and the gateways of networks.
pub(super) fn endpoints(mesh: &Mesh) -> Value {
    let services = mesh.state.endpoints.iter().map(|(host, ports)| {
        let ports: BTreeMap<String, Vec<Value>> = ports
            .iter()
            .map(|(port, endpoints)| {
                let endpoints = endpoints.iter().map(|endpoint| {
                    json!({
                        "address": format!("{}:{}", endpoint.address, endpoint.port),
                        "cluster": endpoint.cluster,
                        "network": endpoint.workload.network,
                        "locality": endpoint.workload.locality,
                        "pod": endpoint.workload.name,
                        "namespace": endpoint.workload.namespace,
                        "serviceAccount": endpoint.workload.service_account,
                        "mutualTls": endpoint.workload.mutual_tls,
                    })
                });
                (port.to_string(), endpoints.collect())
            })
            .collect();
        (host.clone(), ports)
    });
    let gateways = mesh.state.gateways.iter().map(|gateway| {
        json!({ "network": gateway.network, "cluster": gateway.cluster, "address": format!("{}:{}", gateway.address, gateway.port) })
    });
    let entries = mesh.state.services.iter().filter_map(|(key, service)| {
        let entry = service.entry.as_ref()?;
        Some((
            key.clone(),
            json!({ "entry": service.name, "addresses": entry.addresses, "automaticAddress": entry.automatic }),
        ))
    });
    json!({ "snapshot": mesh.number, "serviceEntries": entries.collect::<BTreeMap<_, _>>(), "services": services.collect::<BTreeMap<_, _>>(), "gateways": gateways.collect::<Vec<_>>() })
}

/// The document of `/debug/configz`: configuration objects, and what of them has no effect.
pub(super) fn configs(mesh: &Mesh, registry: &Registry) -> Value {
    let of_proxies = proxies(mesh, registry).into_iter().filter(|status| !status.problems.is_empty());
    let of_proxies: BTreeMap<String, Value> =
        of_proxies.map(|status| (status.proxy.id, json!(status.problems))).collect();
    json!({
        "snapshot": mesh.number,
        "resources": *mesh.config_versions,
        "problems": mesh.state.configs.problems,
        "problemsByProxy": of_proxies,
    })
}

/// Names and versions of what a proxy is to hold. `id` is a node id, or `<pod>.<namespace>`.
pub(super) fn resources(registry: &Registry, id: &str) -> Option<Value> {
    let status = registry.find(id)?;
    let tables = Type::ALL.into_iter().map(|kind| {
        let versions: BTreeMap<&String, &String> =
            status.resources.table(kind).iter().map(|(name, one)| (name, &one.version)).collect();
        (kind, json!(versions))
    });
    let tables: BTreeMap<Type, Value> = tables.collect();
    Some(json!({ "id": status.proxy.id, "resources": tables, "problems": status.problems }))
}

/// The document of `/metrics`, in Prometheus' text format.
pub(super) fn metrics(mesh: Option<&Mesh>, registry: &Registry) -> String {
    let mut text = String::new();
    let mut figure = |name: &str, help: &str, value: String| {
        // Writing to a string does not fail.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{value}");
    };
    if let Some(mesh) = mesh {
        figure("pilot_snapshot", "Number of the latest snapshot.", format!("pilot_snapshot {}\n", mesh.number));
        figure("pilot_services", "Services known.", format!("pilot_services {}\n", mesh.state.services.len()));
        let unsynced = mesh.state.clusters.iter().filter(|cluster| !cluster.synced).count();
        figure(
            "pilot_clusters_unsynced",
            "Clusters that are not read completely.",
            format!("pilot_clusters_unsynced {unsynced}\n"),
        );
    }
    let mut proxies = registry.all();
    proxies.retain(|status| status.connected);
    figure("pilot_xds", "Proxies connected.", format!("pilot_xds {}\n", proxies.len()));
    let refused = Type::ALL.map(|kind| {
        let count =
            proxies.iter().filter(|status| status.types.get(&kind).is_some_and(|one| one.error.is_some())).count();
        format!("pilot_total_xds_rejects{{type=\"{}\"}} {count}\n", format!("{kind:?}").to_lowercase())
    });
    figure("pilot_total_xds_rejects", "Proxies whose last update was refused.", refused.concat());
    text
}
