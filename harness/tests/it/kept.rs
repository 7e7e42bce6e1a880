//! One environment that stays, and runs on it that go wrong: a runner that is killed, a budget that is exceeded, a scenario
//! that leaves things behind, a container that crashes, a proxy that refuses its configuration.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use camino::Utf8Path;
use meshproof::environment::Directory;
use requirements::{Capability, require};

const TOPOLOGY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/topologies/two-clusters.yaml");

/// Exit codes of the command.
const PASSED: i32 = 0;
const MESH_FAILED: i32 = 100;
const INCONCLUSIVE: i32 = 5;
const ENVIRONMENT_FAILED: i32 = 105;

struct Kept {
    state: tempfile::TempDir,
}

impl Kept {
    fn up() -> Self {
        let kept = Self { state: tempfile::tempdir().expect("a folder") };
        kept.ends_with(PASSED, &["up", "--topology", TOPOLOGY]);
        kept
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meshproof"));
        command.args(args).env("MESHPROOF_STATE_DIR", self.state.path()).env("NO_COLOR", "1").env("CI", "1");
        command
    }

    /// Runs a command to its end, which must be this one, and gives what it printed.
    fn ends_with(&self, code: i32, args: &[&str]) -> String {
        let output = self.command(args).output().expect("started");
        let shown = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{args:?}: {shown}");
        shown
    }

    fn run(&self, code: i32, scenario: &str) -> String {
        self.ends_with(code, &["run", &file(scenario)])
    }

    /// Kills the runner of a scenario when it has printed that a step is over.
    fn run_and_kill_after(&self, step: &str, scenario: &str) {
        let mut runner = self.command(&["run", &file(scenario)]).stdout(Stdio::piped()).spawn().expect("started");
        let mut lines = BufReader::new(runner.stdout.take().expect("piped")).lines();
        let seen = lines.find(|line| line.as_ref().is_ok_and(|line| line.starts_with("pass") && line.contains(step)));
        assert!(seen.is_some(), "the step `{step}` never passed");
        runner.kill().expect("it runs");
        runner.wait().expect("it has ended");
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.command(&["down", "--all"]).output();
    }
}

fn file(scenario: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/kept").join(scenario);
    path.to_string_lossy().into_owned()
}

#[test]
fn whatever_a_run_does_the_next_one_finds_a_mesh_at_rest() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Envoy);
    require!(Capability::Programs);
    let kept = Kept::up();

    // A cut link, a storm and a workload without pods, and nobody left to heal them.
    kept.run_and_kill_after("everything has failed", "faults.yaml");
    let shown = kept.run(PASSED, "everybody.yaml");
    assert!(shown.contains("a run that was killed left bookinfo/ratings-v1 of cluster1 without pods"), "{shown}");

    let shown = kept.run(INCONCLUSIVE, "slow.yaml");
    assert!(shown.contains("budget exceeded") && shown.contains("the clean-up is done all the same"), "{shown}");

    let shown = kept.run(ENVIRONMENT_FAILED, "leaves.yaml");
    assert!(shown.contains("ConfigMap/bookinfo/left was left behind"), "{shown}");
    assert!(shown.contains("the scenario did not clean up"), "{shown}");

    let shown = kept.run(MESH_FAILED, "crash.yaml");
    assert!(shown.contains("container details of bookinfo/details-v1-"), "{shown}");
    assert!(shown.contains("was restarted 1 times"), "{shown}");

    // The route is gone again, and that it was refused is still known.
    let shown = kept.run(MESH_FAILED, "refused.yaml");
    assert!(shown.contains("refused rds 1 times meanwhile"), "{shown}");

    let shown = kept.run(MESH_FAILED, "caught.yaml");
    assert!(shown.contains("pass   1.x1 caught"), "{shown}");
    assert!(shown.contains("pass   1.f1 finally"), "{shown}");
}

/// Command lines of the processes that name a folder.
fn processes_that_name(folder: &Path) -> Vec<String> {
    let folder = folder.to_string_lossy().into_owned();
    let entries = std::fs::read_dir("/proc").expect("a process table").filter_map(Result::ok);
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(&folder)).collect()
}

#[test]
fn an_environment_ends_with_the_process_that_it_is_kept_for_however_that_ends() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Envoy);
    require!(Capability::Programs);
    let kept = Kept { state: tempfile::tempdir().expect("a folder") };
    let mut owner = Command::new("sleep").arg("600").spawn().expect("started");
    let whose = owner.id().to_string();
    let mut holder = kept
        .command(&["up", "--while", &whose, "--name", "guest", "--topology", TOPOLOGY])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("started");
    let directory = Directory::new(Utf8Path::from_path(kept.state.path()).expect("UTF-8"), "guest");
    let up = eventually::poll("the environment", Duration::from_secs(120), Duration::from_millis(100), async || {
        if directory.is_complete() { Ok(()) } else { Err("it is still being brought up") }
    });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(up).expect("it comes up");
    assert!(kept.ends_with(PASSED, &["status"]).contains("guest"));
    assert!(!processes_that_name(kept.state.path()).is_empty(), "its processes are found by their folder");
    owner.kill().expect("it runs");
    owner.wait().expect("it has ended");
    let ended = eventually::poll(
        "its holder to end by itself",
        Duration::from_secs(60),
        Duration::from_millis(100),
        async || match holder.try_wait() {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err("it runs".to_owned()),
            Err(error) => Err(error.to_string()),
        },
    );
    runtime.block_on(ended).expect("it ends");
    assert!(kept.ends_with(PASSED, &["status"]).contains("no environments"));
    assert_eq!(processes_that_name(kept.state.path()), [""; 0]);
}
