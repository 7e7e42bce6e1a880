//! One program of a host, kept running for as long as the host has power.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use substrate_config::machine::{MachineProgram, ProgramStatus};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::again::{Again, STEP};
use crate::fabric::PodNetwork;
use crate::runtime::{Container, ContainerSpec, StartError};

/// A program; dropping it leaves it running until the power is cut.
pub(super) struct Program {
    name: String,
    state: watch::Receiver<State>,
    ready: watch::Receiver<bool>,
    keep_off: watch::Sender<bool>,
    task: JoinHandle<()>,
}

#[derive(Clone, Default)]
struct State {
    container: Option<Container>,
    /// Whether its keeper starts it, or waits for its end.
    on: bool,
    starts: u64,
    problem: Option<String>,
}

/// The log of a start, counted from 1: of the host, and then of the program.
pub(super) fn log_file(base: &Path, start: u64) -> PathBuf {
    base.with_extension(format!("{start}.log"))
}

impl Program {
    /// Starts it once the one `before` it is ready.
    pub(super) fn start(
        spec: ContainerSpec,
        program: &MachineProgram,
        network: Arc<PodNetwork>,
        before: Option<watch::Receiver<bool>>,
        power: CancellationToken,
    ) -> Self {
        let (name, ready_port) = (program.name.clone(), program.ready_port);
        let (publish, state) = watch::channel(State::default());
        let (is_ready, ready) = watch::channel(false);
        let (keep_off, killed) = watch::channel(false);
        let task = tokio::spawn(async move {
            if let Some(mut before) = before {
                // Where it never is, the power ends the wait.
                let waited = power.run_until_cancelled(before.wait_for(|ready| *ready)).await;
                if !matches!(waited, Some(Ok(_))) {
                    return;
                }
            }
            let announce = announce(ready_port, &network, is_ready, killed.clone());
            let run = keep_running(&spec, &network, &publish, &power, killed);
            tokio::join!(power.run_until_cancelled(announce), run);
        });
        Self { name, state, ready, keep_off, task }
    }

    /// Kills it, keeps it from being started again, and returns when it is gone.
    pub(super) async fn kill(&self) {
        self.keep_off.send_replace(true);
        let mut state = self.state.clone();
        // Without its keeper the power is gone, and so is the program.
        let _gone = state.wait_for(|state| !state.on).await;
    }

    /// Lets one that was killed be started again.
    pub(super) fn let_go(&self) {
        self.keep_off.send_replace(false);
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
        let kept_off = *self.keep_off.borrow();
        ProgramStatus { name: self.name.clone(), running, ready, kept_off, starts: state.starts, problem }
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

/// Says that the program is ready: at once, or when its port takes connections; and after it was killed, anew.
async fn announce(
    port: Option<u16>,
    network: &PodNetwork,
    ready: watch::Sender<bool>,
    mut killed: watch::Receiver<bool>,
) {
    loop {
        if let Some(port) = port {
            let mut step = tokio::time::interval(STEP);
            while network.dial((Ipv4Addr::LOCALHOST, port).into()).await.is_err() {
                step.tick().await;
            }
        }
        // An answer of the one before its end is none of the next one.
        if !*killed.borrow() {
            ready.send_replace(true);
        }
        if killed.wait_for(|killed| *killed).await.is_err() {
            return;
        }
        ready.send_replace(false);
        if killed.wait_for(|killed| !*killed).await.is_err() {
            return;
        }
    }
}

/// Starts it again whenever it has ended, until the power goes.
async fn keep_running(
    spec: &ContainerSpec,
    network: &PodNetwork,
    publish: &watch::Sender<State>,
    power: &CancellationToken,
    mut killed: watch::Receiver<bool>,
) {
    let (id, mut again) = (spec.id.clone(), Again::default());
    while !power.is_cancelled() {
        if *killed.borrow() {
            publish.send_modify(|state| state.on = false);
            if !matches!(power.run_until_cancelled(killed.wait_for(|killed| !*killed)).await, Some(Ok(_))) {
                return;
            }
            again = Again::default();
        }
        publish.send_modify(|state| state.on = true);
        let start = publish.borrow().starts + 1;
        let spec = ContainerSpec { log_file: log_file(&spec.log_file, start), ..spec.clone() };
        let began = tokio::time::Instant::now();
        let problem = match Container::spawn(spec, network.namespace()).await {
            Ok(container) => {
                let running = State { container: Some(container.clone()), on: true, starts: start, problem: None };
                publish.send_replace(running);
                let Some(ended) = power.run_until_cancelled(ended(&container, &mut killed)).await else { return };
                ended
            }
            Err(error) => said(&error),
        };
        publish.send_modify(|state| (state.starts, state.problem) = (start, Some(problem.clone())));
        tracing::info!(program = id, problem, "a program of a machine has ended");
        let waited = async {
            tokio::select! {
                () = tokio::time::sleep(again.pause(began.elapsed())) => {}
                Ok(_) = killed.wait_for(|killed| *killed) => {}
            }
        };
        if power.run_until_cancelled(waited).await.is_none() {
            return;
        }
    }
}

/// Waits for its end, or brings it about where it is killed, and says how it ended.
async fn ended(container: &Container, killed: &mut watch::Receiver<bool>) -> String {
    tokio::select! {
        ended = container.wait() => return format!("it ended with code {}", ended.code),
        // Nobody is left to kill it: the power goes, and that ends this wait.
        Ok(_) = killed.wait_for(|killed| *killed) => {}
    }
    // It may have ended by itself meanwhile.
    let _gone = container.signal(libc::SIGKILL);
    container.wait().await;
    "it was killed, and is kept off".to_owned()
}

fn said(error: &StartError) -> String {
    format!("it cannot be started: {error}")
}
