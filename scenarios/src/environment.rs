//! One environment for all tests of a run, whether they share a process or have one each.
//!
//! The first test brings it up, in a process of its own (`meshproof up --while …`), and later ones attach to it. It lives
//! as long as the runner, `cargo` or `cargo nextest`, and ends with it however that ends. Tests take turns: a measurement
//! is worth nothing while another test changes the mesh.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use meshproof::cli::files;
use meshproof::cluster::chain;
use meshproof::environment::{Directory, state_root};
use meshproof::provider::fleet::{self, Fleet};
use meshproof::report::RunOutcome;
use meshproof::run;
use meshproof::scenario::Plan;
use meshproof::scenario::api::Scenario;
use requirements::Capability;

use crate::recording;

/// How long the environment may take to come up on a busy machine.
const BRING_UP: Duration = Duration::from_secs(300);
const STEP: Duration = Duration::from_millis(50);
/// What it needs of the machine.
const NEEDS: [Capability; 4] = [Capability::UserNamespaces, Capability::Nft, Capability::Envoy, Capability::Programs];
/// Programs that start tests and wait for all of them.
const RUNNERS: [&str; 2] = ["cargo", "cargo-nextest"];

/// The environment of one topology. Brought up by the first test that proves something in it.
#[derive(Clone, Debug)]
pub struct Environment {
    topology: Utf8PathBuf,
}

/// A test did not pass. Test programs print what a test returns by `Debug`, so that is for people here.
#[derive(thiserror::Error)]
pub enum Error {
    /// The environment did not come up.
    #[error("the environment did not come up: {0}")]
    NotUp(String),
    /// The scenario or its topology cannot be used.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// The environment cannot be used.
    #[error(transparent)]
    Fleet(#[from] fleet::Error),
    /// A file of the test cannot be used.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The scenario did not pass.
    #[error("{said}\n{outcome}; the report is {report}")]
    NotPassed {
        /// How it ended.
        outcome: &'static str,
        /// What the console would have shown.
        said: String,
        /// Path of the report for people.
        report: Utf8PathBuf,
    },
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&chain(self))
    }
}

pub(crate) fn io_error(action: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let action = action.into();
    move |source| Error::Io { action, source }
}

impl Environment {
    /// That of a file with a topology.
    #[must_use]
    pub fn of(topology: Utf8PathBuf) -> Self {
        Self { topology }
    }

    /// Path of its topology.
    #[must_use]
    pub fn topology(&self) -> &Utf8Path {
        &self.topology
    }

    /// Runs a scenario and demands that it passes. Where the machine lacks what that needs, this is recorded as skipped.
    ///
    /// # Errors
    /// [`Error`]
    ///
    /// # Panics
    /// Where the machine lacks something and `MESHPROOF_REQUIRE=all` forbids to skip.
    pub fn prove(&self, test: &str, plan: &Plan) -> Result<(), Error> {
        if !NEEDS.iter().all(|needed| requirements::met(*needed, test)) {
            return Ok(());
        }
        let programs = requirements::programs().map_err(Error::NotUp)?;
        let programs = Utf8PathBuf::try_from(programs).map_err(|error| Error::NotUp(error.to_string()))?;
        let files = programs.join("scenarios");
        fs::create_dir_all(&files).map_err(io_error(format!("create {files}")))?;
        let _turn = take_turn(&files)?;
        let runtime = tokio::runtime::Runtime::new().map_err(io_error("start a runtime"))?;
        let outcome = runtime.block_on(async {
            let (name, fleet) = self.attach(&programs, &files).await?;
            recording::run(fleet, &name, test, plan, &files.join(folder_of(test))).await
        });
        // A thread that waits for input must not keep the process.
        runtime.shutdown_background();
        match outcome? {
            recording::Ended { outcome: RunOutcome::Passed, .. } => Ok(()),
            // Who interrupts a test wants the rest to end, too.
            recording::Ended { outcome: outcome @ (RunOutcome::Interrupted | RunOutcome::Terminated), .. } => {
                std::process::exit(outcome.exit_code().into())
            }
            recording::Ended { outcome, said, report } => {
                Err(Error::NotPassed { outcome: outcome.meaning(), said, report })
            }
        }
    }

    /// As [`Self::prove`], for a scenario that is written in Rust in the test that runs.
    ///
    /// # Errors
    /// [`Error`]
    ///
    /// # Panics
    /// As [`Self::prove`].
    pub fn prove_written(&self, scenario: &Scenario) -> Result<(), Error> {
        let plan = files::written(scenario, &files::topology(&self.topology)?)?;
        let thread = std::thread::current();
        self.prove(thread.name().unwrap_or(&plan.name), &plan)
    }

    async fn attach(&self, programs: &Utf8Path, files: &Utf8Path) -> Result<(String, Fleet), Error> {
        let root = state_root().map_err(Error::NotUp)?;
        let runner = runner();
        let topology = self.topology.file_stem().unwrap_or_default();
        let name = format!("{}tests-{runner}-{topology}", run::OWN_PREFIX);
        let directory = Directory::new(&root, &name);
        if !directory.is_complete() {
            self.bring_up(programs, &directory, runner, &name, &files.join("environment.log")).await?;
        }
        let fleet = Fleet::attach(directory.path())?;
        fleet.map(|fleet| (name, fleet)).ok_or_else(|| Error::NotUp("it has ended".to_owned()))
    }

    async fn bring_up(
        &self,
        programs: &Utf8Path,
        directory: &Directory,
        runner: u32,
        name: &str,
        log: &Utf8Path,
    ) -> Result<(), Error> {
        let write = || io_error(format!("write {log}"));
        let output = File::create(log).map_err(write())?;
        let mut holder = Command::new(programs.join("meshproof"))
            .args(["up", "--while", &runner.to_string(), "--name", name, "--topology", self.topology.as_str()])
            .env("CI", "true")
            .stdin(Stdio::null())
            .stderr(output.try_clone().map_err(write())?)
            .stdout(output)
            // Ctrl-C goes to the whole foreground group; a test that is interrupted still cleans up in it.
            .process_group(0)
            .spawn()
            .map_err(io_error("start meshproof"))?;
        let ready = eventually::poll("the environment", BRING_UP, STEP, async || match holder.try_wait() {
            Ok(None) if directory.is_complete() => Ok(Ok(())),
            Ok(None) => Err("it is still being brought up"),
            Ok(Some(status)) => Ok(Err(format!("{status}: {}", fs::read_to_string(log).unwrap_or_default()))),
            Err(error) => Ok(Err(chain(&error))),
        });
        ready.await.map_err(|late| Error::NotUp(late.to_string()))?.map_err(Error::NotUp)
    }
}

/// One test at a time, in this process and in all others that were built here.
fn take_turn(files: &Utf8Path) -> Result<File, Error> {
    let path = files.join("turn.lock");
    let file = File::create(&path).map_err(io_error(format!("create {path}")))?;
    file.lock().map_err(io_error(format!("lock {path}")))?;
    Ok(file)
}

/// The process that the environment belongs to: the runner of all tests, else this one.
fn runner() -> u32 {
    let parent = std::os::unix::process::parent_id();
    let name = fs::read_to_string(format!("/proc/{parent}/comm")).unwrap_or_default();
    if RUNNERS.contains(&name.trim_end()) { parent } else { std::process::id() }
}

/// `mtls::strict[cluster=cluster1]` as a path: `mtls/strict-cluster-cluster1`.
fn folder_of(test: &str) -> Utf8PathBuf {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || letter == '_' { letter } else { '-' };
    test.split("::").map(|part| part.chars().map(plain).collect::<String>().trim_matches('-').to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_a_test_have_a_folder_with_its_name() {
        assert_eq!(folder_of("mtls::strict[cluster=cluster1]"), "mtls/strict-cluster-cluster1");
    }
}
