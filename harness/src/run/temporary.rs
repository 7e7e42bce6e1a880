//! Environments that live as long as somebody works in them. Whatever happens on the way, nothing is left but logs of
//! what did not pass.

use camino::Utf8Path;

use super::prepare::Prepared;
use super::{Interruption, Job, fail, not_up};
use crate::cluster::Cluster;
use crate::environment::{Directory, WhenInterrupted, take_down};
use crate::provider::existing::Existing;
use crate::provider::fleet::Fleet;
use crate::provider::kind::Kind;
use crate::report::RunOutcome;
use crate::report::event::{EventKind, PhaseOutcome};
use crate::report::redact;
use crate::report::stream::EventSender;

/// What somebody works with.
pub(super) struct Temporary<'run> {
    /// The folder of the environment.
    pub(super) directory: &'run Directory,
    /// What runs.
    pub(super) fleet: &'run Fleet,
    /// Its clusters.
    pub(super) clusters: Vec<Cluster>,
}

/// Brings the job's topology up, lets `work` be done in it, and tears it down.
pub(super) async fn in_temporary(
    job: &Job,
    events: &EventSender,
    interruption: &Interruption,
    work: impl AsyncFnOnce(Temporary<'_>) -> RunOutcome,
) -> RunOutcome {
    let prepared = match Prepared::new(job, WhenInterrupted::Remove, events).await {
        Ok(prepared) => prepared,
        Err(outcome) => return outcome,
    };
    let directory = &prepared.directory;
    let outcome = match prepared.bring_up(job, events, interruption).await {
        Ok((fleet, clusters)) => {
            let outcome = work(Temporary { directory, fleet: &fleet, clusters }).await;
            outcome.worse(tear_down(fleet, events).await)
        }
        Err(error) => not_up(&error, events, interruption),
    };
    if outcome != RunOutcome::Passed {
        keep_logs(directory, &job.out, events);
    }
    if still_needed(directory) {
        return outcome;
    }
    if let Err(error) = directory.remove() {
        fail(events, &error, Some(format!("remove {} by hand", directory.path())), Vec::new());
        return outcome.worse(RunOutcome::EnvironmentFailed);
    }
    outcome
}

/// Whether it says what is left on clusters of somebody else, or on Docker.
fn still_needed(directory: &Directory) -> bool {
    !matches!(Existing::attach(directory.path()), Ok(None)) || !matches!(Kind::attach(directory.path()), Ok(None))
}

async fn tear_down(fleet: Fleet, events: &EventSender) -> RunOutcome {
    let phase = "tear-down".to_owned();
    events.send(EventKind::PhaseStarted { phase: phase.clone(), title: "tear down".to_owned() });
    let stopped = take_down(fleet).await;
    let (outcome, result, detail) = match &stopped {
        Ok(()) => (PhaseOutcome::Done, RunOutcome::Passed, "nothing left".to_owned()),
        Err(error) => (PhaseOutcome::Failed, RunOutcome::EnvironmentFailed, crate::cluster::chain(error)),
    };
    events.send(EventKind::PhaseFinished { phase, outcome, detail });
    result
}

/// Copies what containers and the supervisor wrote beside the reports, without secrets.
fn keep_logs(directory: &Directory, out: &Utf8Path, events: &EventSender) {
    let target = out.join("logs");
    match copy_logs(directory.path(), &target) {
        Ok(0) => {}
        Ok(_) => events.send(EventKind::FileWritten { what: "logs".to_owned(), path: target.to_string() }),
        Err(error) => events.warn(format!("the logs could not be kept: {error}"), None),
    }
}

fn copy_logs(from: &Utf8Path, to: &Utf8Path) -> std::io::Result<usize> {
    let mut copied = 0;
    let entries = match from.read_dir_utf8() {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copied += copy_logs(entry.path(), &target)?;
        } else if entry.path().extension() == Some("log") {
            std::fs::create_dir_all(to)?;
            let text = String::from_utf8_lossy(&std::fs::read(entry.path())?).into_owned();
            std::fs::write(&target, redact::text(&text).as_bytes())?;
            copied += 1;
        }
    }
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_copied_and_credentials_are_not() {
        let directory = tempfile::tempdir().expect("a folder");
        let path = Utf8Path::from_path(directory.path()).expect("UTF-8");
        let pod = path.join("state/clusters/cluster1/logs/pod");
        std::fs::create_dir_all(&pod).expect("created");
        std::fs::write(pod.join("0.log"), "hello, password=hunter2").expect("written");
        std::fs::write(path.join("state/clusters/cluster1/kubeconfig"), "secret").expect("written");
        assert_eq!(copy_logs(&path.join("state"), &path.join("out")).expect("copied"), 1);
        let log = std::fs::read_to_string(path.join("out/clusters/cluster1/logs/pod/0.log")).expect("copied");
        assert_eq!(log, "hello, password=[redacted]");
        assert!(!path.join("out/clusters/cluster1/kubeconfig").exists());
    }
}
