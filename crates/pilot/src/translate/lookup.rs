//! Which configuration objects hold for a host, a workload or a proxy.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_types::destination_rule::{Subset, TrafficPolicy};
use mesh_types::peer_authentication::MutualTlsMode;
use mesh_types::{DestinationRule, Object, PeerAuthentication, VirtualService, host};

use super::Context;
use crate::model::{Configs, Service, Settings};

/// What the destination rules of a host say together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rule {
    pub(super) policy: TrafficPolicy,
    pub(super) subsets: Vec<Subset>,
}

impl Rule {
    /// The policy of a port of a subset, or of the whole service.
    pub(super) fn policy(&self, subset: Option<&Subset>, port: u16) -> TrafficPolicy {
        let base = self.policy.for_port(port);
        match subset.and_then(|subset| subset.traffic_policy.as_ref()) {
            Some(own) => base.overlaid(&own.for_port(port)),
            None => base,
        }
    }
}

/// Whether labels have everything that a selector asks for.
pub(super) fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

fn exported(export_to: &[String], namespace: &str, client: &str) -> bool {
    export_to.is_empty()
        || export_to.iter().any(|target| target == "*" || (target == "." && namespace == client) || target == client)
}

/// The services that proxies of a namespace see, one for each host: that of a cluster before a ServiceEntry, the own
/// namespace's before another's, the older before the younger.
pub(super) fn visible<'a>(services: &'a BTreeMap<String, Service>, client: &str) -> BTreeMap<&'a str, &'a Service> {
    let mut found: BTreeMap<&str, &Service> = BTreeMap::new();
    let rank = |service: &'a Service| {
        service
            .entry
            .as_ref()
            .map(|entry| (service.namespace != client, entry.created.as_deref(), service.namespace.as_str()))
    };
    for service in services.values() {
        if service.entry.as_ref().is_some_and(|entry| !exported(&entry.export_to, &service.namespace, client)) {
            continue;
        }
        let known = found.entry(&service.host).or_insert(service);
        if rank(service) < rank(known) {
            *known = service;
        }
    }
    found
}

impl Context<'_> {
    /// The rule of a service: from the client's namespace, else the service's, else the root namespace.
    pub(super) fn rule(&self, service: &Service) -> Rule {
        let client = &self.proxy.namespace;
        let namespaces = [client, &service.namespace, &self.settings.root_namespace];
        let mut found = Vec::new();
        for namespace in namespaces {
            let rules =
                self.state.configs.destination_rules.iter().filter(|rule| rule.metadata.namespace == *namespace);
            let visible = rules.filter(|rule| exported(&rule.spec.export_to, namespace, client));
            let mut matching: Vec<_> = visible
                .map(|rule| (self.rule_host(rule), rule))
                .filter(|(name, _)| host::matches(name, &service.host))
                .collect();
            matching.sort_by_key(|(name, _)| host::specificity(name));
            if let Some((best, _)) = matching.first().cloned() {
                found =
                    matching.into_iter().filter(|(name, _)| *name == best).map(|(_, rule)| Arc::clone(rule)).collect();
                break;
            }
        }
        merge(&found)
    }

    fn rule_host(&self, rule: &Object<DestinationRule>) -> String {
        host::resolve_short_name(&rule.spec.host, &rule.metadata.namespace, &self.settings.domain)
    }

    /// The virtual services that `gateway` (`mesh` or `namespace/name`) applies and this proxy sees, oldest first.
    pub(super) fn virtual_services(&self, gateway: &str) -> Vec<Arc<Object<VirtualService>>> {
        let services = self.state.configs.virtual_services.iter();
        let visible = services
            .filter(|service| exported(&service.spec.export_to, &service.metadata.namespace, &self.proxy.namespace));
        visible.filter(|service| bound(&service.spec.gateways, &service.metadata.namespace, gateway)).cloned().collect()
    }

    /// The mode of a port of a workload.
    pub(super) fn mutual_tls(&self, namespace: &str, labels: &BTreeMap<String, String>, port: u16) -> MutualTlsMode {
        Modes::of(self.settings, &self.state.configs, namespace, labels).port(port)
    }
}

/// Whether a list of gateways names `gateway`; an empty list names the sidecars.
pub(super) fn bound(gateways: &[String], namespace: &str, gateway: &str) -> bool {
    let mesh = mesh_types::names::GATEWAY_MESH;
    if gateways.is_empty() {
        return gateway == mesh;
    }
    gateways.iter().any(|name| {
        if name == mesh || name.contains('/') { name == gateway } else { format!("{namespace}/{name}") == gateway }
    })
}

/// Rules for one host add up: the oldest policy holds, subsets are collected, the oldest of a name wins.
fn merge(rules: &[Arc<Object<DestinationRule>>]) -> Rule {
    let mut merged = Rule::default();
    let mut policy = None;
    for rule in rules {
        policy = policy.or_else(|| rule.spec.traffic_policy.clone());
        for subset in &rule.spec.subsets {
            if !merged.subsets.iter().any(|known| known.name == subset.name) {
                merged.subsets.push(subset.clone());
            }
        }
    }
    merged.policy = policy.unwrap_or_default();
    merged
}

/// The effective modes of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Modes {
    pub(super) default: MutualTlsMode,
    pub(super) ports: BTreeMap<u16, MutualTlsMode>,
}

impl Modes {
    /// Workload over namespace over mesh; among equals the oldest; what is unset is inherited; at last permissive.
    pub(super) fn of(
        settings: &Settings,
        configs: &Configs,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> Self {
        let policies = &configs.peer_authentications;
        let selector =
            |policy: &Object<PeerAuthentication>| policy.spec.selector.clone().unwrap_or_default().match_labels;
        let general = |wanted: &str| {
            policies.iter().find(|policy| policy.metadata.namespace == wanted && selector(policy).is_empty())
        };
        let specific = policies.iter().find(|policy| {
            let selector = selector(policy);
            policy.metadata.namespace == namespace && !selector.is_empty() && selects(&selector, labels)
        });
        let mode = |policy: Option<&Arc<Object<PeerAuthentication>>>| {
            let mode =
                policy.and_then(|policy| policy.spec.mtls.as_ref()).map_or(MutualTlsMode::Unset, |mtls| mtls.mode);
            (mode != MutualTlsMode::Unset).then_some(mode)
        };
        let inherited = mode(general(namespace))
            .or_else(|| mode(general(&settings.root_namespace)))
            .unwrap_or(MutualTlsMode::Permissive);
        let default = mode(specific).unwrap_or(inherited);
        let own = specific.into_iter().flat_map(|policy| &policy.spec.port_level_mtls);
        let ports = own.filter_map(|(port, mtls)| {
            let mode = if mtls.mode == MutualTlsMode::Unset { default } else { mtls.mode };
            Some((port.parse().ok()?, mode))
        });
        Self { default, ports: ports.collect() }
    }

    pub(super) fn port(&self, port: u16) -> MutualTlsMode {
        self.ports.get(&port).copied().unwrap_or(self.default)
    }
}
