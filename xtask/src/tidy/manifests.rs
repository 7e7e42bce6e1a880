//! What every crate's manifest takes from the workspace.

use super::Problem;
use super::tree::Tree;

/// Every crate inherits lints, edition and the versions of what it needs.
pub(super) fn inherited(tree: &Tree) -> Vec<Problem> {
    tree.crates
        .iter()
        .flat_map(|package| {
            let path = format!("{}/Cargo.toml", package.folder);
            match tree.file(&path) {
                Some(manifest) => missing(&path, &manifest.text),
                None => vec![Problem::new(path, "is missing")],
            }
        })
        .collect()
}

fn missing(path: &str, manifest: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !manifest.contains("[lints]\nworkspace = true") {
        problems.push(Problem::new(path, "does not take the workspace's lints: add `[lints]` with `workspace = true`"));
    }
    for field in ["edition", "license", "rust-version", "version"] {
        if !manifest.contains(&format!("\n{field}.workspace = true")) {
            problems.push(Problem::new(path, format!("does not take {field} from the workspace")));
        }
    }
    let mut section = "";
    for (number, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            section = line;
        }
        let own = section.ends_with("dependencies]") && line.contains('=') && !line.starts_with('#');
        if own && !line.contains("workspace = true") {
            problems.push(Problem::new(
                format!("{path}:{}", number + 1),
                "takes a version of its own: put it into the workspace's list",
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::super::tree::made::{files, package};
    use super::*;

    const GOOD: &str = "[package]\nname = \"a\"\nversion.workspace = true\nedition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true\n\n[dependencies]\nserde.workspace = true\n\n[lints]\nworkspace = true\n";

    fn check(manifest: &str) -> Vec<Problem> {
        let mut tree = files(&[("crates/a/Cargo.toml", manifest)]);
        tree.crates = vec![package("a", &[], &[])];
        inherited(&tree)
    }

    #[test]
    fn what_a_manifest_does_not_inherit_is_found() {
        assert_eq!(check(GOOD), []);
        assert_eq!(check(&GOOD.replace("[lints]\nworkspace = true\n", "")).len(), 1);
        assert_eq!(check(&GOOD.replace("edition.workspace = true", "edition = \"2021\"")).len(), 1);
        let own = check(&GOOD.replace("serde.workspace = true", "serde = \"1\""));
        assert_eq!(own[0].place, "crates/a/Cargo.toml:9");
    }
}
