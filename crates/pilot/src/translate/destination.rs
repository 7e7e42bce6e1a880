//! The places that traffic goes to: a service, or a subset of it, on one port.

use std::collections::BTreeSet;

use mesh_types::SpiffeId;
use mesh_types::destination_rule::{Subset, TrafficPolicy};

use super::Context;
use super::lookup::{Rule, selects};
use crate::model::{Endpoint, Service, ServicePort};

/// A port of a service or of a subset of it.
pub(super) struct Destination<'a> {
    pub(super) service: &'a Service,
    pub(super) port: &'a ServicePort,
    pub(super) subset: Option<&'a Subset>,
    pub(super) policy: TrafficPolicy,
}

impl<'a> Destination<'a> {
    /// The destinations of a service: each port as a whole, then each subset.
    pub(super) fn all(service: &'a Service, rule: &'a Rule) -> Vec<Self> {
        let of_port = |port: &'a ServicePort| {
            let subsets = std::iter::once(None).chain(rule.subsets.iter().map(Some));
            subsets.map(move |subset| Self { service, port, subset, policy: rule.policy(subset, port.number) })
        };
        service.ports.iter().flat_map(of_port).collect()
    }

    pub(super) fn subset_name(&self) -> &str {
        self.subset.map_or("", |subset| &subset.name)
    }
}

impl Context<'_> {
    /// The endpoints of a destination that this proxy may know about.
    pub(super) fn endpoints<'b>(&'b self, destination: &'b Destination<'_>) -> impl Iterator<Item = &'b Endpoint> {
        let of_host = self.state.endpoints.get(&destination.service.key());
        let all = of_host.and_then(|ports| ports.get(&destination.port.number)).into_iter().flatten();
        let local = destination.service.cluster_local;
        all.filter(move |endpoint| !local || endpoint.cluster == self.proxy.cluster).filter(|endpoint| {
            destination.subset.is_none_or(|subset| selects(&subset.labels, &endpoint.workload.labels))
        })
    }

    /// The identities behind a service in all clusters, sorted. Pods that are not ready yet count, so that a pod that
    /// becomes ready changes endpoints only.
    pub(super) fn identities(&self, service: &Service) -> Vec<String> {
        let ready = self.state.endpoints.get(&service.key()).into_iter().flat_map(|ports| ports.values().flatten());
        let mut accounts: BTreeSet<(&str, &str)> = ready
            .filter(|endpoint| !endpoint.workload.service_account.is_empty())
            .map(|endpoint| (endpoint.workload.namespace.as_str(), endpoint.workload.service_account.as_str()))
            .collect();
        for workload in self.state.workloads.values().filter(|workload| workload.namespace == service.namespace) {
            let selector = match &service.entry {
                Some(entry) => entry.selector.as_ref(),
                None => service.clusters.get(&workload.cluster).map(|cluster| &cluster.selector),
            };
            if workload.service_account.is_empty() {
                continue;
            }
            if selector.is_some_and(|selector| !selector.is_empty() && selects(selector, &workload.labels)) {
                accounts.insert((&workload.namespace, &workload.service_account));
            }
        }
        // Which of the mesh's trust domains a pod belongs to is not known here; any of them will do, as in Istio.
        let domains = self.settings.trust_domains();
        let identities = |(namespace, account): (&str, &str)| {
            domains.iter().map(|domain| SpiffeId::new(domain, namespace, account).to_string()).collect::<Vec<_>>()
        };
        let named = service.entry.iter().flat_map(|entry| entry.subject_alt_names.iter().cloned());
        let mut all: Vec<String> = accounts.into_iter().flat_map(identities).chain(named).collect();
        all.sort();
        all.dedup();
        all
    }
}
