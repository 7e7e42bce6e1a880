//! What to do about a world that could not be brought up: one sentence for every failure.

use std::io::{self, ErrorKind};

use substrate::{cluster, world};
use substrate_node::fabric;
use substrate_node::machine::MachineError;
use substrate_node::supervision::EnterError;

const MACHINE: &str =
    "run `meshproof doctor`: it says what this machine refuses or lacks, and the command that mends it";
const CONFIGURATION: &str = "correct it in the configuration, or in the topology that it was made from";
const STATE_DIRECTORY: &str = "make the state folder writable for this user, or set MESHPROOF_STATE_DIR";

pub(crate) fn cure(error: &anyhow::Error) -> &'static str {
    if error.downcast_ref::<EnterError>().is_some() {
        return MACHINE;
    }
    if error.chain().any(|cause| cause.downcast_ref::<serde_json::Error>().is_some()) {
        return CONFIGURATION;
    }
    let of_world = error.downcast_ref::<world::Error>().and_then(of_world);
    of_world.or_else(|| error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()).map(of_io)).unwrap_or(MACHINE)
}

fn of_world(error: &world::Error) -> Option<&'static str> {
    match error {
        world::Error::Name(_)
        | world::Error::Subnet { .. }
        | world::Error::Address { .. }
        | world::Error::Machine(MachineError::Image { .. } | MachineError::Config { .. })
        | world::Error::Fabric(fabric::Error::Config(_)) => Some(CONFIGURATION),
        world::Error::Cluster { source: cluster::Error::Subnet(_), .. } => Some(CONFIGURATION),
        world::Error::Busy { .. } => {
            Some("end that world first (`meshproof down`), or give this one another state directory")
        }
        world::Error::Fabric(_) => Some(MACHINE),
        world::Error::Cluster { .. } | world::Error::File { .. } | world::Error::Machine(_) => None,
    }
}

fn of_io(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free some space where the state folder lies, or set MESHPROOF_STATE_DIR"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::NotADirectory => STATE_DIRECTORY,
        ErrorKind::NotFound => "give the path of a file that exists",
        _ => MACHINE,
    }
}
