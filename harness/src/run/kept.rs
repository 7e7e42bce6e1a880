//! Environments that stay: up, found again, used, taken down.

use camino::Utf8PathBuf;

use super::prepare::Prepared;
use super::scenarios::{run_all, run_while_all_alive};
use super::{Interruption, Job, Manner, fail, not_up};
use crate::engine::Environment;
use crate::environment::{self, Directory, WhenInterrupted, take_down};
use crate::provider::fleet::{self, Fleet};
use crate::provider::leftovers;
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
    fleet: Result<Option<Fleet>, fleet::Error>,
}

impl Kept {
    /// Its clusters, or `None` where only files are left of it.
    ///
    /// # Errors
    /// Where its state cannot be read.
    pub fn fleet(&self) -> Result<Option<&Fleet>, &fleet::Error> {
        self.fleet.as_ref().map(Option::as_ref)
    }

    /// How much there is of it, and whether somebody works on that.
    ///
    /// # Errors
    /// Where the state folder cannot be read.
    pub fn state(&self) -> Result<State, KeptError> {
        if self.directory.is_complete() {
            return Ok(State::Complete);
        }
        let failed = |source| KeptError::State { path: self.directory.path().to_owned(), source };
        Ok(match (self.directory.is_claimed().map_err(failed)?, &self.fleet) {
            (true, _) => State::InUse,
            (false, Ok(Some(Fleet::Existing(_) | Fleet::Kind(_) | Fleet::Mixed(..)))) => State::HalfMade,
            // An embedded world that nobody works on any more is whole, or it would have ended.
            (false, _) => State::Complete,
        })
    }

    /// Its clusters, for those that can do nothing without.
    ///
    /// # Errors
    /// [`KeptError::None`] and [`KeptError::Fleet`].
    pub fn into_fleet(self) -> Result<Fleet, KeptError> {
        self.fleet?.ok_or(KeptError::None)
    }
}

/// How far an environment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It can be used.
    Complete,
    /// Another command brings it up, or made it for itself.
    InUse,
    /// Its bring-up was ended, and nobody has gone on with it.
    HalfMade,
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
    /// Somebody ended its bring-up.
    #[error(
        "environment {0} is half made: the `up` that made it did not end; run it again, or `meshproof down --name {0}`"
    )]
    HalfMade(String),
    /// Another process made it and will end it, or takes it down.
    #[error("environment {0} is in use by another command; wait until that has ended, or end it")]
    InUse(String),
    /// Nothing runs, and files of several are left.
    #[error("no environment runs; of {0} files are left: `meshproof down --all` removes them, or name one with --name")]
    Left(String),
    /// Its state cannot be read.
    #[error(transparent)]
    Fleet(#[from] fleet::Error),
    /// Something that it left on the Docker engine could not be removed.
    #[error("{0}; {cure}", cure = .0.cure())]
    Docker(#[from] docker_support::Error),
    /// It could not be ended.
    #[error(transparent)]
    TakeDown(#[from] Box<environment::Error>),
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
        // One that is damaged is no reason to say nothing of the others.
        let fleet = Fleet::attach(directory.path());
        all.push(Kept { name, directory, fleet });
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
    let mut running: Vec<Kept> = all.into_iter().filter(|kept| matches!(kept.fleet, Ok(Some(_)))).collect();
    match running.len() {
        0 => Err(KeptError::None),
        1 => Ok(running.swap_remove(0)),
        _ => Err(KeptError::Several(running.into_iter().map(|kept| kept.name).collect::<Vec<_>>().join(", "))),
    }
}

/// Brings an environment up and leaves it running.
pub async fn up(job: &Job, events: &EventSender, interruption: &Interruption) -> RunOutcome {
    let prepared = match Prepared::new(job, WhenInterrupted::Keep, events).await {
        Ok(prepared) => prepared,
        Err(outcome) => return outcome,
    };
    let directory = &prepared.directory;
    match prepared.bring_up(job, events, interruption).await {
        Ok((fleet, _)) => match remember(directory, job, events) {
            Ok(()) => keep(fleet, events).await,
            Err(outcome) => outcome,
        },
        Err(environment::Error::Interrupted) => not_up(&environment::Error::Interrupted, events, interruption),
        Err(error) => {
            // The logs stay for whoever wants to know why, until `down` or the next `up`.
            let what = "logs of what failed, until the next `up` or `down`".to_owned();
            events.send(EventKind::FileWritten { what, path: directory.path().to_string() });
            not_up(&error, events, interruption)
        }
    }
}

/// Writes down what was brought up. That this is there says that it is complete.
///
/// # Errors
/// The outcome of the run, after it was told why.
pub(super) fn remember(directory: &Directory, job: &Job, events: &EventSender) -> Result<(), RunOutcome> {
    directory.remember(&job.topology_text).map_err(|error| {
        fail(events, &error, Some(format!("make room for {}", directory.path())), Vec::new());
        RunOutcome::EnvironmentFailed
    })
}

async fn keep(fleet: Fleet, events: &EventSender) -> RunOutcome {
    match fleet.keep().await {
        Ok(()) => RunOutcome::Passed,
        Err(error) => {
            fail(events, &error, None, Vec::new());
            RunOutcome::EnvironmentFailed
        }
    }
}

/// An environment that stays, to run scenarios on.
pub struct Stage {
    /// Its name.
    pub name: String,
    /// Its clusters.
    pub fleet: Fleet,
    /// Name of the topology that it was brought up from, where that is known: only scenarios for it run there.
    pub topology: Option<String>,
}

/// Runs each scenario on one of the kept environments; saves the state of those that do not pass below `out`.
pub async fn run_on_kept(
    stages: &[Stage],
    plans: &[Plan],
    manner: Manner,
    out: &camino::Utf8Path,
    events: &EventSender,
    interruption: &Interruption,
) -> RunOutcome {
    let mut environments = Vec::with_capacity(stages.len());
    for Stage { name, fleet, topology } in stages {
        if let Some(changed) = fleet.changed().await {
            fail(events, &changed, changed.cure(), Vec::new());
            return RunOutcome::EnvironmentFailed;
        }
        match fleet.clusters().await {
            Ok(clusters) => {
                let environment = Environment::new(clusters, fleet.links()).with_nodes(fleet.nodes());
                let environment = environment.with_artifacts(out);
                // Where there is but one, the run's own name of it says all.
                let name = (stages.len() > 1).then(|| name.clone());
                environments.push(environment.named(name).of_topology(topology.clone()));
            }
            Err(error) => {
                fail(events, &error, None, Vec::new());
                return RunOutcome::EnvironmentFailed;
            }
        }
    }
    let fleets: Vec<&Fleet> = stages.iter().map(|stage| &stage.fleet).collect();
    run_while_all_alive(&fleets, run_all(&environments, plans, manner, events, interruption), events).await
}

/// Ends an environment and removes its files.
///
/// # Errors
/// [`KeptError`].
pub async fn down(kept: Kept) -> Result<(), KeptError> {
    let state = |source| KeptError::State { path: kept.directory.path().to_owned(), source };
    // A command that has it, such as an `e2e` that runs, ends it itself.
    let Some(_claim) = kept.directory.claim().map_err(state)? else { return Err(KeptError::InUse(kept.name)) };
    if let Some(fleet) = kept.fleet? {
        take_down(fleet).await.map_err(Box::new)?;
    }
    leftovers::remove(kept.directory.path()).await?;
    kept.directory.remove().map_err(state)
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;
    use crate::provider::existing::Existing;

    #[test]
    fn what_somebody_works_on_is_not_half_made() {
        let root = tempfile::tempdir().expect("a folder");
        let root = Utf8Path::from_path(root.path()).expect("UTF-8");
        let directory = Directory::new(root, "one");
        let claim = directory.claim().expect("asked").expect("free");
        Existing::begin(directory.path(), "1a2b", &[]).expect("begun");
        let state = || find(root, Some("one")).expect("found").state().expect("asked");
        assert_eq!(state(), State::InUse, "its `up` runs in another terminal");
        drop(claim);
        assert_eq!(state(), State::HalfMade, "its `up` has ended");
        directory.remember("").expect("written");
        assert_eq!(state(), State::Complete);
    }
}
