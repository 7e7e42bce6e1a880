//! Reads a stream of Kubernetes and Istio objects into a state of the mesh, as the watchers would.
//!
//! A document `cluster: <id>` says in which cluster the objects after it are. EndpointSlices are derived from Services
//! and Pods; Pods need `status.podIP`.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::google::protobuf::{Struct, Value as ProtoValue, value::Kind as ProtoKind};
use mesh_types::Kind;
use pilot::model::assemble::assemble;
use pilot::model::config::{self, Config};
use pilot::model::credentials;
use pilot::model::objects::{self, Key, PodObject, SliceObject, Tables};
use pilot::model::{Settings, State, TargetPort};
use pilot::translate::{Proxy, Translation, translate};
use serde::de::DeserializeOwned;
use serde_json::Value;

#[derive(Clone)]
pub(crate) struct Fixture {
    clusters: BTreeMap<String, Tables>,
    addresses: BTreeMap<(String, Key), String>,
    configs: BTreeMap<Kind, BTreeMap<Key, Config>>,
    captures_dns: bool,
}

/// Access logs go to the management plane's agent.
const MESH_CONFIG: &str = "
extensionProviders:
  - name: hub
    envoyHttpAls: {service: hub-agent.meshproof-hub.svc.cluster.local, port: 9977}
  - name: hub-tcp
    envoyTcpAls: {service: hub-agent.meshproof-hub.svc.cluster.local, port: 9977}
defaultProviders: {accessLogging: [hub, hub-tcp]}
serviceSettings:
  - settings: {clusterLocal: true}
    hosts: [hub-agent.meshproof-hub.svc.cluster.local]
";

pub(crate) fn settings(cluster: &str) -> Settings {
    Settings {
        cluster: cluster.to_owned(),
        root_namespace: "istio-system".to_owned(),
        domain: "cluster.local".to_owned(),
        trust_domain: "cluster.local".to_owned(),
        trust_domain_aliases: Vec::new(),
        any_trust_domain: false,
        mesh: "mesh1".to_owned(),
        dns_refresh_rate: std::time::Duration::from_secs(60),
        // Without effect where the service is not there.
        mesh_config: pilot::model::mesh_config::parse(MESH_CONFIG).unwrap(),
    }
}

fn typed<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"))
}

impl Fixture {
    /// Reads a fixture and more documents after it.
    pub(crate) fn read(texts: &[&str]) -> Self {
        let mut fixture = Self {
            clusters: BTreeMap::new(),
            addresses: BTreeMap::new(),
            configs: BTreeMap::new(),
            captures_dns: false,
        };
        let mut cluster = "cluster1".to_owned();
        for text in texts {
            for document in serde_saphyr::from_multiple::<Value>(text).unwrap() {
                match document.get("cluster").and_then(Value::as_str) {
                    Some(id) => cluster = id.to_owned(),
                    None => fixture.add(&cluster, &document),
                }
            }
        }
        fixture.slices();
        fixture
    }

    fn add(&mut self, cluster: &str, object: &Value) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = (text("/metadata/namespace"), text("/metadata/name"));
        let kind = text("/kind");
        if kind == "WorkloadEntry" && cluster != "cluster1" {
            let entry = objects::workload_entry(typed(object)).expect("a workload entry that can be used");
            self.clusters.entry(cluster.to_owned()).or_default().workload_entries.insert(key, entry);
            return;
        }
        if let Some(kind) = Kind::from_name(&kind) {
            if let Err(errors) = mesh_types::validate(object) {
                panic!("{errors:?}");
            }
            self.configs.entry(kind).or_default().insert(key, config::read(kind, object.clone()));
            return;
        }
        let tables = self.clusters.entry(cluster.to_owned()).or_default();
        tables.complete.extend(objects::KINDS);
        match kind.as_str() {
            "Service" => drop(tables.services.insert(key, objects::service(typed(object)).unwrap())),
            "Pod" => {
                self.addresses.insert((cluster.to_owned(), key.clone()), text("/status/podIP"));
                // Whoever has an address is ready.
                tables.pods.insert(key, PodObject { ready: true, ..objects::pod(typed(object)).unwrap() });
            }
            "Secret" => {
                let credential = credentials::credential(typed(object)).expect("a secret for TLS");
                drop(tables.credentials.insert(key, credential));
            }
            "Node" => drop(tables.nodes.insert(key, objects::node(typed(object)).unwrap())),
            "Namespace" => drop(tables.namespaces.insert(key, objects::namespace(typed(object)).unwrap())),
            other => panic!("kind {other} in a fixture"),
        }
    }

    fn slices(&mut self) {
        for (cluster, tables) in &mut self.clusters {
            for (key, service) in &tables.services {
                let pods = tables.pods.iter().filter(|(pod, object)| {
                    pod.0 == key.0
                        && !service.selector.is_empty()
                        && service.selector.iter().all(|(name, value)| object.labels.get(name) == Some(value))
                });
                let endpoints = pods
                    .clone()
                    .map(|(pod, _)| (self.addresses[&(cluster.clone(), pod.clone())].clone(), Some(pod.clone())))
                    .collect();
                let named = |name: &str| pods.clone().find_map(|(_, pod)| pod.ports.get(name)).copied();
                let ports = service.ports.iter().filter_map(|port| match &port.target {
                    TargetPort::Number(number) => Some((port.name.clone(), *number)),
                    TargetPort::Name(name) => Some((port.name.clone(), named(name)?)),
                });
                let slice = SliceObject { service: key.1.clone(), ports: ports.collect(), endpoints };
                tables.slices.insert((key.0.clone(), format!("{}-slice", key.1)), slice);
            }
        }
    }

    /// Lets every proxy capture DNS.
    pub(crate) fn capturing_dns(mut self) -> Self {
        self.captures_dns = true;
        self
    }

    /// Adds configuration objects.
    pub(crate) fn with(mut self, objects: &[Value]) -> Self {
        objects.iter().for_each(|object| self.add("cluster1", object));
        self
    }

    /// Leaves a cluster out, as if its secret were not there.
    pub(crate) fn without(mut self, cluster: &str) -> Self {
        self.clusters.remove(cluster);
        self
    }

    /// The state as the control plane of `cluster` sees it.
    pub(crate) fn state(&self, cluster: &str) -> State {
        assemble(&settings(cluster), &self.clusters, config::collect(&self.configs), &State::default())
    }

    /// The node of a pod's proxy.
    pub(crate) fn node(&self, node_type: &str, cluster: &str, namespace: &str, pod: &str) -> Node {
        let key = (namespace.to_owned(), pod.to_owned());
        let address = &self.addresses[&(cluster.to_owned(), key)];
        let network = self.clusters[cluster]
            .namespaces
            .get(&(String::new(), "istio-system".to_owned()))
            .cloned()
            .unwrap_or_default();
        let text = |value: &str| ProtoValue { kind: Some(ProtoKind::StringValue(value.to_owned())) };
        let view = if pod.contains("eastwest") { network.as_str() } else { "" };
        let fields = [
            ("CLUSTER_ID", cluster),
            ("NETWORK", network.as_str()),
            ("NAMESPACE", namespace),
            ("NAME", pod),
            ("REQUESTED_NETWORK_VIEW", view),
            ("DNS_CAPTURE", if self.captures_dns { "true" } else { "" }),
        ];
        let metadata =
            Struct { fields: fields.into_iter().map(|(key, value)| (key.to_owned(), text(value))).collect() };
        Node {
            id: format!("{node_type}~{address}~{pod}.{namespace}~{namespace}.svc.cluster.local"),
            metadata: Some(metadata),
            ..Default::default()
        }
    }

    /// The translation for a pod's proxy by the control plane of its cluster.
    pub(crate) fn translate(&self, node_type: &str, cluster: &str, namespace: &str, pod: &str) -> Translation {
        self.translate_with(|_| {}, node_type, cluster, namespace, pod)
    }

    /// The same by a control plane with other settings.
    pub(crate) fn translate_with(
        &self,
        change: impl FnOnce(&mut Settings),
        node_type: &str,
        cluster: &str,
        namespace: &str,
        pod: &str,
    ) -> Translation {
        let proxy = Proxy::from_node(&self.node(node_type, cluster, namespace, pod)).unwrap();
        let mut settings = settings(cluster);
        change(&mut settings);
        translate(&settings, &self.state(cluster), &proxy)
    }
}
