//! From start to end: order, hooks, restarts, grace.

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::DeleteParams;
use kube::runtime::wait::await_condition;
use requirements::{Capability, require};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::cluster::{Cluster, has_phase};

/// A shell that notes its end when it is told to stop.
fn loop_until_term(name: &str) -> String {
    format!(
        "trap 'echo {name} stops >> /work/story; exit 0' TERM; echo {name} starts >> /work/story; while :; do sleep 0.05; done"
    )
}

fn container(name: &str, script: &str) -> Value {
    let mounts = json!([{"name": "work", "mountPath": "/work"}]);
    json!({"name": name, "image": "shell:1", "command": ["/bin/sh", "-c", script], "volumeMounts": mounts})
}

fn pod(name: &str, init: &[Value], main: &[Value]) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 5, "initContainers": init, "containers": main,
            "volumes": [{"name": "work", "emptyDir": {}}],
        },
    })
}

#[tokio::test]
async fn containers_start_and_end_in_their_order() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let cluster = Cluster::start().await;
    let mut sidecar = container("sidecar", &loop_until_term("sidecar"));
    sidecar["restartPolicy"] = json!("Always");
    sidecar["startupProbe"] = json!({"exec": {"command": ["test", "-s", "/work/story"]}, "periodSeconds": 1});
    let mut first = container("first", &loop_until_term("first"));
    // The second container must wait for this hook.
    first["lifecycle"] =
        json!({"postStart": {"exec": {"command": ["sh", "-c", "sleep 0.3; echo hook ends >> /work/story"]}}});
    let main = [container("main", "cat /work/story")];
    let init =
        [container("setup", "echo setup >> /work/story"), sidecar, container("check", "echo check >> /work/story")];
    cluster.create::<Pod>(pod("ordered", &init, &main)).await;
    cluster
        .until("ordered", "Succeeded", |pod: Option<&Pod>| {
            let statuses = pod.and_then(|pod| pod.status.as_ref()?.init_container_statuses.clone()).unwrap_or_default();
            statuses.len() == 3
                && statuses.iter().all(|status| status.state.as_ref().is_some_and(|s| s.terminated.is_some()))
        })
        .await;
    assert_eq!(cluster.log("ordered", "main", false).await, "setup\nsidecar starts\ncheck\n");

    cluster.create::<Pod>(pod("hooked", &[], &[first, container("second", "cat /work/story; sleep 1000")])).await;
    cluster.ready("hooked").await;
    let log = cluster.log("hooked", "second", false).await;
    assert_eq!(log, "first starts\nhook ends\n", "the second container starts after the hook of the first");
}

#[tokio::test]
async fn sidecars_outlive_the_containers_they_serve() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let cluster = Cluster::start().await;
    let mut sidecar = container(
        "sidecar",
        "trap 'cat /work/story; exit 0' TERM; echo sidecar >> /work/story; while :; do sleep 0.05; done",
    );
    sidecar["restartPolicy"] = json!("Always");
    let main = container("main", "trap 'echo main stops >> /work/story; exit 0' TERM; while :; do sleep 0.05; done");
    let mut object = pod("served", &[sidecar], &[main]);
    object["spec"]["restartPolicy"] = json!("Always");
    let created = cluster.create::<Pod>(object).await;
    cluster.ready("served").await;
    cluster.pods().delete("served", &DeleteParams::default()).await.unwrap();
    cluster.gone("served").await;
    // The pod is gone; its log on the disk is not.
    let pod = format!("default_served_{}", created.metadata.uid.unwrap());
    let log = std::fs::read_to_string(cluster.directory.path().join("logs").join(pod).join("sidecar/0.log")).unwrap();
    let lines: Vec<_> = log.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).collect();
    assert_eq!(lines, ["sidecar", "main stops"], "the sidecar saw the end of the container");
}

#[tokio::test]
async fn the_grace_period_is_given_and_no_more() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let cluster = Cluster::start().await;
    let stubborn = |name: &str, grace: u64, hook: Option<&str>| {
        let mut main = container("main", "trap '' TERM; until test -e /work/end; do sleep 0.05; done");
        if let Some(hook) = hook {
            main["lifecycle"] = json!({"preStop": {"exec": {"command": ["sh", "-c", hook]}}});
        }
        let mut object = pod(name, &[], &[main]);
        object["spec"]["terminationGracePeriodSeconds"] = json!(grace);
        object
    };
    cluster.create::<Pod>(stubborn("patient", 1, None)).await;
    cluster.create::<Pod>(stubborn("forced", 600, None)).await;
    cluster.create::<Pod>(stubborn("hooked", 600, Some("touch /work/end"))).await;
    for name in ["patient", "forced", "hooked"] {
        cluster.ready(name).await;
    }
    let end = async |name: &str, parameters: DeleteParams| {
        let started = Instant::now();
        cluster.pods().delete(name, &parameters).await.unwrap();
        cluster.gone(name).await;
        started.elapsed()
    };
    let patient = end("patient", DeleteParams::default()).await;
    assert!((1000..4000).contains(&patient.as_millis()), "{patient:?}");
    // Nothing but its hook ends this one before its time.
    assert!(end("hooked", DeleteParams::default()).await < Duration::from_secs(5));
    // A deletion that was begun with much time is ended by one with none.
    cluster.pods().delete("forced", &DeleteParams::default()).await.unwrap();
    assert!(end("forced", DeleteParams::default().grace_period(0)).await < Duration::from_secs(5));
}

#[tokio::test]
async fn a_deletion_without_grace_kills_at_once() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let cluster = Cluster::start().await;
    let mut main = container("main", "trap 'echo told' TERM; echo kill-me-at-once; while :; do sleep 0.02; done");
    main["lifecycle"] = json!({"preStop": {"exec": {"command": ["sh", "-c", "echo hook > /proc/1/fd/1; sleep 60"]}}});
    let created = cluster.create::<Pod>(pod("doomed", &[], &[main])).await;
    cluster.ready("doomed").await;
    cluster.pods().delete("doomed", &DeleteParams::default().grace_period(0)).await.unwrap();
    let what = "the end of the container's processes";
    eventually::poll(what, Duration::from_secs(10), Duration::from_millis(10), async || {
        let left = processes("kill-me-at-once");
        if left == 0 { Ok(()) } else { Err(format!("{left} are left")) }
    })
    .await
    .unwrap();
    let pod = format!("default_doomed_{}", created.metadata.uid.unwrap());
    let log = std::fs::read_to_string(cluster.directory.path().join("logs").join(pod).join("main/0.log")).unwrap();
    assert!(log.contains("kill-me-at-once"), "it ran: {log}");
    assert!(!log.contains("told") && !log.contains("hook"), "it had no time to hear of its end: {log}");
}

/// Processes of this machine with a word in their command line; containers' are among them.
fn processes(word: &str) -> usize {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(&format!("echo {word}"))).count()
}

#[tokio::test]
async fn restarts_follow_the_policy() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let cluster = Cluster::start().await;
    // Fails the first time only: what it leaves behind is still there the second time.
    let script = "echo why > /dev/termination-log; test -e /work/again || { touch /work/again; echo first; exit 3; }; echo second";
    let mut object = pod("retried", &[], &[container("main", script)]);
    object["spec"]["restartPolicy"] = json!("OnFailure");
    cluster.create::<Pod>(object).await;
    cluster.create::<Pod>(pod("failed", &[], &[container("main", "exit 4")])).await;
    cluster.create::<Pod>(pod("blocked", &[container("init", "exit 5")], &[container("main", "true")])).await;
    let retried = cluster.until("retried", "Succeeded", has_phase("Succeeded")).await.unwrap();
    let status = retried.status.unwrap().container_statuses.unwrap().remove(0);
    let last = status.last_state.unwrap().terminated.unwrap();
    assert_eq!((status.restart_count, last.exit_code, last.message.as_deref()), (1, 3, Some("why\n")));
    assert_eq!(cluster.log("retried", "main", true).await, "first\n");
    assert_eq!(cluster.log("retried", "main", false).await, "second\n");
    cluster.until("failed", "Failed", has_phase("Failed")).await;
    cluster.until("blocked", "Failed", has_phase("Failed")).await;
    let mut endless = pod("crashing", &[], &[container("main", "exit 1")]);
    endless["spec"]["restartPolicy"] = json!("Always");
    cluster.create::<Pod>(endless).await;
    let backs_off = |pod: Option<&Pod>| {
        let statuses = pod.and_then(|pod| pod.status.as_ref()?.container_statuses.clone()).unwrap_or_default();
        let waiting = statuses.first().and_then(|status| status.state.clone()?.waiting).unwrap_or_default();
        waiting.message.is_some_and(|message| message.starts_with("back-off 10s restarting failed container=main"))
    };
    cluster.until("crashing", "CrashLoopBackOff", backs_off).await;
}

#[tokio::test]
async fn twenty_pods_are_ready_in_no_time_and_gone_as_soon() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let cluster = Cluster::start().await;
    let server = json!({
        "name": "main", "image": "server:1", "args": ["8080"],
        "readinessProbe": {"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 1},
    });
    let template = json!({"metadata": {"labels": {"app": "many"}}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [server]}});
    let spec = json!({"replicas": 20, "selector": {"matchLabels": {"app": "many"}}, "template": template});
    let started = Instant::now();
    cluster.create::<Deployment>(json!({"metadata": {"name": "many"}, "spec": spec})).await;
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), "default");
    let all_available = |deployment: Option<&Deployment>| {
        deployment
            .and_then(|deployment| deployment.status.as_ref())
            .is_some_and(|status| status.available_replicas == Some(20))
    };
    let available = await_condition(deployments.clone(), "many", all_available);
    tokio::time::timeout(Duration::from_secs(30), available).await.expect("all become available").unwrap();
    println!("20 pods were ready after {:?}", started.elapsed());
    // Generous, because tests share the machine; alone it takes well under two seconds.
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    deployments.delete("many", &DeleteParams::default()).await.unwrap();
    let gone = eventually::poll("the pods to go", Duration::from_secs(20), Duration::from_millis(20), async || {
        let left = cluster.pods().list(&kube::api::ListParams::default()).await.unwrap().items.len();
        if left == 0 { Ok(()) } else { Err(format!("{left} left")) }
    });
    gone.await.unwrap();
    let volumes = std::fs::read_dir(cluster.directory.path().join("volumes")).unwrap().count();
    assert_eq!(volumes, 0, "seen from outside the world, the volumes were never there");
}

#[tokio::test]
async fn a_port_of_the_pods_own_loopback_is_forwarded() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let cluster = Cluster::start().await;
    let server = json!({"name": "main", "image": "server:1", "args": ["8080", "127.0.0.1"],
                        "readinessProbe": {"exec": {"command": ["sh", "-c", "grep -q 0100007F:1F90 /proc/net/tcp"]}, "periodSeconds": 1}});
    let spec = json!({"terminationGracePeriodSeconds": 0, "containers": [server]});
    cluster.create::<Pod>(json!({"metadata": {"name": "private"}, "spec": spec})).await;
    cluster.ready("private").await;
    let mut forwarder = cluster.pods().portforward("private", &[8080]).await.unwrap();
    let mut stream = forwarder.take_stream(8080).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("hello\n"), "{answer}");
}
