//! The embedded provider: one supervisor process per environment, `meshproof-substrate`, that runs every cluster.
//!
//! The supervisor dies with the lease (its standard input) under `e2e`, and by signal for an environment that was kept.

use std::process::Stdio;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use substrate_config::{WorldConfig, WorldEvent, WorldState};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio_util::sync::CancellationToken;

use super::{client, files, leftovers};
use crate::cluster::{Access, Cluster};
use crate::links::Links;

/// How long the clusters may take to come up on a busy machine.
const BRING_UP: Duration = Duration::from_secs(60);
/// How long a supervisor may take to end before it is killed.
const TEAR_DOWN: Duration = Duration::from_secs(5);
/// How long a process that was killed still counts as alive after its connections broke.
const DYING: Duration = Duration::from_millis(500);

/// How often one looks whether a process that is about to end has ended.
const SOON: Duration = Duration::from_millis(5);
/// How often one looks whether a world that is needed still runs.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);
/// A round of those looks; any length does.
const WATCH: Duration = Duration::from_secs(3_600);

/// The embedded world could not be brought up or down. Always an environment failure, never a verdict on the mesh.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or process operation failed.
    #[error(transparent)]
    Io(#[from] files::Error),
    /// The supervisor reported a failure.
    #[error("{message}")]
    Failed {
        /// What went wrong.
        message: String,
        /// What to do.
        cure: String,
    },
    /// The supervisor ended without a word.
    #[error("the embedded Kubernetes ended during bring-up ({status}); {words}")]
    Ended {
        /// Exit status.
        status: String,
        /// What the supervisor said last.
        words: String,
    },
    /// The clusters were not ready in time.
    #[error("the clusters were not ready within {} s; {words}", BRING_UP.as_secs())]
    Slow {
        /// What the supervisor said last.
        words: String,
    },
    /// What the supervisor wrote of itself cannot be understood.
    #[error("{path} is damaged; end the process that wrote it, if it runs, and remove its folder")]
    Damaged {
        /// The file.
        path: Utf8PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// The supervisor ended while it was needed.
    #[error("the embedded Kubernetes (process {process_id}) died; {words}")]
    Died {
        /// Its process id.
        process_id: u32,
        /// What it said last.
        words: String,
    },
    /// The world outlived even SIGKILL.
    #[error("the embedded Kubernetes (process {process_id}) does not end, although it was killed")]
    NotEnded {
        /// Its process id.
        process_id: u32,
    },
    /// The world has ended, and left something on the Docker engine.
    #[error(transparent)]
    Left(#[from] docker_support::Error),
    /// The user ended the bring-up.
    #[error("interrupted")]
    Interrupted,
    /// A kubeconfig that the supervisor wrote cannot be used.
    #[error(transparent)]
    Kubeconfig(#[from] client::Error),
}

/// File of the supervisor's standard error in the folder of the environment.
const LOG: &str = "supervisor.log";

/// A running world.
pub struct World {
    process: Option<Child>,
    lease: Option<ChildStdin>,
    log: Utf8PathBuf,
    state: WorldState,
}

impl World {
    /// Starts the supervisor and waits until every cluster is ready; `progress` sees each event.
    ///
    /// # Errors
    /// [`Error`], [`Error::Interrupted`] once `cancel` is cancelled; nothing is left running.
    pub async fn start(
        program: &Utf8Path,
        config: &WorldConfig,
        mut progress: impl FnMut(&WorldEvent),
        cancel: &CancellationToken,
    ) -> Result<Self, Error> {
        let directory = &config.state_directory;
        files::create_private_directory(directory)?;
        let config_path = directory.join("config.json");
        let text = serde_json::to_vec_pretty(config).expect("invariant: plain data serialises");
        std::fs::write(&config_path, text).map_err(files::failed(format!("write {config_path}")))?;
        let log = directory.join(LOG);
        let mut process = spawn(program, &config_path, &log, config.exit_on_stdin_eof)?;
        let lease = process.stdin.take();
        let stdout = process.stdout.take().expect("invariant: standard output is piped");
        let mut lines = BufReader::new(stdout).lines();
        let ready = tokio::time::timeout(BRING_UP, wait_until_ready(&mut lines, &mut progress));
        let failure = match cancel.run_until_cancelled(ready).await {
            Some(Ok(Ok(Some(state)))) => return Ok(Self { process: Some(process), lease, log, state }),
            Some(Ok(Ok(None))) => match process.wait().await {
                Ok(status) => Error::Ended { status: status.to_string(), words: last_words(&log) },
                Err(error) => files::failed("wait for the supervisor")(error).into(),
            },
            Some(Ok(Err(error))) => error,
            Some(Err(_elapsed)) => Error::Slow { words: last_words(&log) },
            None => Error::Interrupted,
        };
        drop(lease);
        end(process).await?;
        nothing_left(config.docker_socket.as_deref(), &config.run_id).await?;
        Err(failure)
    }

    /// Attaches to a world that was kept, or `None` where none runs under that state directory.
    ///
    /// # Errors
    /// Where `world.json` exists and cannot be read.
    pub fn attach(state_directory: &Utf8Path) -> Result<Option<Self>, Error> {
        let path = state_directory.join("world.json");
        let Some(text) = files::read(&path)? else { return Ok(None) };
        let state: WorldState =
            serde_json::from_slice(&text).map_err(|source| Error::Damaged { path: path.clone(), source })?;
        let log = state_directory.join(LOG);
        Ok(is_alive(&state).then_some(Self { process: None, lease: None, log, state }))
    }

    /// Says so where the world has ended, which explains whatever else went wrong in it.
    pub async fn died(&self) -> Option<Error> {
        self.gone_within(DYING, SOON).await.then(|| self.died_now())
    }

    /// Does work that is lost once the world ends. Most of it would wait for answers until its own time was up.
    ///
    /// # Errors
    /// [`Error::Died`] as soon as the world has ended; the work is dropped then.
    pub async fn while_alive<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            error = self.death() => Err(error),
        }
    }

    async fn death(&self) -> Error {
        while !self.gone_within(WATCH, WATCH_INTERVAL).await {}
        self.died_now()
    }

    fn died_now(&self) -> Error {
        Error::Died { process_id: self.state.process_id, words: last_words(&self.log) }
    }

    /// What the supervisor said of itself.
    #[must_use]
    pub fn state(&self) -> &WorldState {
        &self.state
    }

    /// The links between its networks; `None` where the supervisor has no control socket.
    #[must_use]
    pub fn links(&self) -> Option<Links> {
        self.state.control_socket.as_deref().map(Links::new)
    }

    /// Handles of the clusters.
    ///
    /// # Errors
    /// [`Error::Kubeconfig`].
    pub async fn clusters(&self) -> Result<Vec<Cluster>, Error> {
        let mut clusters = Vec::with_capacity(self.state.clusters.len());
        for cluster in &self.state.clusters {
            let access = Access {
                kubeconfig: cluster.kubeconfig.clone(),
                server_for_other_clusters: cluster.server_for_other_clusters.clone(),
            };
            clusters.push(client::cluster(&cluster.name, &cluster.network, access).await?);
        }
        Ok(clusters)
    }

    /// Lets the world go on without this process, which until now was its lease.
    ///
    /// # Errors
    /// Where the supervisor cannot be told; it ends then.
    pub async fn keep(mut self) -> Result<(), Error> {
        let Some(mut lease) = self.lease.take() else { return Ok(()) };
        let told = async {
            lease.write_all(b"keep\n").await?;
            lease.flush().await
        };
        Ok(told.await.map_err(files::failed("tell the supervisor to stay"))?)
    }

    /// Ends the world and waits until it is gone.
    ///
    /// # Errors
    /// Where the supervisor cannot be signalled, or still runs after it was killed.
    pub async fn stop(mut self) -> Result<(), Error> {
        drop(self.lease.take());
        let pid = Pid::from_raw(i32::try_from(self.state.process_id).unwrap_or(i32::MAX));
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            if !is_alive(&self.state) {
                break;
            }
            match kill(pid, signal) {
                Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
                Err(error) => return Err(files::failed(format!("end process {pid}"))(error.into()).into()),
            }
            if self.gone_within(TEAR_DOWN, SOON).await {
                break;
            }
        }
        if is_alive(&self.state) {
            return Err(Error::NotEnded { process_id: self.state.process_id });
        }
        if let Some(mut process) = self.process.take() {
            process.wait().await.map_err(files::failed("wait for the supervisor"))?;
        }
        nothing_left(self.state.docker_socket.as_deref(), &self.state.run_id).await
    }

    async fn gone_within(&self, deadline: Duration, interval: Duration) -> bool {
        eventually::poll("the supervisor to end", deadline, interval, async || {
            if is_alive(&self.state) { Err("it still runs") } else { Ok(()) }
        })
        .await
        .is_ok()
    }
}

async fn nothing_left(docker_socket: Option<&Utf8Path>, run_id: &str) -> Result<(), Error> {
    match docker_socket {
        Some(socket) => Ok(leftovers::none(socket, run_id).await?),
        None => Ok(()),
    }
}

fn spawn(program: &Utf8Path, config: &Utf8Path, log: &Utf8Path, lease: bool) -> Result<Child, Error> {
    let log_file = std::fs::File::create(log).map_err(files::failed(format!("write {log}")))?;
    let mut command = Command::new(program);
    command
        .args(["run", "--config", config.as_str()])
        .stdin(if lease { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(log_file)
        // Ctrl-C goes to the whole foreground group; the runner tears down in order instead.
        .process_group(0);
    Ok(command.spawn().map_err(files::failed(format!("start {program}")))?)
}

/// Waits for a supervisor that lost its lease; one that does not end is killed, together with the world, which is in
/// its process group.
async fn end(mut process: Child) -> Result<(), Error> {
    if tokio::time::timeout(TEAR_DOWN, process.wait()).await.is_ok() {
        return Ok(());
    }
    let group = process.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    match group.map_or(Ok(()), |group| killpg(group, Signal::SIGKILL)) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
        Err(error) => return Err(files::failed("end the supervisor")(error.into()).into()),
    }
    process.wait().await.map_err(files::failed("wait for the supervisor"))?;
    Ok(())
}

/// The last line of a log, as a part of a sentence.
fn last_words(log: &Utf8Path) -> String {
    let text = std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    match text.lines().rev().map(str::trim).find(|line| !line.is_empty()) {
        Some(line) => format!("{LOG} ends with `{line}`"),
        None => format!("{LOG} is empty"),
    }
}

async fn wait_until_ready(
    lines: &mut Lines<BufReader<ChildStdout>>,
    progress: &mut impl FnMut(&WorldEvent),
) -> Result<Option<WorldState>, Error> {
    while let Some(line) = lines.next_line().await.map_err(files::failed("read from the supervisor"))? {
        let event: WorldEvent = serde_json::from_str(&line)
            .map_err(|error| files::failed(format!("understand the supervisor's `{line}`"))(error.into()))?;
        progress(&event);
        match event {
            WorldEvent::ClusterReady { .. } => {}
            WorldEvent::Ready { state } => return Ok(Some(state)),
            WorldEvent::Failed { message, cure } => return Err(Error::Failed { message, cure }),
        }
    }
    Ok(None)
}

/// Whether the very process that wrote the state still runs; a reused process id does not count, nor does a zombie.
fn is_alive(state: &WorldState) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", state.process_id)) else { return false };
    // The command name may hold spaces and parentheses; fields count from after its last ")".
    let Some((_, rest)) = stat.rsplit_once(')') else { return false };
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let started = fields.get(19).and_then(|field| field.parse::<u64>().ok());
    fields.first() != Some(&"Z") && started == Some(state.process_start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_quoted_by_its_last_line() {
        let directory = tempfile::tempdir().expect("a folder");
        let log = Utf8Path::from_path(directory.path()).expect("UTF-8").join(LOG);
        assert_eq!(last_words(&log), "supervisor.log is empty");
        std::fs::write(&log, "started\ncannot go on\n\n").expect("written");
        assert_eq!(last_words(&log), "supervisor.log ends with `cannot go on`");
    }

    #[tokio::test]
    async fn an_interrupted_bring_up_leaves_no_process() {
        let directory = tempfile::tempdir().expect("a folder");
        let path = Utf8Path::from_path(directory.path()).expect("UTF-8");
        let program = path.join("supervisor");
        let script = format!("#!/bin/sh\necho $$ > {path}/pid\ncat > /dev/null\nsleep 0.2\nrm {path}/pid\n");
        std::fs::write(&program, script).expect("written");
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("executable");
        let config = WorldConfig {
            name: "test".to_owned(),
            run_id: "test".to_owned(),
            state_directory: path.join("state"),
            networks: Vec::new(),
            clusters: Vec::new(),
            machines: Vec::new(),
            docker_socket: None,
            images: Vec::new(),
            exit_on_stdin_eof: true,
        };
        let cancel = CancellationToken::new();
        let started = eventually::poll("the start", TEAR_DOWN, Duration::from_millis(5), async || {
            if path.join("pid").is_file() { Ok(()) } else { Err("not yet") }
        });
        let interrupt = async {
            started.await.expect("it starts");
            cancel.cancel();
        };
        let (result, ()) = tokio::join!(World::start(&program, &config, |_| {}, &cancel), interrupt);
        assert!(matches!(result, Err(Error::Interrupted)));
        assert!(!path.join("pid").exists(), "the supervisor still runs");
    }

    /// A world whose supervisor is `cat`, which runs until its input ends.
    fn cat(folder: &Utf8Path) -> World {
        let mut process = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("cat starts");
        let lease = process.stdin.take();
        let process_id = process.id().expect("it runs");
        let stat = std::fs::read_to_string(format!("/proc/{process_id}/stat")).expect("it runs");
        let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
        let state = WorldState {
            name: "test".to_owned(),
            run_id: "test".to_owned(),
            process_id,
            process_start: fields[19].parse().expect("a number"),
            clusters: Vec::new(),
            control_socket: None,
            machines: Vec::new(),
            docker_socket: None,
        };
        World { process: Some(process), lease, log: folder.join(LOG), state }
    }

    #[tokio::test]
    async fn work_ends_with_the_world_that_it_needs() {
        let directory = tempfile::tempdir().expect("a folder");
        let mut world = cat(Utf8Path::from_path(directory.path()).expect("UTF-8"));
        assert_eq!(world.while_alive(std::future::ready(7)).await.expect("it lives"), 7);
        drop(world.lease.take());
        let never = world.while_alive(std::future::pending::<()>());
        let ended = tokio::time::timeout(TEAR_DOWN, never).await.expect("it is noticed");
        assert!(matches!(ended, Err(Error::Died { .. })), "{ended:?}");
    }
}
