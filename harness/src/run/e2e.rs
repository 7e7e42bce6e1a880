//! The main job: bring up, prove, report, tear down. Whatever happens on the way, nothing is left.

use camino::Utf8Path;

use super::prepare::Prepared;
use super::scenarios::{run_all, run_while_alive};
use super::{Interruption, Job, fail, not_up};
use crate::engine::Environment;
use crate::environment::Directory;
use crate::provider::embedded::World;
use crate::report::RunOutcome;
use crate::report::event::{EventKind, PhaseOutcome};
use crate::report::redact;
use crate::report::stream::EventSender;

/// Runs the job in an environment of its own.
pub async fn e2e(job: &Job, events: &EventSender, interruption: &Interruption) -> RunOutcome {
    let prepared = match Prepared::new(job, events).await {
        Ok(prepared) => prepared,
        Err(outcome) => return outcome,
    };
    let outcome = in_world(job, &prepared, events, interruption).await;
    if outcome != RunOutcome::Passed {
        keep_logs(&prepared.directory, &job.out, events);
    }
    if let Err(error) = prepared.directory.remove() {
        fail(events, &error, Some(format!("remove {} by hand", prepared.directory.path())), Vec::new());
        return outcome.worse(RunOutcome::EnvironmentFailed);
    }
    outcome
}

async fn in_world(job: &Job, prepared: &Prepared, events: &EventSender, interruption: &Interruption) -> RunOutcome {
    let (world, clusters) = match prepared.bring_up(job, events, interruption).await {
        Ok(up) => up,
        Err(error) => return not_up(&error, events, interruption),
    };
    let environment = Environment::new(clusters, world.links()).with_artifacts(&job.out);
    let run = run_all(&environment, &job.plans, job.manner, events, interruption);
    let outcome = run_while_alive(&world, run, events).await;
    outcome.worse(tear_down(world, events).await)
}

async fn tear_down(world: World, events: &EventSender) -> RunOutcome {
    let phase = "tear-down".to_owned();
    events.send(EventKind::PhaseStarted { phase: phase.clone(), title: "tear down".to_owned() });
    let stopped = world.stop().await;
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
