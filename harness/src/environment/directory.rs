//! Where environments keep their files: one private folder each, below the user's state folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;

use camino::{Utf8Path, Utf8PathBuf};

use crate::provider::files::{self, create_private_directory};
use crate::report::runs;

/// The folder of all environments: `MESHPROOF_STATE_DIR`, else `$XDG_STATE_HOME/meshproof`, else
/// `~/.local/state/meshproof`.
///
/// # Errors
/// A sentence, where none of the three is set.
pub fn state_root() -> Result<Utf8PathBuf, String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(path) = variable("MESHPROOF_STATE_DIR") {
        return absolute(path.into());
    }
    if let Some(path) = variable("XDG_STATE_HOME") {
        return absolute(Utf8PathBuf::from(path).join("meshproof"));
    }
    let home =
        variable("HOME").ok_or("none of MESHPROOF_STATE_DIR, XDG_STATE_HOME and HOME is set; set one of them")?;
    absolute(Utf8PathBuf::from(home).join(".local/state/meshproof"))
}

/// The supervisor and its containers have other current folders than this process.
fn absolute(path: Utf8PathBuf) -> Result<Utf8PathBuf, String> {
    camino::absolute_utf8(&path).map_err(|error| format!("{path} is no folder for state: {error}"))
}

/// Its lock shows that a runner uses the folder; the kernel releases it however that process ends. The supervisor has a
/// lock of its own.
const LOCK: &str = "runner.lock";

/// File with the topology of an environment that is complete.
const TOPOLOGY: &str = "topology.yaml";

/// Says that the environment of a folder is no longer complete: it is about to be changed.
///
/// # Errors
/// Those of the file system.
pub(super) fn is_incomplete(folder: &Utf8Path) -> Result<(), files::Error> {
    files::remove(&folder.join(TOPOLOGY))
}

/// The right to use a folder, for as long as this value lives.
#[derive(Debug)]
pub struct Claim {
    _lock: File,
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
    pub fn create(&self) -> Result<(), files::Error> {
        create_private_directory(&self.0)
    }

    /// Claims it for this process, and creates it where it does not exist; `None` where another process has it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn claim(&self) -> io::Result<Option<Claim>> {
        self.create().map_err(io::Error::other)?;
        self.lock(OpenOptions::new().write(true).create(true).truncate(false))
    }

    /// Claims it where some process claimed it before and none does now; `None` where that is not so.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn reclaim(&self) -> io::Result<Option<Claim>> {
        match self.lock(OpenOptions::new().write(true)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            claimed => claimed,
        }
    }

    /// Whether some process has it now.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn is_claimed(&self) -> io::Result<bool> {
        let file = match OpenOptions::new().write(true).open(self.0.join(LOCK)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            file => file?,
        };
        match file.try_lock() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn lock(&self, options: &OpenOptions) -> io::Result<Option<Claim>> {
        let file = options.open(self.0.join(LOCK))?;
        match file.try_lock() {
            // Whoever had it may have removed it with the folder since it was opened.
            Ok(()) => Ok((file.metadata()?.nlink() > 0).then_some(Claim { _lock: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Removes all that is in it but the lock.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn empty(&self) -> io::Result<()> {
        for entry in self.0.read_dir_utf8()? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                std::fs::remove_dir_all(entry.path())?;
            } else if entry.file_name() != LOCK {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Remembers the topology of an environment that is complete, as the user wrote it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn remember(&self, topology: &str) -> io::Result<()> {
        std::fs::write(self.topology(), topology)
    }

    /// The file with the topology of an environment that is complete.
    #[must_use]
    pub fn topology(&self) -> Utf8PathBuf {
        self.0.join(TOPOLOGY)
    }

    /// Whether an environment was completed here: until then some of its clusters may run already.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.topology().is_file()
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

    /// Names of all environments below a state folder. The folder of recorded runs is none.
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
            if entry.file_type()?.is_dir() && entry.file_name() != runs::FOLDER {
                names.push(entry.file_name().to_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_has_a_folder_at_a_time() {
        let root = tempfile::tempdir().expect("a folder");
        let directory = Directory::new(Utf8Path::from_path(root.path()).expect("UTF-8"), "one");
        assert!(directory.reclaim().expect("asked").is_none(), "nobody claimed it before");
        assert!(!directory.is_claimed().expect("asked"));
        let claim = directory.claim().expect("asked").expect("free");
        assert!(directory.claim().expect("asked").is_none());
        assert!(directory.is_claimed().expect("asked"));
        std::fs::create_dir(directory.path().join("clusters")).expect("created");
        directory.remember("").expect("written");
        assert!(directory.is_complete());
        directory.empty().expect("emptied");
        assert!(!directory.is_complete());
        assert!(directory.claim().expect("asked").is_none(), "emptying keeps the claim");
        assert_eq!(directory.path().read_dir().expect("read").count(), 1);
        drop(claim);
        assert!(!directory.is_claimed().expect("asked"), "whoever had it has ended");
        assert!(directory.reclaim().expect("asked").is_some());
    }
}
