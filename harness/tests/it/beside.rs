//! Clusters that are there beside one that kind makes. No node can start here, so a script in kind's place hands out one more cluster
//! of somebody's, and a container that does nothing has the name of its node; everything else is as it always is.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use kube::config::Kubeconfig;
use requirements::{Capability, require};

use crate::existing::{Owner, PASSED, ROOT, WRONG_USAGE, command, ends_with, everything};
use crate::kind::{NO_IMAGE, on_docker};

const BARE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/existing/bare-three.yaml");
const TOPOLOGY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/topologies/management-on-kind.yaml");
const ENVIRONMENT_FAILED: i32 = 105;

/// A program `kind`, in a folder of its own.
fn kind(folder: &Path, script: &str) -> PathBuf {
    std::fs::create_dir_all(folder).expect("created");
    let program = folder.join("kind");
    std::fs::write(&program, format!("#!/bin/sh\nset -e\n{script}")).expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("set");
    folder.to_owned()
}

/// One that hands out the cluster of a kubeconfig.
fn kind_of(folder: &Path, kubeconfig: &Path) -> PathBuf {
    let script = format!(
        "[ \"$1 $2\" = 'create cluster' ] || exit 0\n\
         while [ $# -gt 0 ]; do case $1 in --name) name=$2;; --kubeconfig) file=$2;; esac; shift; done\n\
         cp {} \"$file\"\n\
         docker run --detach --name \"$name-control-plane\" --label io.x-k8s.kind.cluster=\"$name\" \
         --cap-add NET_ADMIN --network \"$KIND_EXPERIMENTAL_DOCKER_NETWORK\" meshproof/router:dev\n",
        kubeconfig.display()
    );
    kind(folder, &script)
}

/// The same clusters, another of which is the current one.
fn with_current(kubeconfig: &Path, context: &str) -> PathBuf {
    let mut config = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    config.current_context = Some(context.to_owned());
    let path = kubeconfig.with_file_name(format!("{context}.yaml"));
    std::fs::write(&path, serde_json::to_vec(&config).expect("JSON")).expect("written");
    path
}

struct Guest<'test> {
    name: &'test str,
    state: &'test Path,
    kubeconfig: &'test Path,
}

impl Guest<'_> {
    fn up(&self, kind: &Path, more: &[&str]) -> Command {
        let kubeconfig = self.kubeconfig.to_str().expect("UTF-8");
        let words =
            ["up", "--topology", TOPOLOGY, "--name", self.name, "--kubeconfig", kubeconfig, "--mesh", "embedded"];
        let contexts = ["--context", "cluster1=eu", "--context", "cluster2=us"];
        // What this machine lacks for a real node is of no interest.
        let node = ["--anyway", "--node-image", NO_IMAGE];
        let mut up = command(self.state, &[&words[..], &contexts, &node, more].concat());
        let path = std::env::var("PATH").unwrap_or_default();
        up.env("PATH", format!("{}:{path}", kind.display())).current_dir(ROOT);
        up
    }

    fn down(&self) {
        ends_with(PASSED, &mut command(self.state, &["down", "--name", self.name]));
    }
}

/// A node of a kind cluster of somebody else's, of an image that an `up` has made.
struct Theirs(String);

impl Theirs {
    fn start(kind_name: &str) -> Self {
        let (theirs, label) = (format!("theirs-{}", std::process::id()), format!("io.x-k8s.kind.cluster={kind_name}"));
        let run =
            ["run", "--detach", "--name", &theirs, "--label", &label, "--network", "none", "meshproof/router:dev"];
        ends_with(PASSED, Command::new("docker").args(run));
        Self(theirs)
    }

    fn is_there(&self) -> bool {
        !on_docker(&self.0).is_empty()
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "--force", &self.0]).output();
    }
}

#[test]
fn a_management_plane_on_kind_joins_the_meshes_of_clusters_that_are_there_and_leaves_them_as_they_were() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Envoy);
    require!(Capability::Programs);
    require!(Capability::Docker);
    let owner = Owner::of(BARE);
    let kubeconfig = owner.kubeconfig();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let before = runtime.block_on(everything(&kubeconfig));
    let state = tempfile::tempdir().expect("a folder");
    let name = format!("beside-{}", std::process::id());
    let guest = Guest { name: &name, state: state.path(), kubeconfig: &kubeconfig };
    let works = kind_of(&state.path().join("works"), &with_current(&kubeconfig, "plane"));
    let fails = kind(&state.path().join("fails"), "echo no room >&2; exit 1\n");

    let shown = ends_with(WRONG_USAGE, &mut guest.up(&works, &["--context", "management=plane"]));
    assert!(shown.contains("--context is given for cluster management, which is made"), "{shown}");
    let shown = ends_with(WRONG_USAGE, &mut guest.up(&works, &[]));
    assert!(shown.contains("there is nobody to ask") && shown.contains("kind create cluster"), "{shown}");
    assert_eq!(on_docker(&name), "", "nothing is made without a yes");
    let shown = ends_with(ENVIRONMENT_FAILED, &mut guest.up(&fails, &["--yes"]));
    assert!(shown.contains("management: `") && shown.contains("no room"), "{shown}");
    assert_eq!((runtime.block_on(everything(&kubeconfig)), on_docker(&name)), (before.clone(), String::new()));

    let theirs = Theirs::start(&format!("{name}-management"));
    let shown = ends_with(WRONG_USAGE, &mut guest.up(&works, &["--yes"]));
    assert!(shown.contains(&format!("there is a kind cluster {name}-management already")), "{shown}");
    assert!(shown.contains("--recreate") && theirs.is_there(), "{shown}");
    let shown = ends_with(WRONG_USAGE, &mut guest.up(&works, &["--recreate"]));
    assert!(shown.contains("there is nobody to ask") && theirs.is_there(), "nobody has agreed: {shown}");

    let shown = ends_with(PASSED, &mut guest.up(&works, &["--yes", "--recreate"]));
    assert!(!theirs.is_there(), "it was replaced");
    assert!(shown.contains("VirtualMesh mesh1 is ACTIVE"), "{shown}");
    assert!(shown.contains("send the first request across clusters: "), "{shown}");
    let status = ends_with(PASSED, &mut command(state.path(), &["status"]));
    for cluster in ["management on network3", "cluster1 on network1", "cluster2 on network2"] {
        assert!(status.contains(cluster), "{cluster}: {status}");
    }
    let again = ends_with(PASSED, &mut guest.up(&works, &[]));
    assert!(again.contains("install the mesh on cluster1: kept"), "nobody is asked where nothing is done: {again}");

    guest.down();
    assert_eq!((runtime.block_on(everything(&kubeconfig)), on_docker(&name)), (before, String::new()));
}
