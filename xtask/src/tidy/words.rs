//! Words that do not belong where they stand.

use super::Problem;
use super::tree::{SourceFile, Tree};

/// Crates, and words that their code may not know. Tests may: real names make good examples.
const STRANGERS: [(&[&str], &[&str]); 2] = [
    (
        &[
            "crates/substrate",
            "crates/substrate-api",
            "crates/substrate-config",
            "crates/substrate-controllers",
            "crates/substrate-events",
            "crates/substrate-node",
        ],
        &["istio", "envoy"],
    ),
    (&["crates/agent", "crates/bookinfo", "crates/hub", "crates/mesh-types", "crates/pilot"], &["substrate"]),
];

/// The substrate has no word of the mesh, and the mesh none of the substrate.
pub(super) fn worlds_apart(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in tree.rust() {
        for (folders, words) in STRANGERS {
            if folders.iter().any(|folder| file.path.starts_with(&format!("{folder}/src/"))) {
                problems.extend(found(file, file.without_tests(), words, "may not know"));
            }
        }
    }
    problems
}

/// No absolute path of somebody's machine is in any file.
pub(super) fn machine(tree: &Tree) -> Vec<Problem> {
    let words: Vec<_> = tree.machine_paths.iter().map(String::as_str).collect();
    tree.files.iter().flat_map(|file| found(file, &file.text, &words, "names this machine's")).collect()
}

fn found(file: &SourceFile, text: &str, words: &[&str], complaint: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let lower = line.to_lowercase();
        for word in words.iter().filter(|word| lower.contains(&word.to_lowercase())) {
            problems.push(Problem::new(format!("{}:{}", file.path, number + 1), format!("{complaint} `{word}`")));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::super::tree::made::files;
    use super::*;

    #[test]
    fn a_word_of_the_other_world_is_found_but_not_in_tests() {
        let tree = files(&[
            (
                "crates/substrate-api/src/a.rs",
                "//! A.\nconst LABEL: &str = \"Istio\";\n\n#[cfg(test)]\nmod tests {\n// envoy\n}\n",
            ),
            ("crates/substrate-api/tests/it/main.rs", "//! istio"),
            ("crates/pilot/src/lib.rs", "//! Knows the substrate.\n"),
            ("harness/src/lib.rs", "//! istio and substrate\n"),
        ]);
        let places: Vec<_> = worlds_apart(&tree).into_iter().map(|problem| problem.place).collect();
        assert_eq!(places, ["crates/substrate-api/src/a.rs:2", "crates/pilot/src/lib.rs:1"]);
    }

    #[test]
    fn a_path_of_this_machine_is_found_in_any_file() {
        let mut tree = files(&[("README.md", "see\n/somebody/checkout/README.md\n"), ("b.yaml", "path: /srv\n")]);
        tree.machine_paths = vec!["/somebody/checkout/".to_owned()];
        assert_eq!(machine(&tree), [Problem::new("README.md:2", "names this machine's `/somebody/checkout/`")]);
    }
}
