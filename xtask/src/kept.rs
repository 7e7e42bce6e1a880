//! An environment for one measurement, and programs of the workspace that measure.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use serde_json::Value;

use crate::build::Profile;
use crate::{envoy, paths};

/// Brings an environment up for a piece of work, and takes it down whatever came of that.
pub(crate) fn within<T>(
    profile: Profile,
    envoy: &Path,
    name: &str,
    words: &[&str],
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    meshproof(profile, envoy, &[&["up", "--name", name], words].concat())?;
    let done = work();
    // Both errors are worth telling.
    if let Err(error) = meshproof(profile, envoy, &["down", "--name", name]) {
        eprintln!("note: {error:#}");
    }
    done
}

fn meshproof(profile: Profile, envoy: &Path, words: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new(paths::program_for(profile, "meshproof")?);
    // Standard output belongs to the document.
    command.args(words).current_dir(paths::repository()).env(envoy::VARIABLE, envoy).stdout(std::io::stderr());
    let status = command.status().context("cannot start meshproof")?;
    anyhow::ensure!(status.success(), "`meshproof {}` failed: {status}", words.join(" "));
    Ok(())
}

/// The document that a program prints.
pub(crate) fn measured(profile: Profile, envoy: &Path, program: &str, words: &[String]) -> anyhow::Result<Value> {
    let mut command = Command::new(paths::program_for(profile, program)?);
    command.args(words).env(envoy::VARIABLE, envoy).stderr(Stdio::inherit());
    let output = command.output().context("cannot start the measurement")?;
    anyhow::ensure!(output.status.success(), "the measurement failed: {}", output.status);
    serde_json::from_slice(&output.stdout).context("the measurement printed something else than JSON")
}
