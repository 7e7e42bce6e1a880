//! Virtual machines that are containers of an image that somebody else has made.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use docker_support::Engine;
use meshproof::image::{Config, Entry, Image, Layer, libraries, load, system};
use requirements::{Capability, require};

const TOPOLOGY: &str = include_str!("own_image/topology.yaml");
const SCENARIO: &str = include_str!("own_image/scenario.yaml");

/// What the image says of itself.
const RELEASE: &str = "NAME=SOMEBODY\n";

/// Programs of ours, of this system, and Envoy, where somebody else may have put them.
fn programs() -> Vec<(Utf8PathBuf, &'static str)> {
    let built = Utf8PathBuf::try_from(requirements::programs().expect("built")).expect("UTF-8");
    let envoy = Utf8PathBuf::try_from(requirements::envoy().expect("there is one")).expect("UTF-8");
    let found = |name: &str| system::program(name).unwrap_or_else(|| panic!("no {name}"));
    vec![
        (built.join("meshproof-machine-init"), "/usr/local/bin/meshproof-machine-init"),
        (built.join("pilot-agent"), "/usr/bin/pilot-agent"),
        (built.join("bookinfo"), "/bin/bookinfo"),
        (envoy, "/usr/bin/envoy"),
        (found("nft"), "/sbin/nft"),
        (found("cat"), "/bin/cat"),
    ]
}

/// Loads an image of the programs that are wanted.
async fn load_image(name: &str, is_wanted: impl Fn(&str) -> bool) {
    let chosen: Vec<_> = programs().into_iter().filter(|(_, there)| is_wanted(there)).collect();
    let here: Vec<&Utf8Path> = chosen.iter().map(|(here, _)| here.as_path()).collect();
    let mut entries = libraries::of(&here).expect("libraries");
    entries.extend(chosen.iter().map(|(here, there)| libraries::program(here, *there).expect("read")));
    entries.push(Entry::file("/etc/os-release", RELEASE.into()));
    entries.push(Entry::directory("/tmp", 0o1777));
    let layers = vec![Arc::new(Layer::new(entries).expect("packed"))];
    let image = Image { names: vec![name.to_owned()], layers, config: Config::default() };
    let engine = Engine::connect(&docker_support::socket().expect("a socket")).await.expect("an engine");
    load::load(engine.docker(), &[image]).await.expect("loaded");
}

/// What the engine's own client prints.
fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("started");
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A state folder with the topology and the scenario for an image; the image is removed with it.
struct Scene {
    image: String,
    folder: tempfile::TempDir,
}

impl Scene {
    async fn new(test: &str, is_wanted: impl Fn(&str) -> bool) -> Self {
        let image = format!("meshproof-test/{test}:{}", std::process::id());
        load_image(&image, is_wanted).await;
        let scene = Self { image, folder: tempfile::tempdir().expect("a folder") };
        let write = |name: &str, text: &str| std::fs::write(scene.path(name), text).expect("written");
        write("topology.yaml", &TOPOLOGY.replace("IMAGE", &scene.image));
        write("scenario.yaml", SCENARIO);
        scene
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn meshproof(&self, words: &[&str], file: Option<&Path>) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meshproof"));
        command.args(words).args(file).env_remove("MESHPROOF_ROOT");
        command.env("MESHPROOF_STATE_DIR", self.path("state")).env("NO_COLOR", "1").env("CI", "1");
        command.output().expect("started")
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let containers = docker(&["ps", "--all", "--quiet", "--filter", &format!("ancestor={}", self.image)]);
        docker(&["image", "rm", "--force", &self.image]);
        assert!(containers.is_empty() || std::thread::panicking(), "containers are left: {containers}");
    }
}

#[track_caller]
fn ended(code: i32, output: &Output) -> String {
    let shown = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{shown}");
    shown
}

#[tokio::test]
async fn a_machine_of_somebody_elses_image_joins_the_mesh() {
    require!(Capability::Docker);
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Envoy);
    require!(Capability::Programs);
    let scene = Scene::new("own-image", |_| true).await;
    ended(0, &scene.meshproof(&["up", "--name", "own-image", "--topology"], Some(&scene.path("topology.yaml"))));
    let run = scene.meshproof(&["run", "--name", "own-image"], Some(&scene.path("scenario.yaml")));
    ended(0, &scene.meshproof(&["down", "--name", "own-image"], None));
    ended(0, &run);
}

#[tokio::test]
async fn an_image_that_lacks_programs_is_refused_by_their_names() {
    require!(Capability::Docker);
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Envoy);
    require!(Capability::Programs);
    let scene = Scene::new("bare-image", |there| !there.ends_with("/nft") && !there.ends_with("/pilot-agent")).await;
    let up = scene.meshproof(&["up", "--name", "bare-image", "--topology"], Some(&scene.path("topology.yaml")));
    let shown = ended(105, &up);
    let words = format!("image {} lacks nft, pilot-agent; build one that has what is missing", scene.image);
    assert!(shown.contains(&words), "{shown}");
    assert!(!scene.path("state/environments/bare-image").exists(), "the environment is gone");
}
