//! Images and the file that holds them. The file is an OCI layout and what `docker load` reads at once, so that Docker of any age,
//! containerd and `kind load image-archive` take it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use super::layer::{Layer, digest, header};

/// When images say that they were made: always the same moment, so that the same files make the same image.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// How a container of an image is started, in Docker's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// Arguments where nobody gives others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// Variables.
    #[serde(serialize_with = "as_assignments")]
    pub env: BTreeMap<String, String>,
    /// User and group ids, such as `1337:1337`; root where it is empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

fn as_assignments<S: serde::Serializer>(env: &BTreeMap<String, String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(env.iter().map(|(name, value)| format!("{name}={value}")))
}

/// An image.
#[derive(Clone, Debug)]
pub struct Image {
    /// Names with a tag, such as `meshproof/echo:dev`.
    pub names: Vec<String>,
    /// The layers, the lowest first.
    pub layers: Vec<Arc<Layer>>,
    /// How it is started.
    pub config: Config,
}

impl Image {
    /// What Docker calls the image's id: the digest of its configuration, which names its layers by their digests.
    #[must_use]
    pub fn id(&self) -> String {
        digest(&self.configuration())
    }

    /// The digest of its manifest, by which containerd knows it.
    #[must_use]
    pub fn manifest_digest(&self) -> String {
        digest(&self.manifest())
    }

    /// The size that it takes beside no other image, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.layers.iter().map(|layer| layer.bytes().len()).sum()
    }

    fn configuration(&self) -> Vec<u8> {
        let digests: Vec<&str> = self.layers.iter().map(|layer| layer.digest()).collect();
        let history: Vec<Value> = self.layers.iter().map(|_| json!({ "created": CREATED })).collect();
        bytes(&json!({
            "architecture": architecture(),
            "os": "linux",
            "created": CREATED,
            "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": digests },
            "history": history,
        }))
    }

    fn manifest(&self) -> Vec<u8> {
        let configuration = self.configuration();
        let layers = self.layers.iter().map(|layer| {
            json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": layer.digest(),
                "size": layer.bytes().len(),
            })
        });
        bytes(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": digest(&configuration),
                "size": configuration.len(),
            },
            "layers": layers.collect::<Vec<_>>(),
        }))
    }
}

/// Docker's list of the images in an archive.
const DOCKER_MANIFEST: &str = "manifest.json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// As images name the architecture of this machine, whose programs they hold.
#[must_use]
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("invariant: plain data serialises")
}

/// The file with some images. A layer that several have is in it once.
///
/// # Errors
/// None that an archive in memory could have; the signature is that of tar.
pub fn archive(images: &[Image]) -> io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut written = BTreeSet::new();
    let mut blob = |builder: &mut tar::Builder<Vec<u8>>, bytes: &[u8]| {
        let path = blob_path(&digest(bytes));
        if written.insert(path.clone()) { append(builder, &path, bytes) } else { Ok(()) }
    };
    for image in images {
        for layer in &image.layers {
            blob(&mut builder, layer.bytes())?;
        }
        blob(&mut builder, &image.configuration())?;
        blob(&mut builder, &image.manifest())?;
    }
    append(&mut builder, "index.json", &index(images))?;
    append(&mut builder, DOCKER_MANIFEST, &docker_manifest(images))?;
    append(&mut builder, "oci-layout", &bytes(&json!({ "imageLayoutVersion": "1.0.0" })))?;
    builder.into_inner()
}

fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

pub(crate) fn append<W: io::Write>(builder: &mut tar::Builder<W>, path: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = header(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    builder.append_data(&mut header, path, bytes)
}

/// What containerd reads: a manifest for each name.
fn index(images: &[Image]) -> Vec<u8> {
    let named = images.iter().flat_map(|image| image.names.iter().map(move |name| (image, name)));
    let manifests = named.map(|(image, name)| {
        let manifest = image.manifest();
        json!({
            "mediaType": MANIFEST,
            "digest": digest(&manifest),
            "size": manifest.len(),
            "platform": { "architecture": architecture(), "os": "linux" },
            "annotations": {
                "io.containerd.image.name": full(name),
                "org.opencontainers.image.ref.name": name.rsplit(':').next(),
            },
        })
    });
    bytes(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests.collect::<Vec<_>>(),
    }))
}

/// What Docker reads.
fn docker_manifest(images: &[Image]) -> Vec<u8> {
    let entries = images.iter().map(|image| {
        let layers: Vec<String> = image.layers.iter().map(|layer| blob_path(layer.digest())).collect();
        json!({ "Config": blob_path(&image.id()), "RepoTags": image.names, "Layers": layers })
    });
    bytes(&entries.collect())
}

/// Name and id of each image in an archive that Docker or [`archive()`] has written. One without a name is left out.
///
/// # Errors
/// Where it is no such archive.
pub fn named(archive: impl io::Read) -> io::Result<Vec<(String, String)>> {
    let strange = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        if entry.path()?.as_ref() != std::path::Path::new(DOCKER_MANIFEST) {
            continue;
        }
        let saved: Vec<Saved> = serde_json::from_reader(&mut entry).map_err(io::Error::other)?;
        let ids = saved.into_iter().map(|saved| (saved.repo_tags.unwrap_or_default(), saved.config));
        let named = ids.flat_map(|(names, config)| names.into_iter().map(move |name| (name, id_of(&config))));
        return named.map(|(name, id)| Ok((name, id.ok_or_else(|| strange("an image has no digest"))?))).collect();
    }
    Err(strange("it has no manifest.json"))
}

/// An image in Docker's list of an archive.
#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
}

/// `blobs/sha256/07…`, or `07….json` as older engines have it.
fn id_of(config: &str) -> Option<String> {
    let name = config.rsplit('/').next()?.trim_end_matches(".json");
    let is_digest = name.len() == 64 && name.chars().all(|digit| digit.is_ascii_hexdigit());
    is_digest.then(|| format!("sha256:{name}"))
}

/// A name with its registry, as the container runtime of a node knows it: `meshproof/echo:dev` is of `docker.io`.
#[must_use]
pub fn full(name: &str) -> String {
    let (first, rest) = name.split_once('/').unwrap_or(("", name));
    if first.contains(['.', ':']) || first == "localhost" {
        name.to_owned()
    } else if first.is_empty() {
        format!("docker.io/library/{rest}")
    } else {
        format!("docker.io/{name}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap as Map;
    use std::io::Read as _;

    use super::super::layer::Entry;
    use super::*;

    fn image(name: &str, layers: &[&Arc<Layer>]) -> Image {
        Image {
            names: vec![name.to_owned()],
            layers: layers.iter().map(|layer| Arc::clone(layer)).collect(),
            config: Config { entrypoint: vec!["/bin/x".to_owned()], ..Config::default() },
        }
    }

    fn layer(bytes: &[u8]) -> Arc<Layer> {
        Arc::new(Layer::new([Entry::program("/bin/x", bytes.to_vec())]).expect("a layer"))
    }

    fn files(archive: &[u8]) -> Map<String, Vec<u8>> {
        let mut files = Map::new();
        for entry in tar::Archive::new(archive).entries().expect("a tar") {
            let mut entry = entry.expect("an entry");
            let path = entry.path().expect("a path").display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("read");
            assert!(files.insert(path.clone(), bytes).is_none(), "{path} is there twice");
        }
        files
    }

    #[test]
    fn every_reference_leads_to_the_blob_with_that_digest() {
        let (base, top) = (layer(b"base"), layer(b"top"));
        let images = [image("meshproof/one:v1", &[&base]), image("meshproof/two:v1", &[&base, &top])];
        let files = files(&archive(&images).expect("an archive"));
        for (path, bytes) in files.iter().filter(|(path, _)| path.starts_with("blobs/")) {
            assert_eq!(*path, blob_path(&digest(bytes)));
        }
        let json = |path: &str| -> Value { serde_json::from_slice(&files[path]).expect("JSON") };
        let docker = json("manifest.json");
        for (position, image) in images.iter().enumerate() {
            let config = docker[position]["Config"].as_str().expect("a path");
            assert_eq!(config, blob_path(&image.id()));
            let config = json(config);
            for (place, layer) in image.layers.iter().enumerate() {
                assert_eq!(config["rootfs"]["diff_ids"][place], layer.digest());
                assert_eq!(docker[position]["Layers"][place], blob_path(layer.digest()));
            }
            let manifest = json(&blob_path(json("index.json")["manifests"][position]["digest"].as_str().expect("one")));
            assert_eq!(manifest["config"]["digest"], image.id());
        }
        let expected = 3 + 2 + 2 + 2;
        assert_eq!(files.len(), expected, "a layer that two images have is there once: {:?}", files.keys());
    }

    #[test]
    fn the_same_files_make_the_same_image() {
        let one = image("meshproof/one:v1", &[&layer(b"one")]);
        assert_eq!(one.id(), image("meshproof/one:v1", &[&layer(b"one")]).id());
        assert_ne!(one.id(), image("meshproof/one:v1", &[&layer(b"two")]).id());
        let mut root = one.clone();
        root.config.env.insert("A".to_owned(), "b".to_owned());
        assert_ne!(one.id(), root.id());
        let text = String::from_utf8(root.configuration()).expect("UTF-8");
        assert!(text.contains(r#""config":{"Entrypoint":["/bin/x"],"Env":["A=b"]}"#), "{text}");
    }

    #[test]
    fn names_and_ids_are_read_from_an_archive() {
        let images = [image("meshproof/one:v1", &[&layer(b"one")]), image("meshproof/two:v1", &[&layer(b"two")])];
        let expected: Vec<(String, String)> = images.iter().map(|image| (image.names[0].clone(), image.id())).collect();
        assert_eq!(named(archive(&images).expect("an archive").as_slice()).expect("read"), expected);
        // As Docker before version 25 saves images, such as have no name included.
        let id = "07".repeat(32);
        let saved =
            json!([{"Config": format!("{id}.json"), "RepoTags": ["a:1", "b:1"]}, {"Config": "x", "RepoTags": null}]);
        let mut builder = tar::Builder::new(Vec::new());
        append(&mut builder, "x/layer.tar", b"layer").expect("packed");
        append(&mut builder, DOCKER_MANIFEST, &bytes(&saved)).expect("packed");
        let saved = builder.into_inner().expect("packed");
        let id = format!("sha256:{id}");
        let expected = ["a:1", "b:1"].map(|name| (name.to_owned(), id.clone()));
        assert_eq!(named(saved.as_slice()).expect("read"), expected);
        assert!(named(b"no tar".as_slice()).is_err());
    }

    #[test]
    fn a_node_knows_names_with_their_registry() {
        assert_eq!(full("meshproof/echo:dev"), "docker.io/meshproof/echo:dev");
        assert_eq!(full("echo:dev"), "docker.io/library/echo:dev");
        assert_eq!(full("localhost:5001/echo:dev"), "localhost:5001/echo:dev");
        assert_eq!(full("registry.k8s.io/pause:3"), "registry.k8s.io/pause:3");
    }
}
