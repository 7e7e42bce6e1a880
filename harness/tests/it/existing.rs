//! Clusters that somebody else runs: a second meshproof, with a state folder of its own, has nothing of them but a kubeconfig.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, DynamicObject, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::discovery::{Discovery, Scope, verbs};
use requirements::{Capability, require};
use rustix::process::{Pid, Signal, kill_process};

const BARE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/existing/bare.yaml");
const TOPOLOGY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/topologies/two-clusters-echo.yaml");
pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

pub(crate) const PASSED: i32 = 0;
pub(crate) const WRONG_USAGE: i32 = 2;
const INTERRUPTED: i32 = 130;

/// Somebody's clusters.
pub(crate) struct Owner {
    state: tempfile::TempDir,
}

impl Owner {
    fn new() -> Self {
        Self::of(BARE)
    }

    pub(crate) fn of(topology: &str) -> Self {
        let owner = Self { state: tempfile::tempdir().expect("a folder") };
        ends_with(PASSED, &mut command(owner.state.path(), &["up", "--topology", topology]));
        owner
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
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

pub(crate) fn command(state: &Path, arguments: &[&str]) -> Command {
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

pub(crate) fn ends_with(code: i32, command: &mut Command) -> String {
    let output = command.output().expect("started");
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{command:?}: {out}{error}");
    if error.is_empty() { out.into_owned() } else { format!("{out}{error}") }
}

/// `up` on those clusters, with so many words more.
fn up(guest: &Path, kubeconfig: &Path, more: &[&str]) -> Command {
    up_with(TOPOLOGY, guest, kubeconfig, &[&["--mesh", "embedded"], more].concat())
}

/// The same with another topology, and a mesh from anywhere.
fn up_with(topology: &str, guest: &Path, kubeconfig: &Path, more: &[&str]) -> Command {
    let kubeconfig = kubeconfig.to_str().expect("UTF-8");
    let words = ["up", "--topology", topology, "--name", "guest", "--provider", "existing", "--kubeconfig", kubeconfig];
    let contexts = ["--context", "cluster1=eu", "--context", "cluster2=us"];
    command(guest, &[&words[..], &contexts[..], more].concat())
}

/// Sends a signal to a command once it has printed a line with these words. Returns that line, and how the command ended.
fn end_after(words: &str, signal: Signal, command: &mut Command) -> (String, ExitStatus) {
    let mut running = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("started");
    let mut lines = BufReader::new(running.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains(words));
    kill_process(Pid::from_child(&running), signal).expect("it runs");
    lines.for_each(drop);
    let ended = running.wait().expect("it has ended");
    (line.unwrap_or_else(|| panic!("`{words}` was never printed")), ended)
}

async fn client(kubeconfig: &Path, context: &str) -> kube::Client {
    let config = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
    let config = kube::Config::from_custom_kubeconfig(config, &options).await.expect("it can be used");
    kube::Client::try_from(config).expect("a client")
}

/// What the mesh of a cluster trusts and signs with.
async fn authority(kubeconfig: &Path, context: &str) -> Option<BTreeMap<String, ByteString>> {
    let secrets: Api<Secret> = Api::namespaced(client(kubeconfig, context).await, "istio-system");
    secrets.get_opt("cacerts").await.expect("asked").and_then(|secret| secret.data)
}

/// The pods of the control plane of a cluster, which are others after a restart.
async fn control_plane(kubeconfig: &Path, context: &str) -> Vec<Option<String>> {
    let pods: Api<Pod> = Api::namespaced(client(kubeconfig, context).await, "istio-system");
    let list = pods.list(&ListParams::default().labels("app=istiod")).await.expect("listed");
    list.items.into_iter().map(|pod| pod.metadata.uid).collect()
}

/// Every object of both clusters, but those that come and go by themselves.
pub(crate) async fn everything(kubeconfig: &Path) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for context in ["eu", "us"] {
        let client = client(kubeconfig, context).await;
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

/// Jobs, and pods of them.
fn jobs_and_workers(all: &BTreeSet<String>) -> BTreeSet<String> {
    let is_worker = |one: &&String| one.contains(" Job ") || one.contains(" Pod ") && one.contains("/workers-");
    all.iter().filter(is_worker).cloned().collect()
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
    let scenarios = "name(headers-on-the-way) | name(method-and-body) | name(workers-on-two-clusters)";
    let installed = runtime.block_on(everything(&kubeconfig));
    let shown = ends_with(PASSED, &mut command(guest.path(), &["run", "--root", ROOT, "-E", scenarios]));
    assert!(shown.contains("passed"), "{shown}");
    let left = runtime.block_on(everything(&kubeconfig));
    assert_eq!(jobs_and_workers(&left), BTreeSet::new(), "workers are gone after the step that they were made for");
    assert_eq!(left, installed);

    // Killed while workers send: nobody is left who knows of them but the ledger.
    let mut killed = command(guest.path(), &["run", "--root", ROOT, "-E", "name(workers-on-two-clusters)"]);
    let mut killed = killed.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
    let at_work = eventually::poll("workers", Duration::from_secs(60), Duration::from_millis(200), async || {
        let found = jobs_and_workers(&everything(&kubeconfig).await);
        if found.len() == 7 { Ok(()) } else { Err(format!("{found:?}")) }
    });
    let at_work = runtime.block_on(at_work);
    killed.kill().expect("it runs");
    killed.wait().expect("it has ended");
    at_work.expect("two Jobs with five pods");
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

/// The topology without the second `echo`, which is outside of the mesh.
fn with_one_application_less(folder: &Path) -> String {
    let text = std::fs::read_to_string(TOPOLOGY).expect("a topology");
    let application = "- app: echo\n  namespace: outside\n";
    let (before, rest) = text.split_once(application).expect("it is there");
    let (_, after) = rest.split_once("- app:").expect("another follows");
    let path = folder.join("less.yaml");
    std::fs::write(&path, format!("{before}- app:{after}")).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn an_interrupted_up_goes_on_where_it_stopped_and_a_changed_topology_does_what_changed() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Envoy);
    require!(Capability::Programs);
    let owner = Owner::new();
    let kubeconfig = owner.kubeconfig();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let before = runtime.block_on(everything(&kubeconfig));
    let guest = tempfile::tempdir().expect("a folder");
    let again = || up(guest.path(), &kubeconfig, &["--yes"]);

    let (line, _) = end_after("control plane ready", Signal::KILL, &mut again());
    let (mesh, context) = if line.contains("cluster1") { ("cluster1", "eu") } else { ("cluster2", "us") };
    let authorities = || ["eu", "us"].map(|context| runtime.block_on(authority(&kubeconfig, context)));
    let (trust, pods) = (authorities(), runtime.block_on(control_plane(&kubeconfig, context)));
    assert!(trust.iter().all(Option::is_some) && pods.len() == 1, "{pods:?}");
    let status = ends_with(PASSED, &mut command(guest.path(), &["status"]));
    assert!(status.contains("guest: half made"), "{status}");
    let refused = ends_with(WRONG_USAGE, &mut command(guest.path(), &["run", "--root", ROOT]));
    assert!(refused.contains("half made") && refused.contains("meshproof down --name guest"), "{refused}");

    let (line, ended) = end_after("workloads ready", Signal::INT, &mut again());
    assert_eq!(ended.code(), Some(INTERRUPTED));
    let applications = if line.contains("cluster1") { "cluster1" } else { "cluster2" };

    let shown = ends_with(PASSED, &mut again());
    for kept in [
        "prepare the trust of cluster1: kept".to_owned(),
        "prepare the trust of cluster2: kept".to_owned(),
        format!("install the mesh on {mesh}: kept"),
        format!("start the applications of {applications}: kept"),
    ] {
        assert!(shown.contains(&kept), "{kept}: {shown}");
    }
    assert!(shown.contains(": done, as it was"), "something was left to do: {shown}");
    assert_eq!(authorities(), trust, "roots and keys are those of the first run");
    assert_eq!(runtime.block_on(control_plane(&kubeconfig, context)), pods, "nothing was restarted");
    let run = ["run", "--root", ROOT, "-E", "name(headers-on-the-way)"];
    ends_with(PASSED, &mut command(guest.path(), &run));

    let apart = guest.path().join("apart.yaml");
    let text = std::fs::read_to_string(TOPOLOGY).expect("a topology").replace("root: shared", "root: per-cluster");
    std::fs::write(&apart, text).expect("written");
    let apart = apart.to_str().expect("UTF-8");
    let shown = ends_with(WRONG_USAGE, &mut up_with(apart, guest.path(), &kubeconfig, &["--mesh", "embedded"]));
    assert!(shown.contains("does certificate authority: it has changed"), "{shown}");
    assert!(shown.contains("nobody to ask"), "{shown}");
    let shown =
        ends_with(WRONG_USAGE, &mut up_with(TOPOLOGY, guest.path(), &kubeconfig, &["--mesh", "istio", "--yes"]));
    assert!(shown.contains("say `--mesh embedded`"), "{shown}");
    let shown = ends_with(PASSED, &mut again());
    assert!(!shown.contains("done, as"), "nothing is left of what was refused: {shown}");

    let less = with_one_application_less(guest.path());
    let shown = ends_with(PASSED, &mut up_with(&less, guest.path(), &kubeconfig, &["--mesh", "embedded", "--yes"]));
    assert!(shown.contains("removes Deployment outside/echo-v1"), "{shown}");
    assert!(shown.contains("install the mesh on cluster1: kept"), "{shown}");
    assert!(shown.contains("start the applications of cluster1: done, as it has changed"), "{shown}");
    let there = runtime.block_on(everything(&kubeconfig));
    assert!(!there.contains("eu: namespaced Deployment outside/echo-v1"), "{there:?}");
    assert!(there.contains("eu: namespaced Deployment outside/sleep"), "{there:?}");
    assert_eq!(authorities(), trust);

    ends_with(PASSED, &mut command(guest.path(), &["down", "--name", "guest"]));
    assert_eq!(runtime.block_on(everything(&kubeconfig)), before, "all that three runs made is gone");
    assert!(!guest.path().join("guest").exists(), "keys included");
}

/// A folder with a `helm` that renders what embedded clusters can run.
fn helm() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("helm");
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/existing/helm.sh"), &program).expect("copied");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("set");
    folder
}

#[test]
fn what_charts_render_is_applied_kept_and_removed_as_everything_else() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Envoy);
    require!(Capability::Programs);
    let owner = Owner::new();
    let kubeconfig = owner.kubeconfig();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let before = runtime.block_on(everything(&kubeconfig));
    let (guest, helm) = (tempfile::tempdir().expect("a folder"), helm());
    let with_path = |path: &str| {
        let mut up = up_with(TOPOLOGY, guest.path(), &kubeconfig, &["--mesh", "istio", "--yes"]);
        up.env("PATH", path).env("MANIFESTS", format!("{ROOT}/manifests"));
        up
    };

    let shown = ends_with(WRONG_USAGE, &mut with_path("/nowhere"));
    assert!(shown.contains("`helm` renders Istio's charts") && shown.contains("--mesh present"), "{shown}");
    assert_eq!(runtime.block_on(everything(&kubeconfig)), before);

    let path = format!("{}:{}", helm.path().display(), std::env::var("PATH").unwrap_or_default());
    let shown = ends_with(PASSED, &mut with_path(&path));
    assert!(shown.contains("CustomResourceDefinition") && shown.contains("control plane ready"), "{shown}");
    assert!(shown.contains("answered cluster1 over mutual TLS"), "{shown}");
    let shown = ends_with(PASSED, &mut with_path(&path));
    assert!(shown.contains("0 objects will be made") && !shown.contains("done, as"), "{shown}");

    ends_with(PASSED, &mut command(guest.path(), &["down", "--name", "guest"]));
    assert_eq!(runtime.block_on(everything(&kubeconfig)), before, "no chart left anything");
}
