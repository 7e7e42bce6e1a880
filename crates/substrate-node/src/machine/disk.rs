//! The disk of a host: folders that its programs share, and that outlive their end.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use camino::{Utf8Path, Utf8PathBuf};
use substrate_config::machine::MachineFile;

use super::MachineError;
use crate::runtime::{Mount, MountSource};

/// Lines that are written here are added to those of the host.
pub(super) const HOSTS: &str = "/etc/hosts";

/// See the module.
pub(super) struct Disk {
    machine: String,
    root: PathBuf,
    directories: Vec<Utf8PathBuf>,
}

impl Disk {
    pub(super) fn create(machine: &str, root: PathBuf, directories: &[Utf8PathBuf]) -> Result<Self, MachineError> {
        let disk = Self { machine: machine.to_owned(), root, directories: directories.to_vec() };
        check_directories(machine, directories)?;
        for directory in directories {
            let path = disk.outside(directory);
            fs::create_dir_all(&path).map_err(|source| disk.failed(&path, source))?;
        }
        Ok(disk)
    }

    /// The folders as its programs see them.
    pub(super) fn mounts(&self) -> Vec<Mount> {
        let mount = |directory: &Utf8PathBuf| Mount {
            source: MountSource::Bind(self.outside(directory)),
            target: directory.clone().into_std_path_buf(),
            read_only: false,
        };
        self.directories.iter().map(mount).collect()
    }

    /// Lines that were added to the names of hosts.
    pub(super) fn hosts(&self) -> Result<String, MachineError> {
        let path = self.outside(Utf8Path::new(HOSTS));
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(source) => Err(self.failed(&path, source)),
        }
    }

    /// Writes files; nothing where one of them cannot be on this disk.
    pub(super) fn write(&self, files: &[MachineFile]) -> Result<(), MachineError> {
        check_files(&self.machine, &self.directories, files)?;
        for file in files {
            let path = self.outside(&file.path);
            replace(&path, file).map_err(|source| self.failed(&path, source))?;
        }
        Ok(())
    }

    fn outside(&self, path: &Utf8Path) -> PathBuf {
        self.root.join(path.as_str().trim_start_matches('/'))
    }

    fn failed(&self, path: &Path, source: io::Error) -> MachineError {
        MachineError::Disk { machine: self.machine.clone(), path: path.to_owned(), source }
    }
}

/// Whether folders can be on the disk of a host.
pub(super) fn check_directories(machine: &str, directories: &[Utf8PathBuf]) -> Result<(), MachineError> {
    match directories.iter().find(|directory| !is_plain(directory)) {
        Some(bad) => Err(refuse(machine, format!("{bad} is not an absolute path without `..`"))),
        None => Ok(()),
    }
}

/// Whether files can be on the disk of a host that has these folders.
pub(super) fn check_files(
    machine: &str,
    directories: &[Utf8PathBuf],
    files: &[MachineFile],
) -> Result<(), MachineError> {
    for MachineFile { path, mode, .. } in files {
        let here = path == HOSTS || directories.iter().any(|directory| path.starts_with(directory));
        if !here || !is_plain(path) {
            let known: Vec<&str> = directories.iter().map(|directory| directory.as_str()).collect();
            return Err(refuse(machine, format!("{path} is in none of its directories ({})", known.join(", "))));
        }
        if mode & !0o777 != 0 {
            return Err(refuse(machine, format!("{path}: {mode:o} are no permission bits")));
        }
    }
    Ok(())
}

fn refuse(machine: &str, problem: String) -> MachineError {
    MachineError::Config { machine: machine.to_owned(), problem }
}

/// Absolute, with nothing that leads elsewhere. The supervisor writes where programs of the host may have been before,
/// so links count for nothing: a file is replaced, and never written through.
fn is_plain(path: &Utf8Path) -> bool {
    path.is_absolute() && path.components().skip(1).all(|part| matches!(part, camino::Utf8Component::Normal(_)))
}

fn replace(path: &Path, file: &MachineFile) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let draft = path.with_extension("next");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut open = OpenOptions::new().write(true).create_new(true).mode(file.mode).open(&draft)?;
    open.set_permissions(fs::Permissions::from_mode(file.mode))?;
    open.write_all(file.content.as_bytes())?;
    fs::rename(&draft, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, mode: u32) -> MachineFile {
        MachineFile { path: path.into(), mode, content: "x\n".to_owned() }
    }

    #[test]
    fn only_its_own_directories_are_written() {
        let directory = tempfile::tempdir().unwrap();
        let disk =
            Disk::create("vm", directory.path().join("disk"), &["/etc/keys".into(), "/var/data".into()]).unwrap();
        disk.write(&[file("/etc/keys/deep/key", 0o600), file("/etc/hosts", 0o644)]).unwrap();
        let written = directory.path().join("disk/etc/keys/deep/key");
        assert_eq!(fs::metadata(&written).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(disk.hosts().unwrap(), "x\n");
        for (path, mode) in [
            ("/etc/other", 0o600),
            ("/etc/keys/../../../escape", 0o600),
            ("etc/keys/a", 0o600),
            ("/etc/keysmith", 0o600),
            ("/etc/keys/a", 0o4755),
        ] {
            let refused = disk.write(&[file("/etc/keys/first", 0o600), file(path, mode)]);
            assert!(refused.is_err(), "{path}");
            assert!(!directory.path().join("disk/etc/keys/first").exists(), "nothing is written where one is refused");
        }
        assert!(Disk::create("vm", directory.path().join("other"), &["/a/../b".into()]).is_err());
    }
}
