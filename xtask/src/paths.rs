//! Where things are: the repository, the folder of build results, and the cache.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::build::Profile;

/// Root of the repository. Cargo names the package's folder to what it runs; the compiled-in one serves otherwise.
pub(crate) fn repository() -> PathBuf {
    let package =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    package.parent().map(Path::to_path_buf).unwrap_or(package)
}

/// The folder of programs, which is where this one stands: `target/debug`.
pub(crate) fn programs() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("cannot find out where this program stands")?;
    program.parent().map(Path::to_path_buf).context("this program stands in no folder")
}

/// The folder of programs that were built for something.
pub(crate) fn programs_for(profile: Profile) -> anyhow::Result<PathBuf> {
    let programs = programs()?;
    Ok(programs.parent().context("this program stands in no folder")?.join(profile.folder()))
}

/// A program of the workspace, built.
pub(crate) fn program(name: &str) -> anyhow::Result<PathBuf> {
    program_for(Profile::Development, name)
}

/// A program of the workspace, built for something.
pub(crate) fn program_for(profile: Profile, name: &str) -> anyhow::Result<PathBuf> {
    let path = programs_for(profile)?.join(name);
    if !path.is_file() {
        bail!("{} was not built", path.display());
    }
    Ok(path)
}

/// Folder for files of one invocation, beside the programs' folder: `target/meshproof`.
pub(crate) fn scratch() -> anyhow::Result<PathBuf> {
    let programs = programs()?;
    let scratch = programs.parent().unwrap_or(&programs).join("meshproof");
    std::fs::create_dir_all(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
    Ok(scratch)
}

/// Folder that keeps fetched programs: `$XDG_CACHE_HOME/meshproof`, else `~/.cache/meshproof`.
pub(crate) fn cache() -> anyhow::Result<PathBuf> {
    cache_of(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
}

fn cache_of(variable: impl Fn(&str) -> Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let absolute = variable("XDG_CACHE_HOME").filter(|path| path.is_absolute());
    let base = absolute.or_else(|| Some(variable("HOME")?.join(".cache")));
    Ok(base.context("neither XDG_CACHE_HOME nor HOME is set: there is no place for a cache")?.join("meshproof"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_follows_the_environment() {
        let of = |pairs: &[(&str, &str)]| {
            cache_of(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value))).ok()
        };
        assert_eq!(of(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")]), Some("/c/meshproof".into()));
        assert_eq!(of(&[("XDG_CACHE_HOME", "relative"), ("HOME", "/h")]), Some("/h/.cache/meshproof".into()));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn the_repository_has_the_workspaces_manifest() {
        let manifest = std::fs::read_to_string(repository().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }
}
