//! One host over destinations of several clusters.
//!
//! Every cluster that knows it has a ServiceEntry with the workloads of its own backend, and the gateways of the others. Who
//! takes over for whom is said by levels: labels on the endpoints that `failoverPriority` ranks. Outlier detection is what
//! makes the proxies leave a level.
//!
//! A gateway that passed calls to the host itself on would choose among all backends again, and might send them back. So
//! calls carry the server name of another host, the landing, which exists in the backend's cluster only for its gateways, and
//! has that backend only.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mesh_types::destination_rule::{
    DestinationRule, LoadBalancer, LocalityLbSetting, Subset as RuleSubset, TrafficPolicy,
};
use mesh_types::hub::destination::{KubeService, ServicePort};
use mesh_types::hub::names::LABEL_LEVEL;
use mesh_types::hub::selector::selects_destination;
use mesh_types::hub::traffic_policy::TlsMode;
use mesh_types::hub::virtual_mesh::FederationConfig;
use mesh_types::hub::{ClusterObjectRef, Kind, Mesh, Object, ObjectRef, VirtualDestination};
use mesh_types::names::{LABEL_ZONE, sni_name};
use mesh_types::service_entry::{EntryPort, LabelSelector, Location, Resolution, ServiceEntry};
use mesh_types::workload_entry::WorkloadEntry;
use serde::Serialize;

use super::{Translation, destination_rule, federation, gateway, parent, subset};
use crate::output::{Clusters, Emitted, ObjectKey, OutputKind};
use crate::world::{Plan, Subset, Target, World};

/// How long connecting to a backend may take where lost backends are to be left: one behind a cut link neither answers nor refuses,
/// and counts as lost when connecting has failed. Istio's 10 s would be the length of every such gap; this is enough for TCP and
/// TLS between continents.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Label that marks landings below the suffix; no host of a virtual destination may have it there.
const LANDING_MARK: &str = "vd";

/// Settles who knows a virtual destination, and what its backends are.
pub fn plan(world: &World, reference: &ObjectRef) -> Plan {
    let Some(checked) = world.inputs.virtual_destinations.get(reference) else { return Plan::default() };
    let mut plan = Plan { errors: checked.errors.clone(), ..Plan::default() };
    if plan.errors.is_empty() {
        let spec = &checked.object.spec;
        clients(world, spec, &mut plan);
        if let Some(virtual_mesh) = plan.virtual_mesh.clone() {
            host(world, reference, spec, &virtual_mesh, &mut plan);
            backends(world, spec, &virtual_mesh, &mut plan);
        }
    }
    plan
}

fn clients(world: &World, spec: &VirtualDestination, plan: &mut Plan) {
    let memberships = &world.memberships;
    if let Some(reference) = &spec.virtual_mesh {
        match memberships.members.get(reference) {
            Some(members) => {
                plan.clients = Some(Clusters::of(members.clusters.clone()));
                plan.virtual_mesh = Some(reference.clone());
            }
            None => plan.errors.push(format!("VirtualMesh {reference} is not known, or has no members")),
        }
        return;
    }
    let meshes = spec.mesh_list.iter().flat_map(|list| &list.meshes);
    let mut of: BTreeSet<&ObjectRef> = BTreeSet::new();
    let mut clusters = BTreeSet::new();
    for mesh in meshes {
        match (memberships.of_mesh.get(mesh), world.inputs.meshes.get(mesh)) {
            (Some(virtual_mesh), Some(known)) => {
                of.insert(virtual_mesh);
                clusters.insert(known.spec.istio.installation.cluster.clone());
            }
            _ => plan.errors.push(format!("mesh {mesh} is not known, or in no VirtualMesh")),
        }
    }
    match of.into_iter().collect::<Vec<_>>().as_slice() {
        [one] => {
            plan.virtual_mesh = Some((*one).clone());
            plan.clients = Some(clusters.into_iter().collect());
        }
        [] => {}
        several => {
            let names: Vec<_> = several.iter().map(ToString::to_string).collect();
            plan.errors.push(format!("its meshes are of different VirtualMeshes: {}", names.join(", ")));
        }
    }
}

fn host(world: &World, reference: &ObjectRef, spec: &VirtualDestination, virtual_mesh: &ObjectRef, plan: &mut Plan) {
    let host = &spec.hostname;
    let Some(federation) = federation_of(world, virtual_mesh) else {
        return plan
            .errors
            .push(format!("VirtualMesh {virtual_mesh} does not federate, so no other cluster could be reached"));
    };
    let suffix = federation.suffix();
    let Some(below) = host.strip_suffix(suffix).and_then(|rest| rest.strip_suffix('.')) else {
        return plan
            .errors
            .push(format!("hostname {host} does not end in .{suffix}, so gateways would not pass it through"));
    };
    if below.split('.').any(|label| [federation::SERVICE_MARK, LANDING_MARK].contains(&label)) {
        plan.errors
            .push(format!("hostname {host} has a label `svc` or `vd`, which are kept for hosts that the hub makes"));
    }
    let mut rivals = world.inputs.virtual_destinations.iter().filter(|(other, checked)| {
        *other != reference && checked.errors.is_empty() && checked.object.spec.hostname == *host
    });
    let created = |object: &Object<VirtualDestination>| object.metadata.creation_timestamp.clone().unwrap_or_default();
    let own = world.inputs.virtual_destinations.get(reference).map(|checked| created(&checked.object));
    let older = rivals.find(|(other, checked)| (Some(created(&checked.object)), *other) < (own.clone(), reference));
    if let Some((other, _)) = older {
        plan.errors.push(format!("hostname {host} is that of VirtualDestination {other}, which is older"));
    }
}

fn backends(world: &World, spec: &VirtualDestination, virtual_mesh: &ObjectRef, plan: &mut Plan) {
    if let Some(named) = &spec.static_backends {
        plan.backends = named.destinations.iter().map(|backend| backend.kube_service.clone()).collect();
    } else if let Some(localized) = &spec.localized {
        let member = |mesh| world.memberships.of_mesh.get(mesh) == Some(virtual_mesh);
        let selected = world.inputs.destinations.iter().filter(|(service, destination)| {
            let labels = &destination.spec.kube_service.labels;
            member(&destination.spec.mesh) && selects_destination(&localized.destination_selectors, service, labels)
        });
        plan.backends = selected.map(|(service, _)| service.clone()).collect();
        for pair in plan.backends.windows(2).filter(|pair| pair[0].cluster_name == pair[1].cluster_name) {
            plan.errors.push(format!("{} and {} are both selected, and of one cluster", pair[0], pair[1]));
        }
        if plan.backends.is_empty() {
            plan.warnings.push("no destination is selected".to_owned());
        }
    }
    for backend in &plan.backends {
        match world.inputs.destinations.get(backend) {
            None => plan.errors.push(format!("destination {backend} is not known")),
            Some(known) if world.memberships.of_mesh.get(&known.spec.mesh) != Some(virtual_mesh) => {
                plan.errors.push(format!("destination {backend} is not of VirtualMesh {virtual_mesh}"));
            }
            Some(known) if known.spec.kube_service.without_proxies => {
                plan.errors.push(format!("destination {backend} has no proxies, and nobody else takes mutual TLS"));
            }
            Some(known) if port_of(spec, &known.spec.kube_service).is_none() => {
                plan.errors.push(format!("destination {backend} has no port {}", wanted_port(spec)));
            }
            Some(_) => {}
        }
    }
}

fn federation_of<'a>(world: &'a World, virtual_mesh: &ObjectRef) -> Option<&'a FederationConfig> {
    world.inputs.virtual_meshes.get(virtual_mesh)?.object.spec.federation.as_ref()
}

/// The port of a backend's Service that calls go to.
fn port_of<'a>(spec: &VirtualDestination, service: &'a KubeService) -> Option<&'a ServicePort> {
    let port = &spec.port;
    if !port.target_name.is_empty() {
        return service.tcp_ports().find(|one| one.name == port.target_name);
    }
    let number = port.target_number.unwrap_or(port.number);
    service.tcp_ports().find(|one| one.port == number)
}

fn wanted_port(spec: &VirtualDestination) -> String {
    let port = &spec.port;
    if port.target_name.is_empty() {
        port.target_number.unwrap_or(port.number).to_string()
    } else {
        port.target_name.clone()
    }
}

/// Everything that follows from a virtual destination.
pub fn translate(world: &World, reference: &ObjectRef) -> Translation {
    let none = Translation::default();
    let (Some(checked), Some(plan)) = (world.inputs.virtual_destinations.get(reference), world.plans.get(reference))
    else {
        return none;
    };
    let (Some(clients), Some(virtual_mesh)) = (&plan.clients, &plan.virtual_mesh) else { return none };
    let Some(virtual_mesh) = world.inputs.virtual_meshes.get(virtual_mesh) else { return none };
    let Some(config) = &virtual_mesh.object.spec.federation else { return none };
    if !plan.errors.is_empty() {
        return none;
    }
    let parents =
        [parent(Kind::VirtualDestination, reference), parent(Kind::VirtualMesh, &virtual_mesh.object.reference())];
    let backends = plan.backends.iter().filter_map(|service| Backend::of(world, service)).collect();
    let target = Target::Virtual(reference.clone());
    let mut unit = Unit {
        world,
        spec: &checked.object.spec,
        reference,
        config,
        backends,
        subsets: world.subsets_of(&target),
        parents,
        translation: none,
    };
    unit.landings();
    for cluster in clients.iter() {
        unit.client(cluster);
    }
    unit.translation.merged()
}

struct Backend<'a> {
    service: &'a KubeService,
    mesh: &'a Object<Mesh>,
}

impl<'a> Backend<'a> {
    fn of(world: &'a World, service: &ClusterObjectRef) -> Option<Self> {
        let destination = &world.inputs.destinations.get(service)?.spec;
        Some(Self { service: &destination.kube_service, mesh: world.mesh_of(destination)? })
    }

    fn cluster(&self) -> &'a str {
        &self.service.reference.cluster_name
    }
}

struct Unit<'a> {
    world: &'a World,
    spec: &'a VirtualDestination,
    reference: &'a ObjectRef,
    config: &'a FederationConfig,
    backends: Vec<Backend<'a>>,
    subsets: BTreeSet<&'a Subset>,
    parents: [String; 2],
    translation: Translation,
}

impl Unit<'_> {
    fn emit<S: Serialize>(&mut self, key: ObjectKey, host: &str, cluster: &str, spec: &S) {
        let clusters = Clusters::one(cluster);
        let foreign = self.world.in_the_way(&key, host, &clusters);
        if foreign.is_empty() {
            let object = self.world.renderer().render(key, &self.parents, spec);
            self.translation.objects.push(Emitted { object, clusters });
        }
        let problems = foreign.iter().map(|foreign| format!("{foreign} is not the hub's, and stands in the way"));
        self.translation.problems.extend(problems);
    }

    fn landing(&self) -> String {
        format!("{}.{}.{LANDING_MARK}.{}", self.reference.name, self.reference.namespace, self.config.suffix())
    }

    fn port_name(&self) -> String {
        self.spec.port.protocol.clone()
    }

    fn ports(&self, target: Option<u32>) -> Vec<EntryPort> {
        let number = u32::from(self.spec.port.number);
        vec![EntryPort {
            number,
            protocol: self.spec.port.protocol.to_uppercase(),
            name: self.port_name(),
            target_port: target.filter(|target| *target != number),
        }]
    }

    /// What the gateways of backends pass calls from other clusters to.
    fn landings(&mut self) {
        if self.config.flat_network {
            return;
        }
        let host = self.landing();
        for index in 0..self.backends.len() {
            let Backend { service, mesh } = self.backends[index];
            let Some(port) = port_of(self.spec, service) else { continue };
            let cluster = service.reference.cluster_name.as_str();
            let gateways = gateway::selected(&mesh.spec, self.config, cluster);
            let namespaces = gateway::namespaces(&gateways);
            if namespaces.is_empty() {
                self.translation.problems.push(format!("mesh {} has no gateway", mesh.reference()));
                continue;
            }
            let by_label = !service.workload_selector_labels.is_empty() && port.target_port.is_some();
            let selector = LabelSelector { labels: service.workload_selector_labels.clone() };
            let entry = ServiceEntry {
                hosts: vec![host.clone()],
                ports: self.ports(port.target_port.filter(|_| by_label).map(u32::from)),
                location: Location::MeshInternal,
                resolution: Resolution::Static,
                endpoints: if by_label { Vec::new() } else { self.direct(service, port) },
                workload_selector: by_label.then_some(selector),
                export_to: namespaces.clone(),
                ..ServiceEntry::default()
            };
            let key = ObjectKey::new(OutputKind::ServiceEntry, &service.reference.namespace, &host);
            self.emit(key, &host, cluster, &entry);
            if self.subsets.is_empty() {
                continue;
            }
            let rule = DestinationRule {
                host: host.clone(),
                subsets: subset::entries(self.subsets.iter().copied()),
                export_to: vec![".".to_owned()],
                ..DestinationRule::default()
            };
            for namespace in namespaces {
                self.emit(ObjectKey::new(OutputKind::DestinationRule, &namespace, &host), &host, cluster, &rule);
            }
        }
    }

    fn client(&mut self, cluster: &str) {
        let Some((_, mesh)) = self.world.mesh_in(cluster) else { return };
        let namespace = mesh.spec.istio.installation.namespace.clone();
        let host = self.spec.hostname.clone();
        let Some(address) = self.world.addresses.of(&host) else {
            return self.translation.problems.push(format!("no address is free for {host}: the pool is used up"));
        };
        let levels = self.levels(&mesh.spec.istio.installation.region);
        let last = levels.iter().max().copied().unwrap_or_default();
        let mut endpoints = Vec::new();
        for (backend, level) in self.backends.iter().zip(&levels) {
            for mut endpoint in self.endpoints(backend, cluster) {
                for step in 1..=last - level {
                    endpoint.labels.insert(format!("{LABEL_LEVEL}{step}"), "true".to_owned());
                }
                endpoints.push(endpoint);
            }
        }
        let identities = self.backends.iter().flat_map(|one| federation::identities(&one.mesh.spec, one.service));
        let entry = ServiceEntry {
            hosts: vec![host.clone()],
            addresses: vec![address.to_string()],
            ports: self.ports(None),
            location: Location::MeshInternal,
            resolution: federation::resolution(&endpoints),
            endpoints,
            subject_alt_names: identities.collect::<BTreeSet<_>>().into_iter().collect(),
            ..ServiceEntry::default()
        };
        self.emit(ObjectKey::new(OutputKind::ServiceEntry, &namespace, &host), &host, cluster, &entry);
        let rule = self.rule(last);
        self.emit(ObjectKey::new(OutputKind::DestinationRule, &namespace, &host), &host, cluster, &rule);
    }

    /// Level of each backend for callers of a region, from 0: where calls go first.
    fn levels(&self, region: &str) -> Vec<usize> {
        if self.spec.static_backends.is_some() {
            return (0..self.backends.len()).collect();
        }
        let directives = self.spec.localized.iter().flat_map(|localized| &localized.failover_directives);
        let Some(directive) = directives.into_iter().find(|directive| directive.from.region == region) else {
            return vec![0; self.backends.len()];
        };
        let of_region = |own: &str| {
            if own == region {
                return 0;
            }
            let step = directive.to.iter().position(|place| place.region == own);
            step.unwrap_or(directive.to.len()) + 1
        };
        let levels: Vec<_> =
            self.backends.iter().map(|backend| of_region(&backend.mesh.spec.istio.installation.region)).collect();
        // Consecutive numbers, so that no label stands for a level that nobody has.
        let used: BTreeSet<_> = levels.iter().copied().collect();
        levels.iter().map(|level| used.iter().position(|one| one == level).unwrap_or_default()).collect()
    }

    fn endpoints(&self, backend: &Backend<'_>, cluster: &str) -> Vec<WorkloadEntry> {
        let Some(port) = port_of(self.spec, backend.service) else { return Vec::new() };
        if backend.cluster() == cluster || self.config.flat_network {
            return self.direct(backend.service, port);
        }
        let groups: BTreeSet<_> = backend.service.endpoints.iter().map(|one| (&one.labels, &one.locality)).collect();
        let mut endpoints = Vec::new();
        for selected in gateway::selected(&backend.mesh.spec, self.config, backend.cluster()) {
            for address in &selected.gateway.external_addresses {
                endpoints.extend(groups.iter().map(|(labels, locality)| WorkloadEntry {
                    address: address.clone(),
                    ports: BTreeMap::from([(self.port_name(), u32::from(selected.port.external_number))]),
                    labels: federation::with_tls_mode(labels),
                    locality: (*locality).clone(),
                    ..WorkloadEntry::default()
                }));
            }
        }
        endpoints
    }

    fn direct(&self, service: &KubeService, port: &ServicePort) -> Vec<WorkloadEntry> {
        let own = |endpoint: &mesh_types::hub::destination::Endpoint| {
            let mut entry = federation::direct(service, endpoint);
            let number = entry.ports.get(&super::port::name(port)).copied().unwrap_or(u32::from(port.port));
            entry.ports = BTreeMap::from([(self.port_name(), number)]);
            entry
        };
        service.endpoints.iter().map(own).collect()
    }

    fn rule(&self, last_level: usize) -> DestinationRule {
        let tls = |subset: &str| {
            let sni = (!self.config.flat_network).then(|| sni_name(self.spec.port.number, subset, &self.landing()));
            Some(destination_rule::tls(TlsMode::IstioMutual, sni))
        };
        let setting = LocalityLbSetting {
            enabled: Some(true),
            // The labels that tell the levels apart come first, then how near an endpoint of the same level is.
            failover_priority: if last_level == 0 {
                Vec::new()
            } else {
                let levels = (1..=last_level).map(|step| format!("{LABEL_LEVEL}{step}=true"));
                levels.chain([LABEL_ZONE.to_owned()]).collect()
            },
            ..LocalityLbSetting::default()
        };
        let connect_timeout = self.spec.outlier_detection.as_ref().map(|_| CONNECT_TIMEOUT);
        let policy = TrafficPolicy {
            tls: tls(""),
            outlier_detection: self.spec.outlier_detection.as_ref().map(destination_rule::outlier),
            connection_pool: destination_rule::connection_pool(self.config.tcp_keepalive.as_ref(), connect_timeout),
            load_balancer: Some(LoadBalancer { locality_lb_setting: Some(setting), ..LoadBalancer::default() }),
            ..TrafficPolicy::default()
        };
        let subsets = self.subsets.iter().map(|labels| {
            let name = subset::name(labels);
            // The section of a subset replaces that of the rule.
            let own = TrafficPolicy { tls: tls(&name), ..TrafficPolicy::default() };
            RuleSubset { name, labels: (*labels).clone(), traffic_policy: Some(own) }
        });
        DestinationRule {
            host: self.spec.hostname.clone(),
            subsets: subsets.collect(),
            traffic_policy: Some(policy),
            ..DestinationRule::default()
        }
    }
}
