//! Virtual machines that were to be containers on a machine whose Docker cannot have them: said before anything is made.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::process::{Command, Output};

const TOPOLOGY: &str = "scenarios/topologies/virtual-machines.yaml";

/// `up` with machines that have to be containers of the engine behind this address.
fn up(docker_host: &str) -> Output {
    let state = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_meshproof"));
    command.args(["up", "--topology", TOPOLOGY, "--vm-runtime", "docker"]);
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).env_remove("MESHPROOF_ROOT");
    command.env("DOCKER_HOST", docker_host).env("MESHPROOF_STATE_DIR", state.path()).env("NO_COLOR", "1");
    let output = command.output().expect("started");
    let left = std::fs::read_dir(state.path()).expect("read").count();
    assert_eq!(left, 0, "nothing is in the state folder");
    output
}

#[track_caller]
fn refused(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(96), "{said}");
    for word in ["virtual machine details-vm was to be a container", "or say `--vm-runtime netns`"].iter().chain(words)
    {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn without_an_engine_it_is_said_what_to_install() {
    refused(&up("unix:///none/docker.sock"), &["there is no socket /none/docker.sock", "help: install Docker 20.10"]);
}

#[test]
fn an_engine_elsewhere_cannot_be_used() {
    refused(&up("tcp://192.0.2.1:2375"), &["DOCKER_HOST is \"tcp://192.0.2.1:2375\"", "help: unset DOCKER_HOST"]);
}

#[test]
fn an_engine_that_is_too_old_is_named_with_its_version() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).expect("bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _request = stream.read(&mut [0; 1024]);
            let body = r#"{"Version":"18.09.1","ApiVersion":"1.39"}"#;
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let _written = stream.write_all(answer.as_bytes());
        }
    });
    let words = ["speaks version 1.39 of its API", "help: install Docker 20.10 or newer"];
    refused(&up(&format!("unix://{}", socket.display())), &words);
}
