//! Environments that stay: up, found again, used, taken down.

use camino::Utf8PathBuf;

use super::scenarios::run_all;
use super::{Interruption, Job, fail, machine};
use crate::engine::Environment;
use crate::environment::{Directory, bring_up, world_config};
use crate::provider::embedded::{self, World};
use crate::report::RunOutcome;
use crate::report::event::EventKind;
use crate::report::stream::EventSender;
use crate::scenario::plan::Plan;

/// An environment that was brought up before.
pub struct Kept {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub directory: Directory,
    /// The running world, or `None` where only files are left of it.
    pub world: Option<World>,
}

/// A kept environment cannot be found or used.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// There is none of that name.
    #[error("there is no environment {name}; {known}")]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are, as a sentence.
        known: String,
    },
    /// Several run, and none was named.
    #[error("several environments run ({0}); name one with --name")]
    Several(String),
    /// None runs.
    #[error("no environment runs; `meshproof up` brings one up")]
    None,
    /// Its state cannot be read.
    #[error(transparent)]
    Embedded(#[from] embedded::Error),
    /// The state folder cannot be read.
    #[error("cannot read {path}")]
    State {
        /// Folder.
        path: Utf8PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}

/// Every environment below a state folder, running or not.
///
/// # Errors
/// [`KeptError`].
pub fn list(state_root: &camino::Utf8Path) -> Result<Vec<Kept>, KeptError> {
    let names =
        Directory::list(state_root).map_err(|source| KeptError::State { path: state_root.to_owned(), source })?;
    let mut all = Vec::with_capacity(names.len());
    for name in names {
        let directory = Directory::new(state_root, &name);
        let world = World::attach(directory.path())?;
        all.push(Kept { name, directory, world });
    }
    Ok(all)
}

/// The environment of that name, or the only one that runs.
///
/// # Errors
/// [`KeptError`].
pub fn find(state_root: &camino::Utf8Path, name: Option<&str>) -> Result<Kept, KeptError> {
    let mut all = list(state_root)?;
    if let Some(name) = name {
        if let Some(position) = all.iter().position(|kept| kept.name == name) {
            return Ok(all.swap_remove(position));
        }
        let names: Vec<String> = all.into_iter().map(|kept| kept.name).collect();
        let known =
            if names.is_empty() { "there are none".to_owned() } else { format!("there are {}", names.join(", ")) };
        return Err(KeptError::Unknown { name: name.to_owned(), known });
    }
    let mut running: Vec<Kept> = all.into_iter().filter(|kept| kept.world.is_some()).collect();
    match running.len() {
        0 => Err(KeptError::None),
        1 => Ok(running.swap_remove(0)),
        _ => Err(KeptError::Several(running.into_iter().map(|kept| kept.name).collect::<Vec<_>>().join(", "))),
    }
}

/// Brings an environment up and leaves it running.
pub async fn up(job: &Job, events: &EventSender, interruption: &Interruption) -> RunOutcome {
    let programs = match machine::prepare(events).await {
        Ok(programs) => programs,
        Err(outcome) => return outcome,
    };
    let directory = Directory::new(&job.state_root, &job.environment);
    match World::attach(directory.path()) {
        Ok(None) => {}
        Ok(Some(_)) => {
            let message = format!("environment {} runs already", job.environment);
            let cure =
                Some(format!("`meshproof down --name {0}`, or `meshproof up --name …` for another", job.environment));
            events.send(EventKind::Failure { message, cure, evidence: Vec::new() });
            return RunOutcome::WrongUsage;
        }
        Err(error) => {
            fail(events, &error, None, Vec::new());
            return RunOutcome::EnvironmentFailed;
        }
    }
    if let Err(error) = start_over(&directory, job) {
        fail(events, &error, None, Vec::new());
        return RunOutcome::EnvironmentFailed;
    }
    let config = world_config(&job.topology, &job.environment, &job.run_id, directory.path(), &programs, true);
    let up = interruption.token().run_until_cancelled(bring_up(&job.topology, &config, &programs, events)).await;
    match up {
        Some(Ok((world, _))) => keep(world, events).await,
        Some(Err(error)) => {
            fail(events, &error, error.cure(), Vec::new());
            RunOutcome::EnvironmentFailed
        }
        None => interruption.outcome().unwrap_or(RunOutcome::Interrupted),
    }
}

async fn keep(world: World, events: &EventSender) -> RunOutcome {
    match world.keep().await {
        Ok(()) => RunOutcome::Passed,
        Err(error) => {
            fail(events, &error, None, Vec::new());
            RunOutcome::EnvironmentFailed
        }
    }
}

/// Files of an environment that no longer runs are of no use.
fn start_over(directory: &Directory, job: &Job) -> std::io::Result<()> {
    directory.remove()?;
    directory.create().map_err(std::io::Error::other)?;
    std::fs::write(directory.topology(), &job.topology_text)
}

/// Runs scenarios on a kept environment.
pub async fn run_on_kept(kept: &Kept, plans: &[Plan], events: &EventSender, interruption: &Interruption) -> RunOutcome {
    let Some(world) = &kept.world else {
        fail(events, &KeptError::None, None, Vec::new());
        return RunOutcome::EnvironmentFailed;
    };
    match world.clusters().await {
        Ok(clusters) => run_all(&Environment::new(clusters), plans, events, interruption).await,
        Err(error) => {
            fail(events, &error, None, Vec::new());
            RunOutcome::EnvironmentFailed
        }
    }
}

/// Ends an environment and removes its files.
///
/// # Errors
/// [`KeptError`].
pub async fn down(kept: Kept) -> Result<(), KeptError> {
    if let Some(world) = kept.world {
        world.stop().await?;
    }
    kept.directory.remove().map_err(|source| KeptError::State { path: kept.directory.path().to_owned(), source })
}
