//! `cargo xtask images` and `cargo xtask bundle`: build the programs small, in a profile of their own, and let `meshproof` pack them.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use crate::build::{self, Profile};
use crate::{envoy, exit, finding, paths, start};

/// The packages whose programs go into images.
const PACKAGES: [&str; 5] = ["agent", "bookinfo", "hub-agent", "hub-manager", "pilot"];
/// What an image may weigh beside Envoy, in megabytes.
const LIMIT: &str = "40";

/// Starts `meshproof images` in this process's place; returns only where something stands in the way.
pub(crate) fn images(args: &[OsString]) -> anyhow::Result<ExitCode> {
    packed("images", &["--limit", LIMIT], args)
}

/// Starts `meshproof bundle` in this process's place; returns only where something stands in the way.
pub(crate) fn bundle(args: &[OsString]) -> anyhow::Result<ExitCode> {
    packed("bundle", &[], args)
}

fn packed(command: &str, before: &[&str], args: &[OsString]) -> anyhow::Result<ExitCode> {
    if !needs_programs(args) {
        return start::meshproof(&[&[command.into()], args].concat());
    }
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
    let mut meshproof = Command::new(paths::program("meshproof")?);
    // What the user says comes later, so it holds where it is said again.
    meshproof.arg(command).args(before).arg("--programs").arg(small).args(args).env(envoy::VARIABLE, envoy);
    Err(anyhow::Error::from(meshproof.exec()).context("cannot start meshproof"))
}

/// Asking for help, or for what is in a bundle, needs none of the small programs.
fn needs_programs(args: &[OsString]) -> bool {
    !args.iter().any(|word| {
        let word = word.to_string_lossy();
        ["-h", "--help", "--bundle", "--programs"].contains(&word.as_ref())
            || word.starts_with("--bundle=")
            || word.starts_with("--programs=")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_minutes_of_building_are_not_spent_on_help_and_on_bundles_that_are_there() {
        let needs = |words: &[&str]| needs_programs(&words.iter().map(Into::into).collect::<Vec<_>>());
        assert!(needs(&[]) && needs(&["--load", "echo"]) && needs(&["--only", "ours"]));
        for without in [["-h", ""], ["--bundle", "x"], ["--bundle=x", "--load"], ["--programs", "target/images"]] {
            assert!(!needs(&without), "{without:?}");
        }
    }
}
