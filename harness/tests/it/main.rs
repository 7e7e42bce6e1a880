//! The command `meshproof` from outside, without an environment: exit codes, output, messages.

mod cli;
