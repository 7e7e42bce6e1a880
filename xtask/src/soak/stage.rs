//! The place of a soak: copies of all programs, and a home, a temporary and a state folder of its own. So whatever else
//! happens on the machine, a build or other runs, is not taken for what these runs did.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::{envoy, paths};

/// Programs that a run starts, besides Envoy.
const PROGRAMS: &[&str] = &["meshproof", "meshproof-substrate", "pilot-discovery", "pilot-agent", "bookinfo"];

/// The folder and what is in it.
#[derive(Debug)]
pub(super) struct Stage(PathBuf);

impl Stage {
    /// Makes the folder and copies the programs.
    ///
    /// # Errors
    /// Where a file cannot be copied or a folder not be made.
    pub(super) fn set(folder: &Path, envoy: &Path) -> anyhow::Result<Self> {
        let stage = Self(folder.to_path_buf());
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
        let to = self.0.join("bin").join(name);
        fs::copy(from, &to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
        Ok(())
    }

    /// Every program that a run starts.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub(super) fn executables(&self) -> anyhow::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(self.0.join("bin")).context("cannot list the programs")?;
        entries.map(|entry| Ok(entry?.path())).collect()
    }

    /// Folders in which nothing may stay.
    pub(super) fn passing(&self) -> Vec<PathBuf> {
        vec![self.0.join("home"), self.0.join("tmp")]
    }

    /// `meshproof` with these words.
    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.0.join("bin/meshproof"));
        command.args(words).current_dir(paths::repository()).stdin(Stdio::null()).stdout(Stdio::null());
        command.env(envoy::VARIABLE, self.0.join("bin/envoy"));
        command.env("MESHPROOF_STATE_DIR", self.0.join("state"));
        for (variable, place) in [("HOME", "home"), ("TMPDIR", "tmp"), ("XDG_RUNTIME_DIR", "tmp")] {
            command.env(variable, self.0.join(place));
        }
        command
    }

    /// Names of environments of which something is in the state folder.
    pub(super) fn environments(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.join("state")).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(|name| name != "runs").collect()
    }

    /// Removes it all but the reports.
    ///
    /// # Errors
    /// Where something cannot be removed.
    pub(super) fn clear(&self) -> anyhow::Result<()> {
        for place in ["bin", "state", "home", "tmp"] {
            fs::remove_dir_all(self.0.join(place)).with_context(|| format!("cannot remove {place}"))?;
        }
        Ok(())
    }
}
