//! The command line: what can be asked for, and the commands that need no environment.
//!
//! [`args`] has the definitions, [`filter`] the language of `-E`, [`files`] reads scenarios and topologies from disk.
//! Commands that need an environment are handed back to the caller, see [`handle`].

pub mod args;
mod beside;
pub mod doctor;
pub mod existing;
pub mod files;
pub mod filter;
mod generate;
pub mod images;
mod lint;
pub mod machines;
pub mod manner;
pub mod mesh;
mod migrate;
pub(crate) mod plan;
pub mod report;
mod schema;
pub mod shards;
pub mod vm;

use std::ffi::OsString;

use clap::{CommandFactory as _, FromArgMatches as _};

use crate::report::RunOutcome;
use args::{Cli, Command};

/// What came of a command line.
#[derive(Debug)]
pub enum Handled {
    /// It was carried out, or refused with a message.
    Done(RunOutcome),
    /// It is about an environment; the caller carries it out.
    Environment(Box<Command>),
}

/// Parses a command line, carries it out if it needs no environment, and hands it back otherwise.
///
/// Prints results on standard output, problems on standard error.
pub fn handle(arguments: impl IntoIterator<Item = OsString>) -> Handled {
    let cli = match parse(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // A closed standard output is not worth a word: nobody reads it.
            let _closed = error.print();
            return Handled::Done(if error.use_stderr() { RunOutcome::WrongUsage } else { RunOutcome::Passed });
        }
    };
    match cli.command {
        Command::Plan(args) => Handled::Done(plan::run(&args)),
        Command::Lint(args) => Handled::Done(lint::run(&args)),
        Command::Schema(args) => Handled::Done(schema::run(&args)),
        Command::Generate(args) => Handled::Done(generate::run(&args)),
        Command::Migrate(args) => Handled::Done(migrate::run(&args)),
        command => Handled::Environment(Box::new(command)),
    }
}

/// Parses a command line.
///
/// # Errors
/// A wrong one, and also a request for help or the version: see [`clap::Error::use_stderr`].
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let matches = Cli::command().after_help(exit_codes()).try_get_matches_from(arguments)?;
    Cli::from_arg_matches(&matches)
}

/// The exit codes, as `--help` lists them.
fn exit_codes() -> String {
    let mut text = "Exit codes:\n".to_owned();
    for outcome in RunOutcome::ALL {
        text.push_str(&format!("  {:>3}  {}\n", outcome.exit_code(), outcome.meaning()));
    }
    text
}

/// Prints to standard output; a reader that went away (`| head`) ends the output, not the program.
pub(crate) fn print(text: &str) {
    use std::io::Write as _;
    let _closed = std::io::stdout().write_all(text.as_bytes());
}

/// Whether problems may be drawn with colours and line art: for people at a terminal that do not object.
pub(crate) fn pretty() -> bool {
    use std::io::IsTerminal as _;
    let set = |name: &str| std::env::var(name).is_ok_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !set("NO_COLOR") && !set("CI")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Cli, String> {
        let words = line.split_whitespace().map(OsString::from);
        parse(std::iter::once("meshproof".into()).chain(words)).map_err(|error| error.to_string())
    }

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_documents_every_exit_code() {
        let help = parsed("--help").expect_err("help");
        for outcome in RunOutcome::ALL {
            assert!(help.contains(&format!("{:>3}  {}", outcome.exit_code(), outcome.meaning())), "{outcome:?}");
        }
    }

    #[test]
    fn every_command_has_help_with_an_example() {
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            let help = parsed(&format!("{name} -h")).expect_err("help");
            assert!(help.contains("Examples:") && help.contains(&format!("meshproof {name}")), "{name}:\n{help}");
        }
    }

    #[test]
    fn a_misspelt_command_gets_a_suggestion() {
        let error = parsed("lnit").expect_err("unknown");
        assert!(error.contains("lint"), "{error}");
        let error = parsed("e2e --topologie x").expect_err("unknown");
        assert!(error.contains("--topology"), "{error}");
    }

    #[test]
    fn exit_codes_are_those_of_the_documentation() {
        let codes: Vec<u8> = RunOutcome::ALL.iter().map(|outcome| outcome.exit_code()).collect();
        assert_eq!(codes, [0, 1, 2, 4, 5, 96, 100, 105, 130, 143]);
    }
}
