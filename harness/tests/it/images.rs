//! Images of our programs on a Docker engine: what replaces what, and what is too large.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use docker_support::Engine;
use meshproof::image::replace::{LABEL, Replaced};
use meshproof::image::{Config, Entry, Image, Layer, replace};
use requirements::{Capability, require};

/// What the engine's own client prints.
pub(crate) fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("started");
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Whether the engine has an image, by its id.
pub(crate) fn has(id: &str) -> bool {
    docker(&["image", "ls", "--all", "--quiet", "--no-trunc"]).lines().any(|line| line == id)
}

/// Removes images however a test ends. Such as are gone already are none of its business.
pub(crate) struct Removed(pub(crate) Vec<String>);

impl Drop for Removed {
    fn drop(&mut self) {
        for image in &self.0 {
            let _gone = Command::new("docker").args(["image", "rm", "--force", image]).output();
        }
    }
}

/// An image with some content, as ours are labelled where `is_ours`.
pub(crate) fn image(name: &str, content: &str, is_ours: bool) -> Image {
    let entry = Entry::file("/content", content.as_bytes().to_vec());
    let labels = if is_ours { [(LABEL.to_owned(), name.to_owned())].into() } else { Default::default() };
    Image {
        names: vec![name.to_owned()],
        layers: vec![Arc::new(Layer::new([entry]).expect("packed"))],
        config: Config { entrypoint: vec!["/none".to_owned()], labels, ..Config::default() },
    }
}

#[tokio::test]
async fn what_is_replaced_goes_unless_a_container_has_it_or_it_is_not_ours() {
    require!(Capability::Docker);
    let name = format!("meshproof-test/replaced:{}", std::process::id());
    let neighbour = format!("meshproof-test/neighbour:{}", std::process::id());
    // Each run has images of its own: others that run at the same time remove nothing of it.
    let of = |content: &str| image(&name, &format!("{name} {content}"), true);
    let [first, second, third] = ["first", "second", "third"].map(of);
    let [others, others_newer] =
        ["old", "new"].map(|content| image(&neighbour, &format!("{neighbour} {content}"), false));
    let all = [&first, &second, &third, &others, &others_newer].map(Image::id);
    let _removed = Removed(all.to_vec());
    let engine = Engine::connect(&docker_support::socket().expect("a socket")).await.expect("an engine");
    let hand_over = async |image: &Image| replace(engine.docker(), std::slice::from_ref(image)).await.expect("taken");

    assert_eq!(hand_over(&first).await, Replaced::default());
    let container = format!("meshproof-test-{}", std::process::id());
    docker(&["create", "--name", &container, &name]);
    let while_used = hand_over(&second).await;
    let is_kept = has(&first.id());
    docker(&["rm", &container]);
    assert_eq!((while_used, is_kept), (Replaced { removed: 0, in_use: 1 }, true));

    // An image that lost its name to another one, and that somebody else has made.
    assert_eq!(hand_over(&others).await, Replaced::default());
    assert_eq!(hand_over(&others_newer).await, Replaced::default());
    assert_eq!(hand_over(&third).await, Replaced { removed: 2, in_use: 0 });
    assert_eq!([&first, &second, &third, &others].map(|image| has(&image.id())), [false, false, true, true]);
    assert_eq!(hand_over(&third).await, Replaced::default(), "the same again replaces nothing");
    assert!(has(&third.id()));
}

fn meshproof(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_meshproof")).args(arguments).env("NO_COLOR", "1").output().expect("started")
}

#[test]
fn an_image_over_the_limit_is_named_and_goes_nowhere() {
    require!(Capability::Programs);
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("images.tar");
    let images = |limit: &str| {
        let words = ["images", "echo", "--json", "--limit", limit, "--out", out.to_str().expect("UTF-8")];
        let output = meshproof(&words);
        (output.status.code(), output.stdout, String::from_utf8(output.stderr).expect("UTF-8"))
    };
    let (code, _, said) = images("1");
    assert_eq!(code, Some(105), "{said}");
    assert!(said.starts_with("error: meshproof/echo:dev has ") && said.contains("the limit is 1 MB"), "{said}");
    assert!(!Path::new(&out).exists());

    let (code, printed, said) = images("4000");
    assert_eq!(code, Some(0), "{said}");
    let document: serde_json::Value = serde_json::from_slice(&printed).expect("JSON");
    let echo = &document["images"][0];
    assert_eq!(echo["name"], "meshproof/echo:dev");
    assert_eq!(document["limitBytes"], 4_000_000_000_u64);
    let layers: u64 =
        echo["layers"].as_array().expect("layers").iter().filter_map(|layer| layer["bytes"].as_u64()).sum();
    assert_eq!(echo["bytes"].as_u64(), Some(layers));
    assert!(out.metadata().expect("written").len() > layers);
}
