//! Versions and digests of everything that is not built here: one file, `versions.lock.yaml`. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The file, compiled in, so that a program without its repository has the same versions.
pub const TEXT: &str = include_str!("../../../../versions.lock.yaml");

/// Major and minor of a version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minor {
    /// Major.
    pub major: u32,
    /// Minor.
    pub minor: u32,
}

impl Minor {
    /// Of two numbers.
    #[must_use]
    pub fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }
}

impl FromStr for Minor {
    type Err = String;

    /// Reads the first version in a text, such as `kind v0.33.0 go1.25 linux/amd64`.
    fn from_str(text: &str) -> Result<Self, String> {
        let none = || format!("there is no version in {text:?}");
        let start = text
            .char_indices()
            .filter(|(at, letter)| {
                letter.is_ascii_digit() && !text[..*at].ends_with(|before: char| before.is_ascii_digit())
            })
            .map(|(at, _)| at);
        let versions = start.filter_map(|at| {
            let (major, rest) = text[at..].split_once('.')?;
            let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
            Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
        });
        versions.into_iter().next().ok_or_else(none)
    }
}

impl fmt::Display for Minor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// A range of versions, both ends included.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Range {
    /// The oldest.
    pub from: String,
    /// The newest; none where nothing newer is known to fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

impl Range {
    /// Whether a version is in it.
    #[must_use]
    pub fn has(&self, version: Minor) -> bool {
        let of = |text: &String| text.parse::<Minor>().ok();
        of(&self.from).is_none_or(|from| version >= from)
            && self.to.as_ref().and_then(of).is_none_or(|to| version <= to)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.to {
            Some(to) => write!(formatter, "{} to {to}", self.from),
            None => write!(formatter, "{} or newer", self.from),
        }
    }
}

/// What is locked.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lock {
    /// Node images by minor version of Kubernetes, each pinned by digest.
    pub node_images: BTreeMap<String, String>,
    /// The minor version that is taken where nobody says another.
    pub kubernetes: String,
    /// Istio.
    pub istio: Istio,
    /// MetalLB, for those who want it.
    pub metallb: Metallb,
    /// Programs by their name.
    pub tools: BTreeMap<String, Range>,
}

/// The mesh.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Istio {
    /// The release that is taken where nobody says another.
    pub version: String,
    /// Where its Helm charts are.
    pub charts: String,
    /// Registry and path of its images.
    pub hub: String,
    /// The versions of Kubernetes that its makers support each minor version on.
    pub releases: BTreeMap<String, Range>,
    /// Digests that are known, by file name of a chart and by name and tag of an image.
    #[serde(default)]
    pub digests: BTreeMap<String, String>,
}

/// What gives LoadBalancers addresses, where it is asked for.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metallb {
    /// The release of its chart.
    pub version: String,
    /// Where the chart is.
    pub charts: String,
}

/// A release of Istio that is not supported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownRelease {
    /// It is no version.
    #[error("{0:?} is no release of Istio: one has three numbers, such as 1.30.3")]
    NoVersion(String),
    /// Nothing is known of it.
    #[error("Istio {version} is not supported: versions.lock.yaml has {known}")]
    NotLocked {
        /// The release.
        version: String,
        /// The minor versions that are.
        known: String,
    },
}

/// A release of Istio.
#[derive(Clone, Debug)]
pub struct Release {
    /// Its version, such as `1.30.3`.
    pub version: String,
    /// The versions of Kubernetes that its makers support it on.
    pub kubernetes: Range,
}

impl Istio {
    /// A release; the one that is taken by default where none is named.
    ///
    /// # Errors
    /// [`UnknownRelease`].
    pub fn release(&self, version: Option<&str>) -> Result<Release, UnknownRelease> {
        let version = version.unwrap_or(&self.version);
        let is_number = |part: &str| !part.is_empty() && part.chars().all(|digit| digit.is_ascii_digit());
        let minor = version.parse::<Minor>().ok().filter(|_| {
            let parts: Vec<&str> = version.split('.').collect();
            parts.len() == 3 && parts.into_iter().all(is_number)
        });
        let minor = minor.ok_or_else(|| UnknownRelease::NoVersion(version.to_owned()))?;
        let kubernetes = self.releases.get(&minor.to_string()).cloned().ok_or_else(|| UnknownRelease::NotLocked {
            version: version.to_owned(),
            known: self.releases.keys().cloned().collect::<Vec<_>>().join(", "),
        })?;
        Ok(Release { version: version.to_owned(), kubernetes })
    }
}

impl Lock {
    /// What is locked in this version.
    ///
    /// # Panics
    /// Never: a test reads the file.
    #[must_use]
    pub fn read() -> Self {
        serde_saphyr::from_str(TEXT).expect("invariant: a test reads versions.lock.yaml")
    }

    /// The node image of the default version.
    ///
    /// # Panics
    /// Never: a test looks it up.
    #[must_use]
    pub fn node_image(&self) -> &str {
        self.node_images.get(&self.kubernetes).expect("invariant: a test looks it up")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        let minor = |text: &str| text.parse::<Minor>().map(|version| version.to_string());
        assert_eq!(minor("kind v0.33.0 go1.25.1 linux/amd64").as_deref(), Ok("0.33"));
        assert_eq!(minor("v3.19.2+g1234").as_deref(), Ok("3.19"));
        assert_eq!(minor("client version: 1.30.3").as_deref(), Ok("1.30"));
        assert_eq!(minor("kindest/node:v1.35.8@sha256:07b2").as_deref(), Ok("1.35"));
        assert_eq!(minor("1.41").as_deref(), Ok("1.41"));
        assert_eq!(minor("hello 7"), Err("there is no version in \"hello 7\"".to_owned()));
    }

    #[test]
    fn what_is_locked_fits_together() {
        let lock = Lock::read();
        for (version, image) in &lock.node_images {
            assert_eq!(image.parse::<Minor>().expect("a version").to_string(), *version, "{image}");
            let digest = image.split_once("@sha256:").expect("pinned by digest").1;
            assert!(digest.len() == 64 && digest.chars().all(|digit| digit.is_ascii_hexdigit()), "{image}");
        }
        let release = lock.istio.release(None).expect("the default is supported");
        assert!(release.kubernetes.has(lock.node_image().parse().expect("a version")));
        for (minor, range) in &lock.istio.releases {
            let nodes = lock.node_images.keys().filter_map(|version| version.parse().ok());
            assert!(nodes.clone().any(|version| range.has(version)), "no node image fits Istio {minor}");
        }
        assert!(lock.istio.digests.values().all(|digest| digest.starts_with("sha256:") && digest.len() == 71));
        for tool in ["kind", "kubectl", "helm"] {
            assert!(lock.tools.contains_key(tool), "{tool}");
        }
    }

    #[test]
    fn a_release_of_istio_is_looked_up_by_its_minor_version() {
        let lock = Lock::read();
        let release = |version| lock.istio.release(Some(version));
        let known = release("1.29.4").expect("supported");
        assert_eq!((known.version.as_str(), known.kubernetes.to_string().as_str()), ("1.29.4", "1.31 to 1.35"));
        assert_eq!(lock.istio.release(None).expect("supported").version, lock.istio.version);
        for strange in ["1.30", "latest", "1.30.x", "1.30.3-alpha.0", "", "v1.30.3"] {
            assert_eq!(release(strange).expect_err(strange), UnknownRelease::NoVersion(strange.to_owned()));
        }
        let error = release("1.9.0").expect_err("too old").to_string();
        assert_eq!(error, "Istio 1.9.0 is not supported: versions.lock.yaml has 1.28, 1.29, 1.30, 1.31");
    }

    #[test]
    fn the_nightly_run_takes_every_node_image_that_is_locked() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../.github/workflows/nightly.yml");
        let workflow = std::fs::read_to_string(path).expect("a workflow");
        let named: Vec<&str> = workflow.lines().filter_map(|line| line.trim().strip_prefix("- kindest/")).collect();
        let locked = Lock::read();
        let locked: Vec<&str> =
            locked.node_images.values().filter_map(|image| image.strip_prefix("kindest/")).collect();
        assert_eq!(named, locked);
    }

    #[test]
    fn ranges_have_their_ends() {
        let range = Range { from: "1.32".to_owned(), to: Some("1.36".to_owned()) };
        let has = |minor| range.has(Minor::new(1, minor));
        assert_eq!([has(31), has(32), has(36), has(37)], [false, true, true, false]);
        assert!(Range { from: "1.9".to_owned(), to: None }.has(Minor::new(1, 10)));
    }
}
