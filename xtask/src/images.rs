//! `cargo xtask images`: builds the programs small, in a profile of their own, and lets `meshproof images` pack them.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use crate::build::{self, Profile};
use crate::{envoy, exit, finding, paths};

/// The packages whose programs go into images.
const PACKAGES: [&str; 5] = ["agent", "bookinfo", "hub-agent", "hub-manager", "pilot"];

/// Starts `meshproof images` in this process's place; returns only where something stands in the way.
pub(crate) fn run(args: &[OsString]) -> anyhow::Result<ExitCode> {
    let envoy = match envoy::plan() {
        Ok(plan) => plan,
        Err(missing) => {
            finding::print("this machine cannot do that:", &[missing]);
            return Ok(ExitCode::from(exit::MACHINE));
        }
    };
    let envoy = envoy::carry_out(envoy)?;
    build::start(Profile::Development)?.finish()?;
    build::packages(Profile::Images, &PACKAGES)?;
    let small = paths::programs_for(Profile::Images)?;
    let mut command = Command::new(paths::program("meshproof")?);
    command.arg("images").args(args).arg("--programs").arg(small).env(envoy::VARIABLE, envoy);
    Err(anyhow::Error::from(command.exec()).context("cannot start meshproof"))
}
