//! The image of virtual machines that are containers: our own programs with Envoy and `nft`, made here, without pulling.
//!
//! Made once for as long as the programs are the same: what was made for which files is remembered, and images of programs of
//! before are removed but for the newest few.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use docker_support::Engine;
use docker_support::bollard::query_parameters::RemoveImageOptions;
use serde::{Deserialize, Serialize};
use substrate_config::machine::MACHINE_INIT;

use crate::image::layer::digest;
use crate::image::{Config, Entry, Image, Layer, libraries, load, system};
use crate::provider::programs::Programs;

/// Name of the image; the tag is its content.
pub const NAME: &str = "meshproof/machine";
/// Images of so many builds are kept.
const KEPT: usize = 3;
/// File of the state folder that remembers them.
const MEMORY: &str = "machine-images.json";
/// What the rest of the image is like: changes with this file.
const FORM: &str = "1";

/// The image could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program of ours is not built.
    #[error("{0} does not exist; `cargo xtask` builds it, or run `cargo build --workspace --bins`")]
    NotBuilt(Utf8PathBuf),
    /// The machine lacks `nft`.
    #[error(
        "the image of a virtual machine needs `nft`, which is in no folder of PATH; install the package `nftables`"
    )]
    NoNft,
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A program cannot go into an image.
    #[error(transparent)]
    Libraries(#[from] libraries::Error),
    /// It could not be packed.
    #[error("cannot pack the image of virtual machines")]
    Pack(#[source] io::Error),
    /// Docker did not take it.
    #[error(transparent)]
    Load(#[from] load::Error),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] docker_support::Error),
}

impl Error {
    /// What to do about it, where the message does not say it.
    #[must_use]
    pub fn cure(&self) -> Option<String> {
        match self {
            Self::Engine(error) => Some(error.cure()),
            Self::Load(load::Error::Docker(_) | load::Error::Refused(_)) => {
                let cure =
                    "see whether there is room where Docker keeps its data: `docker system df`, `docker system prune`";
                Some(cure.to_owned())
            }
            _ => None,
        }
    }
}

/// What was made, or was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Docker's id of the image.
    pub id: String,
    /// Whether it was there already.
    pub cached: bool,
}

/// Images that were made, the newest last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Memory(Vec<Remembered>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    files: String,
    image: String,
}

/// Makes the image where the engine does not have it.
///
/// # Errors
/// [`Error`].
pub async fn ensure(engine: &Engine, programs: &Programs, state_root: &Utf8Path) -> Result<Made, Error> {
    let files = files(programs)?;
    let fingerprint = fingerprint(&files)?;
    let path = state_root.join(MEMORY);
    // Without memory it is made again, which does no harm.
    let mut memory: Memory =
        fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    if let Some(image) = memory.image(&fingerprint)
        && has(engine, image).await?
    {
        return Ok(Made { id: image.to_owned(), cached: true });
    }
    let image = tokio::task::spawn_blocking(move || pack(&files)).await.map_err(io::Error::other);
    let image = image.map_err(Error::Pack)??;
    let made = Made { id: image.id(), cached: has(engine, &image.id()).await? };
    if !made.cached {
        load::load(engine.docker(), &[image]).await?;
    }
    for old in memory.remember(fingerprint, made.id.clone()) {
        forget(engine, &old).await?;
    }
    let text = serde_json::to_vec_pretty(&memory).expect("invariant: plain data serialises");
    fs::write(&path, text).map_err(|source| Error::Read { path, source })?;
    Ok(made)
}

impl Memory {
    fn image(&self, files: &str) -> Option<&str> {
        self.0.iter().rev().find(|one| one.files == files).map(|one| one.image.as_str())
    }

    /// Adds an image as the newest. Returns those that nobody remembers any more.
    fn remember(&mut self, files: String, image: String) -> Vec<String> {
        self.0.retain(|one| one.files != files);
        self.0.push(Remembered { files, image });
        let old: Vec<String> =
            self.0.drain(..self.0.len().saturating_sub(KEPT)).map(|remembered| remembered.image).collect();
        old.into_iter().filter(|image| !self.0.iter().any(|one| one.image == *image)).collect()
    }
}

async fn has(engine: &Engine, image: &str) -> Result<bool, Error> {
    let found = engine.docker().inspect_image(image).await;
    match found.map_err(docker_support::Error::refused("look for an image")) {
        Ok(_) => Ok(true),
        Err(error) if error.is_absent() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// An image that a container has stays, and so does one that is gone.
async fn forget(engine: &Engine, image: &str) -> Result<(), Error> {
    let removed = engine.docker().remove_image(image, None::<RemoveImageOptions>, None).await;
    match removed.map_err(docker_support::Error::refused(format!("remove the image {image}"))) {
        Err(error) if !matches!(error.status(), Some(404 | 409)) => Err(error.into()),
        _ => Ok(()),
    }
}

/// Path in the image to path here.
fn files(programs: &Programs) -> Result<BTreeMap<Utf8PathBuf, Utf8PathBuf>, Error> {
    let init = &programs.machine_init;
    if !init.is_file() {
        return Err(Error::NotBuilt(init.clone()));
    }
    let nft = system::program("nft").ok_or(Error::NoNft)?;
    let own = [("pilot-agent", &programs.agent), ("envoy", &programs.envoy), ("bookinfo", &programs.bookinfo)];
    let mut files: BTreeMap<Utf8PathBuf, Utf8PathBuf> =
        own.map(|(name, here)| (Utf8Path::new("/usr/local/bin").join(name), here.clone())).into();
    files.insert(MACHINE_INIT.into(), init.clone());
    files.insert("/usr/sbin/nft".into(), nft);
    Ok(files)
}

/// Changes whenever one of the files does, without reading them.
fn fingerprint(files: &BTreeMap<Utf8PathBuf, Utf8PathBuf>) -> Result<String, Error> {
    let mut text = FORM.to_owned();
    for (there, here) in files {
        let found = fs::metadata(here).map_err(|source| Error::Read { path: here.clone(), source })?;
        let (device, inode, length) = (found.dev(), found.ino(), found.len());
        let _infallible = write!(text, "\n{there} {device} {inode} {length} {}.{}", found.mtime(), found.mtime_nsec());
    }
    Ok(digest(text.as_bytes()))
}

/// Programs that change seldom come first, so that those that change often share what is below them.
fn pack(files: &BTreeMap<Utf8PathBuf, Utf8PathBuf>) -> Result<Image, Error> {
    let programs: Vec<&Utf8Path> = files.values().map(Utf8PathBuf::as_path).collect();
    let mut system = libraries::of(&programs)?;
    system.extend(scaffold());
    let is_own = |there: &Utf8Path| {
        there.parent() == Some(Utf8Path::new("/usr/local/bin")) && there.file_name() != Some("envoy")
    };
    let entries = |own: bool| {
        let chosen = files.iter().filter(|(there, _)| is_own(there) == own);
        chosen.map(|(there, here)| libraries::program(here, there)).collect::<Result<Vec<Entry>, _>>()
    };
    let layer = |entries: Vec<Entry>| Layer::new(entries).map(Arc::new).map_err(Error::Pack);
    let layers = vec![layer(system)?, layer(entries(false)?)?, layer(entries(true)?)?];
    let content: Vec<&str> = layers.iter().map(|layer| layer.digest()).collect();
    let tag: String = digest(content.join("\n").as_bytes()).chars().skip("sha256:".len()).take(12).collect();
    let config = Config { entrypoint: vec![MACHINE_INIT.to_owned()], ..Config::default() };
    Ok(Image { names: vec![format!("{NAME}:{tag}")], layers, config })
}

/// What programs expect of any system.
fn scaffold() -> Vec<Entry> {
    let files = [
        ("/etc/passwd", "root:x:0:0:root:/root:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
        ("/etc/group", "root:x:0:\nnogroup:x:65534:\n"),
        ("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    ];
    let folders = [("/tmp", 0o1777), ("/var/tmp", 0o1777), ("/root", 0o700), ("/run", 0o755), ("/var/log", 0o755)];
    let files = files.map(|(path, text)| Entry::file(path, text.into()));
    files.into_iter().chain(folders.map(|(path, mode)| Entry::directory(path, mode))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_the_newest_builds_are_remembered_and_the_others_named() {
        let mut memory = Memory::default();
        for build in ["a", "b", "c"] {
            assert!(memory.remember(build.to_owned(), format!("image-{build}")).is_empty());
        }
        assert_eq!(memory.remember("d".to_owned(), "image-d".to_owned()), ["image-a"]);
        assert_eq!(memory.image("a"), None);
        assert_eq!(memory.image("d"), Some("image-d"));
        // The same content of files that were copied, as by a build that changed nothing.
        assert_eq!(memory.remember("e".to_owned(), "image-b".to_owned()), Vec::<String>::new());
        assert_eq!(memory.image("e"), Some("image-b"));
    }

    #[test]
    fn a_file_that_changes_changes_the_fingerprint() {
        let folder = tempfile::tempdir().expect("a folder");
        let here = Utf8PathBuf::try_from(folder.path().join("program")).expect("UTF-8");
        fs::write(&here, "one").expect("written");
        let files = BTreeMap::from([("/bin/program".into(), here.clone())]);
        let before = fingerprint(&files).expect("read");
        assert_eq!(fingerprint(&files).expect("read"), before);
        fs::write(&here, "more").expect("written");
        assert_ne!(fingerprint(&files).expect("read"), before);
        fs::remove_file(&here).expect("removed");
        assert!(matches!(fingerprint(&files), Err(Error::Read { .. })));
    }

    #[test]
    fn a_program_that_is_not_built_is_named() {
        let program = Utf8PathBuf::try_from(std::env::current_exe().expect("a path")).expect("UTF-8");
        let programs = Programs::below(Utf8Path::new("/not-built"), program);
        let error = files(&programs).expect_err("not built");
        assert!(error.to_string().starts_with("/not-built/meshproof-machine-init does not exist"), "{error}");
    }
}
