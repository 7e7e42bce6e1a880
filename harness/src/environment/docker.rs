//! What virtual machines that are containers need before the world comes up: an engine without what killed runs left, and an
//! image.

use camino::Utf8Path;
use docker_support::Engine;

use super::bring_up::{Error, phase};
use super::world::DockerMachines;
use crate::provider::programs::Programs;
use crate::report::stream::EventSender;
use crate::topology::Topology;
use crate::topology::vm::VmRuntime;
use crate::vm::image;

/// Prepares the engine; `None` where no machine is a container.
///
/// # Errors
/// [`Error`].
pub async fn docker_machines(
    topology: &Topology,
    programs: &Programs,
    state_root: &Utf8Path,
    events: &EventSender,
) -> Result<Option<DockerMachines>, Error> {
    let containers: Vec<_> = topology.vms.iter().filter(|vm| vm.runtime == VmRuntime::Docker).collect();
    if containers.is_empty() {
        return Ok(None);
    }
    let prepared = phase(events, "vm-image", "make the image of virtual machines", async {
        let socket = docker_support::socket().map_err(image::Error::from)?;
        let engine = Engine::connect(&socket).await.map_err(image::Error::from)?;
        for thing in engine.sweep().await.map_err(image::Error::from)? {
            events.warn(format!("{thing} of a run that was killed was removed"), None);
        }
        if containers.iter().all(|vm| vm.image.is_some()) {
            return Ok((DockerMachines { socket, image: None }, "the topology names one".to_owned()));
        }
        let made = image::ensure(&engine, programs, state_root).await?;
        let how = if made.cached { "it was there" } else { "made of the programs of this machine" };
        let evidence = format!("Docker {} (API {}), {how}", engine.name(), engine.api_version());
        Ok((DockerMachines { socket, image: Some(made.id) }, evidence))
    });
    prepared.await.map(Some)
}
