//! The shared libraries and the loader that a program of this machine needs, to go into an image with it.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use super::elf;
use super::layer::Entry;

/// Where loaders look when nothing says otherwise, in the order in which distributions fill them.
const FOLDERS: [&str; 4] = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"];

/// A program cannot be put into an image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It is not what a container could run.
    #[error("{path} cannot be put into an image: {reason}")]
    NotElf {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        reason: String,
    },
    /// A library is not where libraries are.
    #[error("{needed_by} needs {name}, which is in none of {}", folders.join(", "))]
    Missing {
        /// The library.
        name: String,
        /// Who needs it.
        needed_by: Utf8PathBuf,
        /// Where it was looked for.
        folders: Vec<String>,
    },
}

/// The loader and all libraries that some programs need, each at the path at which it is found here: a loader looks for them in
/// the same folders wherever it runs.
///
/// # Errors
/// [`Error`].
pub fn of(programs: &[&Utf8Path]) -> Result<Vec<Entry>, Error> {
    let system = system_folders();
    let mut found: BTreeMap<Utf8PathBuf, Entry> = BTreeMap::new();
    let mut open: VecDeque<Utf8PathBuf> = programs.iter().map(|path| (*path).to_owned()).collect();
    while let Some(path) = open.pop_front() {
        let needs = needs_of(&path)?;
        let own = needs.folders.iter().map(|folder| from_origin(folder, &path));
        let folders: Vec<String> = own.chain(system.iter().cloned()).collect();
        let loader = needs.loader.map(|loader| Ok(Utf8PathBuf::from(loader)));
        let libraries = needs.libraries.iter().map(|name| find(name, &path, &folders));
        for library in loader.into_iter().chain(libraries) {
            let library = library?;
            if !found.contains_key(&library) {
                found.insert(library.clone(), Entry::program(library.clone(), read(&library)?));
                open.push_back(library);
            }
        }
    }
    Ok(found.into_values().collect())
}

/// The program at a path of this machine, as an entry of an image.
///
/// # Errors
/// [`Error::Read`].
pub fn program(here: &Utf8Path, there: impl Into<Utf8PathBuf>) -> Result<Entry, Error> {
    Ok(Entry::program(there, read(here)?))
}

fn read(path: &Utf8Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

fn needs_of(path: &Utf8Path) -> Result<elf::Needs, Error> {
    elf::needs(&read(path)?).map_err(|reason| Error::NotElf { path: path.to_owned(), reason })
}

fn from_origin(folder: &str, file: &Utf8Path) -> String {
    let origin = file.parent().map_or("/", Utf8Path::as_str);
    folder.replace("$ORIGIN", origin).replace("${ORIGIN}", origin)
}

fn find(name: &str, needed_by: &Utf8Path, folders: &[String]) -> Result<Utf8PathBuf, Error> {
    let here = folders.iter().map(|folder| Utf8PathBuf::from(folder).join(name));
    here.into_iter().find(|path| path.is_file()).ok_or_else(|| Error::Missing {
        name: name.to_owned(),
        needed_by: needed_by.to_owned(),
        folders: folders.to_vec(),
    })
}

/// Folders of libraries: those of the architecture first, as Debian and Ubuntu have them.
fn system_folders() -> Vec<String> {
    let architecture = format!("{}-linux-gnu", std::env::consts::ARCH);
    let own = ["/lib", "/usr/lib"].map(|folder| format!("{folder}/{architecture}"));
    own.into_iter().chain(FOLDERS.map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_test_needs_is_found_and_is_enough_to_start_it() {
        let itself = std::env::current_exe().expect("a path");
        let itself = Utf8Path::from_path(&itself).expect("UTF-8");
        let needed = of(&[itself]).expect("found");
        // The loader is asked: it knows better than we do what is missing.
        let root = tempfile::tempdir().expect("a folder");
        let root = Utf8Path::from_path(root.path()).expect("UTF-8");
        let mut folders = Vec::new();
        for entry in &needed {
            let there = root.join(entry.path.as_str().trim_start_matches('/'));
            let folder = there.parent().expect("a folder").to_owned();
            std::fs::create_dir_all(&folder).expect("created");
            let super::super::layer::Content::File(bytes) = &entry.content else { panic!("{entry:?}") };
            std::fs::write(&there, bytes).expect("written");
            std::fs::set_permissions(&there, std::os::unix::fs::PermissionsExt::from_mode(entry.mode)).expect("set");
            folders.push(folder.to_string());
        }
        let loader = needed.iter().find(|entry| entry.path.file_name().is_some_and(|name| name.starts_with("ld-")));
        let loader = root.join(loader.expect("a loader").path.as_str().trim_start_matches('/'));
        let list = std::process::Command::new(loader)
            .args(["--inhibit-cache", "--library-path", &folders.join(":"), "--list", itself.as_str()])
            .output()
            .expect("started");
        let said = String::from_utf8_lossy(&list.stdout);
        assert!(list.status.success() && said.contains(root.as_str()), "{said}{list:?}");
        assert!(!said.contains("not found"), "{said}");
    }

    #[test]
    fn what_cannot_be_found_is_named_with_who_needs_it() {
        let error = find("libnone.so.1", Utf8Path::new("/bin/x"), &["/lib".to_owned()]).expect_err("missing");
        assert_eq!(error.to_string(), "/bin/x needs libnone.so.1, which is in none of /lib");
        let folder = tempfile::tempdir().expect("a folder");
        let script = Utf8PathBuf::try_from(folder.path().join("script")).expect("UTF-8");
        std::fs::write(&script, "#!/bin/sh\n").expect("written");
        let error = of(&[&script]).expect_err("refused").to_string();
        assert_eq!(error, format!("{script} cannot be put into an image: it is no ELF program"));
    }
}
