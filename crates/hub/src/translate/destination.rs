//! What follows from a destination: how its own cluster, its gateways and other clusters see it.

use mesh_types::hub::traffic_policy::TlsMode;
use mesh_types::hub::virtual_mesh::FederationConfig;
use mesh_types::hub::{ClusterObjectRef, Destination, Kind, Mesh, Object};
use serde::Serialize;

use super::traffic_policy::{self, Joined};
use super::{Translation, access_policy, destination_rule, federation, gateway, parent, virtual_service};
use crate::output::{Clusters, Emitted, ObjectKey, OutputKind};
use crate::world::{Federated, Target, World};

/// An object's name, the host that it is for, and the clusters it belongs into.
pub type Place = (ObjectKey, String, Clusters);

/// Everything that follows from a destination.
pub fn translate(world: &World, service: &ClusterObjectRef) -> Translation {
    let Some(destination) = world.inputs.destinations.get(service) else { return Translation::default() };
    let joined = traffic_policy::joined(world, service);
    let parents = vec![parent(Kind::Destination, &destination.reference())];
    let mut unit = Unit { world, destination: &destination.spec, joined, parents, translation: Translation::default() };
    unit.because_of_policies(Unit::own_cluster);
    unit.access();
    if let (Some(federated), Some(mesh)) = (world.federated.get(service), world.mesh_of(&destination.spec)) {
        unit.federated(federated, mesh);
    }
    unit.translation.merged()
}

/// Where VirtualServices for a destination stand.
pub fn route_places(world: &World, service: &ClusterObjectRef) -> Vec<Place> {
    places(world, service, OutputKind::VirtualService)
}

/// Where DestinationRules for a destination stand.
pub fn rule_places(world: &World, service: &ClusterObjectRef) -> Vec<Place> {
    places(world, service, OutputKind::DestinationRule)
}

fn places(world: &World, service: &ClusterObjectRef, kind: OutputKind) -> Vec<Place> {
    let local = ObjectKey::new(kind, &service.namespace, &service.name);
    let mut places = vec![(local, world.local_host(service), Clusters::one(&service.cluster_name))];
    if let Some(federated) = world.federated.get(service) {
        let parts = world.by_root_namespace(&federated.virtual_mesh, &federated.clients);
        places.extend(parts.into_iter().map(|(namespace, clusters)| {
            (ObjectKey::new(kind, &namespace, &federated.hostname), federated.hostname.clone(), clusters)
        }));
    }
    places
}

struct Unit<'a> {
    world: &'a World,
    destination: &'a Destination,
    joined: Joined,
    /// What everything follows from that is emitted at present.
    parents: Vec<String>,
    translation: Translation,
}

impl Unit<'_> {
    fn service(&self) -> &ClusterObjectRef {
        &self.destination.kube_service.reference
    }

    /// Emits an object, but not where a foreign one is in the way.
    fn emit<S: Serialize>(&mut self, (key, host, clusters): Place, spec: &S) {
        let foreign = self.world.in_the_way(&key, &host, &clusters);
        let clusters = clusters.without(foreign.iter().map(|foreign| foreign.cluster.as_str()));
        let problems = foreign.iter().map(|foreign| format!("{foreign} is not the hub's, and stands in the way"));
        self.translation.problems.extend(problems);
        if !clusters.is_empty() {
            let object = self.world.renderer().render(key, &self.parents, spec);
            self.translation.objects.push(Emitted { object, clusters });
        }
    }

    /// Emits objects that follow from some more.
    fn because_of(&mut self, more: &[String], emit: impl FnOnce(&mut Self)) {
        let before = self.parents.len();
        self.parents.extend_from_slice(more);
        emit(self);
        self.parents.truncate(before);
    }

    fn because_of_policies(&mut self, emit: impl FnOnce(&mut Self)) {
        let policies = self.joined.parents.clone();
        self.because_of(&policies, emit);
    }

    fn own_cluster(&mut self) {
        let world = self.world;
        let cluster = self.service().cluster_name.clone();
        if let Some(spec) = virtual_service::translate(world, self.destination, &self.joined.groups, &cluster)
            && let Some(place) = route_places(world, self.service()).into_iter().next()
        {
            self.emit(place, &spec);
        }
        let target = Target::Service(self.service().clone());
        let subsets = world.subsets_of(&target);
        if let Some(place) = rule_places(world, self.service()).into_iter().next()
            && let Some(spec) = destination_rule::local(&place.1, &self.joined.connections, subsets)
        {
            self.emit(place, &spec);
        }
    }

    fn access(&mut self) {
        let judged = access_policy::translate(self.world, self.destination);
        let Some(spec) = judged.resource else { return };
        let service = self.service();
        let key = ObjectKey::new(OutputKind::AuthorizationPolicy, &service.namespace, &service.name);
        let place = (key, String::new(), Clusters::one(&service.cluster_name));
        self.because_of(&judged.parents, |unit| unit.emit(place, &spec));
    }

    fn federated(&mut self, federated: &Federated, mesh: &Object<Mesh>) {
        let world = self.world;
        let Some(virtual_mesh) = world.inputs.virtual_meshes.get(&federated.virtual_mesh) else { return };
        let Some(config) = &virtual_mesh.object.spec.federation else { return };
        if self.destination.kube_service.tcp_ports().next().is_none() {
            return self.translation.problems.push(format!("{} has no TCP port to be federated by", self.service()));
        }
        if world.addresses.of(&federated.hostname).is_none() {
            let problem = format!("no address is free for {}: the pool is used up", federated.hostname);
            return self.translation.problems.push(problem);
        }
        if self.destination.kube_service.without_proxies && !config.flat_network {
            let problem =
                format!("{} has no proxies, and nobody else takes what a gateway passes through", self.service());
            return self.translation.problems.push(problem);
        }
        let gateways = gateway::selected(&mesh.spec, config, &self.service().cluster_name);
        if gateways.is_empty() && !config.flat_network {
            return self.translation.problems.push(format!("mesh {} has no gateway", mesh.reference()));
        }
        let because = [parent(Kind::VirtualMesh, &federated.virtual_mesh)];
        self.because_of(&because, |unit| {
            unit.for_callers(federated, mesh, config);
            if !config.flat_network {
                unit.for_gateways(federated, gateway::namespaces(&gateways));
            }
            unit.because_of_policies(|unit| unit.routes_elsewhere(federated));
        });
    }

    fn for_callers(&mut self, federated: &Federated, mesh: &Object<Mesh>, config: &FederationConfig) {
        let world = self.world;
        let target = Target::Service(self.service().clone());
        let entry = federation::remote_entry(world, federated, self.destination, mesh, config);
        let mode = match self.destination.kube_service.without_proxies {
            true => TlsMode::Disable,
            false => TlsMode::IstioMutual,
        };
        let rule = destination_rule::remote(
            &federated.hostname,
            mode,
            &self.joined.connections,
            config.tcp_keepalive.as_ref(),
            world.subsets_of(&target),
        );
        for (key, host, clusters) in rule_places(world, self.service()).into_iter().skip(1) {
            let at = ObjectKey { kind: OutputKind::ServiceEntry, ..key.clone() };
            self.emit((at, host.clone(), clusters.clone()), &entry);
            self.because_of_policies(|unit| unit.emit((key, host, clusters), &rule));
        }
    }

    fn for_gateways(&mut self, federated: &Federated, namespaces: Vec<String>) {
        let (world, host) = (self.world, &federated.hostname);
        let service = &self.destination.kube_service;
        let home = Clusters::one(&service.reference.cluster_name);
        let key = ObjectKey::new(OutputKind::ServiceEntry, &service.reference.namespace, host);
        let entry = federation::local_entry(host, service, namespaces.clone());
        self.emit((key, host.clone(), home.clone()), &entry);
        let target = Target::Service(service.reference.clone());
        let rule = destination_rule::at_gateway(host, &self.joined.connections, world.subsets_of(&target));
        let Some(rule) = rule else { return };
        for namespace in namespaces {
            let key = ObjectKey::new(OutputKind::DestinationRule, &namespace, host);
            self.because_of_policies(|unit| unit.emit((key, host.clone(), home.clone()), &rule));
        }
    }

    /// Callers in most clusters see the same routes. Others have a target in their own cluster, or are named by a policy.
    fn routes_elsewhere(&mut self, federated: &Federated) {
        if self.joined.groups.is_empty() {
            return;
        }
        let special = self.special_clusters();
        for (key, host, clusters) in route_places(self.world, self.service()).into_iter().skip(1) {
            let own = special.iter().map(String::as_str).filter(|cluster| clusters.contains(cluster));
            let own: Vec<_> = own.collect();
            let others = clusters.without(own.iter().copied());
            let translate =
                |cluster: &str| virtual_service::translate(self.world, self.destination, &self.joined.groups, cluster);
            let common = others.iter().next().and_then(translate);
            let mut like_others = Vec::new();
            let mut different = Vec::new();
            for cluster in own {
                match translate(cluster) {
                    spec if spec == common && !others.is_empty() => like_others.push(cluster),
                    Some(spec) => different.push((cluster, spec)),
                    None => {}
                }
            }
            let unlike = special.iter().map(String::as_str).filter(|cluster| !like_others.contains(cluster));
            let others = if others.is_empty() { others } else { clusters.without(unlike) };
            debug_assert_eq!(host, federated.hostname);
            if let Some(spec) = common {
                self.emit((key.clone(), host.clone(), others), &spec);
            }
            for (cluster, spec) in different {
                self.emit((key.clone(), host.clone(), Clusters::one(cluster)), &spec);
            }
        }
    }

    fn special_clusters(&self) -> std::collections::BTreeSet<String> {
        let groups = &self.joined.groups;
        let shifts = groups.iter().filter_map(|group| group.shift.as_ref()).flat_map(|shift| &shift.destinations);
        let targets =
            shifts.filter_map(|target| target.kube_service.as_ref()).map(|target| target.cluster_name.clone());
        let mirrors = groups.iter().filter_map(|group| group.mirror.as_ref());
        let mirrors = mirrors.map(|mirror| mirror.kube_service.cluster_name.clone());
        let sources = groups.iter().flat_map(|group| group.clusters().map(str::to_owned));
        targets.chain(mirrors).chain(sources).collect()
    }
}
