//! Entering the world, at the very start of the program.
#![expect(unsafe_code, reason = "fork")]

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getegid, geteuid, pipe2};
use serde::{Deserialize, Serialize};

use super::stat;

/// What the supervisor knows of itself that it cannot see from inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct World {
    /// Process id of PID 1, as the host sees it: killing it ends the world.
    pub host_pid: u32,
    /// Its start time in clock ticks since boot (field 22 of `/proc/<pid>/stat`), so that a process id that was used
    /// again is not taken for it.
    pub start_time: u64,
    /// User id outside that is root inside.
    pub uid: u32,
    /// Group id outside that is root inside.
    pub gid: u32,
}

/// The world could not be entered. [`super::preflight`] says what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step}: {source}")]
pub struct EnterError {
    /// What was attempted.
    pub step: &'static str,
    /// The kernel's answer.
    #[source]
    pub source: io::Error,
}

/// Moves the program into a world of its own. Must be called before any thread exists.
///
/// Returns in the new process, which is PID 1. The calling process never returns: it waits for the world's end and
/// exits with its status (128 plus the signal's number where a signal ended it). It matters to nobody else, so that
/// killing it changes nothing; whoever wants to end the world signals [`World::host_pid`].
///
/// # Errors
/// The step that the kernel refused, before or after the fork. The caller reports it and exits.
pub fn enter_world() -> Result<World, EnterError> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let namespaces = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS;
    unshare(namespaces).map_err(step("create user, PID and mount namespaces"))?;
    map_ids(uid, gid)?;
    let (facts, report) = pipe2(OFlag::O_CLOEXEC).map_err(step("make a pipe"))?;
    // SAFETY: the caller has started no thread (unshare(CLONE_NEWUSER) has just refused otherwise), so the child may
    // do everything that the parent may.
    match unsafe { fork() }.map_err(step("fork"))? {
        ForkResult::Parent { child } => {
            drop(facts);
            tell(child, report, World { host_pid: child.as_raw().cast_unsigned(), start_time: 0, uid, gid });
            outlive(child)
        }
        ForkResult::Child => {
            drop(report);
            inside(facts)
        }
    }
}

/// One id is mapped: the caller becomes root inside, and nobody else exists.
fn map_ids(uid: u32, gid: u32) -> Result<(), EnterError> {
    fs::write("/proc/self/setgroups", "deny").map_err(step("write /proc/self/setgroups"))?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1")).map_err(step("write /proc/self/uid_map"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1")).map_err(step("write /proc/self/gid_map"))
}

/// In the parent: says what only the host's `/proc` shows.
fn tell(child: Pid, report: OwnedFd, world: World) {
    let start_time = fs::read_to_string(format!("/proc/{child}/stat")).ok().and_then(|stat| stat::start_time(&stat));
    let world = World { start_time: start_time.unwrap_or_default(), ..world };
    // If the child is gone already, waiting for it shows that.
    File::from(report).write_all(&serde_json::to_vec(&world).unwrap_or_default()).ok();
}

/// In the parent: waits for the world's end.
fn outlive(child: Pid) -> ! {
    // A terminal's interrupt reaches the child itself, which ends in order; this process reports how.
    for ignored in [Signal::SIGINT, Signal::SIGQUIT] {
        // SAFETY: ignoring a signal installs no handler.
        unsafe { signal(ignored, SigHandler::SigIgn) }.ok();
    }
    loop {
        match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, code)) => std::process::exit(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => std::process::exit(128 + signal as i32),
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(_) => std::process::exit(1),
        }
    }
}

/// In the child, as PID 1.
fn inside(facts: OwnedFd) -> Result<World, EnterError> {
    let mut text = Vec::new();
    File::from(facts).read_to_end(&mut text).map_err(step("read the facts about the world"))?;
    let world = serde_json::from_slice(&text).map_err(|error| step("read the facts about the world")(error))?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).map_err(step("make the mounts private"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>).map_err(step("mount a fresh /proc"))?;
    // SAFETY: ignoring a signal installs no handler. Children get the default back when they are spawned.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) }.map_err(step("ignore SIGPIPE"))?;
    Ok(world)
}

/// Mounts a tmpfs that only this world sees, and that ends with it. The folder must exist.
///
/// # Errors
/// The kernel's refusal.
pub fn mount_tmpfs(folder: &Path) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    Ok(mount(Some("tmpfs"), folder, Some("tmpfs"), flags, Some("mode=0700"))?)
}

fn step<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> EnterError {
    move |source| EnterError { step, source: source.into() }
}
