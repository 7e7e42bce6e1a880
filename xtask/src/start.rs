//! From a clone to a running `meshproof`: look at the machine, build, fetch Envoy beside the build, start.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::build::{self, Profile};
use crate::finding::{self, Finding};
use crate::{envoy, exit, paths, preflight};

/// What a command of meshproof needs before it can start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// Only the programs.
    Programs,
    /// The programs and an Envoy, on a machine that can hold the embedded world.
    World,
}

/// Starts `meshproof` in this process's place; returns only where something stands in the way.
pub(crate) fn meshproof(args: &[OsString]) -> anyhow::Result<ExitCode> {
    let mut command = Command::new(paths::programs_for(Profile::Development)?.join("meshproof"));
    command.args(args);
    match needs(args) {
        Needs::Programs => build::start(Profile::Development)?.finish()?,
        Needs::World => match prepare(Profile::Development)? {
            Ok(envoy) => {
                command.env(envoy::VARIABLE, envoy);
            }
            Err(findings) => return Ok(refuse(&findings)),
        },
    }
    Err(anyhow::Error::from(command.exec()).context("cannot start meshproof"))
}

/// Builds everything and has an Envoy, or says what stands in the way before the long part begins.
pub(crate) fn prepare(profile: Profile) -> anyhow::Result<Result<PathBuf, Vec<Finding>>> {
    let mut findings = preflight::findings();
    let plan = match envoy::plan() {
        Ok(plan) if findings.is_empty() => plan,
        Ok(_) => return Ok(Err(findings)),
        Err(finding) => {
            findings.push(finding);
            return Ok(Err(findings));
        }
    };
    let build = build::start(profile)?;
    match envoy::carry_out(plan) {
        Ok(envoy) => {
            build.finish()?;
            Ok(Ok(envoy))
        }
        Err(error) => Ok(Err(vec![envoy::missing(format!("{error:#}"))])),
    }
}

/// Says what stands in the way, and with which code to end.
pub(crate) fn refuse(findings: &[Finding]) -> ExitCode {
    finding::print("this machine cannot do that:", findings);
    ExitCode::from(exit::MACHINE)
}

/// Commands that start a world need all. Asking for help, or another provider, does not.
fn needs(args: &[OsString]) -> Needs {
    let words: Vec<_> = args.iter().map(|word| word.to_string_lossy()).collect();
    let starts = words.first().is_some_and(|command| ["e2e", "up", "demo", "selftest"].contains(&command.as_ref()));
    let help = words.iter().take_while(|word| *word != "--").any(|word| word == "-h" || word == "--help");
    // The self-test on an environment that runs, or without any.
    let elsewhere = words.iter().any(|word| word == "--list" || word == "--name" || word.starts_with("--name="));
    let starts = starts && !(words.first().is_some_and(|command| command == "selftest") && elsewhere);
    let after_flag =
        words.iter().zip(words.iter().skip(1)).filter(|(flag, _)| *flag == "--provider").map(|(_, name)| name);
    let in_flag = words.iter().filter_map(|word| word.strip_prefix("--provider="));
    let other = after_flag.map(AsRef::as_ref).chain(in_flag).any(|provider: &str| provider != "embedded");
    if starts && !help && !other { Needs::World } else { Needs::Programs }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Needs {
        needs(&line.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn only_what_starts_an_embedded_world_needs_one() {
        for line in
            ["e2e", "up two-clusters", "demo --provider embedded", "e2e --provider=embedded", "e2e -- -h", "selftest"]
        {
            assert_eq!(of(line), Needs::World, "{line}");
        }
        for line in [
            "plan",
            "doctor",
            "status",
            "e2e -h",
            "up --help",
            "e2e --provider kind",
            "up --provider=existing",
            "selftest --list",
            "selftest --name mine",
        ] {
            assert_eq!(of(line), Needs::Programs, "{line}");
        }
    }
}
