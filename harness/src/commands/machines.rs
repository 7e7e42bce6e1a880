//! What plays virtual machines, settled before anything is brought up.

use crate::report::RunOutcome;
use crate::topology::vm::VmRuntime;
use crate::topology::{Provider, Topology};
use crate::vm::runtime;

/// Settles it for topologies. Returns why some machines are not containers that could be.
///
/// # Errors
/// The exit code, after it was said why.
pub(super) async fn settle<'topologies>(
    topologies: impl IntoIterator<Item = &'topologies mut Topology>,
    asked: Option<VmRuntime>,
) -> Result<Option<String>, RunOutcome> {
    let with_machines = |topology: &&mut Topology| {
        topology.has_clusters_of(Provider::Embedded) && runtime::depends_on_docker(topology, asked)
    };
    let mut docker = None;
    let mut fallback = None;
    for topology in topologies {
        let found = match &docker {
            Some(found) => found,
            None if with_machines(&topology) => docker.insert(runtime::look().await),
            // Nobody asks an engine that nobody needs.
            None => &runtime::Docker::Ready,
        };
        match runtime::settle(topology, asked, found) {
            Ok(why) => fallback = fallback.or(why),
            Err(refused) => {
                eprintln!("error: {refused}");
                eprintln!("  help: {}", refused.cure);
                return Err(RunOutcome::MachineCannot);
            }
        }
    }
    Ok(fallback)
}
