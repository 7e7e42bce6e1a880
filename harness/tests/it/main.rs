//! The command `meshproof` from outside: exit codes, output, messages, reports.

mod browser;
mod cli;
mod existing;
mod failing;
mod kept;
mod layers;
mod management;
mod recorded;
