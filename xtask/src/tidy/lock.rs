//! What must not come in by the lock file.

use super::Problem;
use super::tree::Tree;

/// Packages and why not.
const BANNED: [(&str, &str); 7] = [
    ("aws-lc-rs", "TLS is ring's alone: two providers in one process panic"),
    ("aws-lc-sys", "TLS is ring's alone"),
    ("native-tls", "TLS is rustls alone"),
    ("openssl", "TLS is rustls alone"),
    ("openssl-sys", "TLS is rustls alone"),
    ("rustables", "it is under the GPL"),
    ("serde_yaml", "it is unmaintained; YAML is serde-saphyr's"),
];

/// No banned package is in the lock file.
pub(super) fn banned(tree: &Tree) -> Vec<Problem> {
    let Some(lock) = tree.file("Cargo.lock") else {
        return vec![Problem::new("Cargo.lock", "is missing: it belongs into the repository")];
    };
    let names: Vec<_> =
        lock.text.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).collect();
    let found = BANNED.iter().filter(|(name, _)| names.contains(name));
    found.map(|(name, why)| Problem::new("Cargo.lock", format!("has {name}: {why} (cargo tree -i {name})"))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tree::made::files;
    use super::*;

    #[test]
    fn a_banned_package_is_found_by_its_whole_name() {
        let lock = "[[package]]\nname = \"openssl-probe\"\n\n[[package]]\nname = \"aws-lc-rs\"\nversion = \"1\"\n";
        let problems = banned(&files(&[("Cargo.lock", lock)]));
        assert_eq!(problems.len(), 1);
        assert!(problems[0].text.starts_with("has aws-lc-rs"), "{problems:?}");
        assert_eq!(banned(&files(&[])).len(), 1);
    }
}
