//! What is reported about resources, worked out when somebody asks.
//!
//! What is accepted becomes [`State::Active`] once every proxy concerned has acknowledged everything that follows from it. Where
//! nobody tells about the proxies of a cluster it stays [`State::Accepted`], and a condition says so.

mod policy;
mod resource;

use mesh_types::hub::destination::DestinationStatus;
use mesh_types::hub::mesh::MeshStatus;
use mesh_types::hub::status::{Condition, PolicyStatus, State};
use mesh_types::hub::virtual_destination::VirtualDestinationStatus;
use mesh_types::hub::virtual_mesh::VirtualMeshStatus;

use crate::progress::Progress;
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

/// How far something got, and in which cluster it is least far; `None` where nothing had to be written.
type Reached<'a> = Option<crate::board::Reached<'a>>;

/// The state that errors of a resource itself, failures to write, and progress come to.
fn state_of(errors: &[String], failures: &[String], reached: Reached<'_>) -> State {
    match (errors.is_empty(), failures.is_empty()) {
        (false, _) => State::Invalid,
        (true, false) => State::Failed,
        (true, true) if reached.is_none_or(|(_, progress)| *progress == Progress::Acknowledged) => State::Active,
        (true, true) => State::Accepted,
    }
}

/// How bad a state is, to tell the worst of several.
fn severity(state: State) -> u8 {
    match state {
        State::Active => 0,
        State::Accepted => 1,
        State::Pending => 2,
        State::Invalid => 3,
        State::Failed => 4,
    }
}

/// A condition. When it changed last is added by whoever writes it.
fn condition(generation: i64, kind: &str, status: &str, reason: &str, message: &str) -> Condition {
    Condition {
        kind: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: generation,
        last_transition_time: None,
    }
}

/// The conditions that go with a state. When they changed last is added by whoever writes them.
fn conditions(generation: i64, state: State, message: &str, reached: Reached<'_>) -> Vec<Condition> {
    let condition =
        |kind: &str, status: &str, reason: &str, message: &str| condition(generation, kind, status, reason, message);
    if state == State::Invalid {
        return vec![condition("Accepted", "False", "Invalid", message)];
    }
    let accepted = condition("Accepted", "True", "Accepted", "");
    if state == State::Failed {
        return vec![accepted, condition("Written", "False", "WriteFailed", message)];
    }
    let (cluster, progress) = reached.unwrap_or(("", &Progress::Acknowledged));
    let place = |text: &str| format!("in {cluster}: {text}");
    let acknowledged = match progress {
        Progress::Pending => {
            let written = condition("Written", "Unknown", "Pending", "not everything is written yet");
            return vec![accepted, written, condition("Acknowledged", "Unknown", "Pending", "")];
        }
        Progress::Acknowledged => condition("Acknowledged", "True", "Acknowledged", ""),
        Progress::Unknown(reason) => condition("Acknowledged", "Unknown", "NobodyTells", &place(reason)),
        Progress::Waiting(reason) => condition("Acknowledged", "False", "Waiting", &place(reason)),
        Progress::Refused(reason) => condition("Acknowledged", "False", "Refused", &place(reason)),
    };
    vec![accepted, condition("Written", "True", "Written", ""), acknowledged]
}
