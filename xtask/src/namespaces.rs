//! Tries what the embedded world does first: new namespaces, a fresh `/proc`, packet rules. In two short-lived child
//! processes, so that this one stays as it is, and inside namespaces, so that the machine stays as it is.

use std::io::Write as _;
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context as _;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde::{Deserialize, Serialize};

/// Name of the hidden command of the first stage.
pub(crate) const OUTER: &str = "namespaces-outer";
/// Name of the hidden command of the second stage.
pub(crate) const INNER: &str = "namespaces-inner";

/// Rules of the kinds that pods and nodes need.
const RULES: &str = "\
table ip preflight {
  chain capture {
    type nat hook output priority -100; policy accept;
    meta mark 0x539 return
    ip protocol tcp redirect to :15001
  }
  chain services {
    type nat hook prerouting priority -100; policy accept;
    ip daddr 10.96.0.1 tcp dport 443 dnat to numgen random mod 2 map { 0 : 10.244.0.1, 1 : 10.244.0.2 }
  }
  chain leave {
    type nat hook postrouting priority 100; policy accept;
    ip saddr 10.244.0.0/16 masquerade
  }
}
";

/// What was refused. `errno` is the kernel's word, such as `EPERM`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "at")]
pub(crate) enum Obstacle {
    /// New namespaces altogether.
    Unshare { errno: String },
    /// Becoming root in the new user namespace.
    Map { errno: String },
    /// Mounts and networks in the new namespaces, although they could be made.
    Capabilities { errno: String },
    /// A fresh `/proc`.
    Proc { errno: String },
    /// There is no program `nft`.
    NftMissing,
    /// `nft` could not load the rules.
    NftFails { text: String },
    /// The look itself went wrong.
    Unknown { text: String },
}

/// Runs both stages. Empty where nothing stands in the way.
pub(crate) fn look() -> Vec<Obstacle> {
    let unknown = |text: String| vec![Obstacle::Unknown { text }];
    let output = match std::env::current_exe().map(|program| Command::new(program).arg(OUTER).output()) {
        Ok(Ok(output)) => output,
        Ok(Err(error)) | Err(error) => return unknown(format!("cannot start a child process: {error}")),
    };
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| unknown(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())))
}

/// First stage: makes the namespaces, and starts the second stage as the first process inside.
pub(crate) fn outer() -> anyhow::Result<ExitCode> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
    if let Err(errno) = unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID) {
        return report(&[Obstacle::Unshare { errno: name(errno) }]);
    }
    let maps = [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {user} 1")),
        ("/proc/self/gid_map", format!("0 {group} 1")),
    ];
    for (path, text) in maps {
        if let Err(error) = std::fs::write(path, text) {
            let errno = error.raw_os_error().map_or_else(|| error.to_string(), |code| name(Errno::from_raw(code)));
            return report(&[Obstacle::Map { errno }]);
        }
    }
    let status = Command::new(program).arg(INNER).status().context("cannot start the first process inside")?;
    Ok(ExitCode::from(u8::from(!status.success())))
}

/// Second stage: the first process of a new PID namespace.
pub(crate) fn inner() -> anyhow::Result<ExitCode> {
    let mut obstacles = Vec::new();
    let none: Option<&str> = None;
    let private = mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .and_then(|()| unshare(CloneFlags::CLONE_NEWNET));
    if let Err(errno) = private {
        return report(&[Obstacle::Capabilities { errno: name(errno) }]);
    }
    // Over the old one, which hides nothing that the rest needs.
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if let Err(errno) = mount(Some("proc"), "/proc", Some("proc"), flags, none) {
        obstacles.push(Obstacle::Proc { errno: name(errno) });
    }
    obstacles.extend(load_rules());
    report(&obstacles)
}

fn load_rules() -> Option<Obstacle> {
    let child = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Some(Obstacle::NftMissing),
        Err(error) => return Some(Obstacle::NftFails { text: error.to_string() }),
    };
    // A program that ends without reading its input says on standard error why.
    let written = child.stdin.take().map(|mut input| input.write_all(RULES.as_bytes()));
    match child.wait_with_output() {
        Ok(output) if output.status.success() && matches!(written, Some(Ok(()))) => None,
        Ok(output) => Some(Obstacle::NftFails { text: String::from_utf8_lossy(&output.stderr).trim().to_owned() }),
        Err(error) => Some(Obstacle::NftFails { text: error.to_string() }),
    }
}

fn report(obstacles: &[Obstacle]) -> anyhow::Result<ExitCode> {
    println!("{}", serde_json::to_string(obstacles)?);
    Ok(ExitCode::SUCCESS)
}

fn name(errno: Errno) -> String {
    format!("{errno:?}")
}
