//! `cargo xtask tidy`: the invariants of the architecture that a program can check, from `cargo metadata`, the lock file
//! and the sources. Each check is a pure function of a [`Tree`], and has a test in which it fails.

use std::fmt;
use std::process::{Command, ExitCode};

use anyhow::Context as _;

use crate::{build, exit, paths};

mod edges;
mod folders;
mod lexer;
mod lock;
mod manifests;
mod sources;
mod tree;
mod words;

use tree::Tree;

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Do not build meshproof to compare generated files
    #[arg(long)]
    no_generated: bool,
}

/// Something that is not as the architecture says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    /// File, and line where there is one; or a crate.
    place: String,
    /// What is wrong and what to do.
    text: String,
}

impl Problem {
    fn new(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self { place: place.into(), text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.text)
    }
}

/// Name of a check, and the check.
type Check = (&'static str, fn(&Tree) -> Vec<Problem>);

const CHECKS: [Check; 9] = [
    ("dependencies between the crates are those of the architecture", edges::between_crates),
    ("crates of plain data and arithmetic do no I/O", edges::pure_crates),
    ("the substrate and the mesh know nothing of each other", words::worlds_apart),
    ("no crate brings a second TLS library", lock::banned),
    ("every crate takes the workspace's lints and edition", manifests::inherited),
    ("the folders are those that ARCHITECTURE.md names", folders::as_described),
    ("files say what they are and stay small", sources::shape),
    ("no unsafe code, bare sleep or stub outside its place", sources::constructs),
    ("nothing names this machine", words::machine),
];

/// Runs all checks and prints every problem. Ends with 1 where there is one.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let tree = tree::read()?;
    let mut count = 0;
    for (name, check) in CHECKS {
        let mut problems = check(&tree);
        problems.sort();
        problems.dedup();
        println!("{} {name}", if problems.is_empty() { "ok  " } else { "FAIL" });
        problems.iter().for_each(|problem| println!("       {problem}"));
        count += problems.len();
    }
    if !args.no_generated {
        count += usize::from(!generated_files_are_current()?);
    }
    if count == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    println!("\n{count} {}", if count == 1 { "problem" } else { "problems" });
    Ok(ExitCode::from(exit::FAILED))
}

/// The types know what the generated files should be: asks meshproof, which has them.
fn generated_files_are_current() -> anyhow::Result<bool> {
    let built = build::cargo().args(["build", "--quiet", "--package", "meshproof"]).status();
    anyhow::ensure!(built.context("cannot start cargo")?.success(), "the build failed: see cargo's words above");
    let mut command = Command::new(paths::program("meshproof")?);
    let output = command.args(["generate", "--check"]).current_dir(paths::repository()).output();
    let output = output.context("cannot start meshproof")?;
    println!("{} generated files are current", if output.status.success() { "ok  " } else { "FAIL" });
    if !output.status.success() {
        for line in [&output.stdout, &output.stderr].into_iter().flat_map(|text| text.split(|byte| *byte == b'\n')) {
            println!("       {}", String::from_utf8_lossy(line));
        }
    }
    Ok(output.status.success())
}
