//! ARCHITECTURE.md and the folders agree.

use std::collections::BTreeSet;

use super::Problem;
use super::tree::Tree;

/// The page that describes the folders.
const PAGE: &str = "ARCHITECTURE.md";

/// Every crate is on the page, and every crate on the page exists.
pub(super) fn as_described(tree: &Tree) -> Vec<Problem> {
    let Some(page) = tree.file(PAGE) else { return vec![Problem::new(PAGE, "is missing")] };
    let named = named(&page.text);
    let there: BTreeSet<_> = tree.crates.iter().map(|package| package.folder.clone()).collect();
    let unknown = there.iter().filter(|folder| !named.contains(folder.as_str()));
    let unknown = unknown.map(|folder| Problem::new(PAGE, format!("does not say what `{folder}` is")));
    let gone = named.iter().filter(|folder| folder.starts_with("crates/") && !there.contains(**folder));
    let gone = gone.map(|folder| Problem::new(PAGE, format!("names `{folder}`, which is no crate")));
    unknown.chain(gone).collect()
}

/// Folders in code marks: `harness/`, `crates/pilot`.
fn named(page: &str) -> BTreeSet<&str> {
    let marked = page.split('`').skip(1).step_by(2).map(|text| text.trim_end_matches('/'));
    marked.filter(|text| !text.is_empty() && !text.contains(char::is_whitespace) && *text != "crates/…").collect()
}

#[cfg(test)]
mod tests {
    use super::super::tree::made::{files, package};
    use super::*;

    #[test]
    fn a_crate_that_is_not_described_and_one_that_is_gone_are_found() {
        let mut tree = files(&[(PAGE, "| `crates/pilot` | x |\n| `crates/gone/` | y |\nrun `cargo xtask e2e`")]);
        tree.crates = vec![package("pilot", &[], &[]), package("agent", &[], &[])];
        let expected = [
            Problem::new(PAGE, "does not say what `crates/agent` is"),
            Problem::new(PAGE, "names `crates/gone`, which is no crate"),
        ];
        assert_eq!(as_described(&tree), expected);
        assert_eq!(as_described(&files(&[])).len(), 1);
    }
}
