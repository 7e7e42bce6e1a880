//! Selectors of workloads, destinations and identities. An empty list of selectors selects everything; of several, one has
//! to match.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reference::ClusterObjectRef;

/// Selects workloads that call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSelector {
    /// What the workloads have in common; none selects all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kube_workload_matcher: Option<Matcher>,
}

/// Selects destinations: those that the matcher matches, and those that are named. Without either it selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DestinationSelector {
    /// What the Services have in common.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kube_service_matcher: Option<Matcher>,
    /// Services by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kube_service_refs: Option<ServiceRefs>,
}

/// Every list that is given has to match; an empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Matcher {
    /// Labels that all have to be there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Namespaces, one of which it has to be in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Clusters, one of which it has to be in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<String>,
}

/// Services by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceRefs {
    /// The Services.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ClusterObjectRef>,
}

/// Selects callers by who they are. Without anything it selects every caller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IdentitySelector {
    /// Callers by where they run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kube_identity_matcher: Option<IdentityMatcher>,
    /// Callers by service account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kube_service_account_refs: Option<ServiceAccountRefs>,
}

/// Every list that is given has to match; an empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IdentityMatcher {
    /// Namespaces, one of which the caller has to be in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Clusters, one of which the caller has to be in; told apart by their trust domains only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<String>,
}

/// Service accounts by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceAccountRefs {
    /// The accounts; one without `clusterName` is meant in every cluster.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub service_accounts: Vec<ClusterObjectRef>,
}

impl Matcher {
    /// Whether something in a place with labels is matched.
    pub fn matches(&self, cluster: &str, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        is_in(&self.clusters, cluster)
            && is_in(&self.namespaces, namespace)
            && self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}

impl DestinationSelector {
    /// Whether a Service with labels is selected.
    pub fn selects(&self, service: &ClusterObjectRef, labels: &BTreeMap<String, String>) -> bool {
        if self.kube_service_matcher.is_none() && self.kube_service_refs.is_none() {
            return true;
        }
        self.names().any(|named| named == service)
            || self
                .kube_service_matcher
                .as_ref()
                .is_some_and(|matcher| matcher.matches(&service.cluster_name, &service.namespace, labels))
    }

    /// The Services that are selected by name.
    pub fn names(&self) -> impl Iterator<Item = &ClusterObjectRef> {
        self.kube_service_refs.iter().flat_map(|refs| &refs.services)
    }

    /// Whether it selects by name only.
    pub fn is_by_name(&self) -> bool {
        self.kube_service_matcher.is_none() && self.kube_service_refs.is_some()
    }
}

impl WorkloadSelector {
    /// Whether workloads of a cluster can be selected.
    pub fn reaches_cluster(&self, cluster: &str) -> bool {
        self.kube_workload_matcher.as_ref().is_none_or(|matcher| is_in(&matcher.clusters, cluster))
    }
}

/// Whether one of the selectors, or an empty list of them, selects a Service.
pub fn selects_destination(
    selectors: &[DestinationSelector],
    service: &ClusterObjectRef,
    labels: &BTreeMap<String, String>,
) -> bool {
    selectors.is_empty() || selectors.iter().any(|selector| selector.selects(service, labels))
}

/// Whether one of the selectors, or an empty list of them, selects a workload.
pub fn selects_workload(
    selectors: &[WorkloadSelector],
    cluster: &str,
    namespace: &str,
    labels: &BTreeMap<String, String>,
) -> bool {
    let matches = |selector: &WorkloadSelector| {
        selector.kube_workload_matcher.as_ref().is_none_or(|matcher| matcher.matches(cluster, namespace, labels))
    };
    selectors.is_empty() || selectors.iter().any(matches)
}

fn is_in(list: &[String], value: &str) -> bool {
    list.is_empty() || list.iter().any(|one| one == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_matcher_needs_every_list_and_a_name_stands_beside_it() {
        let selector = DestinationSelector {
            kube_service_matcher: Some(Matcher {
                labels: labels(&[("app", "reviews")]),
                clusters: vec!["cluster1".to_owned()],
                ..Matcher::default()
            }),
            kube_service_refs: Some(ServiceRefs {
                services: vec![ClusterObjectRef::new("details", "bookinfo", "cluster2")],
            }),
        };
        let here = ClusterObjectRef::new("reviews", "bookinfo", "cluster1");
        assert!(selector.selects(&here, &labels(&[("app", "reviews"), ("x", "y")])));
        assert!(!selector.selects(&here, &labels(&[("x", "y")])));
        let there = ClusterObjectRef::new("reviews", "bookinfo", "cluster2");
        assert!(!selector.selects(&there, &labels(&[("app", "reviews")])));
        assert!(selector.selects(&ClusterObjectRef::new("details", "bookinfo", "cluster2"), &labels(&[])));
    }

    #[test]
    fn nothing_said_selects_everything() {
        let service = ClusterObjectRef::new("a", "b", "c");
        assert!(selects_destination(&[], &service, &labels(&[])));
        assert!(selects_destination(&[DestinationSelector::default()], &service, &labels(&[])));
        let named = DestinationSelector { kube_service_refs: Some(ServiceRefs::default()), ..Default::default() };
        assert!(!named.selects(&service, &labels(&[])), "an empty list of names names nothing");
        assert!(selects_workload(&[], "c", "n", &labels(&[])));
    }
}
