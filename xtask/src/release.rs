//! `cargo xtask release-notes`: what changed in a version, as the changelog says; the words of a release.

use std::process::ExitCode;

use anyhow::{Context as _, bail};

use crate::paths;

const CHANGELOG: &str = "CHANGELOG.md";

/// Options of `release-notes`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The tag that is released: `v` and the version of the programs, such as v0.1.0
    tag: String,
}

/// Prints the section of the changelog; refuses a tag that is not the programs' version, or a version without a section.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = paths::repository().join(CHANGELOG);
    let changelog = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    print!("{}", notes(&changelog, &args.tag, env!("CARGO_PKG_VERSION"))?);
    Ok(ExitCode::SUCCESS)
}

fn notes(changelog: &str, tag: &str, version: &str) -> anyhow::Result<String> {
    if tag.strip_prefix('v') != Some(version) {
        bail!("tag {tag} is not v{version}, the version that `Cargo.toml` gives the programs; change one of the two");
    }
    // `## 0.1.0` or `## 0.1.0 - 2026-11-22`.
    let is_own = |line: &str| line.strip_prefix("## ").is_some_and(|title| title.split(' ').next() == Some(version));
    let mut lines = changelog.lines().skip_while(|line| !is_own(line));
    if lines.next().is_none() {
        bail!("{CHANGELOG} has no section `## {version}`; give what is `## Unreleased` this title");
    }
    let section: Vec<&str> = lines.take_while(|line| !line.starts_with("## ")).collect();
    let section = section.join("\n");
    match section.trim() {
        "" => bail!("{CHANGELOG} says nothing in its section `## {version}`"),
        text => Ok(format!("{text}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGELOG: &str = "# Changelog\n\n## Unreleased\n\n- later\n\n## 0.2.0 - 2026-11-22\n\n### Added\n\n- now\n\n## 0.1.0\n\n- before\n\n## 0.0.9\n";

    #[test]
    fn the_section_of_the_version_is_what_is_said() {
        assert_eq!(notes(CHANGELOG, "v0.2.0", "0.2.0").unwrap(), "### Added\n\n- now\n");
        assert_eq!(notes(CHANGELOG, "v0.1.0", "0.1.0").unwrap(), "- before\n");
    }

    #[test]
    fn what_cannot_be_released_is_refused_with_the_cure() {
        let refused = |tag: &str, version: &str| notes(CHANGELOG, tag, version).unwrap_err().to_string();
        assert!(refused("v0.2.1", "0.2.0").starts_with("tag v0.2.1 is not v0.2.0"));
        assert!(refused("0.2.0", "0.2.0").starts_with("tag 0.2.0 is not v0.2.0"));
        assert!(refused("v0.3.0", "0.3.0").contains("has no section `## 0.3.0`; give what is `## Unreleased`"));
        assert!(refused("v0.0.9", "0.0.9").contains("says nothing"));
    }
}
