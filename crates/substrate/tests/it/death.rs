//! However a world ends, nothing of it is left on the host.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use requirements::{Capability, require};

use crate::kubectl::Kubectl;
use crate::objects::TALK;
use crate::world::World;

/// Names of the host's links, and its mounts. Those of Docker come and go with the tests that run beside this one; none of a
/// world's is called like them.
fn host() -> (BTreeSet<String>, BTreeSet<String>) {
    let links = fs::read_to_string("/proc/net/dev").unwrap();
    let links = links.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim());
    let links = links.filter(|name| !["veth", "br-", "docker"].iter().any(|of_docker| name.starts_with(of_docker)));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts = mounts.lines().filter(|mount| !mount.contains("/docker/"));
    (links.map(str::to_owned).collect(), mounts.map(str::to_owned).collect())
}

/// A process and all that came from it, by their name in the host's `/proc`.
fn family(of: i32) -> BTreeSet<i32> {
    let parents: Vec<(i32, i32)> = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, parent))
        })
        .collect();
    let mut found = BTreeSet::from([of]);
    while let Some((pid, _)) = parents.iter().find(|(pid, parent)| found.contains(parent) && !found.contains(pid)) {
        found.insert(*pid);
    }
    found
}

async fn all_end(pids: &BTreeSet<i32>) {
    eventually::poll(
        "every process of the world to end",
        Duration::from_secs(20),
        Duration::from_millis(10),
        async || {
            let left: Vec<_> = pids.iter().filter(|pid| fs::exists(format!("/proc/{pid}")).unwrap()).collect();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        },
    )
    .await
    .unwrap();
}

/// A world with two pods of two containers each.
fn busy_world() -> (World, BTreeSet<i32>) {
    let world = World::start();
    let kubectl = Kubectl::new(&world, 0);
    kubectl.apply(TALK);
    kubectl.ok(&["rollout", "status", "deploy/talk", "--timeout=20s"]);
    let pids = family(i32::try_from(world.process.id()).unwrap());
    assert!(pids.len() >= 2 + 4, "starter, supervisor and four containers: {pids:?}");
    (world, pids)
}

fn supervisor(world: &World) -> Pid {
    Pid::from_raw(i32::try_from(world.state["processId"].as_u64().unwrap()).unwrap())
}

#[tokio::test]
async fn a_killed_supervisor_leaves_nothing_and_the_next_world_starts() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Kubectl);
    let before = host();
    let (mut world, mut pids) = busy_world();
    assert_eq!(host(), before, "a world does not show on the host");
    // The starter is this test's child, a zombie until it is waited for.
    pids.remove(&i32::try_from(world.process.id()).unwrap());
    kill(supervisor(&world), Signal::SIGKILL).unwrap();
    assert_eq!(world.process.wait().unwrap().code(), Some(137));
    all_end(&pids).await;
    assert_eq!(host(), before);
    assert!(fs::read_dir(world.state_directory().join("world")).unwrap().next().is_none(), "volumes were in memory");
    drop(world);
    drop(World::start());
}

#[tokio::test]
async fn a_world_ends_in_order_when_asked_to_or_with_its_lease() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Kubectl);
    let (mut world, pids) = busy_world();
    drop(world.process.stdin.take());
    assert!(world.process.wait().unwrap().success(), "the end of the lease is no failure");
    all_end(&pids).await;
    let mut world = World::start();
    kill(supervisor(&world), Signal::SIGTERM).unwrap();
    assert!(world.process.wait().unwrap().success());
}
