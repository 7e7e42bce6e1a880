//! The container's own half: what happens between the re-execution of this program and the container's program.
//!
//! Runs in a process with a single thread, before anything else of the program does. See [`super::helper`] for the
//! protocol.

mod attributes;
mod capabilities;
mod program;
mod request;
mod root;
mod tree;
mod volumes;

use std::convert::Infallible;
use std::fs::File;
use std::os::fd::AsFd as _;

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{dup2_stderr, setsid};

use super::StartError;
use super::helper::{Answer, ExecRequest, Failure, Program, Request};
use super::spec::ContainerSpec;
pub(crate) use attributes::set_read_only;
pub(crate) use capabilities::{NAMES as CAPABILITY_NAMES, close_descriptors_on_exec, give_up_capabilities_but};
use request::Control;

/// First argument of a process that becomes a container.
pub(super) const CONTAINER_INIT: &str = "container-init";
/// First argument of a process that joins a container.
pub(super) const CONTAINER_EXEC: &str = "container-exec";

/// Turns this process into a container's if it was started for that, and then never returns. Must be the first call
/// of `main`, before any thread exists.
pub fn maybe_container_init() {
    let role = std::env::args_os().nth(1);
    if role.is_none_or(|role| role != CONTAINER_INIT && role != CONTAINER_EXEC) {
        return;
    }
    let mut control = match Control::take_over() {
        Ok(control) => control,
        Err(error) => {
            eprintln!("{CONTAINER_INIT} is started by the supervisor only: {error}");
            std::process::exit(2);
        }
    };
    let failure = match control.receive() {
        Ok((Request::Init(spec), _)) => become_container(&spec, &mut control),
        Ok((Request::Exec(request), stdin)) => join_container(&request, stdin, &mut control),
        Err(error) => Err(setup("the request of the supervisor")(error)),
    };
    let Err(failure) = failure;
    // If the supervisor is gone, so is everything else; there is nobody left to tell.
    control.answer(&Answer::Failed(failure)).ok();
    std::process::exit(1);
}

/// Whether the names are known.
pub(super) fn check_capabilities(names: &[String]) -> Result<(), StartError> {
    capabilities::Kept::parse(names).map(|_| ()).map_err(StartError::from)
}

fn become_container(spec: &ContainerSpec, control: &mut Control) -> Result<Infallible, Failure> {
    let namespaces = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC;
    unshare(namespaces).map_err(setup("the namespaces"))?;
    nix::unistd::sethostname(&spec.hostname).map_err(setup("the host name"))?;
    root::enter(spec)?;
    request::null_stdin().map_err(setup("standard input"))?;
    setsid().map_err(setup("the session"))?;
    let program = Program {
        command: spec.command.clone(),
        environment: spec.environment.clone(),
        working_directory: spec.working_directory.clone(),
        capabilities: spec.capabilities.clone(),
    };
    program::execute(&program, control)
}

fn join_container(
    request: &ExecRequest,
    stdin: Option<std::os::fd::OwnedFd>,
    control: &mut Control,
) -> Result<Infallible, Failure> {
    // This process is in the container's PID namespace already. While it lives, so does the container's first
    // process, if only as a zombie: the number cannot belong to another.
    let path = format!("/proc/{}/ns/mnt", request.container);
    let mounts = File::open(&path).map_err(setup(&path))?;
    setns(mounts.as_fd(), CloneFlags::CLONE_NEWNS).map_err(setup("the container's mounts"))?;
    match stdin {
        Some(stdin) => nix::unistd::dup2_stdin(stdin).map_err(setup("standard input"))?,
        None => request::null_stdin().map_err(setup("standard input"))?,
    }
    setsid().map_err(setup("the session"))?;
    if request.tty {
        request::controlling_terminal().map_err(setup("the terminal"))?;
        dup2_stderr(std::io::stdin()).map_err(setup("standard error"))?;
    }
    program::execute(&request.program, control)
}

/// For `map_err`: says what was being set up.
fn setup<E: std::fmt::Display>(what: impl Into<String>) -> impl FnOnce(E) -> Failure {
    let what = what.into();
    move |error| Failure::Setup { what, message: error.to_string() }
}
