//! Environments that live as long as another process: of a script, or of a test runner.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::kept::remember;
use super::scenarios::run_while_alive;
use super::temporary::{Temporary, in_temporary};
use super::{Interruption, Job, fail};
use crate::report::RunOutcome;
use crate::report::event::{EventKind, PhaseOutcome};
use crate::report::stream::EventSender;

/// Brings the topology up, leaves it to others while the process of that id runs, and tears it down.
pub async fn up_while(process: i32, job: &Job, events: &EventSender, interruption: &Interruption) -> RunOutcome {
    let process = match Process::open(process) {
        Ok(process) => process,
        Err(error) => {
            let cure = "name a process that runs; a shell calls itself $$".to_owned();
            fail(events, &error, Some(cure), Vec::new());
            return RunOutcome::WrongUsage;
        }
    };
    let leave = async |Temporary { directory, fleet, .. }: Temporary<'_>| {
        if let Err(outcome) = remember(directory, job, events) {
            return outcome;
        }
        let phase = "while".to_owned();
        let title = format!("{} is up while process {} runs", job.environment, process.id);
        events.send(EventKind::PhaseStarted { phase: phase.clone(), title });
        let wait = async {
            let (outcome, detail) = match interruption.token().run_until_cancelled(process.ended()).await {
                None => (PhaseOutcome::Done, "interrupted".to_owned()),
                Some(Ok(())) => (PhaseOutcome::Done, "it has ended".to_owned()),
                Some(Err(error)) => (PhaseOutcome::Failed, error.to_string()),
            };
            let ended = if outcome == PhaseOutcome::Done { RunOutcome::Passed } else { RunOutcome::EnvironmentFailed };
            events.send(EventKind::PhaseFinished { phase, outcome, detail });
            ended
        };
        run_while_alive(fleet, wait, events).await
    };
    in_temporary(job, events, interruption, leave).await
}

/// A process of somebody else. What is held is the process itself, so that a later one with its id does not count.
struct Process {
    id: i32,
    descriptor: OwnedFd,
}

impl Process {
    fn open(id: i32) -> io::Result<Self> {
        let invalid = || io::Error::new(io::ErrorKind::InvalidInput, format!("{id} is no id of a process"));
        let descriptor = pidfd_open(Pid::from_raw(id).ok_or_else(invalid)?, PidfdFlags::empty())
            .map_err(|error| io::Error::other(format!("process {id}: {}", io::Error::from(error))))?;
        Ok(Self { id, descriptor })
    }

    /// Waits in a thread of its own, which stays behind when nobody wants to know any more.
    async fn ended(&self) -> io::Result<()> {
        let descriptor = self.descriptor.try_clone()?;
        let wait = move || {
            loop {
                let mut awaited = [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)];
                match poll(&mut awaited, PollTimeout::NONE) {
                    Err(Errno::EINTR) => {}
                    ended => return ended.map(|_| ()).map_err(io::Error::from),
                }
            }
        };
        tokio::task::spawn_blocking(wait).await.map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn the_end_of_a_process_is_noticed_and_not_its_life() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("started");
        let process = Process::open(child.id().try_into().expect("an id")).expect("it runs");
        let early = tokio::time::timeout(Duration::from_millis(50), process.ended()).await;
        assert!(early.is_err(), "it still runs");
        drop(child.stdin.take());
        tokio::time::timeout(Duration::from_secs(20), process.ended()).await.expect("noticed").expect("no error");
        child.wait().expect("it has ended");
    }

    #[tokio::test]
    async fn a_process_that_is_not_there_is_no_lease() {
        let mut child = Command::new("true").spawn().expect("started");
        child.wait().expect("it has ended");
        assert!(Process::open(child.id().try_into().expect("an id")).is_err());
        assert!(Process::open(0).is_err());
    }
}
