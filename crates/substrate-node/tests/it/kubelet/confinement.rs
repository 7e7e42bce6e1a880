//! Pods that try to reach the machine's files through their volume mounts.

use std::fs;

use k8s_openapi::api::core::v1::Pod;
use requirements::{Capability, require};
use serde_json::{Value, json};

use super::cluster::{Cluster, has_phase};

/// A pod whose init container runs `plant` in the volume `/scratch`, and whose main container has these mounts.
fn pod(name: &str, plant: &str, mounts: &Value, changes: &Value) -> Value {
    let mut main = json!({"name": "main", "image": "shell:1", "command": ["sh", "-c", "exec sleep 1000"]});
    main["volumeMounts"] = mounts.clone();
    for (key, value) in changes.as_object().into_iter().flatten() {
        main[key] = value.clone();
    }
    json!({"metadata": {"name": name}, "spec": {
        "terminationGracePeriodSeconds": 0,
        "initContainers": [{"name": "plant", "image": "shell:1", "command": ["sh", "-c", plant],
            "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]}],
        "containers": [main],
        "volumes": [{"name": "scratch", "emptyDir": {}}],
    }})
}

#[tokio::test]
async fn a_sub_path_does_not_leave_its_volume() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let cluster = Cluster::start().await;
    let outside = cluster.directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let mount = |part: &str| json!([{"name": "scratch", "mountPath": "/part", "subPath": part}]);
    let plant = format!("cd /scratch; ln -s {} absolute; ln -s ../../../../.. relative", outside.display());
    for (name, part) in [("absolute", "absolute"), ("relative", "relative"), ("below", "absolute/made/here")] {
        cluster.create::<Pod>(pod(name, &plant, &mount(part), &json!({}))).await;
        let refused = |pod: Option<&Pod>| {
            let statuses = pod.and_then(|pod| pod.status.as_ref()?.container_statuses.clone()).unwrap_or_default();
            let state = statuses.first().and_then(|status| status.state.clone()?.waiting).unwrap_or_default();
            state.reason.as_deref() == Some("CreateContainerConfigError")
                && state.message.is_some_and(|message| message.contains("leaves the volume"))
        };
        cluster.until(name, "refused", refused).await;
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "something was made outside of the volume");

    let plant = "cd /scratch; mkdir real; echo inside > real/file; ln -s real link";
    cluster.create::<Pod>(pod("inner", plant, &mount("link"), &json!({}))).await;
    cluster.create::<Pod>(pod("missing", "true", &mount("made/here"), &json!({}))).await;
    cluster.until("inner", "running", has_phase("Running")).await;
    assert_eq!(cluster.shell("inner", "main", "cat /part/file").await, "inside\n");
    cluster.until("missing", "running", has_phase("Running")).await;
    assert_eq!(cluster.shell("missing", "main", "touch /part/x && echo written").await, "written\n");
}

#[tokio::test]
async fn a_mount_is_made_inside_the_container_only() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let cluster = Cluster::start().await;
    let outside = cluster.directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let through = format!("/.host{}", outside.display());
    let plant = format!("ln -s {through} /scratch/link");
    let mounts = json!([
        {"name": "scratch", "mountPath": "/scratch"},
        {"name": "scratch", "mountPath": format!("{through}/direct")},
        {"name": "scratch", "mountPath": "/scratch/link/linked"},
    ]);
    let message = json!({"terminationMessagePath": format!("{through}/message")});
    cluster.create::<Pod>(pod("curious", &plant, &mounts, &message)).await;
    cluster.until("curious", "running", has_phase("Running")).await;
    let made: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(made.is_empty(), "made on the machine: {made:?}");
    let inside = cluster.shell("curious", "main", &format!("ls {through}")).await;
    assert_eq!(inside, "direct\nlinked\nmessage\n", "to the container they are paths like others");
}
