//! Clusters that somebody else runs: a second meshproof, with a state folder of its own, has nothing of them but a kubeconfig.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kube::api::{Api, DynamicObject, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::discovery::{Discovery, Scope, verbs};
use requirements::{Capability, require};

const BARE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/existing/bare.yaml");
const TOPOLOGY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/topologies/two-clusters-echo.yaml");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

const PASSED: i32 = 0;
const WRONG_USAGE: i32 = 2;

/// Somebody's clusters.
struct Owner {
    state: tempfile::TempDir,
}

impl Owner {
    fn new() -> Self {
        let owner = Self { state: tempfile::tempdir().expect("a folder") };
        ends_with(PASSED, &mut command(owner.state.path(), &["up", "--topology", BARE]));
        owner
    }

    fn kubeconfig(&self) -> PathBuf {
        let path = self.state.path().join("for-others.yaml");
        let text = ends_with(PASSED, &mut command(self.state.path(), &["kubeconfig"]));
        std::fs::write(&path, text).expect("written");
        path
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = command(self.state.path(), &["down", "--all"]).output();
    }
}

fn command(state: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meshproof"));
    command
        .args(arguments)
        .env("MESHPROOF_STATE_DIR", state)
        .env("NO_COLOR", "1")
        .env("CI", "1")
        .env_remove("KUBECONFIG");
    command.stdin(Stdio::null());
    command
}

fn ends_with(code: i32, command: &mut Command) -> String {
    let output = command.output().expect("started");
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{command:?}: {out}{error}");
    if error.is_empty() { out.into_owned() } else { format!("{out}{error}") }
}

/// `up` on those clusters, with so many words more.
fn up(guest: &Path, kubeconfig: &Path, more: &[&str]) -> Command {
    let kubeconfig = kubeconfig.to_str().expect("UTF-8");
    let words = ["up", "--topology", TOPOLOGY, "--name", "guest", "--provider", "existing", "--kubeconfig", kubeconfig];
    let contexts = ["--context", "cluster1=eu", "--context", "cluster2=us", "--mesh", "embedded"];
    command(guest, &[&words[..], &contexts[..], more].concat())
}

/// Every object of both clusters, but those that come and go by themselves.
async fn everything(kubeconfig: &Path) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for context in ["eu", "us"] {
        let config = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
        let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
        let config = kube::Config::from_custom_kubeconfig(config, &options).await.expect("it can be used");
        let client = kube::Client::try_from(config).expect("a client");
        let discovery = Discovery::new(client.clone()).run().await.expect("its kinds");
        let kinds = discovery.groups().flat_map(|group| group.recommended_resources());
        for (resource, capabilities) in kinds {
            if !capabilities.supports_operation(verbs::LIST) || matches!(resource.kind.as_str(), "Event" | "Lease") {
                continue;
            }
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            let scope = if capabilities.scope == Scope::Cluster { "" } else { "namespaced " };
            for object in api.list(&ListParams::default()).await.expect("listed") {
                let (namespace, name) = (object.metadata.namespace.unwrap_or_default(), object.metadata.name);
                all.insert(format!("{context}: {scope}{} {namespace}/{}", resource.kind, name.unwrap_or_default()));
            }
        }
    }
    all
}

#[test]
fn a_mesh_is_made_on_clusters_that_are_there_proved_and_removed_without_a_trace() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Envoy);
    require!(Capability::Programs);
    let owner = Owner::new();
    let kubeconfig = owner.kubeconfig();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let before = runtime.block_on(everything(&kubeconfig));
    let guest = tempfile::tempdir().expect("a folder");

    let shown = ends_with(WRONG_USAGE, &mut up(guest.path(), &kubeconfig, &[]));
    assert!(shown.contains("there is nobody to ask") && shown.contains("--yes"), "{shown}");
    assert!(shown.contains("in new namespaces istio-system"), "{shown}");
    assert_eq!(runtime.block_on(everything(&kubeconfig)), before, "nothing is made without a yes");

    ends_with(PASSED, &mut up(guest.path(), &kubeconfig, &["--yes"]));
    let run = ["run", "--root", ROOT, "-E", "name(headers-on-the-way) | name(method-and-body)"];
    let shown = ends_with(PASSED, &mut command(guest.path(), &run));
    assert!(shown.contains("passed"), "{shown}");
    ends_with(PASSED, &mut command(guest.path(), &["down", "--name", "guest"]));
    assert_eq!(runtime.block_on(everything(&kubeconfig)), before, "all that was made is gone");

    // Killed in the middle; `down` knows all the same what to remove.
    let mut killed = up(guest.path(), &kubeconfig, &["--yes"]).stdout(Stdio::piped()).spawn().expect("started");
    let mut lines = BufReader::new(killed.stdout.take().expect("piped")).lines();
    let half_way = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("control plane ready")));
    killed.kill().expect("it runs");
    killed.wait().expect("it has ended");
    assert!(half_way.is_some(), "it never came so far");
    assert_ne!(runtime.block_on(everything(&kubeconfig)), before, "it was killed in the middle");
    ends_with(PASSED, &mut command(guest.path(), &["down", "--name", "guest"]));
    assert_eq!(runtime.block_on(everything(&kubeconfig)), before, "what a killed run made is gone");
}
