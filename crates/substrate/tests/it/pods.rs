//! Pods as people meet them: their logs, commands in them, and what is said about those that fail.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use requirements::{Capability, require};

use crate::kubectl::Kubectl;
use crate::objects::TALK;
use crate::world::World;

const CRASH: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: crash}
spec:
  containers:
  - name: main
    image: shell:1
    command: [/bin/sh, -c, "echo about to fail; exit 3"]
"#;

#[test]
fn logs_of_all_kinds() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Kubectl);
    let world = World::start();
    let mut kubectl = Kubectl::new(&world, 0);
    kubectl.apply(&TALK.replace("replicas: 2", "replicas: 1"));
    kubectl.apply(CRASH);
    kubectl.ok(&["rollout", "status", "deploy/talk", "--timeout=20s"]);
    kubectl.ok(&[
        "wait",
        "--for=jsonpath={.status.containerStatuses[0].state.waiting.reason}=CrashLoopBackOff",
        "pod/crash",
        "--timeout=20s",
    ]);
    kubectl.show("logs deploy/talk");
    kubectl.show("logs deploy/talk -c side");
    kubectl.show("logs deploy/talk --tail=1");
    // kubectl takes the containers in no fixed order.
    let all = kubectl.ok(&["logs", "deploy/talk", "--all-containers", "--prefix", "--tail=1"]);
    let mut ends: Vec<&str> = all.lines().filter_map(|line| line.rsplit_once('/')).map(|(_, end)| end).collect();
    ends.sort_unstable();
    assert_eq!(ends, ["main] three", "side] beside"]);
    kubectl.show("logs deploy/talk -c nope");
    kubectl.show("logs deploy/talk -c main --previous");
    kubectl.show("logs crash");
    kubectl.show("logs crash --previous");
    insta::assert_snapshot!(kubectl.transcript());

    let mut follow = kubectl.command(&["logs", "-f", "deploy/talk", "-c", "main"]);
    let mut follow = follow.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    let first: Vec<String> = lines.by_ref().take(3).map(Result::unwrap).collect();
    assert_eq!(first, ["one", "two", "three"]);
    kubectl.ok(&["exec", "deploy/talk", "-c", "main", "--", "sh", "-c", "echo later > /proc/1/fd/1"]);
    assert_eq!(lines.next().unwrap().unwrap(), "later");
    kubectl.ok(&["delete", "deploy", "talk"]);
    assert!(lines.next().is_none(), "the log ends with its container");
    assert!(follow.wait().unwrap().success());
}

#[test]
fn commands_run_in_containers() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Kubectl);
    let world = World::start();
    let mut kubectl = Kubectl::new(&world, 0);
    kubectl.apply(&TALK.replace("replicas: 2", "replicas: 1"));
    kubectl.apply(CRASH);
    kubectl.ok(&["rollout", "status", "deploy/talk", "--timeout=20s"]);
    kubectl.ok(&[
        "wait",
        "--for=jsonpath={.status.containerStatuses[0].state.waiting.reason}=CrashLoopBackOff",
        "pod/crash",
        "--timeout=20s",
    ]);
    kubectl.show_arguments(&["exec", "deploy/talk", "--", "sh", "-c", "echo out; echo err >&2; exit 7"], "");
    kubectl.show_with("exec -i deploy/talk -c side -- cat", "through\n");
    kubectl.show_arguments(
        &["exec", "deploy/talk", "-c", "main", "--", "sh", "-c", "echo $GREETING $(hostname | cut -c1-5)"],
        "",
    );
    kubectl.show_arguments(&["exec", "deploy/talk", "-c", "main", "--", "sh", "-c", "kill -9 $$"], "");
    kubectl.show("exec deploy/talk -c main -- nosuch");
    kubectl.show("exec deploy/talk -c nope -- true");
    kubectl.show("exec crash -- true");
    kubectl.show("exec nope -- true");
    let big = "0123456789abcdef".repeat(100_000);
    let counted = kubectl.run(&["exec", "-i", "deploy/talk", "-c", "main", "--", "wc", "-c"], &big);
    assert_eq!(counted.stdout.trim(), big.len().to_string());
    insta::assert_snapshot!(kubectl.transcript());
}

#[test]
fn pods_are_described_and_watched() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Kubectl);
    let world = World::start();
    let mut kubectl = Kubectl::new(&world, 0);
    let mut watch = kubectl.command(&["get", "pods", "-A", "-w", "--no-headers", "-o", "name"]);
    let mut watch = watch.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
    let mut seen = BufReader::new(watch.stdout.take().unwrap()).lines();
    kubectl.apply(&TALK.replace("replicas: 2", "replicas: 1"));
    kubectl.ok(&["rollout", "status", "deploy/talk", "--timeout=20s"]);
    assert!(seen.next().unwrap().unwrap().starts_with("pod/talk-"));
    watch.kill().unwrap();
    watch.wait().unwrap();
    kubectl.show("describe pod -l app=talk");
    kubectl.show("describe deploy talk");
    kubectl.show("create job j --image=shell:1 -- /bin/sh -c true");
    kubectl.show("wait --for=condition=complete job/j --timeout=20s");
    kubectl.show("get job,pods");
    // kubectl 1.32 words one line in its own way.
    let transcript = kubectl.transcript().replace("ConfigMapOptional:  <nil>", "Optional:  false");
    insta::assert_snapshot!(transcript);
}
