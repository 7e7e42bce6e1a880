//! The proxy that a translation is for.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::google::protobuf;
use mesh_types::node::{NodeId, NodeMetadata, NodeType, NotANodeId};
use serde_json::{Map, Number, Value};

use mesh_types::DestinationRule;
use mesh_types::destination_rule::TrafficPolicy;
use mesh_types::virtual_service::HttpRoute;

use crate::model::{Configs, Locality, State, Workload, WorkloadKey};

/// A proxy, as its node says and as its pod says where the pod is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proxy {
    /// The node id, unchanged.
    pub id: String,
    /// Beside an application or at an edge.
    pub node_type: NodeType,
    /// Name of the pod.
    pub name: String,
    /// Name of the WorkloadEntry that stands for it, where no pod does.
    pub workload_entry: Option<String>,
    /// Namespace of the pod.
    pub namespace: String,
    /// Cluster of the pod.
    pub cluster: String,
    /// Network of the pod; empty where unknown.
    pub network: String,
    /// Networks whose endpoints it may see; empty means all.
    pub network_view: Vec<String>,
    /// Service account of the pod.
    pub service_account: String,
    /// Labels of the pod.
    pub labels: BTreeMap<String, String>,
    /// Where the pod runs.
    pub locality: Locality,
    /// Container ports by name, where the pod is known.
    pub ports: BTreeMap<String, u16>,
    /// Whether connections of the pod are captured, so that the proxy's own have to be marked.
    pub captured: bool,
    /// Whether names are resolved beside it, by what the control plane says.
    pub captures_dns: bool,
}

impl Proxy {
    /// Reads what a proxy says about itself.
    pub fn from_node(node: &Node) -> Result<Self, NotANodeId> {
        let id = NodeId::parse(&node.id)?;
        let metadata = NodeMetadata(node.metadata.as_ref().map(json_object).unwrap_or_default());
        let locality = node.locality.clone().unwrap_or_default();
        let text = |key: &str| metadata.text(key).unwrap_or_default().to_owned();
        Ok(Self {
            id: node.id.clone(),
            node_type: id.node_type,
            name: metadata.text("NAME").unwrap_or(&id.pod).to_owned(),
            workload_entry: None,
            namespace: metadata.text("NAMESPACE").unwrap_or(&id.namespace).to_owned(),
            cluster: text("CLUSTER_ID"),
            network: text("NETWORK"),
            network_view: text("REQUESTED_NETWORK_VIEW")
                .split(',')
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
            service_account: text("SERVICE_ACCOUNT"),
            labels: metadata.labels(),
            locality: Locality { region: locality.region, zone: locality.zone, subzone: locality.sub_zone },
            ports: BTreeMap::new(),
            captures_dns: id.node_type == NodeType::Sidecar && metadata.text("DNS_CAPTURE") == Some("true"),
            captured: metadata.text("INTERCEPTION_MODE") != Some("NONE"),
        })
    }

    /// This proxy with what the mesh knows about its pod, which is newer than what the proxy was started with.
    pub fn refreshed(&self, state: &State) -> Self {
        match state.workloads.get(&self.workload_key()) {
            Some(workload) => self.with(workload),
            None => self.clone(),
        }
    }

    /// The workload that it stands beside.
    pub fn workload_key(&self) -> WorkloadKey {
        let name = self.workload_entry.as_ref().unwrap_or(&self.name);
        (self.cluster.clone(), self.namespace.clone(), name.clone())
    }

    fn with(&self, workload: &Workload) -> Self {
        let known = |own: &str, pod: &str| if pod.is_empty() { own.to_owned() } else { pod.to_owned() };
        let nowhere = workload.locality == Locality::default();
        Self {
            network: known(&self.network, &workload.network),
            service_account: known(&self.service_account, &workload.service_account),
            labels: workload.labels.clone(),
            locality: if nowhere { self.locality.clone() } else { workload.locality.clone() },
            ports: workload.ports.clone(),
            ..self.clone()
        }
    }

    /// Whether it may see endpoints of a network.
    pub fn sees(&self, network: &str) -> bool {
        self.network_view.is_empty() || network.is_empty() || self.network_view.iter().any(|seen| seen == network)
    }
}

/// What of a proxy decides about traffic that does not belong to its own application. Proxies with equal views hold
/// equal resources for it, so that these are translated once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct View(pub(super) Proxy);

impl View {
    /// The view of a proxy.
    pub fn of(proxy: &Proxy, state: &State) -> Self {
        // Sidecars of different applications differ in their labels, which only some configurations look at.
        let labels = proxy.node_type == NodeType::Router || looks_at_labels(&state.configs);
        Self(Proxy {
            id: String::new(),
            name: String::new(),
            workload_entry: None,
            service_account: String::new(),
            labels: if labels { proxy.labels.clone() } else { BTreeMap::new() },
            ports: if proxy.node_type == NodeType::Router { proxy.ports.clone() } else { BTreeMap::new() },
            captured: true,
            ..proxy.clone()
        })
    }
}

fn looks_at_labels(configs: &Configs) -> bool {
    let by_route = |route: &HttpRoute| route.matches.iter().any(|condition| !condition.source_labels.is_empty());
    let by_priority = |policy: &TrafficPolicy| {
        let balancers = std::iter::once(&policy.load_balancer)
            .chain(policy.port_level_settings.iter().map(|port| &port.load_balancer));
        balancers
            .flatten()
            .filter_map(|balancer| balancer.locality_lb_setting.as_ref())
            .any(|setting| !setting.failover_priority.is_empty())
    };
    let by_rule = |rule: &DestinationRule| {
        let policies =
            rule.traffic_policy.iter().chain(rule.subsets.iter().filter_map(|subset| subset.traffic_policy.as_ref()));
        policies.into_iter().any(by_priority)
    };
    configs.virtual_services.iter().any(|service| service.spec.http.iter().any(by_route))
        || configs.destination_rules.iter().any(|rule| by_rule(&rule.spec))
}

/// A protobuf object as JSON.
pub(crate) fn json_object(value: &protobuf::Struct) -> Map<String, Value> {
    value.fields.iter().map(|(key, value)| (key.clone(), json(value))).collect()
}

fn json(value: &protobuf::Value) -> Value {
    use protobuf::value::Kind;
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::NumberValue(number)) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
        Some(Kind::StringValue(text)) => Value::String(text.clone()),
        Some(Kind::BoolValue(value)) => Value::Bool(*value),
        Some(Kind::StructValue(inner)) => Value::Object(json_object(inner)),
        Some(Kind::ListValue(list)) => Value::Array(list.values.iter().map(json).collect()),
    }
}
