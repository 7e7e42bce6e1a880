//! `cargo xtask`: looks at the machine, builds what is needed, fetches Envoy, and starts `meshproof`.
//!
//! It depends on no crate of this workspace, so that it can say in a second what would otherwise be learnt after the
//! build. Commands that are not its own are `meshproof`'s and are passed through unchanged.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod build;
mod envoy;
mod fetch;
mod finding;
mod hub;
mod images;
mod kept;
mod load;
mod machines;
mod namespaces;
mod numbers;
mod paths;
mod preflight;
mod propagation;
mod release;
mod soak;
mod start;
mod test;
mod tidy;
mod verdicts;
mod wait;

/// Exit codes that this program gives of its own; all others are those of what it started.
mod exit {
    /// The machine cannot do what was asked.
    pub(crate) const MACHINE: u8 = 96;
    /// Something failed that should have worked.
    pub(crate) const FAILED: u8 = 1;
}

const MESHPROOFS_COMMANDS: &str = "\
Commands of meshproof, which is built first (`cargo xtask <command> -h` shows its options):
  e2e         Bring up, prove, report, tear down
  up, down    Keep an environment, and end it
  status      What runs
  run         Scenarios against a kept environment
  selftest    Break the mesh on purpose; every assertion has to notice
  report      Recorded runs: list, show, open, convert; one report of several shards
  demo        An environment to show, with a URL and steady traffic
  plan        What would be done
  lint        Check topologies and scenarios without a cluster
  doctor      What this machine can run, and what to fix
  kubeconfig, logs, inject, generate, …";

#[derive(Debug, Parser)]
#[command(
    name = "xtask",
    bin_name = "cargo xtask",
    about = "Builds meshproof, fetches Envoy, and starts it",
    after_help = MESHPROOFS_COMMANDS,
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every test of the repository, and list what was skipped and why
    Test(test::Args),
    /// Check the invariants of the architecture that a program can check
    Tidy(tidy::Args),
    /// Measure
    Bench {
        #[command(subcommand)]
        what: bench::Bench,
    },
    /// Run the scenario many times and kill runs at random moments; count verdicts and leftovers
    Soak(soak::Args),
    /// Build the programs small and make container images of them; `-h` shows the options
    #[command(disable_help_flag = true)]
    Images {
        /// Options of `meshproof images`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Build the programs small and write one file with all that a machine without a network needs; `-h` shows the options
    #[command(disable_help_flag = true)]
    Bundle {
        /// Options of `meshproof bundle`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Fetch Envoy where there is none, and print its path
    Envoy,
    /// Print what the changelog says of a version, for its release
    ReleaseNotes(release::Args),
    /// First stage of the look at the machine, in a process of its own
    #[command(name = namespaces::OUTER, hide = true)]
    NamespacesOuter,
    /// Second stage, inside the new namespaces
    #[command(name = namespaces::INNER, hide = true)]
    NamespacesInner,
    #[command(external_subcommand)]
    Meshproof(Vec<OsString>),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Test(args) => test::run(&args),
        Command::Tidy(args) => tidy::run(&args),
        Command::Bench { what } => bench::run(&what),
        Command::Soak(args) => soak::run(&args),
        Command::Images { args } => images::images(&args),
        Command::Bundle { args } => images::bundle(&args),
        Command::Envoy => envoy::run(),
        Command::ReleaseNotes(args) => release::run(&args),
        Command::NamespacesOuter => namespaces::outer(),
        Command::NamespacesInner => namespaces::inner(),
        Command::Meshproof(args) => start::meshproof(&args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(exit::FAILED)
    })
}
