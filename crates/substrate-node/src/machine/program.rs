//! One program of a host, kept running for as long as the host has power.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use substrate_config::machine::ProgramStatus;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::fabric::PodNetwork;
use crate::runtime::{Container, ContainerSpec, StartError};

/// Pause before a program that has ended is started again: the first, and the longest.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// A program that ran for so long has worked: the next pause is the first again.
const WORKED: Duration = Duration::from_secs(10);
/// How often a port is tried.
const STEP: Duration = Duration::from_millis(20);

/// A program; dropping it leaves it running until the power is cut.
pub(super) struct Program {
    state: watch::Receiver<State>,
    ready: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

#[derive(Clone, Default)]
struct State {
    container: Option<Container>,
    starts: u64,
    problem: Option<String>,
}

/// The log of a program's start, counted from 1.
pub(super) fn log_file(base: &Path, start: u64) -> PathBuf {
    base.with_extension(format!("{start}.log"))
}

impl Program {
    /// Starts it once the one `before` it is ready.
    pub(super) fn start(
        spec: ContainerSpec,
        ready_port: Option<u16>,
        network: Arc<PodNetwork>,
        before: Option<watch::Receiver<bool>>,
        power: CancellationToken,
    ) -> Self {
        let (publish, state) = watch::channel(State::default());
        let (is_ready, ready) = watch::channel(false);
        let task = tokio::spawn(async move {
            if let Some(mut before) = before {
                // Where it never is, the power ends the wait.
                let waited = power.run_until_cancelled(before.wait_for(|ready| *ready)).await;
                if !matches!(waited, Some(Ok(_))) {
                    return;
                }
            }
            let announce = announce(ready_port, &network, is_ready);
            let run = keep_running(&spec, &network, &publish, &power);
            tokio::join!(power.run_until_cancelled(announce), run);
        });
        Self { state, ready, task }
    }

    /// Turns true once it is ready.
    pub(super) fn ready(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }

    /// Its container, where it runs.
    pub(super) fn container(&self) -> Option<Container> {
        self.state.borrow().container.clone().filter(|container| container.exit_status().is_none())
    }

    pub(super) fn status(&self) -> ProgramStatus {
        let running = self.container().is_some();
        let state = self.state.borrow();
        let problem = state.problem.clone().filter(|_| !running);
        let ready = *self.ready.borrow();
        ProgramStatus { name: String::new(), running, ready, starts: state.starts, problem }
    }

    /// Asks it to end, kills it where it does not in time, and waits for its end. The power is off already, so that it is
    /// not started again.
    pub(super) async fn stop(self, patience: Duration) {
        if let Some(container) = self.container() {
            if !patience.is_zero() {
                // It may have ended by itself meanwhile.
                let _gone = container.signal(libc::SIGTERM);
            }
            if patience.is_zero() || tokio::time::timeout(patience, container.wait()).await.is_err() {
                let _gone = container.signal(libc::SIGKILL);
            }
        }
        let Self { state, task, .. } = self;
        // A start that was under way has become a container by now, which nobody has asked to end.
        if let Err(error) = task.await {
            tracing::error!(%error, "the keeper of a program failed");
        }
        let late = state.borrow().container.clone();
        if let Some(container) = late {
            let _gone = container.signal(libc::SIGKILL);
            container.wait().await;
        }
    }
}

/// Says that the program is ready: at once, or when its port takes connections.
async fn announce(port: Option<u16>, network: &PodNetwork, ready: watch::Sender<bool>) {
    if let Some(port) = port {
        let mut step = tokio::time::interval(STEP);
        while network.dial((Ipv4Addr::LOCALHOST, port).into()).await.is_err() {
            step.tick().await;
        }
    }
    ready.send_replace(true);
}

/// Starts it again whenever it has ended, until the power goes.
async fn keep_running(
    spec: &ContainerSpec,
    network: &PodNetwork,
    publish: &watch::Sender<State>,
    power: &CancellationToken,
) {
    let (id, mut pause) = (spec.id.clone(), AGAIN.0);
    while !power.is_cancelled() {
        let start = publish.borrow().starts + 1;
        let spec = ContainerSpec { log_file: log_file(&spec.log_file, start), ..spec.clone() };
        let began = tokio::time::Instant::now();
        let problem = match Container::spawn(spec, network.namespace()).await {
            Ok(container) => {
                publish.send_replace(State { container: Some(container.clone()), starts: start, problem: None });
                let Some(ended) = power.run_until_cancelled(container.wait()).await else { return };
                format!("it ended with code {}", ended.code)
            }
            Err(error) => said(&error),
        };
        publish.send_modify(|state| (state.starts, state.problem) = (start, Some(problem.clone())));
        tracing::info!(program = id, problem, "a program of a machine has ended");
        if began.elapsed() >= WORKED {
            pause = AGAIN.0;
        }
        if power.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
        pause = (pause * 2).min(AGAIN.1);
    }
}

fn said(error: &StartError) -> String {
    format!("it cannot be started: {error}")
}
