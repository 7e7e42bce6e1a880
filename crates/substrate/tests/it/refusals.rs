//! Worlds that cannot be brought up say why and what to do; and what a world writes is its owner's alone.

use std::io::BufReader;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use requirements::{Capability, require};
use serde_json::{Value, json};

use crate::world::{World, config, next_event, run, spawn};

/// Exit code of a failed environment.
const ENVIRONMENT_FAILED: i32 = 105;

/// Message and cure of a supervisor that must fail.
fn failure(mut process: std::process::Child) -> String {
    let event = next_event(&mut BufReader::new(process.stdout.take().unwrap())).expect("a failure is announced");
    assert_eq!(process.wait().unwrap().code(), Some(ENVIRONMENT_FAILED), "{event}");
    assert_eq!(event["event"], "failed", "{event}");
    format!("{}\n  cure: {}", event["message"].as_str().unwrap(), event["cure"].as_str().unwrap())
}

fn refused(change: impl FnOnce(&mut Value)) -> String {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(&directory.path().join("state"));
    change(&mut config);
    let failure = failure(spawn(directory.path(), &config.to_string()));
    assert!(!directory.path().join("state").exists(), "a configuration that cannot work leaves nothing");
    failure.replace(directory.path().to_str().unwrap(), "DIR")
}

#[test]
fn a_wrong_configuration_is_refused_with_place_and_cure() {
    require!(Capability::UserNamespaces);
    let failures = [
        refused(|config| config["clusterz"] = json!([])),
        refused(|config| config["clusters"][0]["podSubnet"] = json!("10.244.0.0/33")),
        refused(|config| config["clusters"][0]["name"] = json!("../elsewhere")),
        refused(|config| {
            config["clusters"][1]["network"] = json!("network3");
            config["clusters"][1]["nodeSubnet"] = json!("172.30.1.0/24");
        }),
        failure(run(Path::new("/nowhere/config.json"))),
    ];
    insta::assert_snapshot!(failures.join("\n\n"));
}

#[test]
fn a_second_world_in_the_same_directory_is_refused() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let world = World::start();
    let second = failure(spawn(world.directory.path(), &config(&world.state_directory()).to_string()));
    let second = second.replace(world.directory.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(second, @r"
    another world runs in DIR/state
      cure: end that world first (`meshproof down`), or give this one another state directory
    ");
    let recorded: Value =
        serde_json::from_slice(&std::fs::read(world.state_directory().join("world.json")).unwrap()).unwrap();
    assert_eq!(recorded, world.state, "the first world is still the one on record");
    drop(world);
}

#[test]
fn what_a_world_writes_is_for_its_owner_alone() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let world = World::start();
    let state = world.state_directory();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    for directory in ["", "clusters", "clusters/cluster1", "clusters/cluster2", "world"] {
        assert_eq!(mode(&state.join(directory)), 0o700, "{directory}");
    }
    for file in ["world.json", "lock", "clusters/cluster1/kubeconfig", "clusters/cluster2/kubeconfig"] {
        assert_eq!(mode(&state.join(file)), 0o600, "{file}");
    }
}
