//! Orphans that end up with PID 1.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::time::Duration;

use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

use super::stat;

/// A child that somebody waits for is reaped within moments; what is a zombie for longer than this is nobody's.
const GRACE: Duration = Duration::from_secs(5);

/// Reaps zombies of this process that nobody else has reaped for some seconds. Runs until cancelled.
///
/// # Errors
/// The signal handler could not be installed.
pub async fn reap_orphans() -> io::Result<()> {
    let mut child_ended = signal(SignalKind::child())?;
    let mut look = tokio::time::interval(GRACE);
    let mut seen = BTreeSet::new();
    loop {
        if seen.is_empty() && child_ended.recv().await.is_none() {
            return Ok(());
        }
        look.reset();
        look.tick().await;
        let zombies = zombie_children();
        for pid in zombies.intersection(&seen) {
            // ECHILD means that somebody was faster.
            waitpid(Pid::from_raw(*pid), Some(WaitPidFlag::WNOHANG)).ok();
        }
        seen = zombies.difference(&seen).copied().collect();
    }
}

fn zombie_children() -> BTreeSet<i32> {
    let own = std::process::id();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = processes.filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        Some((pid, fs::read_to_string(entry.path().join("stat")).ok()?))
    });
    stats.filter(|(_, stat)| is_zombie_of(stat, own)).map(|(pid, _)| pid).collect()
}

fn is_zombie_of(stat: &str, parent: u32) -> bool {
    let Some(mut fields) = stat::fields(stat) else { return false };
    fields.next() == Some("Z") && fields.next().and_then(|field| field.parse().ok()) == Some(parent)
}

#[cfg(test)]
mod tests {
    use super::is_zombie_of;

    #[test]
    fn tells_zombies_of_one_parent() {
        assert!(is_zombie_of("7 (sh) Z 1 7 7 0", 1));
        assert!(!is_zombie_of("7 (sh) S 1 7 7 0", 1));
        assert!(!is_zombie_of("7 (Z 1) S 3 7 7 0", 1));
        assert!(!is_zombie_of("7 (sh) Z 2 7 7 0", 1));
    }
}
