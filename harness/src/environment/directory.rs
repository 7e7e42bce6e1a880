//! Where environments keep their files: one private folder each, below the user's state folder.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use crate::provider::embedded::create_private_directory;

/// The folder of all environments: `MESHPROOF_STATE_DIR`, else `$XDG_STATE_HOME/meshproof`, else
/// `~/.local/state/meshproof`.
///
/// # Errors
/// A sentence, where none of the three is set.
pub fn state_root() -> Result<Utf8PathBuf, String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(path) = variable("MESHPROOF_STATE_DIR") {
        return Ok(path.into());
    }
    if let Some(path) = variable("XDG_STATE_HOME") {
        return Ok(Utf8PathBuf::from(path).join("meshproof"));
    }
    let home = variable("HOME").ok_or("none of MESHPROOF_STATE_DIR, XDG_STATE_HOME and HOME is set")?;
    Ok(Utf8PathBuf::from(home).join(".local/state/meshproof"))
}

/// The folder of one environment.
#[derive(Clone, Debug)]
pub struct Directory(Utf8PathBuf);

impl Directory {
    /// Below the state folder; nothing is created yet.
    #[must_use]
    pub fn new(root: &Utf8Path, environment: &str) -> Self {
        Self(root.join(environment))
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Utf8Path {
        &self.0
    }

    /// Creates it, open to its owner only.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create(&self) -> Result<(), crate::provider::embedded::Error> {
        create_private_directory(&self.0)
    }

    /// Where the topology of a kept environment is remembered, as the user wrote it.
    #[must_use]
    pub fn topology(&self) -> Utf8PathBuf {
        self.0.join("topology.yaml")
    }

    /// Removes it with all that is in it. One that is not there counts as removed.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn remove(&self) -> io::Result<()> {
        match std::fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Names of all environments below a state folder.
    ///
    /// # Errors
    /// Those of the file system, but for a folder that is not there.
    pub fn list(root: &Utf8Path) -> io::Result<Vec<String>> {
        let entries = match root.read_dir_utf8() {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                names.push(entry.file_name().to_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}
