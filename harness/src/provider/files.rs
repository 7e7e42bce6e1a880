//! What providers keep in the folder of an environment. All of it is its owner's alone.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An operation of the system failed, on a file or a process.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}")]
pub struct Error {
    /// What was tried.
    pub action: String,
    /// The cause.
    #[source]
    pub source: io::Error,
}

/// For `map_err`: says what was tried.
pub(crate) fn failed(action: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let action = action.into();
    move |source| Error { action, source }
}

/// Creates a folder that only its owner can look into.
///
/// # Errors
/// [`Error`].
pub fn create_private_directory(path: &Utf8Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed(format!("create {path}")))
}

/// Writes a file that only its owner can read. Whoever is killed meanwhile leaves the file as it was.
pub(crate) fn write(path: &Utf8Path, bytes: &[u8]) -> Result<(), Error> {
    let next = Utf8PathBuf::from(format!("{path}.next"));
    let written = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&next, path)
    };
    written().map_err(failed(format!("write {path}")))
}

/// Remembers what there is of an environment.
pub(crate) fn write_state(path: &Utf8Path, state: &impl Serialize) -> Result<(), Error> {
    write(path, &serde_json::to_vec_pretty(state).expect("invariant: plain data serialises"))
}

/// The bytes of a file, or `None` where it is not there.
pub(crate) fn read(path: &Utf8Path) -> Result<Option<Vec<u8>>, Error> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(format!("read {path}"))(error)),
    }
}

/// What [`write_state`] has written, or `None` where nothing was.
pub(crate) fn read_state<T: DeserializeOwned>(path: &Utf8Path) -> Result<Option<T>, Error> {
    let understand = |bytes: Vec<u8>| serde_json::from_slice(&bytes);
    let state = read(path)?.map(understand).transpose();
    state.map_err(|error| failed(format!("understand {path}"))(error.into()))
}

/// Removes a file. One that is not there counts as removed.
pub(crate) fn remove(path: &Utf8Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(format!("remove {path}"))(error)),
        _ => Ok(()),
    }
}

/// Removes a folder with all that is in it. One that is not there counts as removed.
pub(super) fn remove_folder(path: &Utf8Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(format!("remove {path}"))(error)),
        _ => Ok(()),
    }
}
