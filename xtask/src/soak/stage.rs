//! The place of a soak: copies of all programs, and a home, a temporary and a state folder of its own. So whatever else
//! happens on the machine, a build or other runs, is not taken for what these runs did.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::{envoy, paths};

/// Programs that a run starts, besides Envoy.
const PROGRAMS: &[&str] =
    &["meshproof", "meshproof-substrate", "meshproof-machine-init", "pilot-discovery", "pilot-agent", "bookinfo"];
/// Where there are virtual machines, and a short scenario about them.
const WITH_MACHINES: (&str, &str) = ("scenarios/topologies/virtual-machines.yaml", "name(half-on-the-machine)");
/// The scenario of other runs.
const SMOKE: &str = "tag(smoke)";

/// The folder and what is in it.
#[derive(Debug)]
pub(super) struct Stage {
    folder: PathBuf,
    /// What plays virtual machines, where runs are about such.
    vms: Option<String>,
}

impl Stage {
    /// Makes the folder and copies the programs.
    ///
    /// # Errors
    /// Where a file cannot be copied or a folder not be made.
    pub(super) fn set(folder: &Path, envoy: &Path, vms: Option<&str>) -> anyhow::Result<Self> {
        let stage = Self { folder: folder.to_path_buf(), vms: vms.map(str::to_owned) };
        for place in ["bin", "state", "home", "tmp"] {
            let place = folder.join(place);
            fs::create_dir_all(&place).with_context(|| format!("cannot create {}", place.display()))?;
        }
        for name in PROGRAMS {
            stage.copy(&paths::program(name)?, name)?;
        }
        stage.copy(envoy, "envoy")?;
        Ok(stage)
    }

    fn copy(&self, from: &Path, name: &str) -> anyhow::Result<()> {
        let to = self.folder.join("bin").join(name);
        fs::copy(from, &to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
        Ok(())
    }

    /// Every program that a run starts.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub(super) fn executables(&self) -> anyhow::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(self.folder.join("bin")).context("cannot list the programs")?;
        entries.map(|entry| Ok(entry?.path())).collect()
    }

    /// Folders in which nothing may stay.
    pub(super) fn passing(&self) -> Vec<PathBuf> {
        vec![self.folder.join("home"), self.folder.join("tmp")]
    }

    /// Which scenarios are run.
    pub(super) fn filter(&self) -> &'static str {
        if self.vms.is_some() { WITH_MACHINES.1 } else { SMOKE }
    }

    /// The words that bring up what those scenarios need.
    pub(super) fn up<'words>(&self, words: &[&'words str]) -> Vec<&'words str> {
        let topology: &[&str] = if self.vms.is_some() { &["--topology", WITH_MACHINES.0] } else { &[] };
        [&["up"], topology, words].concat()
    }

    /// `meshproof` with these words.
    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.folder.join("bin/meshproof"));
        command.args(words).current_dir(paths::repository()).stdin(Stdio::null()).stdout(Stdio::null());
        command.env(envoy::VARIABLE, self.folder.join("bin/envoy"));
        command.env("MESHPROOF_STATE_DIR", self.folder.join("state"));
        command.envs(self.vms.as_ref().map(|runtime| ("MESHPROOF_VM_RUNTIME", runtime)));
        for (variable, place) in [("HOME", "home"), ("TMPDIR", "tmp"), ("XDG_RUNTIME_DIR", "tmp")] {
            command.env(variable, self.folder.join(place));
        }
        command
    }

    /// Names of environments of which something is in the state folder.
    pub(super) fn environments(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.join("state")).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(|name| name != "runs").collect()
    }

    /// Removes it all but the reports.
    ///
    /// # Errors
    /// Where something cannot be removed.
    pub(super) fn clear(&self) -> anyhow::Result<()> {
        for place in ["bin", "state", "home", "tmp"] {
            fs::remove_dir_all(self.folder.join(place)).with_context(|| format!("cannot remove {place}"))?;
        }
        Ok(())
    }
}
