//! What the checks look at: the sources and what Cargo says of the crates. Reading is here, judging is elsewhere.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use super::lexer;
use crate::{build, paths};

/// The repository as the checks see it.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Text files that Git tracks or would track.
    pub(super) files: Vec<SourceFile>,
    /// The crates of the workspace.
    pub(super) crates: Vec<Crate>,
    /// Texts that must not appear, such as the path of this checkout.
    pub(super) machine_paths: Vec<String>,
}

/// A text file.
#[derive(Debug)]
pub(super) struct SourceFile {
    /// Path from the root of the repository.
    pub(super) path: String,
    /// What is in it.
    pub(super) text: String,
}

/// A crate of the workspace.
#[derive(Debug, Default)]
pub(super) struct Crate {
    /// Name of the package.
    pub(super) name: String,
    /// Folder from the root of the repository.
    pub(super) folder: String,
    /// Names of the packages that it needs to run.
    pub(super) needs: Vec<String>,
    /// Names of the packages that only its tests need.
    pub(super) tests_need: Vec<String>,
}

impl Tree {
    /// A file by its path.
    pub(super) fn file(&self, path: &str) -> Option<&SourceFile> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The Rust files.
    pub(super) fn rust(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }
}

impl SourceFile {
    /// Whether the whole file is for tests.
    pub(super) fn is_test(&self) -> bool {
        let path = format!("/{}", self.path);
        ["/tests/", "/tests.rs", "/examples/", "/benches/"].iter().any(|part| path.contains(part))
    }

    /// The part before the tests inside the file.
    pub(super) fn without_tests(&self) -> &str {
        if self.is_test() {
            return "";
        }
        let end = self.text.find("\n#[cfg(test)]\nmod ").map_or(self.text.len(), |place| place + 1);
        &self.text[..end]
    }

    /// The text with comments and the contents of literals blanked; lines stay where they are.
    pub(super) fn code(&self) -> String {
        lexer::blank(&self.text)
    }
}

/// Reads the repository.
pub(super) fn read() -> anyhow::Result<Tree> {
    let root = paths::repository();
    let mut listing = Command::new("git");
    listing.current_dir(&root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let output = listing.output().context("cannot start git")?;
    ensure!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr).trim());
    let listed = String::from_utf8(output.stdout).context("a file's name is not text")?;
    let file = |path: &str| {
        // A file that Git knows and that is gone, or that is no text, is nothing to check.
        let text = std::fs::read_to_string(root.join(path)).ok()?;
        Some(SourceFile { path: path.to_owned(), text })
    };
    Ok(Tree {
        files: listed.split('\0').filter(|path| !path.is_empty()).filter_map(file).collect(),
        crates: crates(&root)?,
        machine_paths: machine_paths(&root),
    })
}

/// Texts that tell of this machine: the checkout, the user's home, and the folder of build results.
fn machine_paths(root: &Path) -> Vec<String> {
    let variables = ["HOME", "CARGO_HOME", "CARGO_TARGET_DIR"].into_iter().filter_map(|name| std::env::var(name).ok());
    let all = variables.chain([root.display().to_string()]);
    // A folder right below the root, such as `/root`, is a word of ordinary texts.
    let telling = all.filter(|path| Path::new(path).components().count() > 2);
    telling.map(|path| format!("{}/", path.trim_end_matches('/'))).collect()
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

fn crates(root: &Path) -> anyhow::Result<Vec<Crate>> {
    let output = build::cargo().args(["metadata", "--no-deps", "--format-version", "1"]).output();
    let output = output.context("cannot start cargo")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata is not as expected")?;
    Ok(metadata.packages.into_iter().map(|package| of_package(package, root)).collect())
}

fn of_package(package: Package, root: &Path) -> Crate {
    let folder = Path::new(&package.manifest_path).parent().unwrap_or(root);
    let folder = folder.strip_prefix(root).unwrap_or(folder).display().to_string();
    let (tests, others): (Vec<_>, Vec<_>) =
        package.dependencies.into_iter().partition(|dependency| dependency.kind.as_deref() == Some("dev"));
    let names = |dependencies: Vec<Dependency>| dependencies.into_iter().map(|dependency| dependency.name).collect();
    Crate { name: package.name, folder, needs: names(others), tests_need: names(tests) }
}

#[cfg(test)]
pub(super) mod made {
    //! Trees for the tests of checks.

    use super::{Crate, SourceFile, Tree};

    /// A tree of files.
    pub(in crate::tidy) fn files(files: &[(&str, &str)]) -> Tree {
        let file = |(path, text): &(&str, &str)| SourceFile { path: (*path).to_owned(), text: (*text).to_owned() };
        Tree { files: files.iter().map(file).collect(), ..Tree::default() }
    }

    /// A crate in `crates/` that needs others.
    pub(in crate::tidy) fn package(name: &str, needs: &[&str], tests_need: &[&str]) -> Crate {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Crate {
            name: name.to_owned(),
            folder: format!("crates/{name}"),
            needs: owned(needs),
            tests_need: owned(tests_need),
        }
    }
}
