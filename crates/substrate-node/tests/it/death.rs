//! The end of a world.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use requirements::{Capability, require};
use substrate_node::supervision::World;

use crate::world::program;

/// A world that waits for the end of its standard input, with a container in each cluster.
struct Idle {
    parent: Child,
    /// Kept open: the world prints once more at its end.
    _stdout: BufReader<ChildStdout>,
    world: World,
}

impl Idle {
    fn start() -> Self {
        let mut parent = Command::new(program())
            .arg("idle")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the world starts");
        let mut line = String::new();
        let mut stdout = BufReader::new(parent.stdout.take().expect("a pipe"));
        stdout.read_line(&mut line).expect("the world reports");
        Self { parent, _stdout: stdout, world: serde_json::from_str(&line).expect("the report is JSON") }
    }

    fn supervisor(&self) -> Pid {
        Pid::from_raw(self.world.host_pid.cast_signed())
    }

    fn wait(&mut self) -> ExitStatus {
        self.parent.wait().expect("the world ends")
    }
}

/// Processes of all PID namespaces below that of the supervisor, by their name in the host's `/proc`.
fn descendants(of: Pid) -> BTreeSet<i32> {
    let parents: Vec<(i32, i32)> = fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| {
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, parent))
        })
        .collect();
    let mut found = BTreeSet::from([of.as_raw()]);
    while let Some((pid, _)) = parents.iter().find(|(pid, parent)| found.contains(parent) && !found.contains(pid)) {
        found.insert(*pid);
    }
    found
}

/// The supervisor, and in each of two containers a program and its child, which takes the program a moment to start.
async fn all_processes(idle: &Idle) -> BTreeSet<i32> {
    let what = "five processes of the world";
    eventually::poll(what, Duration::from_secs(5), Duration::from_millis(10), async || {
        let pids = descendants(idle.supervisor());
        if pids.len() == 5 { Ok(pids) } else { Err(format!("{pids:?}")) }
    })
    .await
    .expect("the world is complete")
}

/// Without those of Docker, which come and go with the tests that run beside this one; none of a world's is called like them.
fn host_links() -> BTreeSet<String> {
    let links = fs::read_to_string("/proc/net/dev").expect("/proc/net/dev");
    let names = links.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim());
    let names = names.filter(|name| !["veth", "br-", "docker"].iter().any(|of_docker| name.starts_with(of_docker)));
    names.map(str::to_owned).collect()
}

fn host_mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").expect("/proc/self/mountinfo")
}

fn alive(pids: &BTreeSet<i32>) -> Vec<i32> {
    pids.iter().copied().filter(|pid| fs::exists(format!("/proc/{pid}")).unwrap_or(false)).collect()
}

#[tokio::test]
async fn killing_the_supervisor_leaves_nothing() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let before = (host_links(), host_mounts());
    let mut idle = Idle::start();
    let pids = all_processes(&idle).await;
    assert_eq!(before, (host_links(), host_mounts()), "the world shows on the host");
    kill(idle.supervisor(), Signal::SIGKILL).expect("the supervisor can be killed");
    let status = idle.wait();
    assert_eq!(status.code(), Some(137));
    eventually::poll(
        "every process of the world to end",
        Duration::from_secs(5),
        Duration::from_millis(10),
        async || {
            let left = alive(&pids);
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        },
    )
    .await
    .expect("nothing is left");
    assert_eq!(before, (host_links(), host_mounts()));
}

#[tokio::test]
async fn killing_the_starter_changes_nothing_and_the_lease_ends_the_world() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let mut idle = Idle::start();
    let pids = all_processes(&idle).await;
    let lease = idle.parent.stdin.take();
    kill(Pid::from_raw(idle.parent.id().cast_signed()), Signal::SIGKILL).expect("the starter can be killed");
    idle.wait();
    assert_eq!(alive(&pids), pids.iter().copied().collect::<Vec<_>>(), "the world ended with its starter");
    drop(lease);
    eventually::poll(
        "the world to end with its lease",
        Duration::from_secs(5),
        Duration::from_millis(10),
        async || {
            let left = alive(&pids);
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        },
    )
    .await
    .expect("nothing is left");
}

#[test]
fn the_report_identifies_the_supervisor() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let mut idle = Idle::start();
    let stat = fs::read_to_string(format!("/proc/{}/stat", idle.world.host_pid)).expect("the supervisor lives");
    let started = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(19)).map(str::to_owned);
    assert_eq!(started, Some(idle.world.start_time.to_string()));
    drop(idle.parent.stdin.take());
    assert!(idle.wait().success());
}
