//! Which traffic policies hold on a destination, and what they say together.
//!
//! Policies are looked at in their order. One that cannot hold here is left out for this destination, as a whole, and says
//! why; the others are not touched.

use std::collections::BTreeSet;

use mesh_types::hub::status::AppliedPolicy;
use mesh_types::hub::traffic_policy::{KubeTarget, Policy, TrafficPolicy, VirtualTarget};
use mesh_types::hub::{ClusterObjectRef, Destination, Kind, Object, ObjectRef};

use super::destination_rule::ConnectionPolicy;
use super::route::Group;
use super::{destination, parent, port, subset, virtual_service};
use crate::acceptance::{self, Candidate};
use crate::output::Clusters;
use crate::world::{Acceptance, Subset, Target, World};

/// What the accepted policies of a destination say together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Joined {
    /// About requests, by callers and conditions.
    pub groups: Vec<Group>,
    /// About connections.
    pub connections: ConnectionPolicy,
    /// Who says it.
    pub parents: Vec<String>,
}

impl Joined {
    /// Takes a policy over.
    ///
    /// # Errors
    /// The names of the fields that an earlier policy has set to something else. Nothing is taken over then.
    fn join(&mut self, policy: &TrafficPolicy) -> Result<(), Vec<&'static str>> {
        let mut joined = self.clone();
        let mut conflicts = joined.connections(&policy.policy);
        if policy.policy.has_route_policy() {
            let position = joined.groups.iter().position(|group| group.covers(policy));
            let position = position.unwrap_or_else(|| {
                joined.groups.push(Group::of(policy));
                joined.groups.len() - 1
            });
            conflicts.extend(joined.groups[position].join(&policy.policy).err().into_iter().flatten());
            let own = Group::of(policy);
            let others = joined.groups.iter().enumerate().filter(|(at, group)| *at != position && group.meets(&own));
            let contradicted = others.filter_map(|(_, group)| group.clone().join(&policy.policy).err()).flatten();
            conflicts.extend(contradicted);
            conflicts.sort_unstable();
            conflicts.dedup();
        }
        if conflicts.is_empty() {
            *self = joined;
            return Ok(());
        }
        Err(conflicts)
    }

    fn connections(&mut self, policy: &Policy) -> Vec<&'static str> {
        let mut conflicts = Vec::new();
        match (&self.connections.outlier_detection, &policy.outlier_detection) {
            (Some(before), Some(now)) if before != now => conflicts.push("outlierDetection"),
            (None, now) => self.connections.outlier_detection = now.clone(),
            _ => {}
        }
        let mode = policy.mtls.as_ref().map(|mtls| mtls.istio.tls_mode);
        match (self.connections.tls_mode, mode) {
            (Some(before), Some(now)) if before != now => conflicts.push("mtls"),
            (None, now) => self.connections.tls_mode = now,
            _ => {}
        }
        conflicts
    }
}

/// What the accepted policies of a destination say together.
pub fn joined(world: &World, service: &ClusterObjectRef) -> Joined {
    let mut joined = Joined::default();
    let applied = world.acceptances.get(service).map_or(&[][..], |acceptance| &acceptance.applied);
    for policy in applied.iter().filter(|policy| policy.accepted) {
        let Some(checked) = world.inputs.traffic_policies.get(&policy.reference) else { continue };
        // They were accepted because they fit together.
        if joined.join(&checked.object.spec).is_ok() {
            joined.parents.push(parent(Kind::TrafficPolicy, &policy.reference));
        }
    }
    joined
}

/// Looks at every policy that selects a destination; `remembered` says which held, and in which order.
pub fn accept(world: &World, service: &ClusterObjectRef, remembered: &[AppliedPolicy]) -> Acceptance {
    let Some(destination) = world.inputs.destinations.get(service) else { return Acceptance::default() };
    let selecting = world.traffic_on.get(service).into_iter().flatten();
    let policies = selecting.filter_map(|reference| world.inputs.traffic_policies.get_key_value(reference));
    let candidates = policies.map(|(reference, checked)| candidate(reference, &checked.object)).collect();
    let mut acceptance = Acceptance::default();
    let mut joined = Joined::default();
    let mut judged = Vec::new();
    let mut accepted: Vec<(&ObjectRef, &TrafficPolicy)> = Vec::new();
    for candidate in acceptance::arrange(remembered, candidates) {
        let policy = &world.inputs.traffic_policies[candidate.reference].object.spec;
        let judge = Judge { world, destination: &destination.spec, policy };
        let mut errors = judge.errors();
        if errors.is_empty()
            && let Err(fields) = joined.join(policy)
        {
            errors = fields.into_iter().map(|field| conflict(field, policy, &accepted)).collect();
        }
        acceptance.refers_to.extend(judge.targets());
        judged.push((candidate, errors.is_empty()));
        if errors.is_empty() {
            accepted.push((candidate.reference, policy));
            for (target, labels) in judge.subsets() {
                acceptance.requires.entry(target).or_default().insert(labels);
            }
            let warnings = judge.warnings();
            if !warnings.is_empty() {
                acceptance.warnings.insert(candidate.reference.clone(), warnings);
            }
        } else {
            acceptance.errors.insert(candidate.reference.clone(), errors);
        }
    }
    acceptance.applied = acceptance::remember(judged);
    acceptance
}

fn candidate<'a>(reference: &'a ObjectRef, policy: &'a Object<TrafficPolicy>) -> Candidate<'a> {
    Candidate {
        reference,
        generation: policy.metadata.generation.unwrap_or_default(),
        created: policy.metadata.creation_timestamp.as_deref().unwrap_or_default(),
    }
}

/// Names the earlier policy that sets a field.
fn conflict(field: &str, policy: &TrafficPolicy, accepted: &[(&ObjectRef, &TrafficPolicy)]) -> String {
    let alone = |other: &TrafficPolicy| {
        let mut both = Joined::default();
        both.join(other).is_ok() && both.join(policy).is_err_and(|fields| fields.contains(&field))
    };
    match accepted.iter().find(|(_, other)| alone(other)) {
        Some((other, _)) => format!("{field} conflicts with TrafficPolicy {other}, which was accepted before"),
        None => format!("{field} conflicts with a policy that was accepted before"),
    }
}

struct Judge<'a> {
    world: &'a World,
    destination: &'a Destination,
    policy: &'a TrafficPolicy,
}

impl Judge<'_> {
    fn service(&self) -> &ClusterObjectRef {
        &self.destination.kube_service.reference
    }

    fn actions(&self) -> &Policy {
        &self.policy.policy
    }

    fn services(&self) -> impl Iterator<Item = &KubeTarget> {
        self.actions()
            .traffic_shift
            .iter()
            .flat_map(|shift| &shift.destinations)
            .filter_map(|to| to.kube_service.as_ref())
    }

    fn virtuals(&self) -> impl Iterator<Item = &VirtualTarget> {
        let targets = self.actions().traffic_shift.iter().flat_map(|shift| &shift.destinations);
        targets.filter_map(|to| to.virtual_destination.as_ref())
    }

    fn targets(&self) -> BTreeSet<Target> {
        let services = self.services().map(|to| Target::Service(to.service()));
        let mirror = self.actions().mirror.iter().map(|mirror| Target::Service(mirror.kube_service.clone()));
        let virtuals = self.virtuals().map(|to| Target::Virtual(ObjectRef::new(&to.name, &to.namespace)));
        services.chain(mirror).chain(virtuals).collect()
    }

    fn subsets(&self) -> Vec<(Target, Subset)> {
        let services = self.services().map(|to| (Target::Service(to.service()), to.subset.clone()));
        let virtuals =
            self.virtuals().map(|to| (Target::Virtual(ObjectRef::new(&to.name, &to.namespace)), to.subset.clone()));
        services.chain(virtuals).filter(|(_, labels)| !labels.is_empty()).collect()
    }

    fn errors(&self) -> Vec<String> {
        let mut errors = Vec::new();
        let ports: Vec<_> = self.destination.kube_service.tcp_ports().collect();
        if self.actions().has_route_policy() && !ports.iter().any(|one| port::carries_requests(one)) {
            errors.push(format!("no port of {} carries HTTP", self.service()));
        }
        for target in self.services() {
            self.target(&target.service(), &target.subset, target.port, &mut errors);
        }
        if let Some(mirror) = &self.actions().mirror {
            self.target(&mirror.kube_service, &Subset::new(), mirror.port, &mut errors);
        }
        for target in self.virtuals() {
            self.virtual_target(target, &mut errors);
        }
        self.foreign(&mut errors);
        errors
    }

    fn target(&self, service: &ClusterObjectRef, labels: &Subset, port: Option<u16>, errors: &mut Vec<String>) {
        let Some(target) = self.world.inputs.destinations.get(service) else {
            return errors.push(format!("destination {service} is not known"));
        };
        let target = &target.spec.kube_service;
        if !target.has_subset(labels) {
            errors.push(format!("no workload of {service} has the labels of subset {}", subset::name(labels)));
        }
        let called = self.destination.kube_service.tcp_ports().filter(|one| port::carries_requests(one));
        for called in called {
            if virtual_service::target_port(self.world, service, port, called.port).is_some() {
                continue;
            }
            errors.push(match port {
                Some(port) => format!("{service} has no port {port}"),
                None => format!("{service} has several ports and none is {}: say which", called.port),
            });
            break;
        }
        if let Some(cluster) = self.callers_without(&service.cluster_name, self.known_to(service).as_ref()) {
            errors.push(format!("{service} is not federated to {cluster}, where {} is called", self.service()));
        }
        if !labels.is_empty() {
            let hosts = destination::rule_places(self.world, service);
            let foreign = hosts.iter().flat_map(|(key, host, clusters)| self.world.in_the_way(key, host, clusters));
            errors.extend(foreign.map(|foreign| {
                format!("subset {} of {service} cannot be written: {foreign} is not the hub's", subset::name(labels))
            }));
        }
    }

    fn known_to(&self, service: &ClusterObjectRef) -> Option<Clusters> {
        self.world.federated.get(service).map(|federated| federated.clients.clone())
    }

    fn virtual_target(&self, target: &VirtualTarget, errors: &mut Vec<String>) {
        let reference = ObjectRef::new(&target.name, &target.namespace);
        let Some(plan) = self.world.plans.get(&reference) else {
            return errors.push(format!("VirtualDestination {reference} is not known"));
        };
        if !plan.errors.is_empty() {
            return errors.push(format!("VirtualDestination {reference} is not accepted"));
        }
        if let Some(cluster) = self.callers_without("", plan.clients.as_ref()) {
            errors.push(format!(
                "VirtualDestination {reference} is not known in {cluster}, where {} is called",
                self.service()
            ));
        }
        let backends = plan.backends.iter().filter_map(|backend| self.world.inputs.destinations.get(backend));
        if !backends.clone().any(|backend| backend.spec.kube_service.has_subset(&target.subset)) {
            let name = subset::name(&target.subset);
            errors.push(format!("no backend of VirtualDestination {reference} has the labels of subset {name}"));
        }
    }

    /// A cluster that this policy concerns, and that does not know a target of cluster `home` that `known` clusters know.
    fn callers_without(&self, home: &str, known: Option<&Clusters>) -> Option<String> {
        let group = Group::of(self.policy);
        let missing = |cluster: &&str| {
            *cluster != home && group.concerns(cluster) && !known.is_some_and(|known| known.contains(cluster))
        };
        let own = self.service().cluster_name.as_str();
        if let Some(own) = Some(own).filter(missing) {
            return Some(own.to_owned());
        }
        let clients = &self.world.federated.get(self.service())?.clients;
        match known {
            Some(known) => clients.difference(known).find(missing).map(str::to_owned),
            None => clients.iter().find(missing).map(str::to_owned),
        }
    }

    fn foreign(&self, errors: &mut Vec<String>) {
        let mut places = Vec::new();
        if self.actions().has_route_policy() {
            places.extend(destination::route_places(self.world, self.service()));
        }
        if self.actions().has_connection_policy() {
            places.extend(destination::rule_places(self.world, self.service()));
        }
        for (key, host, clusters) in places {
            let foreign = self.world.in_the_way(&key, &host, &clusters);
            errors.extend(foreign.iter().map(|foreign| format!("{foreign} is not the hub's, and for the same host")));
        }
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let percent = self.actions().outlier_detection.as_ref().and_then(|outlier| outlier.max_ejection_percent);
        let endpoints = self.destination.kube_service.endpoints.len();
        if let Some(percent) = percent.and_then(|percent| usize::try_from(percent).ok())
            && endpoints > 0
            && percent * endpoints < 100
        {
            warnings.push(format!("maxEjectionPercent {percent} takes none of {endpoints} endpoints out of use"));
        }
        if self.actions().mtls.is_some() && self.world.federated.contains_key(self.service()) {
            warnings.push(
                "mtls holds in the destination's own cluster; between clusters it is mutual TLS always".to_owned(),
            );
        }
        warnings
    }
}
