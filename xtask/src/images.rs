//! `cargo xtask images`: builds the programs small, in a profile of their own, and lets `meshproof images` pack them.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};

use crate::{build, envoy, exit, finding, paths};

/// The packages whose programs go into images.
const PACKAGES: [&str; 5] = ["agent", "bookinfo", "hub-agent", "hub-manager", "pilot"];
/// The profile that they are built in, and its folder.
const PROFILE: &str = "images";

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
    build::start()?.finish()?;
    let mut command = build::cargo();
    command.args(["build", "--quiet", "--profile", PROFILE, "--bins"]);
    command.args(PACKAGES.iter().flat_map(|package| ["--package", package]));
    if !command.status().context("cannot start cargo")?.success() {
        bail!("the build failed: see cargo's words above");
    }
    let programs = paths::programs()?;
    let small = programs.parent().context("this program stands in no folder")?.join(PROFILE);
    let mut command = Command::new(programs.join("meshproof"));
    command.arg("images").args(args).arg("--programs").arg(small).env(envoy::VARIABLE, envoy);
    Err(anyhow::Error::from(command.exec()).context("cannot start meshproof"))
}
