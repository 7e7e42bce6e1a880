//! The probe of [`super::preflight`]: tries, in a process of its own, everything that a world needs of the kernel.

#![expect(unsafe_code, reason = "fork")]

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::process::{Command, Stdio};

use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, getegid, geteuid, pipe2};
use serde::{Deserialize, Serialize};

use crate::fabric::{try_forwarding, try_veth};
use crate::runtime::set_read_only;
use crate::services::nft_program;

/// What was being tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Step {
    Probe,
    UserNamespace,
    IdMap,
    Mounts,
    Proc,
    MountAttributes,
    Network,
    Veth,
    Forwarding,
    Nftables,
}

impl Step {
    pub(super) fn attempt(self) -> &'static str {
        match self {
            Self::Probe => "starting the probe",
            Self::UserNamespace => "unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS)",
            Self::IdMap => "writing /proc/self/uid_map",
            Self::Mounts => "making mounts private",
            Self::Proc => "mounting a fresh /proc",
            Self::MountAttributes => "mount_setattr",
            Self::Network => "unshare(CLONE_NEWNET)",
            Self::Veth => "creating a veth pair",
            Self::Forwarding => "switching forwarding on",
            Self::Nftables => "loading rules with nft",
        }
    }
}

/// What the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refusal {
    pub(super) step: Step,
    pub(super) message: String,
    pub(super) errno: i32,
}

/// Tries everything; the first refusal, or `None`. The process must have a single thread.
pub(super) fn everything() -> Option<Refusal> {
    in_child(outside).err()
}

/// What the first process does: the namespaces of which only a child is inside.
fn outside() -> Result<(), Refusal> {
    let (uid, gid) = (geteuid(), getegid());
    let namespaces = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS;
    unshare(namespaces).map_err(at(Step::UserNamespace))?;
    fs::write("/proc/self/setgroups", "deny").map_err(at(Step::IdMap))?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1")).map_err(at(Step::IdMap))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1")).map_err(at(Step::IdMap))?;
    in_child(inside)
}

/// What PID 1 of the new world does.
fn inside() -> Result<(), Refusal> {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).map_err(at(Step::Mounts))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>).map_err(at(Step::Proc))?;
    mount(Some("tmpfs"), "/sys", Some("tmpfs"), MsFlags::empty(), None::<&str>).map_err(at(Step::Mounts))?;
    set_read_only("/sys".as_ref(), true).map_err(at(Step::MountAttributes))?;
    unshare(CloneFlags::CLONE_NEWNET).map_err(at(Step::Network))?;
    try_veth().map_err(at(Step::Veth))?;
    try_forwarding().map_err(at(Step::Forwarding))?;
    nftables()
}

/// Runs `job` in a child process; what it returns comes back over a pipe.
fn in_child(job: fn() -> Result<(), Refusal>) -> Result<(), Refusal> {
    let (answer, reply) = pipe2(OFlag::O_CLOEXEC).map_err(at(Step::Probe))?;
    // SAFETY: the process has a single thread, as documented, so the child may do everything that the parent may.
    match unsafe { fork() }.map_err(at(Step::Probe))? {
        ForkResult::Child => {
            drop(answer);
            let text = serde_json::to_vec(&job().err()).unwrap_or_default();
            let written = fs::File::from(reply).write_all(&text);
            // SAFETY: ends the child at once; destructors and exit handlers belong to the parent.
            unsafe { libc::_exit(i32::from(written.is_err())) }
        }
        ForkResult::Parent { child } => {
            drop(reply);
            let mut text = String::new();
            fs::File::from(answer).read_to_string(&mut text).map_err(at(Step::Probe))?;
            let status = waitpid(child, None).map_err(at(Step::Probe))?;
            match serde_json::from_str::<Option<Refusal>>(&text) {
                Ok(refusal) => refusal.map_or(Ok(()), Err),
                Err(_) => Err(at(Step::Probe)(io::Error::other(format!("it ended early: {status:?}")))),
            }
        }
    }
}

/// The kinds of rules that the node uses.
const RULES: &str = "table ip probe {
  chain nat { type nat hook prerouting priority -100
    tcp dport 80 dnat to numgen random mod 2 map { 0 : 10.0.0.1 . 80, 1 : 10.0.0.2 . 80 }
    tcp dport 81 dnat to jhash ip saddr mod 2 map { 0 : 10.0.0.1 . 80, 1 : 10.0.0.2 . 80 }
    tcp dport 82 redirect to :83
  }
  chain filter { type filter hook forward priority 0
    meta l4proto tcp reject with tcp reset
  }
}
";

fn nftables() -> Result<(), Refusal> {
    // Its absence is a problem of its own.
    let Some(program) = nft_program() else { return Ok(()) };
    let run = || -> io::Result<()> {
        let mut child = Command::new(program)
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(RULES.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let first = said.lines().next().unwrap_or_default().to_owned();
        if output.status.success() { Ok(()) } else { Err(io::Error::other(first)) }
    };
    run().map_err(at(Step::Nftables))
}

fn at<E: Into<io::Error>>(step: Step) -> impl FnOnce(E) -> Refusal {
    move |error| {
        let error = error.into();
        Refusal { step, message: error.to_string(), errno: error.raw_os_error().unwrap_or_default() }
    }
}
