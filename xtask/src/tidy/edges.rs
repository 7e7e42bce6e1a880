//! Which crate may need which. A new crate or a new edge has to be written down here, which is the moment to think.

use super::Problem;
use super::tree::{Crate, Tree};

/// What each crate of the workspace may need of the others. A `*` at the end stands for any rest.
const MAY_NEED: [(&str, &[&str]); 20] = [
    ("docker-support", &[]),
    ("eventually", &[]),
    ("mesh-certificates", &[]),
    ("mesh-types", &[]),
    ("requirements", &[]),
    ("substrate-config", &[]),
    ("substrate-events", &[]),
    ("simulation", &["verdict"]),
    ("verdict", &[]),
    ("xtask", &[]),
    // Programs of the mesh: they know no substrate.
    ("agent", &["eventually", "mesh-types"]),
    ("bookinfo", &[]),
    ("hub", &["eventually", "mesh-types"]),
    ("hub-agent", &["eventually", "kube-support", "mesh-certificates", "mesh-types"]),
    ("hub-manager", &["eventually", "hub", "kube-support", "mesh-certificates", "mesh-types"]),
    ("kube-support", &[]),
    ("pilot", &["eventually", "kube-support", "mesh-certificates", "mesh-types"]),
    // The embedded Kubernetes: it knows no mesh.
    ("substrate*", &["docker-support", "eventually", "substrate*"]),
    // The harness links nothing that it tests.
    ("meshproof", &["docker-support", "eventually", "mesh-types", "substrate-config", "verdict"]),
    // The tests that scenarios are written as: a package of tests only, so nothing may need it.
    ("scenarios", &["eventually", "meshproof", "requirements"]),
];

/// What the tests of every crate may need besides.
const TESTS_MAY_NEED: [&str; 2] = ["eventually", "requirements"];

/// What the tests of single crates may need besides: the API server is what a program of Kubernetes is tried against.
const TESTS_OF: [(&str, &[&str]); 2] =
    [("hub-agent", &["substrate-api"]), ("hub-manager", &["hub-agent", "substrate-api"])];

/// Crates of plain data and arithmetic, and packages that do I/O.
const PURE: [&str; 3] = ["mesh-types", "substrate-config", "verdict"];
const IMPURE: [&str; 10] =
    ["axum", "hyper", "hyper-util", "kube", "nix", "rand", "rtnetlink", "socket2", "tokio", "tracing-subscriber"];

/// Nothing needs what it may not.
pub(super) fn between_crates(tree: &Tree) -> Vec<Problem> {
    let names: Vec<_> = tree.crates.iter().map(|package| package.name.as_str()).collect();
    let inside = |needed: &&String| names.contains(&needed.as_str());
    tree.crates.iter().flat_map(|package| edges_of(package, inside)).collect()
}

fn edges_of(package: &Crate, inside: impl Fn(&&String) -> bool) -> Vec<Problem> {
    let Some((_, may)) = MAY_NEED.iter().find(|(name, _)| matches(name, &package.name)) else {
        let text = "is not in the list of what may need what: decide, and add it to xtask/src/tidy/edges.rs";
        return vec![Problem::new(&package.name, text)];
    };
    let allowed = |needed: &str| may.iter().any(|pattern| matches(pattern, needed));
    let own = TESTS_OF.iter().find(|(name, _)| *name == package.name).map_or(&[][..], |(_, may)| may);
    let by_tests =
        |needed: &str| package.name != "xtask" && (TESTS_MAY_NEED.contains(&needed) || own.contains(&needed));
    let needs = package.needs.iter().filter(&inside).filter(|needed| !allowed(needed));
    let tests = package.tests_need.iter().filter(&inside).filter(|needed| !allowed(needed) && !by_tests(needed));
    let needs = needs.map(|needed| Problem::new(&package.name, format!("may not need {needed}")));
    needs.chain(tests.map(|needed| Problem::new(&package.name, format!("its tests may not need {needed}")))).collect()
}

/// Crates of plain data and arithmetic need nothing that does I/O.
pub(super) fn pure_crates(tree: &Tree) -> Vec<Problem> {
    let pure = tree.crates.iter().filter(|package| PURE.contains(&package.name.as_str()));
    let impure = |package: &Crate| -> Vec<_> {
        let found = package.needs.iter().filter(|needed| IMPURE.contains(&needed.as_str()));
        found.map(|needed| Problem::new(&package.name, format!("does no I/O, so it may not need {needed}"))).collect()
    };
    pure.flat_map(impure).collect()
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::super::tree::made::package;
    use super::*;

    fn tree(crates: Vec<Crate>) -> Tree {
        Tree { crates, ..Tree::default() }
    }

    #[test]
    fn the_harness_may_not_link_what_it_tests() {
        let crates = vec![
            package("meshproof", &["pilot", "verdict", "serde"], &[]),
            package("pilot", &[], &[]),
            package("verdict", &[], &[]),
        ];
        assert_eq!(between_crates(&tree(crates)), [Problem::new("meshproof", "may not need pilot")]);
    }

    #[test]
    fn the_two_worlds_may_not_meet() {
        let crates = vec![
            package("pilot", &["substrate-api"], &["requirements"]),
            package("substrate-api", &["substrate-config"], &["mesh-types"]),
            package("substrate-config", &[], &[]),
            package("mesh-types", &[], &[]),
            package("requirements", &[], &[]),
        ];
        let problems = between_crates(&tree(crates));
        let expected = [
            Problem::new("pilot", "may not need substrate-api"),
            Problem::new("substrate-api", "its tests may not need mesh-types"),
        ];
        assert_eq!(problems, expected);
    }

    #[test]
    fn a_crate_that_nobody_thought_about_is_a_problem() {
        let problems = between_crates(&tree(vec![package("newcomer", &[], &[])]));
        assert!(problems[0].text.contains("not in the list"), "{problems:?}");
        let problems =
            between_crates(&tree(vec![package("xtask", &[], &["eventually"]), package("eventually", &[], &[])]));
        assert_eq!(problems, [Problem::new("xtask", "its tests may not need eventually")]);
    }

    #[test]
    fn arithmetic_does_no_io() {
        let problems = pure_crates(&tree(vec![package("verdict", &["statrs", "tokio"], &["tokio"])]));
        assert_eq!(problems, [Problem::new("verdict", "does no I/O, so it may not need tokio")]);
    }
}
