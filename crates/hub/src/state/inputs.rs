//! Takes changes over into the tables, and marks what directly depends on them.

use std::collections::BTreeMap;

use mesh_types::hub::{ClusterObjectRef, Destination, Object, ObjectRef, Resource};

use super::State;
use super::change::{Change, Input, InputKey, Outcome, Subject, Unit};
use super::dirty::Dirty;
use crate::output::{ObjectKey, OutputKind};
use crate::world::{Checked, Foreign, Target};

impl State {
    pub(super) fn take(&mut self, change: Change, dirty: &mut Dirty) {
        match change {
            Change::Put(input) => self.put(*input, dirty),
            Change::Remove(key) => self.remove(key, dirty),
            Change::Written(outcome) => self.written(outcome, dirty),
            Change::Progress(report) => {
                let unit = report.unit.clone();
                if self.board.report(report) {
                    self.mark_progress(&unit, dirty);
                }
            }
            Change::Trust(virtual_mesh, trust) => {
                if self.trust.get(&virtual_mesh) != Some(&*trust) {
                    self.trust.insert(virtual_mesh.clone(), *trust);
                    dirty.statuses.insert(Subject::VirtualMesh(virtual_mesh));
                }
            }
        }
    }

    fn put(&mut self, input: Input, dirty: &mut Dirty) {
        let key = input.key();
        self.mark_named(&key, dirty);
        let inputs = &mut self.world.inputs;
        match input {
            Input::Cluster(object) => {
                let domain = object.spec.domain().to_owned();
                let before = inputs.clusters.insert(object.metadata.name.clone(), object);
                if before.is_some_and(|before| before.spec.domain() == domain) {
                    return;
                }
            }
            Input::Mesh(object) => {
                let reference = object.reference();
                if !inputs.meshes.contains_key(&reference) {
                    let claims = object.status.applied_virtual_meshes.clone();
                    self.world.memberships.claims.entry(reference.clone()).or_insert(claims);
                }
                if unchanged(inputs.meshes.get(&reference), &object) {
                    return;
                }
                inputs.meshes.insert(reference, object);
            }
            Input::Workload(object) => {
                inputs.workloads.insert(object.reference(), object);
                return;
            }
            Input::Destination(object) => {
                if self.put_destination(object, dirty) {
                    return;
                }
            }
            Input::VirtualMesh(object) => {
                if let Some(trust) = &object.status.trust {
                    self.trust.entry(object.reference()).or_insert_with(|| trust.clone());
                }
                if !put_checked(&mut inputs.virtual_meshes, object, &self.world.settings.namespace) {
                    return;
                }
            }
            Input::TrafficPolicy(object) => {
                if !put_checked(&mut inputs.traffic_policies, object, &self.world.settings.namespace) {
                    return;
                }
            }
            Input::VirtualDestination(object) => {
                let (host, address) = (object.spec.hostname.clone(), object.status.address.parse());
                let new = !inputs.virtual_destinations.contains_key(&object.reference());
                if let (true, Ok(address)) = (new, address) {
                    self.world.addresses.restore(&host, address);
                    self.virtual_hosts.insert(host);
                }
                self.mark_rivals(&key, dirty);
                let namespace = &self.world.settings.namespace;
                if !put_checked(&mut self.world.inputs.virtual_destinations, object, namespace) {
                    return;
                }
            }
            Input::AccessPolicy(object) => {
                if !put_checked(&mut inputs.access_policies, object, &self.world.settings.namespace) {
                    return;
                }
            }
            Input::Foreign(foreign, hosts) => {
                self.remove_foreign(&foreign, dirty);
                self.put_foreign(&foreign, hosts);
            }
        }
        self.mark(&key, dirty);
    }

    /// Whether nothing changed.
    fn put_destination(&mut self, object: Object<Destination>, dirty: &mut Dirty) -> bool {
        let service = object.spec.kube_service.reference.clone();
        let before = self.world.inputs.destinations.get(&service);
        if unchanged(before, &object) {
            return true;
        }
        if before.is_none() {
            let federation = object.status.federation.as_ref();
            if let Some((host, Ok(address))) = federation.map(|one| (&one.hostname, one.address.parse())) {
                self.world.addresses.restore(host, address);
                self.world.hosts.insert(host.clone(), service.clone());
                dirty.remembered_hosts.insert(host.clone());
            }
            let applied = object.status.applied_traffic_policies.clone();
            self.world.acceptances.entry(service.clone()).or_default().applied = applied;
        }
        if before.is_none_or(|before| before.spec.kube_service.labels != object.spec.kube_service.labels) {
            dirty.attached.insert(service.clone());
        }
        self.mark_selecting(&service, dirty);
        self.world.inputs.destinations.insert(service, object);
        false
    }

    fn remove(&mut self, key: InputKey, dirty: &mut Dirty) {
        self.mark_named(&key, dirty);
        match &key {
            InputKey::VirtualDestination(_) => self.mark_rivals(&key, dirty),
            InputKey::Destination(service) => {
                self.mark_selecting(service, dirty);
                dirty.attached.insert(service.clone());
            }
            InputKey::Foreign(foreign) => return self.remove_foreign(foreign, dirty),
            _ => {}
        }
        let inputs = &mut self.world.inputs;
        let known = match &key {
            InputKey::Cluster(name) => inputs.clusters.remove(name).is_some(),
            InputKey::Mesh(reference) => inputs.meshes.remove(reference).is_some(),
            InputKey::Workload(reference) => inputs.workloads.remove(reference).is_some(),
            InputKey::Destination(service) => inputs.destinations.remove(service).is_some(),
            InputKey::VirtualMesh(reference) => inputs.virtual_meshes.remove(reference).is_some(),
            InputKey::TrafficPolicy(reference) => inputs.traffic_policies.remove(reference).is_some(),
            InputKey::VirtualDestination(reference) => inputs.virtual_destinations.remove(reference).is_some(),
            InputKey::AccessPolicy(reference) => inputs.access_policies.remove(reference).is_some(),
            InputKey::Foreign(_) => false,
        };
        if known {
            self.mark(&key, dirty);
        }
        if let InputKey::Cluster(name) = &key {
            for unit in self.board.forget(name) {
                self.mark_progress(&unit, dirty);
            }
        }
    }

    /// Marks what depends on an input that is there, is another, or is gone.
    fn mark(&mut self, key: &InputKey, dirty: &mut Dirty) {
        match key {
            InputKey::Cluster(name) => self.mark_cluster(name, dirty),
            InputKey::Mesh(reference) => self.mark_mesh(reference, dirty),
            InputKey::Workload(_) => {}
            InputKey::Destination(service) => {
                dirty.federation.insert(service.clone());
                self.mark_known(service, dirty);
            }
            InputKey::VirtualMesh(reference) => {
                dirty.memberships = true;
                self.mark_named(key, dirty);
                dirty.virtual_meshes.insert(reference.clone());
                dirty.statuses.insert(Subject::VirtualMesh(reference.clone()));
            }
            InputKey::TrafficPolicy(reference) => {
                dirty.traffic.insert(reference.clone());
                dirty.statuses.insert(Subject::TrafficPolicy(reference.clone()));
            }
            InputKey::VirtualDestination(reference) => {
                dirty.plans.insert(reference.clone());
                self.mark_rivals(key, dirty);
            }
            InputKey::AccessPolicy(reference) => {
                dirty.access.insert(reference.clone());
                dirty.statuses.insert(Subject::AccessPolicy(reference.clone()));
            }
            InputKey::Foreign(foreign) => self.mark_foreign(foreign, dirty),
        }
    }

    fn mark_cluster(&self, name: &str, dirty: &mut Dirty) {
        let here = self.world.inputs.destinations.keys().filter(|service| service.cluster_name == name);
        for service in here.cloned().collect::<Vec<_>>() {
            dirty.federation.insert(service.clone());
            self.mark_known(&service, dirty);
        }
    }

    /// Marks the meshes that a virtual mesh names, as it is now: also one that is not valid may deny calls in them.
    fn mark_named(&self, key: &InputKey, dirty: &mut Dirty) {
        let InputKey::VirtualMesh(reference) = key else { return };
        let named = self.world.inputs.virtual_meshes.get(reference);
        dirty.changed_meshes.extend(named.into_iter().flat_map(|checked| checked.object.spec.meshes.iter().cloned()));
    }

    /// A mesh has what its destinations are reached by, and how its callers are known.
    fn mark_mesh(&self, reference: &ObjectRef, dirty: &mut Dirty) {
        dirty.memberships = true;
        dirty.changed_meshes.insert(reference.clone());
        dirty.plans.extend(self.world.inputs.virtual_destinations.keys().cloned());
        dirty.destinations.extend(self.world.access_on.keys().cloned());
    }

    /// Marks virtual destinations that may have a destination as their backend, as it is now.
    fn mark_selecting(&self, service: &ClusterObjectRef, dirty: &mut Dirty) {
        for (reference, checked) in &self.world.inputs.virtual_destinations {
            let spec = &checked.object.spec;
            let named = spec.static_backends.iter().flat_map(|backends| &backends.destinations);
            // Whether a selector selects it may change with its labels; to look again costs little.
            if spec.localized.is_some() || named.into_iter().any(|backend| backend.kube_service == *service) {
                dirty.plans.insert(reference.clone());
            }
        }
    }

    /// Of several virtual destinations with the same host only one holds it.
    fn mark_rivals(&self, key: &InputKey, dirty: &mut Dirty) {
        let InputKey::VirtualDestination(reference) = key else { return };
        let all = &self.world.inputs.virtual_destinations;
        let Some(own) = all.get(reference) else { return };
        let rivals = all.iter().filter(|(_, other)| other.object.spec.hostname == own.object.spec.hostname);
        dirty.plans.extend(rivals.map(|(rival, _)| rival.clone()));
    }

    fn written(&mut self, outcome: Outcome, dirty: &mut Dirty) {
        let Outcome { unit, cluster, key, error } = outcome;
        if !self.translations.contains_key(&unit) {
            // Nothing is wanted of it any more; there may be nobody to tell.
            return;
        }
        let place = (cluster, key);
        let changed = match error {
            Some(error) => {
                let failures = self.failures.entry(unit.clone()).or_default();
                failures.insert(place, error.clone()).as_ref() != Some(&error)
            }
            None => {
                let failures = self.failures.get_mut(&unit);
                let healed = failures.is_some_and(|failures| failures.remove(&place).is_some());
                self.failures.retain(|_, failures| !failures.is_empty());
                healed
            }
        };
        if changed {
            // Also those of policies that need it, such as for a subset.
            self.mark_progress(&unit, dirty);
        }
    }

    /// Marks everybody whose status tells about a unit.
    pub(super) fn mark_statuses(&self, unit: &Unit, dirty: &mut Dirty) {
        match unit {
            Unit::Destination(service) => {
                dirty.statuses.insert(Subject::Destination(service.clone()));
                let traffic = self.world.traffic_on.get(service).into_iter().flatten();
                dirty.statuses.extend(traffic.map(|policy| Subject::TrafficPolicy(policy.clone())));
                let access = self.world.access_on.get(service).into_iter().flatten();
                dirty.statuses.extend(access.map(|policy| Subject::AccessPolicy(policy.clone())));
            }
            Unit::Mesh(reference) => {
                dirty.statuses.insert(Subject::Mesh(reference.clone()));
                let all = self.world.inputs.virtual_meshes.iter();
                let naming = all.filter(|(_, checked)| checked.object.spec.meshes.contains(reference));
                dirty.statuses.extend(naming.map(|(one, _)| Subject::VirtualMesh(one.clone())));
            }
            Unit::VirtualDestination(reference) => {
                dirty.statuses.insert(Subject::VirtualDestination(reference.clone()));
            }
        }
    }

    /// Marks everybody whose status tells how far a unit got.
    pub(super) fn mark_progress(&self, unit: &Unit, dirty: &mut Dirty) {
        self.mark_statuses(unit, dirty);
        let target = match unit {
            Unit::Destination(service) => {
                let federated = self.world.federated.get(service);
                dirty.statuses.extend(federated.map(|one| Subject::VirtualMesh(one.virtual_mesh.clone())));
                Target::Service(service.clone())
            }
            Unit::VirtualDestination(reference) => Target::Virtual(reference.clone()),
            Unit::Mesh(_) => return,
        };
        let requiring = self.world.required_of.get(&target).into_iter().flat_map(BTreeMap::keys);
        let policies = requiring.filter_map(|service| self.world.traffic_on.get(service)).flatten();
        dirty.statuses.extend(policies.cloned().map(Subject::TrafficPolicy));
    }

    fn put_foreign(&mut self, foreign: &Foreign, hosts: Vec<String>) {
        let inputs = &mut self.world.inputs;
        for host in &hosts {
            inputs.foreign_hosts.entry(host.clone()).or_default().insert(foreign.clone());
        }
        inputs.foreign.entry(foreign.key.clone()).or_default().insert(foreign.cluster.clone(), hosts);
    }

    fn remove_foreign(&mut self, foreign: &Foreign, dirty: &mut Dirty) {
        if !self.world.inputs.foreign.get(&foreign.key).is_some_and(|of| of.contains_key(&foreign.cluster)) {
            return;
        }
        self.mark_foreign(foreign, dirty);
        let inputs = &mut self.world.inputs;
        let Some(clusters) = inputs.foreign.get_mut(&foreign.key) else { return };
        let hosts = clusters.remove(&foreign.cluster).unwrap_or_default();
        inputs.foreign.retain(|_, clusters| !clusters.is_empty());
        for host in hosts {
            if let Some(all) = inputs.foreign_hosts.get_mut(&host) {
                all.remove(foreign);
                if all.is_empty() {
                    inputs.foreign_hosts.remove(&host);
                }
            }
        }
    }

    /// Marks whoever wants to write where a foreign object is, or for its hosts.
    fn mark_foreign(&self, foreign: &Foreign, dirty: &mut Dirty) {
        let hosts = self.world.inputs.foreign.get(&foreign.key).and_then(|of| of.get(&foreign.cluster));
        let hosts = hosts.into_iter().flatten().chain([&foreign.key.name]);
        let virtuals = self.world.inputs.virtual_destinations.iter();
        let mut services = Vec::new();
        for host in hosts {
            services.extend(self.world.hosts.get(host).cloned());
            services.extend(self.local(&foreign.cluster, host));
            for (reference, checked) in virtuals.clone() {
                let landing = format!("{}.{}.", reference.name, reference.namespace);
                if checked.object.spec.hostname == *host || host.starts_with(&landing) {
                    dirty.virtual_destinations.insert(reference.clone());
                }
            }
        }
        let ObjectKey { kind, namespace, name } = &foreign.key;
        services.push(ClusterObjectRef::new(name, namespace, &foreign.cluster));
        for service in services.into_iter().filter(|service| self.world.inputs.destinations.contains_key(service)) {
            self.mark_known(&service, dirty);
        }
        let of_mesh = [
            OutputKind::AuthorizationPolicy,
            OutputKind::Gateway,
            OutputKind::IssuedCertificate,
            OutputKind::WorkloadRestart,
        ];
        if of_mesh.contains(kind) {
            let meshes = self.world.inputs.meshes.iter();
            let here = meshes.filter(|(_, mesh)| mesh.spec.istio.installation.cluster == foreign.cluster);
            dirty.meshes.extend(here.map(|(reference, _)| reference.clone()));
        }
    }

    /// The Service of a cluster that a local host is the name of.
    fn local(&self, cluster: &str, host: &str) -> Option<ClusterObjectRef> {
        let rest = host.strip_suffix(self.world.domain(cluster))?.strip_suffix(".svc.")?;
        let (name, namespace) = rest.split_once('.')?;
        Some(ClusterObjectRef::new(name, namespace, cluster))
    }
}

/// Whether an object says the same as before, its status aside.
fn unchanged<R: Resource>(before: Option<&Object<R>>, now: &Object<R>) -> bool {
    before.is_some_and(|before| {
        before.spec == now.spec
            && before.metadata.generation == now.metadata.generation
            && before.metadata.name == now.metadata.name
            && before.metadata.creation_timestamp == now.metadata.creation_timestamp
    })
}

/// Whether something changed.
fn put_checked<R: Resource>(all: &mut BTreeMap<ObjectRef, Checked<R>>, object: Object<R>, hub_namespace: &str) -> bool {
    let reference = object.reference();
    if unchanged(all.get(&reference).map(|checked| &checked.object), &object) {
        return false;
    }
    let errors = match object.manifest() {
        Ok(manifest) => mesh_types::hub::validate_in(&manifest, hub_namespace).err().unwrap_or_default(),
        Err(error) => vec![mesh_types::FieldError { path: "spec".to_owned(), message: error.to_string() }],
    };
    let errors = errors.iter().map(ToString::to_string).collect();
    all.insert(reference, Checked { object, errors });
    true
}
