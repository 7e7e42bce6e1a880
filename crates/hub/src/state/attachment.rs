//! Which policies select which destinations, kept up to date from both sides.

use std::collections::{BTreeMap, BTreeSet};

use mesh_types::hub::selector::{DestinationSelector, selects_destination};
use mesh_types::hub::{ClusterObjectRef, Destination, Object, ObjectRef};

/// Destinations by policy. The other direction is a table of the world, since translators read it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attachments {
    /// Selectors of each policy that may have an effect.
    selectors: BTreeMap<ObjectRef, Vec<DestinationSelector>>,
    /// Policies that select by name only, by the names.
    by_name: BTreeMap<ClusterObjectRef, BTreeSet<ObjectRef>>,
    /// All other policies.
    by_matcher: BTreeSet<ObjectRef>,
    /// Destinations of each policy.
    targets: BTreeMap<ObjectRef, BTreeSet<ClusterObjectRef>>,
}

/// Policies by destination.
pub(super) type Policies = BTreeMap<ClusterObjectRef, BTreeSet<ObjectRef>>;
/// The destinations there are.
pub(super) type Destinations = BTreeMap<ClusterObjectRef, Object<Destination>>;

impl Attachments {
    /// Destinations that a policy selects.
    pub(crate) fn targets(&self, policy: &ObjectRef) -> impl Iterator<Item = &ClusterObjectRef> + Clone {
        self.targets.get(policy).into_iter().flatten()
    }

    /// Takes the selectors of a policy over, `None` for one that has no effect, and returns every destination that it selected
    /// or selects.
    pub(super) fn policy_changed(
        &mut self,
        policy: &ObjectRef,
        selectors: Option<&[DestinationSelector]>,
        destinations: &Destinations,
        policies: &mut Policies,
    ) -> BTreeSet<ClusterObjectRef> {
        let before = self.targets.remove(policy).unwrap_or_default();
        for service in &before {
            detach(policies, service, policy);
        }
        self.forget(policy);
        let now = selectors.map(|selectors| selected(selectors, destinations)).unwrap_or_default();
        if let Some(selectors) = selectors {
            self.remember(policy, selectors);
            for service in &now {
                policies.entry(service.clone()).or_default().insert(policy.clone());
            }
            self.targets.insert(policy.clone(), now.clone());
        }
        before.into_iter().chain(now).collect()
    }

    /// Takes a destination over that is new, gone, or has other labels. Returns the policies that selected or select it.
    pub(super) fn destination_changed(
        &mut self,
        service: &ClusterObjectRef,
        destination: Option<&Object<Destination>>,
        policies: &mut Policies,
    ) -> BTreeSet<ObjectRef> {
        let before = policies.remove(service).unwrap_or_default();
        for policy in &before {
            if let Some(targets) = self.targets.get_mut(policy) {
                targets.remove(service);
            }
        }
        let mut now = BTreeSet::new();
        if let Some(destination) = destination {
            let labels = &destination.spec.kube_service.labels;
            let candidates = self.by_name.get(service).into_iter().flatten().chain(&self.by_matcher);
            let selecting = candidates.filter(|policy| {
                self.selectors.get(*policy).is_some_and(|selectors| selects_destination(selectors, service, labels))
            });
            now = selecting.cloned().collect();
            for policy in &now {
                self.targets.entry(policy.clone()).or_default().insert(service.clone());
            }
            if !now.is_empty() {
                policies.insert(service.clone(), now.clone());
            }
        }
        before.into_iter().chain(now).collect()
    }

    fn remember(&mut self, policy: &ObjectRef, selectors: &[DestinationSelector]) {
        if is_by_name(selectors) {
            for service in selectors.iter().flat_map(DestinationSelector::names) {
                self.by_name.entry(service.clone()).or_default().insert(policy.clone());
            }
        } else {
            self.by_matcher.insert(policy.clone());
        }
        self.selectors.insert(policy.clone(), selectors.to_vec());
    }

    fn forget(&mut self, policy: &ObjectRef) {
        let Some(selectors) = self.selectors.remove(policy) else { return };
        self.by_matcher.remove(policy);
        for service in selectors.iter().flat_map(DestinationSelector::names) {
            detach(&mut self.by_name, service, policy);
        }
    }
}

fn detach(policies: &mut Policies, service: &ClusterObjectRef, policy: &ObjectRef) {
    if let Some(attached) = policies.get_mut(service) {
        attached.remove(policy);
        if attached.is_empty() {
            policies.remove(service);
        }
    }
}

fn is_by_name(selectors: &[DestinationSelector]) -> bool {
    !selectors.is_empty() && selectors.iter().all(DestinationSelector::is_by_name)
}

/// Destinations that are selected, without a look at those that cannot be.
fn selected(selectors: &[DestinationSelector], destinations: &Destinations) -> BTreeSet<ClusterObjectRef> {
    if selectors.is_empty() {
        return destinations.keys().cloned().collect();
    }
    let mut found = BTreeSet::new();
    for selector in selectors {
        found.extend(selector.names().filter(|service| destinations.contains_key(*service)).cloned());
        if selector.is_by_name() {
            continue;
        }
        let clusters = selector.kube_service_matcher.as_ref().map_or(&[][..], |matcher| matcher.clusters.as_slice());
        let matching = |(service, destination): &(&ClusterObjectRef, &Object<Destination>)| {
            selector.selects(service, &destination.spec.kube_service.labels)
        };
        let of = |(service, _): (&ClusterObjectRef, _)| service.clone();
        if clusters.is_empty() {
            found.extend(destinations.iter().filter(matching).map(of));
        }
        for cluster in clusters {
            // Keys sort by cluster first.
            let from = ClusterObjectRef::new("", "", cluster);
            let in_cluster = destinations.range(from..).take_while(|(service, _)| service.cluster_name == *cluster);
            found.extend(in_cluster.filter(matching).map(of));
        }
    }
    found
}
