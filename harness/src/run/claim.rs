//! Who uses the folder of an environment: one run at a time, and what runs left behind that were killed is removed.

use camino::Utf8Path;

use super::{Job, fail};
use crate::environment::{Claim, Directory, WhenInterrupted};
use crate::provider::fleet::Fleet;
use crate::report::RunOutcome;
use crate::report::event::EventKind;
use crate::report::stream::EventSender;
use crate::topology::{Provider, Topology};

/// How names of environments begin that live no longer than the run that made them.
pub const OWN_PREFIX: &str = "e2e-";

/// Claims the folder of the environment that is to be brought up, and empties it, unless it is one to go on with: on real clusters, for
/// who stays.
///
/// # Errors
/// The outcome of the run, after it was told why: the environment runs already, or somebody is bringing it up.
pub(super) fn claim(
    job: &Job,
    directory: &Directory,
    interrupted: WhenInterrupted,
    events: &EventSender,
) -> Result<Claim, RunOutcome> {
    sweep(&job.state_root, events);
    let failed = |error: &(dyn std::error::Error + 'static)| {
        fail(
            events,
            error,
            Some(format!("make {} a folder of yours, or set MESHPROOF_STATE_DIR", job.state_root)),
            Vec::new(),
        );
        RunOutcome::EnvironmentFailed
    };
    let refused = |what: &str, cure: String| {
        let message = format!("environment {} {what}", job.environment);
        events.send(EventKind::Failure { message, cure: Some(cure), evidence: Vec::new() });
        RunOutcome::WrongUsage
    };
    let Some(claim) = directory.claim().map_err(|error| failed(&error))? else {
        let cure = "wait until that has ended, or choose another name with --name".to_owned();
        return Err(refused("is in use by another command", cure));
    };
    if let Some(fleet) = Fleet::attach(directory.path()).map_err(|error| failed(&error))? {
        if interrupted == WhenInterrupted::Keep && goes_on(&fleet, &job.topology) {
            return Ok(claim);
        }
        let cure = format!("`meshproof down --name {0}`, or `--name …` for another", job.environment);
        return Err(refused("runs already", cure));
    }
    // Files of an environment that no longer runs are of no use.
    directory.empty().map_err(|error| failed(&error))?;
    Ok(claim)
}

/// Whether what is there can be brought to another topology, layer by layer.
fn goes_on(fleet: &Fleet, topology: &Topology) -> bool {
    let [made, there] = [Provider::Kind, Provider::Existing].map(|provider| topology.has_clusters_of(provider));
    match fleet {
        Fleet::Embedded(_) => false,
        Fleet::Existing(_) => there && !made,
        // Of one that was ended early it may not be written yet that there are others.
        Fleet::Kind(kind) => made && (!there || kind.kubeconfigs().is_empty()),
        Fleet::Mixed(..) => made && there,
    }
}

/// Removes the folders of runs that were killed. That this does not work is no reason not to run.
fn sweep(state_root: &Utf8Path, events: &EventSender) {
    let names = Directory::list(state_root).unwrap_or_default();
    for name in names.iter().filter(|name| name.starts_with(OWN_PREFIX)) {
        let directory = Directory::new(state_root, name);
        match sweep_one(&directory) {
            Ok(Swept::All) => {}
            Ok(Swept::Foreign) => {
                let help = format!("`meshproof down --name {name}` removes it");
                events.warn(format!("run {name} was killed, and what it made on clusters is still there"), Some(help));
            }
            Err(error) => {
                let help = format!("remove {} by hand", directory.path());
                events.warn(format!("what a killed run left could not be removed: {error}"), Some(help));
            }
        }
    }
}

/// What became of the folder of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Swept {
    /// Somebody uses it, or it is gone.
    All,
    /// It says what is left on clusters of somebody else, which takes longer than one may wait here.
    Foreign,
}

fn sweep_one(directory: &Directory) -> std::io::Result<Swept> {
    let Some(_claim) = directory.reclaim()? else { return Ok(Swept::All) };
    match Fleet::attach(directory.path()) {
        Ok(Some(Fleet::Existing(_) | Fleet::Kind(_) | Fleet::Mixed(..))) => Ok(Swept::Foreign),
        Ok(Some(Fleet::Embedded(_))) => Ok(Swept::All),
        Ok(None) => directory.remove().map(|()| Swept::All),
        Err(error) => Err(std::io::Error::other(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::existing::Existing;

    #[test]
    fn only_what_nobody_uses_is_swept() {
        let root = tempfile::tempdir().expect("a folder");
        let root = Utf8Path::from_path(root.path()).expect("UTF-8");
        let [used, abandoned, foreign] =
            ["e2e-used", "e2e-abandoned", "e2e-foreign"].map(|name| Directory::new(root, name));
        let _used = used.claim().expect("claimed").expect("free");
        drop(abandoned.claim().expect("claimed").expect("free"));
        std::fs::write(abandoned.path().join("config.json"), "{}").expect("written");
        std::fs::create_dir(foreign.path()).expect("created");
        for directory in [&used, &abandoned, &foreign] {
            assert_eq!(sweep_one(directory).expect("swept"), Swept::All);
        }
        assert!(used.path().exists() && foreign.path().exists());
        assert!(!abandoned.path().exists());
    }

    #[test]
    fn what_says_what_is_left_on_clusters_is_never_swept() {
        let root = tempfile::tempdir().expect("a folder");
        let killed = Directory::new(Utf8Path::from_path(root.path()).expect("UTF-8"), "e2e-killed");
        drop(killed.claim().expect("claimed").expect("free"));
        Existing::begin(killed.path(), "1a2b", &[]).expect("begun");
        assert_eq!(sweep_one(&killed).expect("looked at"), Swept::Foreign);
        assert!(killed.path().exists());
    }
}
