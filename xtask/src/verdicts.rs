//! `cargo xtask bench verdicts`: how often each statistical check errs against truths that are known, beside what it
//! promises. Builds the program `simulation`, optimised, and starts it.

use std::process::ExitCode;

use anyhow::Context as _;

use crate::{build, exit};

/// Options of the measurement.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Words for the program, such as `--runs 100000 --out docs`; `-- --help` shows them all
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Prints the table. Ends with 1 where a check errs more often than it promises.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut command = build::cargo();
    command.args(["run", "--quiet", "--release", "--package", "simulation", "--"]).args(&args.words);
    let status = command.status().context("cannot start cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) })
}
