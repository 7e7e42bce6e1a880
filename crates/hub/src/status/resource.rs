//! Statuses of meshes, destinations, virtual meshes and virtual destinations.

use mesh_types::hub::destination::{DestinationStatus, Federation};
use mesh_types::hub::mesh::MeshStatus;
use mesh_types::hub::status::{Approval, Condition, State};
use mesh_types::hub::virtual_destination::VirtualDestinationStatus;
use mesh_types::hub::virtual_mesh::{RootPhase, TrustStatus, VirtualMeshStatus};
use mesh_types::hub::{ClusterObjectRef, ObjectRef};

use super::{Reached, condition, conditions, severity, state_of};
use crate::state::{self, Unit};
use crate::translate::gateway;
use crate::world::Federated;

pub(super) fn mesh(state: &state::State, reference: &ObjectRef) -> Option<MeshStatus> {
    let world = state.world();
    let mesh = world.inputs.meshes.get(reference)?;
    let unit = Unit::Mesh(reference.clone());
    let problems = state.translation(&unit).map(|translation| translation.problems.clone()).unwrap_or_default();
    let failures: Vec<_> = state.failures(&unit).collect();
    let federation = world.virtual_mesh_of(reference).and_then(|virtual_mesh| virtual_mesh.spec.federation.as_ref());
    let gateways = federation.map(|federation| {
        let cluster = &mesh.spec.istio.installation.cluster;
        gateway::selected(&mesh.spec, federation, cluster)
    });
    let gateways = gateways.unwrap_or_default();
    Some(MeshStatus {
        observed_generation: mesh.metadata.generation.unwrap_or_default(),
        state: state_of(&problems, &failures, state.progress([&unit])),
        errors: problems.into_iter().chain(failures).collect(),
        virtual_mesh: world.memberships.of_mesh.get(reference).cloned(),
        applied_virtual_meshes: world.memberships.claims.get(reference).cloned().unwrap_or_default(),
        east_west_gateways: gateways
            .iter()
            .map(|selected| ObjectRef::new(&selected.gateway.name, &selected.gateway.namespace))
            .collect(),
    })
}

pub(super) fn destination(state: &state::State, service: &ClusterObjectRef) -> Option<DestinationStatus> {
    let world = state.world();
    let destination = world.inputs.destinations.get(service)?;
    let unit = Unit::Destination(service.clone());
    let problems = state.translation(&unit).map(|translation| translation.problems.clone()).unwrap_or_default();
    let access = world.access.get(service).into_iter().flatten();
    Some(DestinationStatus {
        observed_generation: destination.metadata.generation.unwrap_or_default(),
        local_fqdn: world.local_host(service),
        applied_traffic_policies: world
            .acceptances
            .get(service)
            .map(|acceptance| acceptance.applied.clone())
            .unwrap_or_default(),
        applied_access_policies: access
            .filter(|(_, errors)| errors.is_empty())
            .map(|(policy, _)| policy.clone())
            .collect(),
        federation: world.federated.get(service).map(|federated| federation(state, federated)),
        errors: problems.into_iter().chain(state.failures(&unit)).collect(),
    })
}

fn federation(state: &state::State, federated: &Federated) -> Federation {
    let world = state.world();
    let config = world.inputs.virtual_meshes.get(&federated.virtual_mesh);
    let config = config.and_then(|checked| checked.object.spec.federation.as_ref());
    let clients = federated.clients.iter().filter(|_| !federated.to_all);
    Federation {
        virtual_mesh: federated.virtual_mesh.clone(),
        hostname: federated.hostname.clone(),
        address: world.addresses.of(&federated.hostname).map(|address| address.to_string()).unwrap_or_default(),
        flat_network: config.is_some_and(|config| config.flat_network),
        to_all_meshes: federated.to_all,
        to_meshes: clients.filter_map(|cluster| Some(world.mesh_in(cluster)?.0.clone())).collect(),
    }
}

pub(super) fn virtual_mesh(state: &state::State, reference: &ObjectRef) -> Option<VirtualMeshStatus> {
    let world = state.world();
    let checked = world.inputs.virtual_meshes.get(reference)?;
    let mut status = VirtualMeshStatus {
        observed_generation: checked.object.metadata.generation.unwrap_or_default(),
        errors: checked.errors.clone(),
        ..VirtualMeshStatus::default()
    };
    for member in &checked.object.spec.meshes {
        status.meshes.insert(member.to_string(), approval(state, reference, member));
    }
    let states = status.meshes.values().map(|approval| approval.state);
    let worst = states.max_by_key(|state| severity(*state)).unwrap_or(State::Accepted);
    status.state = if status.errors.is_empty() { worst } else { State::Invalid };
    let (federated, farthest_behind) = state.federated(reference);
    status.federated_destinations = u32::try_from(federated).unwrap_or(u32::MAX);
    let members: Vec<_> = checked.object.spec.meshes.iter().cloned().map(Unit::Mesh).collect();
    let reached = state.progress(&members).into_iter().chain(farthest_behind).max_by_key(|(_, progress)| *progress);
    if status.state == State::Active {
        // What the members know of each other belongs to it as well.
        status.state = state_of(&[], &[], reached);
    }
    let troubled = status.meshes.values().flat_map(|approval| &approval.errors);
    let message = status.errors.first().or_else(|| troubled.into_iter().next()).cloned().unwrap_or_default();
    status.conditions = conditions(status.observed_generation, status.state, &message, reached);
    let shares = checked.object.spec.mtls_config.as_ref().is_some_and(|config| config.shared.is_some());
    if shares && status.state != State::Invalid {
        status.trust = state.trust(reference).cloned();
        if status.state == State::Active && !status.trust.as_ref().is_some_and(TrustStatus::is_shared) {
            status.state = State::Accepted;
        }
        status.conditions.push(trusted(status.observed_generation, status.trust.as_ref()));
    }
    Some(status)
}

/// Whether every member has arrived at the root in force; else what is waited for.
fn trusted(generation: i64, trust: Option<&TrustStatus>) -> Condition {
    let (status, reason, message) = match trust {
        None => ("Unknown", "Pending", "nothing is known of the certificates yet".to_owned()),
        Some(trust) if trust.is_settled() => ("True", "Settled", String::new()),
        Some(trust) => {
            let reason = match trust.phase {
                RootPhase::Steady => "Issuing",
                RootPhase::Introduce => "IntroducingRoot",
                RootPhase::Switch => "SwitchingRoot",
            };
            let held_up = trust.meshes.iter().find(|(_, mesh)| !mesh.error.is_empty());
            let held_up = held_up.map(|(name, mesh)| format!("{name}: {}", mesh.error)).unwrap_or_default();
            ("False", reason, if trust.waiting.is_empty() { held_up } else { trust.waiting.clone() })
        }
    };
    condition(generation, "Trusted", status, reason, &message)
}

fn approval(state: &state::State, virtual_mesh: &ObjectRef, member: &ObjectRef) -> Approval {
    let world = state.world();
    let claims = world.memberships.claims.get(member).map_or(&[][..], Vec::as_slice);
    let order = claims.iter().find(|claim| claim.reference == *virtual_mesh).map(|claim| claim.acceptance_order);
    let mut errors = Vec::new();
    if !world.inputs.meshes.contains_key(member) {
        errors.push(format!("mesh {member} is not known"));
    }
    let holder = world.memberships.of_mesh.get(member).filter(|holder| *holder != virtual_mesh);
    errors.extend(holder.map(|holder| format!("mesh {member} is in VirtualMesh {holder}, which came first")));
    let unit = Unit::Mesh(member.clone());
    let translation = state.translation(&unit).filter(|_| errors.is_empty());
    errors.extend(translation.into_iter().flat_map(|translation| translation.problems.iter().cloned()));
    let failures: Vec<_> = state.failures(&unit).collect();
    Approval {
        acceptance_order: order.unwrap_or_default(),
        state: state_of(&errors, &failures, state.progress([&unit])),
        errors: if errors.is_empty() { failures } else { errors },
        warnings: translation.map(|translation| translation.warnings.clone()).unwrap_or_default(),
    }
}

pub(super) fn virtual_destination(state: &state::State, reference: &ObjectRef) -> Option<VirtualDestinationStatus> {
    let world = state.world();
    let checked = world.inputs.virtual_destinations.get(reference)?;
    let plan = world.plans.get(reference).cloned().unwrap_or_default();
    let unit = Unit::VirtualDestination(reference.clone());
    let translation = state.translation(&unit);
    let problems = translation.map(|translation| translation.problems.clone()).unwrap_or_default();
    let failures: Vec<_> = state.failures(&unit).collect();
    let errors: Vec<_> = plan.errors.iter().cloned().chain(problems).collect();
    let reached: Reached<'_> = state.progress([&unit]);
    let total = state_of(&errors, &failures, reached);
    let clients = plan.clients.iter().flat_map(|clients| clients.iter());
    let meshes = clients.filter_map(|cluster| Some(world.mesh_in(cluster)?.0.to_string()));
    let approval = Approval { state: total, ..Approval::default() };
    let generation = checked.object.metadata.generation.unwrap_or_default();
    // Also where something is wrong with it: the address is kept for it, which a start has to know.
    let address = world.addresses.of(&checked.object.spec.hostname);
    let errors: Vec<_> = errors.into_iter().chain(failures).collect();
    let message = errors.first().cloned().unwrap_or_default();
    Some(VirtualDestinationStatus {
        observed_generation: generation,
        state: total,
        warnings: plan.warnings,
        address: address.map(|address| address.to_string()).unwrap_or_default(),
        meshes: meshes.map(|mesh| (mesh, approval.clone())).collect(),
        selected_destinations: plan.backends,
        conditions: conditions(generation, total, &message, reached),
        errors,
    })
}
