//! What the nodes of kind clusters tell when something has failed. Containers of our own images play nodes: they have the labels of
//! nodes, and no `journalctl`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use camino::Utf8Path;
use meshproof::artifacts::{Subject, save};
use meshproof::provider::kind::CLUSTER;
use meshproof::provider::kind::engine::{Container, Engine};
use meshproof::provider::kind::networks;
use meshproof::provider::kind::nodes::Nodes;
use meshproof::provider::kind::router::{Router, container_name};
use requirements::{Capability, require};

use crate::on_docker::{ECHO, TOPOLOGY, with_engine};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const ENVIRONMENT_FAILED: i32 = 105;

#[tokio::test]
async fn what_nodes_and_router_tell_is_saved_and_what_they_cannot_tell_has_its_reason() {
    require!(Capability::Docker);
    require!(Capability::Nft);
    require!(Capability::Programs);
    let environment = format!("told-{}", std::process::id());
    let folder = tempfile::tempdir().expect("a folder");
    let folder = Utf8Path::from_path(folder.path()).expect("UTF-8");
    with_engine(&environment, async |engine| saved(engine, &environment, folder).await).await;
}

async fn saved(engine: &Engine, environment: &str, folder: &Utf8Path) {
    let topology = meshproof::topology::validate::read("t.yaml", TOPOLOGY).expect("a topology");
    let networks = networks::make(engine, &topology, environment).await.expect("networks");
    let kind_name = format!("{environment}-a");
    let node = Container {
        name: format!("{kind_name}-control-plane"),
        image: ECHO.to_owned(),
        arguments: vec!["--port=8080".to_owned()],
        networks: vec![(networks[0].docker.name.clone(), None)],
        labels: [(CLUSTER.to_owned(), kind_name.clone())].into(),
        ..Container::default()
    };
    engine.start(&node).await.expect("a node");
    Router::start(engine, environment, &networks).await.expect("a router");
    let clusters = vec![("a".to_owned(), kind_name), ("b".to_owned(), format!("{environment}-b"))];
    let nodes = Nodes::new(engine.clone(), clusters, Some(container_name(environment)));

    let saved = save(&Subject { nodes: Some(&nodes), ..Subject::default() }, folder).await;

    let read = |path: &str| std::fs::read_to_string(folder.join(path)).expect(path);
    let of_node = format!("a/nodes/{}", node.name);
    let journal = read(&format!("{of_node}/journal.log"));
    assert!(journal.starts_with("not to be had: ") && journal.contains("journalctl"), "{journal}");
    assert_eq!(saved.missing.len(), 1, "{:?}", saved.missing);
    assert!(saved.missing[0].starts_with("a: journal of kubelet and containerd of "), "{:?}", saved.missing);
    let description: serde_json::Value = serde_json::from_str(&read(&format!("{of_node}/inspect.json"))).expect("JSON");
    assert_eq!(description["Name"], format!("/{}", node.name));
    let variables = description["Config"]["Env"].as_array().expect("an image of ours names a PATH");
    assert!(variables.iter().all(|one| one.as_str().is_some_and(|one| one.ends_with("=[redacted]"))), "{variables:?}");
    assert!(saved.artifacts.iter().any(|one| one.path == format!("{of_node}/container.log")), "{saved:?}");

    let of_router = format!("between.networks/{}", container_name(environment));
    assert!(read(&format!("{of_router}/rules.txt")).contains("table ip links"));
    let subnet = networks[1].docker.subnet.to_string();
    assert!(read(&format!("{of_router}/routes.txt")).contains(&subnet), "a leg on each network");
    assert!(read(&format!("{of_router}/addresses.txt")).contains(&networks[0].router().to_string()));
    assert!(read(&format!("{of_router}/changes.log")).contains("add table ip links"), "its log lists every change");
}

/// A `kind` that makes a node of the first cluster, and finds that it does not start. Of the others it makes nothing.
fn failing_kind(folder: &Path) -> String {
    let program = folder.join("kind");
    let script = r#"#!/bin/sh
[ "$1" = version ] && exec echo "kind v0.33.0 go1.24.0 linux/amd64"
while [ "$1" != --name ]; do shift; done
case "$2" in *-cluster1) ;; *) exec sleep 600 ;; esac
docker run --detach --name "$2-control-plane" --label "io.x-k8s.kind.cluster=$2" \
  --network "$KIND_EXPERIMENTAL_DOCKER_NETWORK" meshproof/echo:dev --port=8080 >/dev/null
echo "ERROR: failed to create cluster: the node does not start" >&2
exit 1
"#;
    std::fs::write(&program, script).expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("set");
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default())
}

#[test]
fn a_bring_up_that_fails_keeps_what_its_nodes_told_and_nothing_on_docker() {
    require!(Capability::Docker);
    require!(Capability::Nft);
    require!(Capability::Programs);
    let state = tempfile::tempdir().expect("a folder");
    let out = state.path().join("out");
    let name = format!("fails-{}", std::process::id());
    let output = Command::new(env!("CARGO_BIN_EXE_meshproof"))
        .args(["up", "--provider", "kind", "--anyway", "--mesh", "embedded", "--name", &name, "--out"])
        .arg(&out)
        .current_dir(ROOT)
        .stdin(Stdio::null())
        .env("PATH", failing_kind(state.path()))
        .env("MESHPROOF_STATE_DIR", state.path().join("state"))
        .env("NO_COLOR", "1")
        .output()
        .expect("started");
    let words = [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat();
    assert_eq!(output.status.code(), Some(ENVIRONMENT_FAILED), "{words}");
    assert!(words.contains("the node does not start"), "what failed is what is told: {words}");
    assert!(words.contains("state saved: "), "{words}");
    let folder = out.join("artifacts/bring-up");
    let node = folder.join(format!("cluster1/nodes/{name}-cluster1-control-plane"));
    let journal = std::fs::read_to_string(node.join("journal.log")).expect("written");
    assert!(journal.contains("journalctl"), "{journal}");
    assert!(node.join("inspect.json").is_file() && node.join("container.log").is_file(), "{words}");
    let router = folder.join(format!("between.networks/meshproof-{name}-router/rules.txt"));
    assert!(std::fs::read_to_string(router).expect("written").contains("table ip links"));
    let list = Command::new("docker").args(["ps", "--all", "--format", "{{.Names}}"]).output().expect("started");
    assert!(!String::from_utf8_lossy(&list.stdout).contains(&name), "{words}");
}
