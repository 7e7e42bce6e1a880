//! The provider `kind` up to the point at which a node would start: the plan, the look at the machine, kind's own command line, and a
//! clean machine after it has failed or the run was killed.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use requirements::{Capability, require};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const MACHINE_CANNOT: i32 = 96;
const ENVIRONMENT_FAILED: i32 = 105;
const INTERRUPTED: i32 = 130;
/// An image that no machine has, of a registry that no machine is.
pub(crate) const NO_IMAGE: &str = "localhost:1/kindest/node:v1.34.0";

fn meshproof(state: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meshproof"));
    command.args(arguments).current_dir(ROOT).stdin(Stdio::null());
    command.env("MESHPROOF_STATE_DIR", state).env("NO_COLOR", "1").env("CI", "1");
    command
}

fn said(output: &std::process::Output) -> String {
    [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat()
}

/// Containers, networks and volumes whose name has this word.
pub(crate) fn on_docker(word: &str) -> String {
    let lists = [
        ["ps", "--all", "--format", "{{.Names}}"].as_slice(),
        &["network", "ls", "--format", "{{.Name}}"],
        &["volume", "ls", "--format", "{{.Name}} {{.Labels}}"],
    ];
    let list = |arguments: &[&str]| Command::new("docker").args(arguments).output().expect("started").stdout;
    let all = lists.map(|arguments| String::from_utf8(list(arguments)).expect("UTF-8")).concat();
    all.lines().filter(|line| line.contains(word)).map(|line| format!("{line}\n")).collect()
}

#[test]
fn doctor_says_of_each_check_what_it_found_and_without_docker_what_to_do() {
    let state = tempfile::tempdir().expect("a folder");
    let mut doctor = meshproof(state.path(), &["doctor", "--provider", "kind", "--json"]);
    let output = doctor.env("DOCKER_HOST", "unix:///no/such.sock").output().expect("started");
    assert_eq!(output.status.code(), Some(MACHINE_CANNOT), "{}", said(&output));
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["kind"], false);
    let checks = document["checks"].as_array().expect("checks");
    let docker = checks.iter().find(|check| check["name"] == "docker").expect("the first of all");
    assert_eq!(docker["state"], "lacking");
    assert!(docker["cure"].as_str().is_some_and(|cure| cure.contains("systemctl start docker")), "{docker}");
    let rest: Vec<&str> = checks.iter().filter_map(|check| check["name"].as_str()).collect();
    assert!(
        rest.contains(&"memory") && !rest.contains(&"cgroup"),
        "what Docker would have to tell is left out: {rest:?}"
    );
}

#[test]
fn kind_fails_without_a_node_image_with_its_own_words_and_a_clean_machine() {
    require!(Capability::Docker);
    require!(Capability::Kind);
    require!(Capability::Nft);
    require!(Capability::Programs);
    let state = tempfile::tempdir().expect("a folder");
    let users = state.path().join("users-kubeconfig");
    std::fs::write(&users, "untouched").expect("written");
    let name = format!("kind-{}", std::process::id());
    let up = ["up", "--provider", "kind", "--name", &name, "--node-image", NO_IMAGE];
    let run = |more: &[&str]| {
        let mut command = meshproof(state.path(), &[&up[..], more].concat());
        command.env("KUBECONFIG", &users).output().expect("started")
    };

    let output = run(&[]);
    assert_eq!(output.status.code(), Some(MACHINE_CANNOT), "{}", said(&output));
    assert!(said(&output).contains("localhost:1: ") && said(&output).contains("docker load"), "{}", said(&output));
    assert_eq!(on_docker(&name), "", "nothing is made before it is known that it can work");

    let output = run(&["--anyway"]);
    let words = said(&output);
    assert_eq!(output.status.code(), Some(ENVIRONMENT_FAILED), "{words}");
    assert!(words.contains("2 bridges") && words.contains("kind create cluster"), "{words}");
    assert!(words.contains("ERROR: failed to create cluster: failed to pull image"), "{words}");
    assert!(words.contains("--bundle FILE") && words.contains("by --node-image"), "the cure: {words}");
    assert_eq!(on_docker(&name), "");
    assert_eq!(std::fs::read_to_string(&users).expect("read"), "untouched");
}

/// A `kind` that takes its time, as the real one does with an image.
fn slow_kind(folder: &Path) -> String {
    let program = folder.join("kind");
    std::fs::write(&program, "#!/bin/sh\nexec sleep 600\n").expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("set");
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default())
}

/// Brings kind clusters up, as far as `kind` lets it, and sends a signal once a router is there and clusters are being made.
async fn up_and_end(state: &Path, name: &str, signal: Signal) -> (String, ExitStatus) {
    let up = ["up", "--provider", "kind", "--anyway", "--name", name, "--node-image", NO_IMAGE];
    let out = state.join("out");
    let file = std::fs::File::create(&out).expect("created");
    let mut command = meshproof(state, &up);
    command.env("PATH", slow_kind(state)).stdout(file).stderr(Stdio::null());
    let mut runner = command.spawn().expect("started");
    let joined = eventually::poll("the router", Duration::from_secs(60), Duration::from_millis(100), async || {
        let shown = std::fs::read_to_string(&out).expect("read");
        if shown.contains("join the networks: ") { Ok(()) } else { Err(shown) }
    });
    let joined = joined.await;
    kill_process(Pid::from_child(&runner), signal).expect("it runs");
    let ended = runner.wait().expect("it has ended");
    joined.expect("joined");
    (std::fs::read_to_string(&out).expect("read"), ended)
}

/// The id of a container.
fn id_of(container: &str) -> String {
    let output = Command::new("docker").args(["inspect", "--format", "{{.Id}}", container]).output();
    String::from_utf8(output.expect("started").stdout).expect("UTF-8")
}

#[tokio::test]
async fn an_interrupted_run_is_gone_on_with_and_what_it_has_made_is_removed_by_down() {
    require!(Capability::Docker);
    require!(Capability::Nft);
    require!(Capability::Programs);
    let state = tempfile::tempdir().expect("a folder");
    let name = format!("killed-{}", std::process::id());
    let router = format!("meshproof-{name}-router");

    let (shown, ended) = up_and_end(state.path(), &name, Signal::INT).await;
    assert_eq!(ended.code(), Some(INTERRUPTED), "{shown}");
    let first = id_of(&router);
    assert!(!first.trim().is_empty(), "it stays: {shown}");

    let other =
        ["up", "--provider", "kind", "--anyway", "--name", &name, "--node-image", NO_IMAGE, "--mesh", "embedded"];
    let output = meshproof(state.path(), &other).env("PATH", slow_kind(state.path())).output().expect("started");
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("a mesh does not become `embedded`"), "{}", said(&output));
    assert_eq!(id_of(&router), first, "a refusal touches nothing");

    let (shown, ended) = up_and_end(state.path(), &name, Signal::KILL).await;
    assert_eq!(ended.code(), None);
    assert!(shown.contains("keeps host") && shown.contains("join the networks: kept"), "{shown}");
    assert!(shown.contains("does cluster: it was not finished"), "{shown}");
    assert_eq!(id_of(&router), first, "the same router, on the same networks");

    let removed = Command::new("docker").args(["rm", "--force", &router]).output().expect("started");
    assert!(removed.status.success(), "{}", said(&removed));
    let (shown, _) = up_and_end(state.path(), &name, Signal::KILL).await;
    assert!(shown.contains(&format!("does host: Container {router} is gone")), "{shown}");
    assert!(shown.contains("does cluster: it was not finished"), "{shown}");

    let output = meshproof(state.path(), &["down", "--name", &name]).output().expect("started");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(on_docker(&name), "");
    assert!(!state.path().join(&name).exists(), "its folder is gone");
}
