//! `cargo xtask test`: every test of the repository, and a table of what this machine had to skip.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Context as _;

use crate::{build, envoy, exit, finding, paths, preflight, start};

/// Variable that forbids to skip a test, with the value `all`.
const REQUIRE: &str = "MESHPROOF_REQUIRE";
/// Variable that names the file in which tests record that they were skipped.
const SKIPS: &str = "MESHPROOF_SKIPS";

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Words for the test runner, such as a filter
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    runner: Vec<String>,
}

/// Runs the tests. Ends as the runner ends; or with 96 where nothing may be skipped and the machine lacks something.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let all = std::env::var(REQUIRE).is_ok_and(|value| value == "all");
    let mut findings = preflight::findings();
    let plan = envoy::plan().map_err(|finding| findings.push(finding)).ok();
    if all && !findings.is_empty() {
        return Ok(start::refuse(&findings));
    }
    if !findings.is_empty() {
        finding::print("note: tests that need what this machine lacks will be skipped:", &findings);
        eprintln!();
    }
    let build = build::start(build::Profile::Development)?;
    let envoy = match plan.map(envoy::carry_out).transpose() {
        Ok(envoy) => envoy,
        Err(error) if all => return Err(error),
        Err(error) => {
            eprintln!("note: tests with Envoy will be skipped: {error:#}\n");
            None
        }
    };
    build.finish()?;
    let skips = paths::scratch()?.join(format!("skips-{}.tsv", std::process::id()));
    let ran = run_all(args, &skips, envoy.as_deref());
    let table = read_skips(&skips);
    // The file has served once it is read; a leftover would only be untidy.
    let _ = std::fs::remove_file(&skips);
    print_skips(&table);
    let code = ran?;
    Ok(if code == 0 && all && !table.is_empty() { ExitCode::from(exit::FAILED) } else { ExitCode::from(code) })
}

fn run_all(args: &Args, skips: &Path, envoy: Option<&Path>) -> anyhow::Result<u8> {
    for words in commands(nextest_is_there(), args.runner.is_empty()) {
        let code = run_one(build::cargo().args(words).args(&args.runner), skips, envoy)?;
        if code != 0 {
            return Ok(code);
        }
    }
    Ok(0)
}

/// What cargo is told. Without words for the runner: documentation tests first, so that the runner's own summary comes
/// last, and then every test but the catalogue, which takes minutes; a part of it is among the others.
fn commands(nextest: bool, everything: bool) -> Vec<&'static [&'static str]> {
    let documentation: &[_] = &["test", "--quiet", "--workspace", "--doc"];
    match (nextest, everything) {
        (true, true) => vec![
            documentation,
            &["nextest", "run", "--workspace", "--no-fail-fast", "-E", "not binary_id(scenarios::catalogue)"],
        ],
        (true, false) => vec![&["nextest", "run", "--workspace", "--no-fail-fast"]],
        (false, true) => vec![
            documentation,
            &["test", "--workspace", "--exclude", "scenarios", "--no-fail-fast", "--lib", "--bins", "--tests"],
            &["test", "--package", "scenarios", "--no-fail-fast", "--lib", "--test", "it"],
        ],
        (false, false) => vec![&["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"]],
    }
}

fn run_one(command: &mut Command, skips: &Path, envoy: Option<&Path>) -> anyhow::Result<u8> {
    command.env(SKIPS, skips);
    // New snapshots are written on purpose, never by a test run in passing.
    if std::env::var_os("INSTA_UPDATE").is_none() {
        command.env("INSTA_UPDATE", "no");
    }
    if let Some(envoy) = envoy {
        command.env(envoy::VARIABLE, envoy);
    }
    let status = command.status().context("cannot start cargo")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(exit::FAILED))
}

fn nextest_is_there() -> bool {
    build::cargo().args(["nextest", "--version"]).output().is_ok_and(|output| output.status.success())
}

/// A skipped test.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Skip {
    test: String,
    needs: String,
    reason: String,
}

fn read_skips(path: &Path) -> Vec<Skip> {
    // Without a file nothing was skipped.
    let mut skips = parse_skips(&std::fs::read_to_string(path).unwrap_or_default());
    skips.sort();
    skips
}

/// Reads lines of `test <tab> capability <tab> reason`.
fn parse_skips(text: &str) -> Vec<Skip> {
    let skip = |line: &str| {
        let mut fields = line.splitn(3, '\t').map(str::to_owned);
        let test = fields.next()?;
        Some(Skip { test, needs: fields.next().unwrap_or_default(), reason: fields.next().unwrap_or_default() })
    };
    text.lines().filter(|line| !line.is_empty()).filter_map(skip).collect()
}

fn print_skips(skips: &[Skip]) {
    if skips.is_empty() {
        println!("no test was skipped");
        return;
    }
    println!(
        "{} skipped:",
        if skips.len() == 1 { "1 test was".to_owned() } else { format!("{} tests were", skips.len()) }
    );
    print!("{}", table(skips));
}

fn table(skips: &[Skip]) -> String {
    let width = |field: fn(&Skip) -> &str| skips.iter().map(|skip| field(skip).chars().count()).max().unwrap_or(0);
    let (tests, needs) = (width(|skip| &skip.test), width(|skip| &skip.needs));
    let line = |skip: &Skip| format!("  {:tests$}  needs {:needs$}  {}\n", skip.test, skip.needs, skip.reason);
    skips.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_are_read_and_lined_up() {
        let skips = parse_skips("a::b\tnft\tcannot start `nft`\n\nlonger::name\tuser namespaces\tEPERM\n");
        assert_eq!(skips.len(), 2);
        let table = table(&skips);
        assert_eq!(
            table,
            "  a::b          needs nft              cannot start `nft`\n  longer::name  needs user namespaces  EPERM\n"
        );
    }
}
