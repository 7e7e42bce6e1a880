//! Bundles from outside: made, carried to a Docker engine, refused where they are damaged, and what `up` does with one.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use camino::Utf8PathBuf;
use docker_support::Engine;
use meshproof::bundle::Part;
use meshproof::bundle::collect::pack;
use meshproof::bundle::write::{Content, Source, write};
use meshproof::image::{Image, load, ours};
use meshproof::provider::kind::lock;
use requirements::{Capability, require};
use serde_json::Value;

use crate::images::{Removed, docker, has, image};

const WRONG_USAGE: i32 = 2;
const MACHINE_CANNOT: i32 = 96;
const ENVIRONMENT_FAILED: i32 = 105;

fn meshproof(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meshproof"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command.env("MESHPROOF_STATE_DIR", folder.join("state")).env("NO_COLOR", "1").env("CI", "1");
    command.env_remove("MESHPROOF_ROOT");
    command
}

fn said(output: &Output) -> String {
    [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat()
}

/// Runs it and demands an exit code.
fn ran(folder: &Path, arguments: &[&str], code: i32) -> String {
    let output = meshproof(folder, arguments).output().expect("started");
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
    said(&output)
}

fn put(path: &Path, istio: Option<&str>, contents: Vec<Content>) {
    let mut file = fs::File::create(path).expect("created");
    write(&mut file, istio, contents).expect("written");
}

/// A bundle with some images in the place of ours.
fn bundle_of(path: &Path, images: &[Image]) {
    put(path, None, vec![Content::lock(lock::TEXT), pack("images/ours.tar", Part::Ours, images).expect("packed")]);
}

fn own(name: &str) -> Image {
    image(&format!("meshproof-test/{name}:{}", std::process::id()), &format!("{name} {}", std::process::id()), true)
}

#[test]
fn images_of_a_bundle_get_to_docker_by_their_digests() {
    require!(Capability::Docker);
    let folder = tempfile::tempdir().expect("a folder");
    let images = [own("carried"), own("carried-too")];
    let ids = images.each_ref().map(Image::id);
    let _removed = Removed(ids.to_vec());
    bundle_of(&folder.path().join("b.tar.gz"), &images);

    let listed = meshproof(folder.path(), &["images", "--bundle", "b.tar.gz", "--json"]).output().expect("started");
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(listed["files"][1]["images"][0]["id"], ids[0].as_str());
    assert!(!has(&ids[0]), "looking into a bundle changes nothing");

    let words = ran(folder.path(), &["images", "--bundle", "b.tar.gz", "--load"], 0);
    assert!(words.contains("Docker has 2 images") && words.contains("left out: node, istio"), "{words}");
    for (image, id) in images.iter().zip(&ids) {
        assert_eq!(docker(&["image", "inspect", "--format", "{{.Id}}", &image.names[0]]).trim(), id);
    }
}

#[test]
fn a_bundle_that_is_not_as_it_was_written_is_refused_before_docker_gets_any_of_it() {
    require!(Capability::Docker);
    let folder = tempfile::tempdir().expect("a folder");
    let images = [own("damaged")];
    let id = images[0].id();
    let _removed = Removed(vec![id.clone()]);
    let path = folder.path().join("b.tar.gz");
    bundle_of(&path, &images);
    let whole = fs::read(&path).expect("read");
    let refused = |bytes: &[u8], why: &str, cure: &str| {
        fs::write(&path, bytes).expect("written");
        let words = ran(folder.path(), &["images", "--bundle", "b.tar.gz", "--load"], WRONG_USAGE);
        assert!(words.contains("error: the bundle b.tar.gz cannot be used: ") && words.contains(why), "{words}");
        assert!(words.contains(cure), "{words}");
        assert!(!has(&id), "{why}");
    };
    let again = "sha256sum";
    refused(&whole[..whole.len() / 2], "it is cut off", again);
    refused(b"PK\x03\x04", "it does not begin as bundles do", again);
    fs::write(&path, flipped(&whole)).expect("written");
    let words = ran(folder.path(), &["images", "--bundle", "b.tar.gz", "--load"], WRONG_USAGE);
    assert!(words.contains("cannot be used: ") && words.contains(again) && !has(&id), "{words}");

    // What a bundle of another version, and one with another lock file, would be.
    let other_lock =
        vec![Content::lock("kubernetes: \"1.0\"\n"), pack("images/ours.tar", Part::Ours, &images).expect("packed")];
    put(&path, None, other_lock);
    refused(&fs::read(&path).expect("read"), "another versions.lock.yaml", "make it with this version");
    let manifest = |change: &dyn Fn(&str) -> String| rewritten(&whole, change);
    refused(
        &manifest(&|text| text.replace("\"format\": 1", "\"format\": 2")),
        "it has form 2, and this version of meshproof reads form 1",
        "make it with",
    );
    refused(
        &manifest(&|text| text.replacen("sha256:", "sha256:0", 1)),
        "versions.lock.yaml in it has the digest sha256:",
        again,
    );
    fs::remove_file(&path).expect("removed");
    let words = ran(folder.path(), &["images", "--bundle", "b.tar.gz"], WRONG_USAGE);
    assert!(words.contains("it cannot be read: No such file"), "{words}");
}

/// The same with a bit flipped that matters: a run of zeros that is copied from another place is the same run.
fn flipped(whole: &[u8]) -> Vec<u8> {
    let unpacked = |packed: &[u8]| {
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes).map(|_| bytes).ok()
    };
    let flips = (whole.len() * 2 / 3..whole.len()).map(|at| {
        let mut flipped = whole.to_vec();
        flipped[at] ^= 0x10;
        flipped
    });
    flips.into_iter().find(|flipped| unpacked(flipped) != unpacked(whole)).expect("the sum at the end is of all bytes")
}

/// A bundle with another manifest, packed as well as any other.
fn rewritten(whole: &[u8], change: &dyn Fn(&str) -> String) -> Vec<u8> {
    let gzip = flate2::GzBuilder::new().operating_system(255).write(Vec::new(), flate2::Compression::default());
    let mut tar = tar::Builder::new(gzip);
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(whole));
    for entry in archive.entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").display().to_string();
        let mut bytes = Vec::new();
        std::io::copy(&mut entry, &mut bytes).expect("read");
        if path == "bundle.json" {
            bytes = change(&String::from_utf8(bytes).expect("UTF-8")).into_bytes();
        }
        let mut header = entry.header().clone();
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        tar.append_data(&mut header, path, bytes.as_slice()).expect("packed");
    }
    tar.into_inner().and_then(|gzip| gzip.finish()).expect("packed")
}

/// Stand-ins for what no test can pull: an image for a node, and Istio in a release that nobody has.
struct StandIns {
    node: Image,
    istio: [Image; 2],
    version: String,
}

impl StandIns {
    fn new(test: &str) -> Self {
        let process = std::process::id();
        let version = format!("1.30.{process}{}", test.len());
        let of = |name: String| image(&name, &format!("{name} {test} {process}"), false);
        let istio = ["pilot", "proxyv2"].map(|name| of(format!("docker.io/istio/{name}:{version}")));
        Self { node: of(format!("meshproof-test/node-{test}:v1.35.{process}")), istio, version }
    }

    fn all(&self) -> [&Image; 3] {
        [&self.node, &self.istio[0], &self.istio[1]]
    }

    fn names(&self) -> Vec<String> {
        self.all().map(|image| image.names[0].clone()).into()
    }

    fn charts(&self, folder: &Path) {
        fs::create_dir(folder.join("charts")).expect("created");
        for chart in ["base", "istiod", "gateway"] {
            let path = folder.join("charts").join(format!("{chart}-{}.tgz", self.version));
            fs::write(path, format!("the chart {chart}")).expect("written");
        }
    }
}

#[tokio::test]
async fn a_bundle_is_made_of_what_docker_and_a_folder_have_and_names_what_they_lack() {
    require!(Capability::Docker);
    let folder = tempfile::tempdir().expect("a folder");
    let stand_ins = StandIns::new("made");
    let _removed = Removed(stand_ins.names());
    let (node, version) = (stand_ins.node.names[0].clone(), stand_ins.version.clone());
    let words = [
        "bundle",
        "--only",
        "node,istio",
        "--node-image",
        &node,
        "--istio-version",
        &version,
        "--out",
        "b.tar.gz",
        "--json",
    ];

    let lacking = ran(folder.path(), &words, MACHINE_CANNOT);
    assert!(lacking.contains("6 things that are not on this machine"), "{lacking}");
    for named in [
        format!("node: Docker does not have {node}\n    help: docker pull {node}"),
        format!("istio: Docker does not have docker.io/istio/proxyv2:{version}\n    help: docker pull"),
        format!("istio: the chart charts/gateway-{version}.tgz: No such file"),
        format!(
            "help: helm pull base --repo https://istio-release.storage.googleapis.com/charts --version {version} --destination charts"
        ),
    ] {
        assert!(lacking.contains(&named), "{named}\n{lacking}");
    }
    assert!(!folder.path().join("b.tar.gz").exists());

    stand_ins.charts(folder.path());
    let engine = Engine::connect(&docker_support::socket().expect("a socket")).await.expect("an engine");
    load::load(engine.docker(), &stand_ins.all().map(Clone::clone)).await.expect("loaded");
    let output = meshproof(folder.path(), &words).output().expect("started");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let paths: Vec<&str> = document["manifest"]["files"]
        .as_array()
        .expect("files")
        .iter()
        .filter_map(|file| file["path"].as_str())
        .collect();
    let charts = ["base", "istiod", "gateway"].map(|chart| format!("charts/{chart}-{version}.tgz"));
    assert_eq!(paths[..3], ["versions.lock.yaml", "images/node.tar", "images/istio.tar"]);
    assert_eq!(paths[3..], charts);
    let sum = Command::new("sha256sum").arg(folder.path().join("b.tar.gz")).output().expect("started");
    let sum = String::from_utf8(sum.stdout).expect("UTF-8");
    assert_eq!(document["digest"].as_str().expect("a digest").strip_prefix("sha256:"), sum.split_whitespace().next());

    // Another machine: Docker has none of it.
    for name in stand_ins.names() {
        docker(&["image", "rm", &name]);
    }
    ran(folder.path(), &["images", "--bundle", "b.tar.gz", "--load"], 0);
    for image in stand_ins.all() {
        assert_eq!(docker(&["image", "inspect", "--format", "{{.Id}}", &image.names[0]]).trim(), image.id());
    }
}

/// Programs that note how they were called. `kind` notes what is in the state folder, too, and fails.
fn recorders(folder: &Path) -> String {
    let bin = folder.join("bin");
    fs::create_dir(&bin).expect("created");
    let record = folder.join("record");
    let kind = format!(
        "#!/bin/sh\nif [ \"$1\" = version ]; then echo kind v0.33.0; exit; fi\n{{ echo kind \"$@\"; find {}/state -type f; }} >> {}\necho 'ERROR: it is a test' >&2\nexit 1\n",
        folder.display(),
        record.display()
    );
    for (name, text) in [("kind", kind), ("helm", "#!/bin/sh\necho v3.19.0\n".to_owned())] {
        let program = bin.join(name);
        fs::write(&program, text).expect("written");
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("set");
    }
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default())
}

/// A bundle for clusters: the router of ours, and stand-ins for the rest but for the parts that are left out.
fn bundle_for_clusters(path: &Path, stand_ins: &StandIns, left_out: &[Part]) {
    let router = ours::router_image().expect("made");
    let chart = |chart: &str| Content {
        path: format!("charts/{chart}-{}.tgz", stand_ins.version),
        part: Some(Part::Istio),
        images: Vec::new(),
        source: Source::Bytes(chart.into()),
    };
    let mut contents = vec![
        Content::lock(lock::TEXT),
        pack("images/ours.tar", Part::Ours, &[router]).expect("packed"),
        pack("images/node.tar", Part::Node, std::slice::from_ref(&stand_ins.node)).expect("packed"),
        pack("images/istio.tar", Part::Istio, &stand_ins.istio).expect("packed"),
    ];
    contents.extend(["base", "istiod", "gateway"].map(chart));
    contents.retain(|content| content.part.is_none_or(|part| !left_out.contains(&part)));
    let istio = (!left_out.contains(&Part::Istio)).then_some(stand_ins.version.as_str());
    put(path, istio, contents);
}

#[test]
fn up_takes_nodes_images_and_charts_from_a_bundle_and_leaves_nothing_of_it() {
    require!(Capability::Docker);
    require!(Capability::Nft);
    let folder = tempfile::tempdir().expect("a folder");
    let stand_ins = StandIns::new("up");
    let _removed = Removed(stand_ins.names());
    let bundle = folder.path().join("b.tar.gz");
    bundle_for_clusters(&bundle, &stand_ins, &[]);
    let topology = Utf8PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/topologies/two-clusters.yaml"));
    let name = format!("bundle-{}", std::process::id());
    let path = recorders(folder.path());
    let up = |more: &[&str]| {
        let words = [
            "up",
            "--provider",
            "kind",
            "--anyway",
            "--bundle",
            "b.tar.gz",
            "--topology",
            topology.as_str(),
            "--name",
            &name,
        ];
        let output = meshproof(folder.path(), &[&words, more].concat()).env("PATH", &path).output().expect("started");
        (output.status.code(), said(&output))
    };

    let (code, words) = up(&[]);
    assert_eq!(code, Some(ENVIRONMENT_FAILED), "{words}");
    assert!(words.contains("ERROR: it is a test") && words.contains("with ours, node, istio"), "{words}");
    let record = fs::read_to_string(folder.path().join("record")).expect("kind was called");
    let state = folder.path().join("state").join(&name);
    assert!(record.contains(&format!("--image {} --kubeconfig", stand_ins.node.names[0])), "{record}");
    for file in [
        "images.tar".to_owned(),
        "bundle/images/istio.tar".to_owned(),
        format!("bundle/charts/base-{}.tgz", stand_ins.version),
    ] {
        assert!(record.contains(&state.join(&file).display().to_string()), "{file}\n{record}");
    }
    assert!(!record.contains("node.tar"), "the image of nodes goes to Docker alone: {record}");
    assert_eq!(
        docker(&["image", "inspect", "--format", "{{.Id}}", &stand_ins.node.names[0]]).trim(),
        stand_ins.node.id()
    );
    assert!(!state.join("bundle").exists() && !state.join("images.tar").exists());
    let left =
        [docker(&["ps", "--all", "--format", "{{.Names}}"]), docker(&["network", "ls", "--format", "{{.Name}}"])]
            .concat();
    assert!(!left.contains(&name), "{left}");

    let (code, words) = up(&["--istio-version", "1.29.0"]);
    assert_eq!(code, Some(WRONG_USAGE), "{words}");
    assert!(words.contains(&format!("it has Istio {}, and 1.29.0 is wanted", stand_ins.version)), "{words}");
    bundle_for_clusters(&bundle, &stand_ins, &[Part::Istio]);
    let (code, words) = up(&[]);
    assert_eq!(code, Some(WRONG_USAGE), "{words}");
    assert!(words.contains("it was made without istio"), "{words}");
    bundle_for_clusters(&bundle, &stand_ins, &[Part::Node]);
    let (code, words) = up(&[]);
    assert_eq!(code, Some(WRONG_USAGE), "where Docker has no node image by itself: {words}");
    assert!(words.contains("it was made without node"), "{words}");
}

#[test]
fn a_bundle_of_our_programs_alone_needs_no_docker() {
    require!(Capability::Nft);
    let folder = tempfile::tempdir().expect("a folder");
    let programs = folder.path().join("programs");
    fs::create_dir(&programs).expect("created");
    let small = meshproof::image::system::program("true").expect("every system has it");
    for name in ["pilot-discovery", "pilot-agent", "hub-manager", "hub-agent", "bookinfo", "envoy"] {
        fs::copy(&small, programs.join(name)).expect("copied");
    }
    let bundle = |out: &str| {
        let mut command =
            meshproof(folder.path(), &["bundle", "--only", "ours", "--programs", "programs", "--out", out]);
        command.env("DOCKER_HOST", "unix:///no/such.sock").env("MESHPROOF_ENVOY", programs.join("envoy"));
        let output = command.output().expect("started");
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert!(said(&output).contains("left out: node, istio"), "{}", said(&output));
    };
    bundle("one.tar.gz");
    bundle("two.tar.gz");
    let read = |name: &str| fs::read(folder.path().join(name)).expect("read");
    assert!(read("one.tar.gz") == read("two.tar.gz"), "the same programs make the same bundle");

    ran(folder.path(), &["images", "--bundle", "one.tar.gz", "--out", "images.tar"], 0);
    let archive = fs::File::open(folder.path().join("images.tar")).expect("written");
    let names: Vec<String> =
        meshproof::image::archive::named(archive).expect("an archive").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 13, "{names:?}");
    assert!(names.contains(&"meshproof/proxy:dev".to_owned()) && names.contains(&ours::ROUTER.to_owned()), "{names:?}");
}
