//! Hosts outside the clusters: what they are given, whom they reach, and how they end.

use std::time::Duration;

use requirements::{Capability, require};
use serde_json::{Value, json};

use crate::control::Client;
use crate::kubectl::Kubectl;
use crate::played::Played;
use crate::world::World;

const SOON: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(20);

/// A world with a machine on a network of its own, and one beside the first cluster. Both run a shell that waits, the
/// first also a program that ends again and again.
fn world(played: &Played) -> World {
    World::start_with(|config| {
        played.configure(config);
        let waits = json!({"name": "main", "image": "shell:1", "command": ["/bin/sh", "-c", "trap exit TERM; echo up; cat /etc/given/word; while :; do sleep 1; done"]});
        let ends = json!({"name": "flaps", "image": "shell:1", "command": ["/bin/sh", "-c", "echo again; exit 3"]});
        config["networks"].as_array_mut().unwrap().push(json!({"name": "outside"}));
        config["machines"] = json!([
            {"name": "vm1", "network": "outside", "address": "192.168.9.1", "directories": ["/etc/given"],
                "resolvConf": "nameserver 192.0.2.53\n", "programs": [waits, ends], "runtime": played.runtime()},
            {"name": "vm2", "network": "network1", "address": "192.168.9.2", "programs": [waits],
                "runtime": played.runtime()},
        ]);
    })
}

fn act(client: &mut Client, name: &str, action: Value) -> Value {
    let mut request = json!({"request": "machine", "name": name});
    request["action"] = action;
    let answer = client.ask(request);
    assert_eq!(answer["response"], "machine", "{answer}");
    answer["answer"].clone()
}

fn run(client: &mut Client, name: &str, script: &str) -> (i64, String) {
    let action = json!({"action": "exec", "program": "main", "command": ["/bin/sh", "-c", script]});
    let answer = act(client, name, action);
    let text = |key: &str| answer[key].as_str().unwrap().to_owned();
    (answer["code"].as_i64().unwrap(), text("stdout") + &text("stderr"))
}

async fn runs(client: &mut Client, name: &str) {
    let poll = async || {
        let status = act(client, name, json!({"action": "status"}));
        if status["programs"][0]["running"] == true { Ok(()) } else { Err(status.to_string()) }
    };
    eventually::poll("the machine runs", SOON, STEP, poll).await.unwrap();
}

#[tokio::test]
async fn a_machine_has_what_was_written_to_its_disk_and_nothing_else() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    has_what_was_written(&Played::by_namespaces()).await;
}

#[tokio::test]
async fn a_container_has_what_was_written_to_its_disk_and_nothing_else() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Docker);
    has_what_was_written(&Played::by_docker("disk")).await;
}

async fn has_what_was_written(played: &Played) {
    let world = world(played);
    let mut client = Client::new(&world);
    let files = json!([
        {"path": "/etc/given/word", "mode": 0o600, "content": "before\n"},
        {"path": "/etc/hosts", "mode": 0o644, "content": "192.0.2.7 somewhere.example\n"},
    ]);
    act(&mut client, "vm1", json!({"action": "write", "files": files}));
    act(&mut client, "vm1", json!({"action": "start"}));
    runs(&mut client, "vm1").await;
    assert_eq!(
        run(&mut client, "vm1", "cat /etc/given/word; hostname; cat /etc/resolv.conf"),
        (0, "before\nvm1\nnameserver 192.0.2.53\n".to_owned())
    );
    assert!(run(&mut client, "vm1", "cat /etc/hosts").1.ends_with("192.0.2.7 somewhere.example\n"));
    assert_eq!(run(&mut client, "vm1", "ls /var/run/secrets").0, 2, "no credential of a cluster");

    // What it writes to its disk is there after a reboot; of namespaces nothing else is.
    run(&mut client, "vm1", "echo kept > /etc/given/own; echo other > /root-file");
    let status = act(&mut client, "vm1", json!({"action": "reboot"}));
    assert_eq!((&status["running"], &status["starts"]), (&json!(true), &json!(2)));
    runs(&mut client, "vm1").await;
    let all = if played.keeps_all() { (0, "kept\nother\n".to_owned()) } else { (1, "kept\n".to_owned()) };
    assert_eq!(run(&mut client, "vm1", "cat /etc/given/own; cat /root-file 2>/dev/null"), all);

    // Programs have no rights but those that are theirs.
    let rights = run(&mut client, "vm1", "grep -e CapBnd -e NoNewPrivs /proc/self/status | tr -d '\\t'");
    assert_eq!(rights, (0, "CapBnd:0000000000000000\nNoNewPrivs:1\n".to_owned()));

    let logs = act(&mut client, "vm1", json!({"action": "logs", "program": "main"}));
    assert_eq!(logs["text"], "up\nbefore\n", "nothing of the start before");

    // What ends is started again, and what it wrote is there to read.
    let again = async || {
        let status = act(&mut client, "vm1", json!({"action": "status"}));
        let flaps = &status["programs"][1];
        let often = flaps["starts"].as_u64().unwrap() >= 2 && flaps["problem"] == "it ended with code 3";
        if often { Ok(()) } else { Err(flaps.to_string()) }
    };
    eventually::poll("the other program was started again", SOON, STEP, again).await.unwrap();
    let logs = act(&mut client, "vm1", json!({"action": "logs", "program": "flaps"}));
    assert!(logs["text"].as_str().unwrap().starts_with("again\nagain\n"), "{logs}");
}

#[tokio::test]
async fn a_machine_reaches_other_networks_by_their_gateways_only_and_is_reached() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Kubectl);
    reaches_and_is_reached(&Played::by_namespaces()).await;
}

#[tokio::test]
async fn a_container_reaches_other_networks_by_their_gateways_only_and_is_reached() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Kubectl);
    require!(Capability::Docker);
    reaches_and_is_reached(&Played::by_docker("reach")).await;
}

async fn reaches_and_is_reached(played: &Played) {
    let world = world(played);
    let mut client = Client::new(&world);
    for name in ["vm1", "vm2"] {
        act(&mut client, name, json!({"action": "start"}));
        runs(&mut client, name).await;
    }
    let kubectl = Kubectl::new(&world, 0);
    kubectl.apply("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - {name: main, image: 'shell:1', command: [/bin/sh, -c, 'while :; do sleep 1; done']}\n");
    kubectl.ok(&["wait", "--for=condition=Ready", "pod/a", "--timeout=20s"]);
    let pod = kubectl.ok(&["get", "pod", "a", "-o", "jsonpath={.status.podIP}"]);
    // Nobody listens at that port: who is reached says so.
    let ping = |address: &str| {
        format!("timeout 1 bash -c '< /dev/tcp/{address}/1' 2>&1 | grep -q refused && echo yes || echo no")
    };
    let reaches = |client: &mut Client, name: &str, address: &str| run(client, name, &ping(address)).1 == "yes\n";
    // The node is what every network reaches; the pod is for its own network.
    assert!(reaches(&mut client, "vm1", "172.30.1.1") && reaches(&mut client, "vm1", "172.30.2.1"));
    assert!(!reaches(&mut client, "vm1", pod.trim()), "a pod of another network");
    assert!(reaches(&mut client, "vm2", pod.trim()), "a pod of its own network");
    assert!(reaches(&mut client, "vm1", "192.168.9.2"), "another machine");
    for address in ["192.168.9.1", "192.168.9.2"] {
        let answered = kubectl.ok(&["exec", "a", "--", "/bin/sh", "-c", &ping(address)]);
        assert_eq!(answered.trim(), "yes", "{address}");
    }
    // Without power nobody answers, and it comes back at the same address.
    let status = act(&mut client, "vm1", json!({"action": "kill"}));
    assert_eq!(status["running"], false);
    assert!(!reaches(&mut client, "vm2", "192.168.9.1"));
    act(&mut client, "vm1", json!({"action": "start"}));
    runs(&mut client, "vm1").await;
    assert!(reaches(&mut client, "vm2", "192.168.9.1"));
}

/// The machine goes on without it, and it is not started again behind anybody's back.
#[tokio::test]
async fn a_program_that_was_killed_is_kept_off_until_it_is_started() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    is_kept_off(&Played::by_namespaces()).await;
}

#[tokio::test]
async fn a_program_of_a_container_that_was_killed_is_kept_off_until_it_is_started() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Docker);
    is_kept_off(&Played::by_docker("kept-off")).await;
}

async fn is_kept_off(played: &Played) {
    let world = world(played);
    let mut client = Client::new(&world);
    act(&mut client, "vm1", json!({"action": "start"}));
    runs(&mut client, "vm1").await;
    let program = |status: &Value, index: usize| status["programs"][index].clone();
    let status = act(&mut client, "vm1", json!({"action": "kill-program", "program": "flaps"}));
    let before = program(&status, 1);
    assert_eq!(
        (&before["running"], &before["ready"], &before["keptOff"]),
        (&json!(false), &json!(false), &json!(true))
    );
    assert_eq!(program(&status, 0)["running"], true, "the other program goes on");
    // It would have been started three times in this while: after 0.1 s, 0.2 s and 0.4 s.
    run(&mut client, "vm1", "sleep 1");
    let status = act(&mut client, "vm1", json!({"action": "status"}));
    assert_eq!(program(&status, 1)["starts"], before["starts"]);

    act(&mut client, "vm1", json!({"action": "start-program", "program": "flaps"}));
    let again = async || {
        let status = act(&mut client, "vm1", json!({"action": "status"}));
        let flaps = program(&status, 1);
        let started = flaps["starts"].as_u64() > before["starts"].as_u64() && flaps["keptOff"] == false;
        if started { Ok(()) } else { Err(flaps.to_string()) }
    };
    eventually::poll("it is started again", SOON, STEP, again).await.unwrap();

    // One that runs until it is asked to end is killed, too; a boot of the machine starts everything.
    let status = act(&mut client, "vm1", json!({"action": "kill-program", "program": "main"}));
    let main = program(&status, 0);
    assert_eq!((&main["running"], &main["keptOff"]), (&json!(false), &json!(true)));
    act(&mut client, "vm1", json!({"action": "reboot"}));
    runs(&mut client, "vm1").await;
}

#[tokio::test]
async fn what_cannot_be_done_with_a_machine_is_said() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let world = world(&Played::by_namespaces());
    let mut client = Client::new(&world);
    let mut refused = |name: &str, action: Value| {
        let mut request = json!({"request": "machine", "name": name});
        request["action"] = action;
        let answer = client.ask(request);
        assert_eq!(answer["response"], "refused", "{answer}");
        answer["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(refused("vm9", json!({"action": "start"})), "there is no machine \"vm9\"; there are vm1, vm2");
    assert_eq!(refused("vm1", json!({"action": "kill"})), "machine \"vm1\" does not run");
    let logs = refused("vm1", json!({"action": "logs", "program": "none"}));
    assert_eq!(logs, "machine \"vm1\" has no program \"none\"; it has main, flaps");
    let elsewhere = json!({"action": "write", "files": [{"path": "/etc/passwd", "mode": 0o644, "content": ""}]});
    assert!(refused("vm1", elsewhere).contains("/etc/passwd is in none of its directories"));
}
