//! What a bundle says of itself, in the first file in it: versions, and the digest of every other file. Pure.

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::read::Problem;
use crate::image::layer::digest;

/// Name of that file.
pub const NAME: &str = "bundle.json";
/// The form of bundles that this version writes and reads. It changes with whatever an older version would misunderstand.
pub const FORMAT: u32 = 1;
/// The lock file in a bundle.
pub const LOCK: &str = "versions.lock.yaml";

/// What can be in a bundle, or left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Images of our own programs.
    Ours,
    /// The image of kind's nodes.
    Node,
    /// Istio's charts and images.
    Istio,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ours, Self::Node, Self::Istio];
}

impl std::fmt::Display for Part {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Ours => "ours",
            Self::Node => "node",
            Self::Istio => "istio",
        })
    }
}

/// The file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The version of meshproof that made it.
    pub meshproof: String,
    /// What its programs run on, in the words of images.
    pub architecture: String,
    /// The release of Istio, where that is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub istio: Option<String>,
    /// What is in it.
    pub parts: BTreeSet<Part>,
    /// Every other file, in its order.
    pub files: Vec<Entry>,
}

/// A file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// Its path in the bundle.
    pub path: String,
    /// What it belongs to; the lock file belongs to all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// Its size.
    pub bytes: u64,
    /// Its digest, `sha256:…`.
    pub digest: String,
    /// The images in it, where it is an archive of such.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Named>,
}

/// An image of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Named {
    /// Its name with the tag.
    pub name: String,
    /// The digest of its configuration: what Docker calls the image's id.
    pub id: String,
    /// The digest of its manifest, by which containerd and registries know it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
}

/// The one thing that every version of the file has.
#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

impl Manifest {
    /// Reads it.
    ///
    /// # Errors
    /// [`Problem`]: another form, or not what a bundle says of itself.
    pub fn parse(text: &[u8]) -> Result<Self, Problem> {
        let strange = |error: serde_json::Error| Problem::Manifest(error.to_string());
        let Versioned { format } = serde_json::from_slice(text).map_err(strange)?;
        if format != FORMAT {
            return Err(Problem::Format { found: format });
        }
        let manifest: Self = serde_json::from_slice(text).map_err(strange)?;
        let mut seen = BTreeSet::new();
        match manifest.files.iter().find(|file| !is_plain(&file.path) || !seen.insert(file.path.as_str())) {
            Some(file) => Err(Problem::Manifest(format!("it has {:?}, which is no path or is there twice", file.path))),
            None => Ok(manifest),
        }
    }

    /// Whether this program, on this machine, with this lock file, can use it.
    ///
    /// # Errors
    /// [`Problem`]: it was made for another machine, by another version, or with other versions locked.
    pub fn fits(&self, architecture: &str, lock: &str) -> Result<(), Problem> {
        if self.architecture != architecture {
            let (found, here) = (self.architecture.clone(), architecture.to_owned());
            return Err(Problem::Architecture { found, here });
        }
        let own = env!("CARGO_PKG_VERSION");
        if self.meshproof != own {
            return Err(Problem::Version { found: self.meshproof.clone() });
        }
        match self.files.iter().find(|file| file.path == LOCK) {
            Some(file) if file.digest == digest(lock.as_bytes()) => Ok(()),
            _ => Err(Problem::Lock),
        }
    }

    /// The archives of images of a part.
    pub fn archives(&self, part: Part) -> impl Iterator<Item = &Entry> {
        self.files.iter().filter(move |file| file.part == Some(part) && !file.images.is_empty())
    }

    /// The charts: file name to entry.
    #[must_use]
    pub fn charts(&self) -> BTreeMap<&str, &Entry> {
        let files = self.files.iter().filter(|file| file.part == Some(Part::Istio));
        files.filter_map(|file| Some((file.path.strip_prefix("charts/")?, file))).collect()
    }
}

/// Whether a path stays in the folder that it is unpacked to.
fn is_plain(path: &str) -> bool {
    let plain = |part: &str| {
        let letters = |letter: char| letter.is_ascii_alphanumeric() || "-_.+".contains(letter);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(letters)
    };
    path != NAME && path.split('/').all(plain)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn manifest(files: serde_json::Value) -> Vec<u8> {
        let value =
            json!({ "format": 1, "meshproof": "1.0.0", "architecture": "amd64", "parts": ["ours"], "files": files });
        serde_json::to_vec(&value).expect("plain data")
    }

    fn file(path: &str) -> serde_json::Value {
        json!([{ "path": path, "part": "ours", "bytes": 1, "digest": "sha256:00" }])
    }

    #[rstest]
    #[case("../etc/passwd")]
    #[case("/etc/passwd")]
    #[case("images//a.tar")]
    #[case("images/.hidden")]
    #[case("bundle.json")]
    #[case("a b")]
    #[case("")]
    fn no_path_leads_out_of_the_folder(#[case] path: &str) {
        assert!(matches!(Manifest::parse(&manifest(file(path))), Err(Problem::Manifest(_))), "{path}");
        assert!(Manifest::parse(&manifest(file("images/ours-1.0.tar"))).is_ok());
    }

    #[test]
    fn another_form_is_named_whatever_else_is_in_it() {
        let error = Manifest::parse(br#"{"format": 7, "unknown": true}"#).expect_err("another form");
        assert_eq!(error, Problem::Format { found: 7 });
        assert!(error.to_string().contains("form 7") && error.to_string().contains("form 1"), "{error}");
        assert!(matches!(Manifest::parse(br#"{"version": 7}"#), Err(Problem::Manifest(_))));
        assert!(matches!(Manifest::parse(br#"{"format": 1}"#), Err(Problem::Manifest(_))));
    }

    #[test]
    fn what_was_made_for_something_else_is_refused() {
        let lock = "kubernetes: 1.35";
        let files = json!([{ "path": LOCK, "bytes": 16, "digest": digest(lock.as_bytes()) }]);
        let mut manifest = Manifest::parse(&manifest(files)).expect("read");
        assert!(matches!(manifest.fits("amd64", lock), Err(Problem::Version { .. })));
        env!("CARGO_PKG_VERSION").clone_into(&mut manifest.meshproof);
        assert_eq!(manifest.fits("amd64", lock), Ok(()));
        assert!(matches!(manifest.fits("arm64", lock), Err(Problem::Architecture { .. })));
        assert_eq!(manifest.fits("amd64", "kubernetes: 1.36"), Err(Problem::Lock));
        manifest.files.clear();
        assert_eq!(manifest.fits("amd64", lock), Err(Problem::Lock), "a bundle without a lock file fits none");
    }
}
