//! What follows from a mesh that is in a virtual mesh: its gateways are opened, calls that nobody allows are denied, its
//! authority is changed.

use std::collections::BTreeMap;

use mesh_types::AuthorizationPolicy;
use mesh_types::authorization_policy::Rule;
use mesh_types::hub::virtual_mesh::{FederationConfig, GlobalAccessPolicy};
use mesh_types::hub::{Kind, Mesh, Object, ObjectRef, VirtualMesh, names};
use mesh_types::peer_authentication::WorkloadSelector;
use serde::Serialize;

use super::{Translation, gateway, parent, trust};
use crate::output::{Clusters, Emitted, ObjectKey, OutputKind};
use crate::world::World;

/// Name of the resource that denies what nobody allows.
pub const GLOBAL_ACCESS: &str = "global-access-control";

/// Everything that follows from a mesh.
pub fn translate(world: &World, reference: &ObjectRef) -> Translation {
    let Some(mesh) = world.inputs.meshes.get(reference) else { return Translation::default() };
    let held = world.virtual_mesh_of(reference);
    let Some(virtual_mesh) = held.or_else(|| denying(world, reference)) else { return Translation::default() };
    let parents = [parent(Kind::VirtualMesh, &virtual_mesh.reference())];
    let mut unit = Unit { world, mesh, virtual_mesh, parents, translation: Translation::default() };
    if held.is_none() {
        unit.deny_by_default();
        return unit.translation;
    }
    if let Some(federation) = &virtual_mesh.spec.federation {
        unit.gateways(federation);
    }
    if virtual_mesh.spec.global_access_policy == GlobalAccessPolicy::Enabled {
        unit.deny_by_default();
    }
    unit.trust();
    unit.translation
}

/// A virtual mesh that is not valid, names a mesh, and denies what nobody allows. Nothing else of it has an effect, but were the
/// denial taken back, everybody would be let in until it is mended.
fn denying<'a>(world: &'a World, mesh: &ObjectRef) -> Option<&'a Object<VirtualMesh>> {
    let invalid = world.inputs.virtual_meshes.values().filter(|checked| !checked.errors.is_empty());
    let mut specs = invalid.map(|checked| &checked.object);
    specs.find(|one| one.spec.global_access_policy == GlobalAccessPolicy::Enabled && one.spec.meshes.contains(mesh))
}

struct Unit<'a> {
    world: &'a World,
    mesh: &'a Object<Mesh>,
    virtual_mesh: &'a Object<VirtualMesh>,
    parents: [String; 1],
    translation: Translation,
}

impl Unit<'_> {
    fn cluster(&self) -> &str {
        &self.mesh.spec.istio.installation.cluster
    }

    fn emit<S: Serialize>(&mut self, key: ObjectKey, spec: &S) {
        let home = Clusters::one(self.cluster());
        let foreign = self.world.in_the_way(&key, "", &home);
        if foreign.is_empty() {
            let object = self.world.renderer().render(key, &self.parents, spec);
            self.translation.objects.push(Emitted { object, clusters: home });
        }
        let problems = foreign.iter().map(|foreign| format!("{foreign} is not the hub's, and stands in the way"));
        self.translation.problems.extend(problems);
    }

    fn gateways(&mut self, federation: &FederationConfig) {
        let others = self.virtual_mesh.spec.meshes.len() > 1;
        if !self.mesh.spec.istio.smart_dns_proxying_enabled && others {
            self.translation.warnings.push(format!(
                "sidecars of mesh {} do not answer DNS: set ISTIO_META_DNS_CAPTURE, or hosts of other clusters have no address",
                self.mesh.reference()
            ));
        }
        if federation.flat_network {
            return;
        }
        let gateways = gateway::selected(&self.mesh.spec, federation, self.cluster());
        if gateways.is_empty() && others {
            let problem = format!("mesh {} has no gateway that others could reach it by", self.mesh.reference());
            self.translation.problems.push(problem);
        }
        for selected in gateways {
            if selected.gateway.external_addresses.is_empty() {
                let gateway = ObjectRef::new(&selected.gateway.name, &selected.gateway.namespace);
                self.translation.problems.push(format!("gateway {gateway} has no address outside of its cluster"));
            }
            let name = names::join(&[&selected.gateway.name, &self.virtual_mesh.metadata.name]);
            let key = ObjectKey::new(OutputKind::Gateway, &selected.gateway.namespace, &name);
            self.emit(key, &gateway::resource(&selected, federation));
        }
    }

    /// Gateways are left open: whom they let in is decided at the workloads behind them.
    fn deny_by_default(&mut self) {
        let namespace = self.mesh.spec.istio.installation.namespace.clone();
        let key = ObjectKey::new(OutputKind::AuthorizationPolicy, &namespace, GLOBAL_ACCESS);
        self.emit(key, &AuthorizationPolicy::default());
        let mut seen: BTreeMap<(&str, &BTreeMap<String, String>), ()> = BTreeMap::new();
        let mesh = self.mesh;
        for gateway in &mesh.spec.istio.ingress_gateways {
            if gateway.workload_labels.is_empty()
                || seen.insert((&gateway.namespace, &gateway.workload_labels), ()).is_some()
            {
                continue;
            }
            let name = names::join(&["allow", &gateway.name]);
            let key = ObjectKey::new(OutputKind::AuthorizationPolicy, &gateway.namespace, &name);
            let open = AuthorizationPolicy {
                selector: Some(WorkloadSelector { match_labels: gateway.workload_labels.clone() }),
                rules: vec![Rule::default()],
                ..AuthorizationPolicy::default()
            };
            self.emit(key, &open);
        }
    }

    fn trust(&mut self) {
        let hub = &self.world.settings.namespace;
        let Some(certificate) = trust::certificate(hub, self.virtual_mesh, self.mesh) else { return };
        let Some(namespace) = trust::agent_namespace(self.mesh) else {
            let problem = format!(
                "mesh {} has no agent in its cluster, so its authority cannot be changed: register the cluster with one",
                self.mesh.reference()
            );
            return self.translation.problems.push(problem);
        };
        let name = trust::name(self.mesh);
        self.emit(ObjectKey::new(OutputKind::IssuedCertificate, namespace, &name), &certificate);
        if let Some(restart) = trust::restart(self.virtual_mesh, self.mesh) {
            self.emit(ObjectKey::new(OutputKind::WorkloadRestart, namespace, &name), &restart);
        }
    }
}
