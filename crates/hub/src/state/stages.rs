//! Works out what is marked, stage by stage. A stage marks what later ones have to look at again, never what earlier ones do.

use std::collections::{BTreeMap, BTreeSet};

use mesh_types::hub::{ClusterObjectRef, ObjectRef};

use super::State;
use super::change::{Effects, Subject, Unit, Write};
use super::compare;
use super::dirty::Dirty;
use crate::output::Emitted;
use crate::translate::{access_policy, destination, federation, membership, mesh, traffic_policy, virtual_destination};
use crate::world::{Memberships, Target};

impl State {
    pub(super) fn work_out(&mut self, mut dirty: Dirty) -> Effects {
        if dirty.memberships {
            self.memberships(&mut dirty);
        }
        self.attachments(&mut dirty);
        self.federation(&mut dirty);
        self.addresses(&mut dirty);
        self.plans(&mut dirty);
        self.acceptance(&mut dirty);
        let writes = self.objects(&mut dirty);
        for write in &writes {
            self.board.expect(&write.unit, &write.clusters, self.revision);
            self.mark_progress(&write.unit, &mut dirty);
        }
        Effects { revision: self.revision, writes, statuses: dirty.statuses.into_iter().collect() }
    }

    fn memberships(&mut self, dirty: &mut Dirty) {
        let before = std::mem::take(&mut self.world.memberships);
        let after = membership::all(&self.world.inputs, &before.claims);
        let mut meshes = std::mem::take(&mut dirty.changed_meshes);
        let mut virtual_meshes = dirty.virtual_meshes.clone();
        // Their objects stand in other namespaces, where others' objects may be.
        let mut moved = BTreeSet::new();
        let namespaces = |of: &Memberships, reference: &ObjectRef| Some(of.members.get(reference)?.namespaces.clone());
        for (reference, members) in before.members.iter().chain(&after.members) {
            let same = before.members.get(reference) == after.members.get(reference);
            if !same {
                virtual_meshes.insert(reference.clone());
            }
            if namespaces(&before, reference) != namespaces(&after, reference) {
                moved.extend(members.meshes.iter().cloned());
            }
            if !same || dirty.virtual_meshes.contains(reference) {
                meshes.extend(members.meshes.iter().cloned());
            }
        }
        for (mesh, claims) in before.claims.iter().chain(&after.claims) {
            if before.claims.get(mesh) != after.claims.get(mesh) {
                meshes.insert(mesh.clone());
                virtual_meshes.extend(claims.iter().map(|claim| claim.reference.clone()));
            }
        }
        self.world.memberships = after;
        let inputs = &self.world.inputs;
        for (service, destination) in &inputs.destinations {
            if meshes.contains(&destination.spec.mesh) {
                dirty.federation.insert(service.clone());
                dirty.destinations.insert(service.clone());
            }
            if moved.contains(&destination.spec.mesh) {
                self.mark_known(service, dirty);
            }
        }
        if !virtual_meshes.is_empty() {
            dirty.plans.extend(inputs.virtual_destinations.keys().cloned());
        }
        dirty.statuses.extend(meshes.iter().cloned().map(Subject::Mesh));
        dirty.statuses.extend(virtual_meshes.into_iter().map(Subject::VirtualMesh));
        dirty.meshes.extend(meshes);
    }

    fn attachments(&mut self, dirty: &mut Dirty) {
        let world = &mut self.world;
        for service in std::mem::take(&mut dirty.attached) {
            let destination = world.inputs.destinations.get(&service);
            let traffic = self.traffic.destination_changed(&service, destination, &mut world.traffic_on);
            let access = self.access.destination_changed(&service, destination, &mut world.access_on);
            dirty.statuses.extend(traffic.into_iter().map(Subject::TrafficPolicy));
            dirty.statuses.extend(access.into_iter().map(Subject::AccessPolicy));
            dirty.acceptance.insert(service);
        }
        for policy in &dirty.traffic {
            let good = world.inputs.traffic_policies.get(policy).filter(|checked| checked.errors.is_empty());
            let selectors = good.map(|checked| checked.object.spec.destination_selector.as_slice());
            let destinations = &world.inputs.destinations;
            let touched = self.traffic.policy_changed(policy, selectors, destinations, &mut world.traffic_on);
            dirty.acceptance.extend(touched);
        }
        for policy in &dirty.access {
            // One that is not valid stays where it is: it allows nothing, and without it everybody would be let in.
            let known = world.inputs.access_policies.get(policy);
            let selectors = known.map(|checked| checked.object.spec.destination_selector.as_slice());
            let destinations = &world.inputs.destinations;
            let touched = self.access.policy_changed(policy, selectors, destinations, &mut world.access_on);
            dirty.destinations.extend(touched);
        }
    }

    fn federation(&mut self, dirty: &mut Dirty) {
        let services = std::mem::take(&mut dirty.federation);
        if services.is_empty() {
            return;
        }
        for service in services {
            let destination = self.world.inputs.destinations.get(&service);
            let after = destination.and_then(|destination| federation::of(&self.world, &destination.spec));
            let before = self.world.federated.get(&service);
            // A host may also be remembered from before a start.
            let host_of = |one: Option<&crate::world::Federated>| one.map(|federated| federated.hostname.clone());
            let (old, new) = (host_of(before), host_of(after.as_ref()));
            let same = before == after.as_ref();
            if !same {
                let counting = before.into_iter().chain(&after).map(|federated| federated.virtual_mesh.clone());
                dirty.statuses.extend(counting.map(Subject::VirtualMesh));
                self.board.federate(&service, after.as_ref().map(|federated| &federated.virtual_mesh));
            }
            if let Some(old) = old.filter(|old| Some(old) != new.as_ref()) {
                self.forget_host(&old);
            }
            match after {
                Some(after) => {
                    self.world.hosts.insert(after.hostname.clone(), service.clone());
                    self.world.federated.insert(service.clone(), after);
                }
                None => {
                    self.world.federated.remove(&service);
                }
            }
            if !same {
                self.mark_known(&service, dirty);
            }
        }
        self.forget_hosts_of_others(&dirty.remembered_hosts);
    }

    /// Forgets remembered hosts that are nobody's any more.
    fn forget_hosts_of_others(&mut self, remembered: &BTreeSet<String>) {
        let world = &self.world;
        let right = |host: &&String| {
            let federated = world.hosts.get(*host).and_then(|service| world.federated.get(service));
            federated.is_some_and(|federated| federated.hostname == **host)
        };
        let wrong: Vec<_> = remembered.iter().filter(|host| !right(host)).collect();
        for host in wrong {
            self.forget_host(host);
        }
    }

    fn forget_host(&mut self, host: &str) {
        self.world.hosts.remove(host);
        self.world.addresses.release(host);
    }

    /// Marks whatever depends on a destination, or on how others know it.
    pub(super) fn mark_known(&self, service: &ClusterObjectRef, dirty: &mut Dirty) {
        dirty.acceptance.insert(service.clone());
        dirty.destinations.insert(service.clone());
        let referring = self.referring.get(&Target::Service(service.clone()));
        dirty.acceptance.extend(referring.into_iter().flatten().cloned());
        // Their routes name its host and port.
        dirty.destinations.extend(referring.into_iter().flatten().cloned());
    }

    /// Gives every host an address, those of before first.
    fn addresses(&mut self, dirty: &mut Dirty) {
        let world = &mut self.world;
        let good = world.inputs.virtual_destinations.values().filter(|checked| checked.errors.is_empty());
        let wanted: BTreeSet<&String> = good.map(|checked| &checked.object.spec.hostname).collect();
        if !dirty.plans.is_empty() {
            for host in
                self.virtual_hosts.iter().filter(|host| !wanted.contains(host) && !world.hosts.contains_key(*host))
            {
                world.addresses.release(host);
            }
            self.virtual_hosts = wanted.into_iter().cloned().collect();
        }
        let federated = dirty.destinations.iter().filter_map(|service| world.federated.get(service));
        let mut hosts: BTreeSet<&str> = federated.map(|federated| federated.hostname.as_str()).collect();
        if !dirty.plans.is_empty() {
            hosts.extend(self.virtual_hosts.iter().map(String::as_str));
        }
        for host in hosts {
            // Without an address the unit says so.
            let _none_free = world.addresses.allocate(host);
        }
        for host in self.world.addresses.serve_waiting() {
            match self.world.hosts.get(&host).cloned() {
                Some(service) => drop(dirty.destinations.insert(service)),
                None => {
                    let all = self.world.inputs.virtual_destinations.iter();
                    let of_host = all.filter(|(_, checked)| checked.object.spec.hostname == host);
                    dirty.plans.extend(of_host.map(|(reference, _)| reference.clone()));
                }
            }
        }
    }

    fn plans(&mut self, dirty: &mut Dirty) {
        for reference in std::mem::take(&mut dirty.plans) {
            if self.world.inputs.virtual_destinations.contains_key(&reference) {
                let plan = virtual_destination::plan(&self.world, &reference);
                self.world.plans.insert(reference.clone(), plan);
            } else {
                self.world.plans.remove(&reference);
            }
            // Also where the plan is the same: its host and port stand in routes, its backends' labels decide about subsets.
            self.mark_referring(&reference, dirty);
            dirty.virtual_destinations.insert(reference.clone());
            dirty.statuses.insert(Subject::VirtualDestination(reference));
        }
    }

    fn mark_referring(&self, reference: &ObjectRef, dirty: &mut Dirty) {
        let referring = self.referring.get(&Target::Virtual(reference.clone()));
        dirty.acceptance.extend(referring.into_iter().flatten().cloned());
    }

    fn acceptance(&mut self, dirty: &mut Dirty) {
        for service in std::mem::take(&mut dirty.acceptance) {
            let before = self.world.acceptances.remove(&service).unwrap_or_default();
            let after = traffic_policy::accept(&self.world, &service, &before.applied);
            self.refer(&service, &before.refers_to, &after.refers_to);
            self.require(&service, &before.requires, &after.requires, dirty);
            let policies = before.applied.iter().chain(&after.applied);
            dirty.statuses.extend(policies.map(|policy| Subject::TrafficPolicy(policy.reference.clone())));
            if after != Default::default() {
                self.world.acceptances.insert(service.clone(), after);
            }
            dirty.destinations.insert(service);
        }
    }

    fn refer(&mut self, service: &ClusterObjectRef, before: &BTreeSet<Target>, after: &BTreeSet<Target>) {
        for target in before.difference(after) {
            if let Some(referring) = self.referring.get_mut(target) {
                referring.remove(service);
                if referring.is_empty() {
                    self.referring.remove(target);
                }
            }
        }
        for target in after {
            self.referring.entry(target.clone()).or_default().insert(service.clone());
        }
    }

    fn require(
        &mut self,
        service: &ClusterObjectRef,
        before: &BTreeMap<Target, BTreeSet<crate::world::Subset>>,
        after: &BTreeMap<Target, BTreeSet<crate::world::Subset>>,
        dirty: &mut Dirty,
    ) {
        for target in before.keys().chain(after.keys()) {
            if before.get(target) == after.get(target) {
                continue;
            }
            let required = self.world.required_of.entry(target.clone()).or_default();
            match after.get(target) {
                Some(subsets) => required.insert(service.clone(), subsets.clone()),
                None => required.remove(service),
            };
            if required.is_empty() {
                self.world.required_of.remove(target);
            }
            match target {
                Target::Service(other) => dirty.destinations.insert(other.clone()),
                Target::Virtual(reference) => dirty.virtual_destinations.insert(reference.clone()),
            };
        }
    }

    fn objects(&mut self, dirty: &mut Dirty) -> Vec<Write> {
        let mut writes = Vec::new();
        for service in std::mem::take(&mut dirty.destinations) {
            let known = self.world.inputs.destinations.get(&service);
            let judged = known.map(|known| access_policy::translate(&self.world, &known.spec).errors);
            match judged.filter(|errors| !errors.is_empty()) {
                Some(errors) => self.world.access.insert(service.clone(), errors),
                None => self.world.access.remove(&service),
            };
            let unit = Unit::Destination(service);
            self.object(unit, dirty, &mut writes);
        }
        for reference in std::mem::take(&mut dirty.meshes) {
            self.object(Unit::Mesh(reference), dirty, &mut writes);
        }
        for reference in std::mem::take(&mut dirty.virtual_destinations) {
            self.object(Unit::VirtualDestination(reference), dirty, &mut writes);
        }
        compare::handed_over(writes)
    }

    /// Forgets failures to write what is no longer wanted. Should its deletion fail, that is told anew.
    fn forget_failures(&mut self, unit: &Unit, wanted: &[Emitted]) {
        let Some(failures) = self.failures.get_mut(unit) else { return };
        failures.retain(|(cluster, key), _| {
            wanted.iter().any(|emitted| emitted.object.key == *key && emitted.clusters.contains(cluster))
        });
        if failures.is_empty() {
            self.failures.remove(unit);
        }
    }

    fn object(&mut self, unit: Unit, dirty: &mut Dirty, writes: &mut Vec<Write>) {
        let after = match &unit {
            Unit::Destination(service) => destination::translate(&self.world, service),
            Unit::Mesh(reference) => mesh::translate(&self.world, reference),
            Unit::VirtualDestination(reference) => virtual_destination::translate(&self.world, reference),
        };
        let before = self.translations.remove(&unit).unwrap_or_default();
        writes.extend(compare::writes(&unit, &before.objects, &after.objects));
        self.forget_failures(&unit, &after.objects);
        self.mark_statuses(&unit, dirty);
        if after != Default::default() {
            self.translations.insert(unit, after);
        }
    }
}
