//! Builds the programs of the workspace: for everyday use in the profile and the folder that tests use too.

use std::process::{Child, Command};

use anyhow::{Context as _, bail};

use crate::paths;

/// What programs are built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Everyday use and tests: soon built.
    Development,
    /// Measurements of what users get: optimised.
    Release,
    /// Container images: small.
    Images,
}

impl Profile {
    /// Its name for Cargo.
    fn name(self) -> &'static str {
        match self {
            Self::Development => "dev",
            Self::Release => "release",
            Self::Images => "images",
        }
    }

    /// Its folder below that of all build results.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Development => "debug",
            Self::Release | Self::Images => self.name(),
        }
    }
}

/// The Cargo that started this program.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(paths::repository());
    // What Cargo told this program about its package: the build script of `ring` runs again where it changes, and so a
    // build by hand after one from here, and the other way round, would build all that speaks TLS anew.
    let package = std::env::vars_os().map(|(name, _)| name).filter(|name| {
        name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
    });
    package.for_each(|name| {
        command.env_remove(name);
    });
    command
}

/// Starts the build of all programs but this one, which runs.
pub(crate) fn start(profile: Profile) -> anyhow::Result<Build> {
    spawn(cargo().args([
        "build",
        "--quiet",
        "--profile",
        profile.name(),
        "--workspace",
        "--exclude",
        "xtask",
        "--bins",
    ]))
}

/// Builds the programs of some packages.
pub(crate) fn packages(profile: Profile, names: &[&str]) -> anyhow::Result<()> {
    let mut command = cargo();
    command.args(["build", "--quiet", "--profile", profile.name(), "--bins"]);
    command.args(names.iter().flat_map(|package| ["--package", package]));
    spawn(&mut command)?.finish()
}

fn spawn(command: &mut Command) -> anyhow::Result<Build> {
    let child = command.spawn().context("cannot start cargo")?;
    Ok(Build { child, done: false })
}

/// Builds one program, which stands in the package of its name.
pub(crate) fn program(name: &str) -> anyhow::Result<()> {
    spawn(cargo().args(["build", "--quiet", "--package", name, "--bin", name]))?.finish()
}

/// A build that runs. It is ended when it is dropped before its end.
pub(crate) struct Build {
    child: Child,
    done: bool,
}

impl Build {
    /// Waits for its end.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        let status = self.child.wait().context("cannot wait for cargo")?;
        self.done = true;
        if !status.success() {
            bail!("the build failed: see cargo's words above");
        }
        Ok(())
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        if !self.done {
            // It may have ended by itself meanwhile.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
