//! Which meshes a virtual mesh has. A mesh is in one only: the virtual mesh that came first holds it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_types::hub::status::AppliedPolicy;
use mesh_types::hub::virtual_mesh::FederationConfig;
use mesh_types::hub::{ObjectRef, VirtualMesh};

use crate::acceptance::{self, Candidate};
use crate::world::{Checked, Inputs, Members, Memberships};

/// Works out all memberships; `remembered` says which virtual meshes claimed a mesh, and in which order.
pub fn all(inputs: &Inputs, remembered: &BTreeMap<ObjectRef, Vec<AppliedPolicy>>) -> Memberships {
    let mut memberships = Memberships::default();
    let good = || inputs.virtual_meshes.iter().filter(|(_, checked)| checked.errors.is_empty());
    let mut claimed: BTreeMap<&ObjectRef, Vec<Candidate<'_>>> = BTreeMap::new();
    for (reference, checked) in good() {
        for mesh in &checked.object.spec.meshes {
            claimed.entry(mesh).or_default().push(candidate(reference, checked));
        }
    }
    for (mesh, candidates) in claimed {
        // The order is remembered in the status of the mesh.
        if !inputs.meshes.contains_key(mesh) {
            continue;
        }
        let before = remembered.get(mesh).map_or(&[][..], Vec::as_slice);
        let order = acceptance::arrange(before, candidates);
        if let Some(first) = order.first() {
            memberships.of_mesh.insert(mesh.clone(), first.reference.clone());
        }
        let judged = order.into_iter().enumerate().map(|(place, candidate)| (candidate, place == 0));
        memberships.claims.insert(mesh.clone(), acceptance::remember(judged));
    }
    for (reference, checked) in good() {
        let meshes: BTreeSet<_> = checked.object.spec.meshes.iter().cloned().collect();
        let held = |mesh: &ObjectRef| memberships.of_mesh.get(mesh) == Some(reference);
        let meshes: BTreeSet<_> = meshes.into_iter().filter(held).collect();
        if !meshes.is_empty() {
            let clusters = clusters(inputs, &meshes);
            let exports = exports(inputs, &checked.object.spec, &meshes, &clusters);
            let namespaces = namespaces(inputs, &meshes);
            memberships.members.insert(reference.clone(), Members { meshes, clusters, namespaces, exports });
        }
    }
    memberships
}

fn candidate<'a>(reference: &'a ObjectRef, checked: &'a Checked<VirtualMesh>) -> Candidate<'a> {
    let metadata = &checked.object.metadata;
    Candidate {
        reference,
        generation: metadata.generation.unwrap_or_default(),
        created: metadata.creation_timestamp.as_deref().unwrap_or_default(),
    }
}

fn clusters(inputs: &Inputs, meshes: &BTreeSet<ObjectRef>) -> Arc<BTreeSet<String>> {
    let known = meshes.iter().filter_map(|mesh| inputs.meshes.get(mesh));
    Arc::new(known.map(|mesh| mesh.spec.istio.installation.cluster.clone()).collect())
}

fn namespaces(inputs: &Inputs, meshes: &BTreeSet<ObjectRef>) -> BTreeMap<String, BTreeSet<String>> {
    let mut namespaces: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for mesh in meshes.iter().filter_map(|mesh| inputs.meshes.get(mesh)) {
        let installation = &mesh.spec.istio.installation;
        namespaces.entry(installation.namespace.clone()).or_default().insert(installation.cluster.clone());
    }
    namespaces
}

fn exports(
    inputs: &Inputs,
    spec: &VirtualMesh,
    members: &BTreeSet<ObjectRef>,
    all: &Arc<BTreeSet<String>>,
) -> Vec<Arc<BTreeSet<String>>> {
    let Some(FederationConfig { permissive, selectors, .. }) = &spec.federation else { return Vec::new() };
    if permissive.is_some() {
        return vec![Arc::clone(all)];
    }
    let of_selector = |named: &Vec<ObjectRef>| {
        if named.is_empty() {
            return Arc::clone(all);
        }
        clusters(inputs, &named.iter().filter(|mesh| members.contains(*mesh)).cloned().collect())
    };
    selectors.iter().map(|selector| of_selector(&selector.meshes)).collect()
}
