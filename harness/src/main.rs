//! The command `meshproof`.

use std::process::ExitCode;

use meshproof::cli::{self, Handled};
use meshproof::commands;

fn main() -> ExitCode {
    match cli::handle(std::env::args_os()) {
        Handled::Done(outcome) => outcome.into(),
        Handled::Environment(command) => commands::run(*command).into(),
    }
}
