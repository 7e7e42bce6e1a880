//! Builds the programs of the workspace, in the profile and the folder that tests use too.

use std::process::{Child, Command};

use anyhow::{Context as _, bail};

use crate::paths;

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
pub(crate) fn start() -> anyhow::Result<Build> {
    let mut command = cargo();
    command.args(["build", "--quiet", "--workspace", "--exclude", "xtask", "--bins"]);
    let child = command.spawn().context("cannot start cargo")?;
    Ok(Build { child, done: false })
}

/// Builds one program, which stands in the package of its name.
pub(crate) fn program(name: &str) -> anyhow::Result<()> {
    let mut command = cargo();
    command.args(["build", "--quiet", "--package", name, "--bin", name]);
    let child = command.spawn().context("cannot start cargo")?;
    Build { child, done: false }.finish()
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
