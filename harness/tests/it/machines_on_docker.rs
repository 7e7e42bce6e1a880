//! Virtual machines that were to be containers on a machine whose Docker cannot have them: said with its cure, and nothing is left.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use requirements::{Capability, require};

use crate::fake_engine::{Answer, FakeEngine};

const TOPOLOGY: &str = "scenarios/topologies/virtual-machines.yaml";
/// How a command ends that this machine cannot carry out, and one whose environment did not come up.
const CANNOT: i32 = 96;
const NOT_UP: i32 = 105;
/// What is kept of an environment that did not come up, for whoever looks for the cause: its report and its logs.
const LOGS: [&str; 2] = ["runs", "virtual-machines"];

/// `up` with machines that have to be containers of the engine behind this address, started by these words. No process is left of it,
/// and of files these.
fn up(before: &[&str], docker_host: &str, left: &[&str]) -> Output {
    let state = tempfile::tempdir().expect("a folder");
    let up = [env!("CARGO_BIN_EXE_meshproof"), "up", "--topology", TOPOLOGY, "--vm-runtime", "docker"];
    let words = [before, &up].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).env_remove("MESHPROOF_ROOT");
    command.env("DOCKER_HOST", docker_host).env("MESHPROOF_STATE_DIR", state.path()).env("NO_COLOR", "1");
    let output = command.output().expect("started");
    let mut files: Vec<_> = fs::read_dir(state.path()).expect("read").flatten().map(|file| file.file_name()).collect();
    files.sort();
    assert_eq!(files, left, "{}", said(&output));
    assert_eq!(processes(state.path()), Vec::<String>::new());
    output
}

/// Command lines of processes that name a folder.
fn processes(folder: &Path) -> Vec<String> {
    let name = folder.to_str().expect("UTF-8");
    let lines = fs::read_dir("/proc").expect("read").flatten().map(|entry| fs::read(entry.path().join("cmdline")));
    lines.flatten().map(|line| String::from_utf8_lossy(&line).into_owned()).filter(|line| line.contains(name)).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[track_caller]
fn ended(output: &Output, code: i32, words: &[&str]) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "{word}: {said}");
    }
}

/// Refused before anything is made.
#[track_caller]
fn refused(output: &Output, words: &[&str]) {
    ended(output, CANNOT, &["virtual machine details-vm was to be a container", "or say `--vm-runtime netns`"]);
    ended(output, CANNOT, words);
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[test]
fn without_an_engine_it_is_said_what_to_install() {
    let words = ["there is no socket /none/docker.sock", "help: install Docker 20.10"];
    refused(&up(&[], "unix:///none/docker.sock", &[]), &words);
}

#[test]
fn an_engine_elsewhere_cannot_be_used() {
    let words = ["DOCKER_HOST is \"tcp://192.0.2.1:2375\"", "help: unset DOCKER_HOST"];
    refused(&up(&[], "tcp://192.0.2.1:2375", &[]), &words);
}

#[test]
fn an_engine_that_is_too_old_is_named_with_its_version() {
    let body = r#"{"Version":"18.09.1","ApiVersion":"1.39"}"#;
    let old = FakeEngine::answering(&[Answer { method: "GET", path: "/version", status: 200, body }]);
    let words = ["speaks version 1.39 of its API", "help: install Docker 20.10 or newer"];
    refused(&up(&[], &old.address(), &[]), &words);
}

/// Root may open every socket, unless that right is taken from it.
#[test]
fn an_engine_without_permission_is_told_from_one_that_is_not_there() {
    let engine = FakeEngine::answering(&[]);
    fs::set_permissions(engine.socket(), fs::Permissions::from_mode(0o000)).expect("changed");
    let without: &[&str] =
        if is_root() { &["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"] } else { &[] };
    let words =
        ["no permission for the socket of the Docker engine", "help: run as root on the machine that runs Docker"];
    refused(&up(without, &engine.address(), &[]), &words);
}

/// What is said of an engine that can be used, and then has no room. An ordinary user's machines never get so far.
fn without_room(answers: &[Answer], left: &[&str], words: &[&str]) {
    let engine = FakeEngine::answering(answers);
    if is_root() {
        let cure = "where Docker keeps its data: `docker system df`";
        let output = up(&[], &engine.address(), left);
        ended(&output, NOT_UP, &[words, &["no space left on device", cure]].concat());
    } else {
        refused(&up(&[], &engine.address(), &[]), &["only root can plug a link into the network of a container"]);
    }
}

#[test]
fn an_engine_without_room_for_the_image_is_told_with_its_cure() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Envoy);
    require!(Capability::Programs);
    // Docker says that in the midst of an answer that began well.
    let body = r#"{"errorDetail":{"message":"Error processing tar file(exit status 1): write /usr/local/bin/envoy: no space left on device"},"error":"Error processing tar file(exit status 1): write /usr/local/bin/envoy: no space left on device"}"#;
    let full = Answer { method: "POST", path: "/images/load", status: 200, body };
    without_room(&[full], &LOGS, &["Docker does not take the images"]);
}

#[test]
fn an_engine_without_room_for_a_container_is_told_with_its_cure() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Envoy);
    require!(Capability::Programs);
    let image = Answer { method: "GET", path: "/json", status: 200, body: r#"{"Id":"sha256:0"}"# };
    let body = r#"{"message":"write /var/lib/docker/overlay2/4f4cb492-init/link: no space left on device"}"#;
    let full = Answer { method: "POST", path: "/containers/create", status: 500, body };
    let empty = Answer { method: "GET", path: "/containers/json", status: 200, body: "[]" };
    let left = [&["machine-images.json"], &LOGS[..]].concat();
    without_room(&[empty, image, full], &left, &["create a container"]);
}
