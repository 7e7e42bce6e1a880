//! The parts of Kubernetes objects that the mesh needs. Reading keeps only these, so that an irrelevant change of an
//! object (a status, a heartbeat) is no change here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::DynamicObject;
use mesh_types::{Kind, Object, WorkloadEntry, names};

use super::config::{self, Config};
use super::credentials::Credential;
use super::{Locality, Protocol, TargetPort};

pub use kube_support::watch::Key;

/// A Service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceObject {
    /// Cluster addresses; none for headless Services.
    pub addresses: Vec<String>,
    /// Whether it is headless.
    pub headless: bool,
    /// Labels of its pods.
    pub selector: BTreeMap<String, String>,
    /// TCP ports.
    pub ports: Vec<PortObject>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Addresses of load balancers and external addresses.
    pub external_addresses: Vec<String>,
    /// Whether it is only an alias for another name.
    pub external_name: bool,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq)]
pub struct PortObject {
    /// Name, possibly empty.
    pub name: String,
    /// Number.
    pub number: u16,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Port of its pods.
    pub target: TargetPort,
}

/// An EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SliceObject {
    /// Name of the Service in the same namespace.
    pub service: String,
    /// Port numbers by name.
    pub ports: BTreeMap<String, u16>,
    /// Ready addresses with the pods that have them.
    pub endpoints: Vec<(String, Option<Key>)>,
}

/// A Pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodObject {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Service account.
    pub service_account: String,
    /// Node it runs on.
    pub node: String,
    /// Container ports by name.
    pub ports: BTreeMap<String, u16>,
    /// Its address, once it has one.
    pub address: Option<String>,
    /// Whether it takes requests.
    pub ready: bool,
}

/// The protocol of a port: `appProtocol`, else the prefix of its name, else unknown.
pub fn protocol(app_protocol: Option<&str>, name: &str) -> Protocol {
    let declared = app_protocol.unwrap_or_else(|| name.split('-').next().unwrap_or_default());
    // `grpc-web` and the kubernetes.io names have a dash or a slash of their own.
    let declared = if name.starts_with("grpc-web") && app_protocol.is_none() { "grpc-web" } else { declared };
    match declared.to_ascii_lowercase().as_str() {
        "http" | "kubernetes.io/ws" => Protocol::Http,
        "http2" | "grpc" | "grpc-web" | "kubernetes.io/h2c" => Protocol::Http2,
        "tcp" | "tls" | "https" | "mongo" | "mysql" | "redis" | "kubernetes.io/wss" => Protocol::Tcp,
        _ => Protocol::Auto,
    }
}

/// Reads a Service.
pub fn service(object: Service) -> Option<ServiceObject> {
    let spec = object.spec?;
    let addresses: Vec<String> =
        spec.cluster_ips.or_else(|| spec.cluster_ip.map(|address| vec![address])).unwrap_or_default();
    let headless = addresses.iter().any(|address| address == "None");
    let ports =
        spec.ports.unwrap_or_default().into_iter().filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
    let ports = ports.filter_map(|port| {
        let number = u16::try_from(port.port).ok()?;
        let name = port.name.unwrap_or_default();
        let target = match port.target_port {
            Some(IntOrString::Int(target)) if target != 0 => TargetPort::Number(u16::try_from(target).ok()?),
            Some(IntOrString::String(target)) => target.parse().map_or(TargetPort::Name(target), TargetPort::Number),
            _ => TargetPort::Number(number),
        };
        Some(PortObject { protocol: protocol(port.app_protocol.as_deref(), &name), name, number, target })
    });
    let balancers =
        object.status.and_then(|status| status.load_balancer).and_then(|status| status.ingress).unwrap_or_default();
    let balancers = balancers.into_iter().filter_map(|ingress| ingress.ip.or(ingress.hostname));
    Some(ServiceObject {
        addresses: addresses.into_iter().filter(|address| !address.is_empty() && address != "None").collect(),
        headless,
        selector: spec.selector.unwrap_or_default(),
        ports: ports.collect(),
        labels: object.metadata.labels.unwrap_or_default(),
        external_addresses: balancers.chain(spec.external_ips.unwrap_or_default()).collect(),
        external_name: spec.type_.as_deref() == Some("ExternalName"),
    })
}

/// Reads an EndpointSlice; one without a Service is nothing.
pub fn slice(object: EndpointSlice) -> Option<SliceObject> {
    let service = object.metadata.labels?.remove("kubernetes.io/service-name")?;
    let namespace = object.metadata.namespace.unwrap_or_default();
    let ports = object.ports.unwrap_or_default().into_iter();
    let ports = ports.filter_map(|port| Some((port.name.unwrap_or_default(), u16::try_from(port.port?).ok()?)));
    let ready = object.endpoints.unwrap_or_default().into_iter().filter(|endpoint| {
        endpoint
            .conditions
            .as_ref()
            .is_none_or(|conditions| conditions.ready != Some(false) && conditions.terminating != Some(true))
    });
    let mut endpoints: Vec<(String, Option<Key>)> = ready
        .flat_map(|endpoint| {
            let pod = endpoint.target_ref.filter(|target| target.kind.as_deref() == Some("Pod"));
            let key = pod.and_then(|pod| Some((pod.namespace.unwrap_or_else(|| namespace.clone()), pod.name?)));
            endpoint.addresses.into_iter().map(move |address| (address, key.clone()))
        })
        .collect();
    endpoints.sort();
    Some(SliceObject { service, ports: ports.collect(), endpoints })
}

/// Reads a Pod.
pub fn pod(object: Pod) -> Option<PodObject> {
    let spec = object.spec?;
    let status = object.status.unwrap_or_default();
    let ready = status.conditions.unwrap_or_default().iter().any(|one| one.type_ == "Ready" && one.status == "True");
    let containers = spec.containers.into_iter().chain(spec.init_containers.unwrap_or_default());
    let ports = containers.flat_map(|container| container.ports.unwrap_or_default());
    Some(PodObject {
        ready: ready && object.metadata.deletion_timestamp.is_none(),
        address: status.pod_ip,
        labels: object.metadata.labels.unwrap_or_default(),
        service_account: spec.service_account_name.unwrap_or_else(|| "default".to_owned()),
        node: spec.node_name.unwrap_or_default(),
        ports: ports.filter_map(|port| Some((port.name?, u16::try_from(port.container_port).ok()?))).collect(),
    })
}

/// Reads where a Node is.
pub fn node(object: Node) -> Option<Locality> {
    let mut labels = object.metadata.labels.unwrap_or_default();
    let mut take = |name: &str| labels.remove(name).unwrap_or_default();
    Some(Locality {
        region: take(names::LABEL_REGION),
        zone: take(names::LABEL_ZONE),
        subzone: take(names::LABEL_SUBZONE),
    })
}

/// Reads the network label of a Namespace.
pub fn namespace(object: Namespace) -> Option<String> {
    Some(object.metadata.labels.unwrap_or_default().remove(names::LABEL_NETWORK).unwrap_or_default())
}

/// Reads a WorkloadEntry; one that cannot be used is nothing.
pub fn workload_entry(object: DynamicObject) -> Option<Arc<Object<WorkloadEntry>>> {
    match config::read(Kind::WorkloadEntry, serde_json::to_value(object).ok()?) {
        Config::WorkloadEntry(entry) => Some(entry),
        _ => None,
    }
}

/// Everything read from one cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tables {
    /// Services.
    pub services: BTreeMap<Key, ServiceObject>,
    /// Endpoint slices.
    pub slices: BTreeMap<Key, SliceObject>,
    /// Pods.
    pub pods: BTreeMap<Key, PodObject>,
    /// Localities by node; the namespace part of the key is empty.
    pub nodes: BTreeMap<Key, Locality>,
    /// Networks by namespace; the namespace part of the key is empty.
    pub namespaces: BTreeMap<Key, String>,
    /// Workload entries of a cluster other than the own one, whose are configuration.
    pub workload_entries: BTreeMap<Key, Arc<Object<WorkloadEntry>>>,
    /// Secrets for TLS of the control plane's namespace; of the own cluster only.
    pub credentials: BTreeMap<Key, Credential>,
    /// Kinds that were read completely.
    pub complete: BTreeSet<&'static str>,
    /// Why the cluster cannot be read at the moment, by what failed.
    pub errors: BTreeMap<&'static str, String>,
}

/// The kinds that a cluster is read by.
pub const KINDS: [&str; 7] = ["Service", "EndpointSlice", "Pod", "Node", "Namespace", WORKLOAD_ENTRY, SECRET];
/// The one of [`KINDS`] that may be missing.
pub const WORKLOAD_ENTRY: &str = "WorkloadEntry";
/// The one of [`KINDS`] that is read of the own cluster only.
pub const SECRET: &str = "Secret";

impl Tables {
    /// Whether everything was read and nothing fails at the moment.
    pub fn synced(&self) -> bool {
        KINDS.iter().all(|kind| self.complete.contains(kind)) && self.errors.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_come_from_the_declaration_or_the_name() {
        for (app, name, expected) in [
            (None, "http", Protocol::Http),
            (None, "http-web", Protocol::Http),
            (None, "grpc-web-x", Protocol::Http2),
            (None, "tcp-echo", Protocol::Tcp),
            (None, "https", Protocol::Tcp),
            (None, "", Protocol::Auto),
            (None, "status-port", Protocol::Auto),
            (Some("http"), "tcp", Protocol::Http),
            (Some("kubernetes.io/h2c"), "x", Protocol::Http2),
        ] {
            assert_eq!(protocol(app, name), expected, "{app:?} {name}");
        }
    }
}
