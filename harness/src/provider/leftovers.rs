//! What a world may leave on a Docker engine: nothing. Looked at after its end, and removed where somebody killed all who would
//! have done it.

use std::time::Duration;

use camino::Utf8Path;
use docker_support::{Engine, Error, Thing};
use substrate_config::WorldConfig;

/// How long the process that looks after containers may take to remove them.
const GONE: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(50);

/// Waits until nothing of a run is there. What is there at the end of the time is removed all the same.
///
/// # Errors
/// [`Error::Left`] with what was there for too long, and where the engine cannot be asked.
pub async fn none(socket: &Utf8Path, run_id: &str) -> Result<(), Error> {
    let engine = Engine::connect(socket).await?;
    let gone =
        eventually::poll("containers to be removed", GONE, STEP, async || match engine.things(Some(run_id)).await {
            Ok(things) if things.is_empty() => Ok(Ok(())),
            Ok(things) => Err(names(&things)),
            Err(error) => Ok(Err(error)),
        });
    match gone.await {
        Ok(looked) => looked,
        Err(late) => {
            engine.remove_run(run_id).await?;
            Err(Error::Left(format!("{late}; it was removed now")))
        }
    }
}

/// Removes what is left of the environment in a folder, of whose processes none is left.
///
/// # Errors
/// [`Error`].
pub async fn remove(directory: &Utf8Path) -> Result<(), Error> {
    // What was never started has made nothing.
    let config = std::fs::read(directory.join("config.json")).ok();
    let config: Option<WorldConfig> = config.and_then(|text| serde_json::from_slice(&text).ok());
    let Some(WorldConfig { run_id, docker_socket: Some(socket), .. }) = config else { return Ok(()) };
    Engine::connect(&socket).await?.remove_run(&run_id).await
}

fn names(things: &[Thing]) -> String {
    things.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
