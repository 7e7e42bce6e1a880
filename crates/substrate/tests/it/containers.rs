//! Machines that are containers: what they are made of, and that nothing of them outlives the world, whoever kills whom.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use requirements::{Capability, require};
use serde_json::{Value, json};

use crate::control::Client;
use crate::played::{Played, docker};
use crate::world::World;

const SOON: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(20);

/// A world with one machine that waits.
fn world(played: &Played) -> World {
    running(played, &["sh", "-c", "trap exit TERM; while :; do sleep 1; done"])
}

/// A world with one machine that runs a command.
fn running(played: &Played, command: &[&str]) -> World {
    World::start_with(|config| {
        played.configure(config);
        let program = json!({"name": "main", "image": "shell:1", "command": command, "capabilities": ["NET_ADMIN"]});
        config["machines"] = json!([
            {"name": "vm1", "network": "network1", "address": "192.168.9.1", "programs": [program], "runtime": played.runtime()},
        ]);
    })
}

fn ask(client: &mut Client, action: Value) -> Value {
    let mut request = json!({"request": "machine", "name": "vm1"});
    request["action"] = action;
    client.ask(request)
}

/// All containers of the run of a test, as the engine's own client lists them.
fn containers(played: &Played) -> Vec<String> {
    let filter = format!("label=meshproof.dev/run-id={}", played.run_id().unwrap());
    docker(&["ps", "--all", "--quiet", "--filter", &filter]).lines().map(str::to_owned).collect()
}

async fn none_is_left(played: &Played) {
    let gone = async || match containers(played) {
        left if left.is_empty() => Ok(()),
        left => Err(left.join(", ")),
    };
    eventually::poll("containers to be removed", SOON, STEP, gone).await.unwrap();
}

/// Process ids of what looks after the containers of a run.
fn shims(played: &Played) -> Vec<i32> {
    let mark = format!("\"runId\":\"{}\"", played.run_id().unwrap());
    let is_shim = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("docker-shim") && line.contains(&mark)
    };
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_shim).collect()
}

fn end(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn a_container_has_no_network_no_mount_and_is_known_by_its_labels() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Docker);
    let played = Played::by_docker("labels");
    let world = world(&played);
    let mut client = Client::new(&world);
    assert_eq!(ask(&mut client, json!({"action": "start"}))["answer"]["running"], true);
    let [id] = &containers(&played)[..] else { panic!("one container") };
    let found: Value = serde_json::from_str(&docker(&["inspect", id])).unwrap();
    let found = &found[0];
    assert_eq!(found["Mounts"], json!([]));
    assert_eq!(found["HostConfig"]["NetworkMode"], "none");
    assert_eq!(found["HostConfig"]["CapDrop"], json!(["ALL"]));
    assert_eq!(found["HostConfig"]["CapAdd"], json!(["NET_ADMIN", "SETPCAP"]));
    let labels = &found["Config"]["Labels"];
    assert_eq!((&labels["meshproof.dev/environment"], &labels["meshproof.dev/role"]), (&json!("test"), &json!("vm1")));
    let lease: docker_support::Lease = labels["meshproof.dev/lease"].as_str().unwrap().parse().unwrap();
    assert!(!lease.has_ended());
    drop(world);
    none_is_left(&played).await;
}

#[tokio::test]
async fn on_a_network_of_docker_the_resolv_conf_is_dockers_and_the_network_goes_with_the_world() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Docker);
    let played = Played::by_docker("networks");
    let start = |image: Option<&str>| {
        World::start_with(|config| {
            played.configure(config);
            let mut runtime = played.runtime();
            runtime["userDefinedNetwork"] = json!({"resolver": "127.0.0.53"});
            if let Some(image) = image {
                runtime["image"] = json!(image);
            }
            let command = ["sh", "-c", "trap exit TERM; while :; do sleep 1; done"];
            let program = json!({"name": "main", "image": "shell:1", "command": command});
            config["machines"] = json!([
                {"name": "vm1", "network": "network1", "address": "192.168.9.1", "programs": [program],
                    "resolvConf": "nameserver 192.0.2.53\n", "runtime": runtime},
            ]);
        })
    };
    let filter = format!("label=meshproof.dev/run-id={}", played.run_id().unwrap());
    let networks = || docker(&["network", "ls", "--quiet", "--filter", &filter]).lines().count();

    let world = start(None);
    let mut client = Client::new(&world);
    assert_eq!(ask(&mut client, json!({"action": "start"}))["answer"]["running"], true);
    let runs = async || {
        let status = ask(&mut client, json!({"action": "status"}));
        if status["answer"]["programs"][0]["running"] == true { Ok(()) } else { Err(status.to_string()) }
    };
    eventually::poll("its program to run", SOON, STEP, runs).await.unwrap();
    let script = "while read line; do echo $line; done < /etc/resolv.conf";
    let answer = ask(&mut client, json!({"action": "exec", "program": "main", "command": ["/bin/sh", "-c", script]}));
    let read = answer["answer"]["stdout"].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert!(read.contains("nameserver 127.0.0.11") && !read.contains("192.0.2.53"), "{read}");
    assert_eq!(networks(), 1);
    drop(world);
    none_is_left(&played).await;
    assert_eq!(networks(), 0);

    // Where there is no container, there is no network for it.
    let world = start(Some("meshproof-test/none:none"));
    let answer = ask(&mut Client::new(&world), json!({"action": "start"}));
    assert!(answer["message"].as_str().unwrap().contains("No such image"), "{answer}");
    assert_eq!(networks(), 0);
}

#[tokio::test]
async fn nothing_is_left_whoever_is_killed_and_whenever() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Docker);
    let played = Played::by_docker("kills");
    // The supervisor, while a machine runs.
    let one = world(&played);
    ask(&mut Client::new(&one), json!({"action": "start"}));
    assert_eq!(containers(&played).len(), 1);
    end(i32::try_from(one.state["processId"].as_u64().unwrap()).unwrap());
    none_is_left(&played).await;
    drop(one);
    // The supervisor, while it waits for a container that is being made.
    for delay in [0, 20, 60, 120, 240] {
        let one = world(&played);
        let supervisor = i32::try_from(one.state["processId"].as_u64().unwrap()).unwrap();
        let mut client = Client::new(&one);
        let (answered, answer) = mpsc::channel();
        let asked = std::thread::spawn(move || {
            let start = json!({"request": "machine", "name": "vm1", "action": {"action": "start"}});
            // A world that was killed does not answer.
            let _killed = answered.send(client.try_ask(&start));
        });
        // The moment, or the answer where that comes before.
        let _answer = answer.recv_timeout(Duration::from_millis(delay));
        end(supervisor);
        asked.join().unwrap();
        eventually::poll("what looks after containers to end", SOON, STEP, async || match shims(&played) {
            left if left.is_empty() => Ok(()),
            left => Err(format!("{left:?}")),
        })
        .await
        .unwrap();
        assert_eq!(containers(&played), Vec::<String>::new(), "after {delay} ms");
        drop(one);
    }
    // What looks after the containers: the world ends by itself.
    let mut one = world(&played);
    ask(&mut Client::new(&one), json!({"action": "start"}));
    let [shim] = shims(&played)[..] else { panic!("one process looks after containers") };
    end(shim);
    one.process.wait().unwrap();
    none_is_left(&played).await;
    // Both at once: nobody owns what is left, and whoever comes next finds that.
    let one = world(&played);
    ask(&mut Client::new(&one), json!({"action": "start"}));
    let [shim] = shims(&played)[..] else { panic!("one process looks after containers") };
    // So that neither has time to notice the end of the other.
    kill(Pid::from_raw(shim), Signal::SIGSTOP).unwrap();
    end(i32::try_from(one.state["processId"].as_u64().unwrap()).unwrap());
    end(shim);
    drop(one);
    let engine = docker_support::Engine::connect("/var/run/docker.sock".into()).await.unwrap();
    let run = played.run_id().unwrap();
    let swept = engine.sweep().await.unwrap();
    assert!(swept.iter().any(|thing| thing.labels["meshproof.dev/run-id"] == run), "{swept:?}");
    assert_eq!(containers(&played), Vec::<String>::new());
}

#[tokio::test]
async fn what_docker_cannot_do_is_said_and_leaves_nothing() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Docker);
    // An image without a program of the machine, and without the one that has to be the first process, too.
    for (played, programs) in [
        (Played::by_docker_without_init("bare"), "/usr/local/bin/meshproof-machine-init, pilot-agent"),
        (Played::by_docker("partial"), "pilot-agent"),
    ] {
        let world = running(&played, &["pilot-agent", "vm"]);
        let answer = ask(&mut Client::new(&world), json!({"action": "start"}));
        let message = answer["message"].as_str().unwrap_or_else(|| panic!("{answer}"));
        assert!(message.contains(&format!("lacks {programs}; build one that has what is missing")), "{message}");
        drop(world);
        none_is_left(&played).await;
    }
    // No image, no engine.
    let socket = |name: &str| Path::new("/var/run").join(name).display().to_string();
    for (image, socket, words) in [
        ("meshproof-test/none:none", socket("docker.sock"), "No such image: meshproof-test/none:none; build or load"),
        ("meshproof-test/none:none", socket("none.sock"), "there is no socket /var/run/none.sock; install Docker"),
    ] {
        let world = World::start_with(|config| {
            config["dockerSocket"] = json!(socket);
            let program = json!({"name": "main", "image": "shell:1", "command": ["sh"]});
            config["machines"] = json!([
                {"name": "vm1", "network": "network1", "address": "192.168.9.1", "programs": [program],
                    "runtime": {"kind": "docker", "image": image}},
            ]);
        });
        let answer = ask(&mut Client::new(&world), json!({"action": "start"}));
        let message = answer["message"].as_str().unwrap_or_else(|| panic!("{answer}"));
        assert!(message.contains(words), "{message}");
    }
}
