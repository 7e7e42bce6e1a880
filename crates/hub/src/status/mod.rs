//! What is reported about resources, worked out when somebody asks.
//!
//! The state knows what is accepted and what could not be written. Whether the proxies have it is not known here: the runtime
//! makes [`State::Accepted`] of a policy [`State::Active`] once every proxy concerned has acknowledged.

mod policy;
mod resource;

use mesh_types::hub::destination::DestinationStatus;
use mesh_types::hub::mesh::MeshStatus;
use mesh_types::hub::status::{Condition, PolicyStatus, State};
use mesh_types::hub::virtual_destination::VirtualDestinationStatus;
use mesh_types::hub::virtual_mesh::VirtualMeshStatus;

use crate::state::{self, Subject};

/// The status of a resource.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    /// Of a mesh.
    Mesh(MeshStatus),
    /// Of a destination.
    Destination(DestinationStatus),
    /// Of a virtual mesh.
    VirtualMesh(VirtualMeshStatus),
    /// Of a traffic policy or an access policy.
    Policy(PolicyStatus),
    /// Of a virtual destination.
    VirtualDestination(VirtualDestinationStatus),
}

/// The status of a resource; `None` where it is not known.
pub fn of(state: &state::State, subject: &Subject) -> Option<Status> {
    match subject {
        Subject::Mesh(reference) => resource::mesh(state, reference).map(Status::Mesh),
        Subject::Destination(service) => resource::destination(state, service).map(Status::Destination),
        Subject::VirtualMesh(reference) => resource::virtual_mesh(state, reference).map(Status::VirtualMesh),
        Subject::TrafficPolicy(reference) => policy::traffic(state, reference).map(Status::Policy),
        Subject::VirtualDestination(reference) => {
            resource::virtual_destination(state, reference).map(Status::VirtualDestination)
        }
        Subject::AccessPolicy(reference) => policy::access(state, reference).map(Status::Policy),
    }
}

/// The state that errors of a resource itself and failures to write come to.
fn state_of(errors: &[String], failures: &[String]) -> State {
    match (errors.is_empty(), failures.is_empty()) {
        (false, _) => State::Invalid,
        (true, false) => State::Failed,
        (true, true) => State::Accepted,
    }
}

/// The two conditions that the state can speak about. When they changed last is added by whoever writes them.
fn conditions(generation: i64, state: State, message: &str) -> Vec<Condition> {
    let condition = |kind: &str, status: &str, reason: &str, message: &str| Condition {
        kind: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: generation,
        last_transition_time: None,
    };
    match state {
        State::Invalid => vec![condition("Accepted", "False", "Invalid", message)],
        State::Failed => {
            vec![condition("Accepted", "True", "Accepted", ""), condition("Written", "False", "WriteFailed", message)]
        }
        _ => vec![condition("Accepted", "True", "Accepted", "")],
    }
}
