//! Paths that cannot leave a folder, whatever symbolic links others have put there.
//!
//! Files in volumes belong to containers, which may replace any of them by a link at any moment. So nothing here looks
//! at a path first and uses it later: the kernel resolves it within bounds (`openat2`, Linux 5.6), and the descriptor
//! it answers is what is used. Descriptors are `O_PATH`, which name a file or folder and open nothing, but for a device
//! that is opened on purpose.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};

/// What a symbolic link, or `..`, that leads out of the folder means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bounds {
    /// An error (`EXDEV`), as for a volume's `subPath`.
    Refused,
    /// The folder is the root: absolute links start there, and `..` ends there, as inside a container.
    Root,
}

/// What is made where there is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    File,
    Folder,
}

/// A file or folder, by a path that is trusted.
///
/// # Errors
/// Those of `open`.
pub(crate) fn locate(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?)
}

/// A file or folder by its path below `folder`.
///
/// # Errors
/// `EXDEV` if the path leaves the folder and that is refused, `ENOENT` if there is nothing, and those of `openat2`.
pub(crate) fn resolve(folder: impl AsFd, path: &Path, bounds: Bounds) -> io::Result<OwnedFd> {
    let flag = match bounds {
        Bounds::Refused => ResolveFlag::RESOLVE_BENEATH,
        Bounds::Root => ResolveFlag::RESOLVE_IN_ROOT,
    };
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(flag | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    Ok(open_bounded(folder, path, how)?)
}

/// Opens a device for reading and writing by its path below `root`, which is the root of every link in the path. It
/// does not become a controlling terminal.
///
/// # Errors
/// Those of `openat2`.
pub(crate) fn open_device(root: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let bounds = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    Ok(open_bounded(root, path, OpenHow::new().flags(flags).resolve(bounds))?)
}

/// `openat2`, repeated while it answers `EAGAIN`: the kernel cannot tell whether a `..` stayed inside when anything was
/// mounted or renamed meanwhile, anywhere on the machine, and leaves it to the caller to ask again (openat2(2)). The
/// links of a root, such as `/var/run` to `../run`, have such a `..`, and containers that start beside each other mount
/// all the time.
fn open_bounded(folder: impl AsFd, path: &Path, how: OpenHow) -> nix::Result<OwnedFd> {
    // More than chance explains would be somebody who renames on purpose, and must not hold this process for ever.
    const ATTEMPTS: usize = 10_000;
    for _ in 1..ATTEMPTS {
        match openat2(&folder, path, how) {
            Err(Errno::EAGAIN) => std::thread::yield_now(),
            outcome => return outcome,
        }
    }
    openat2(folder, path, how)
}

/// The same as [`resolve`]; what is missing is made: folders on the way, and `missing` at the end of it.
///
/// # Errors
/// Those of [`resolve`]; `ENOENT` also for a link that leads to nothing. Those of making a file or folder.
pub(crate) fn resolve_or_create(
    folder: impl AsFd,
    path: &Path,
    bounds: Bounds,
    missing: Missing,
) -> io::Result<OwnedFd> {
    let folder = folder.as_fd();
    match resolve(folder, path, bounds) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        outcome => return outcome,
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::ENOENT.into());
    };
    let parent = resolve_or_create(folder, parent, bounds, Missing::Folder)?;
    // Neither of the two follows a link of that name.
    let made = match missing {
        Missing::Folder => mkdirat(&parent, name, Mode::from_bits_truncate(0o777)),
        Missing::File => {
            let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
            openat(&parent, name, flags, Mode::from_bits_truncate(0o666)).map(drop)
        }
    };
    match made {
        // Somebody else was faster; what there is now is resolved like everything.
        Ok(()) | Err(Errno::EEXIST) => resolve(folder, path, bounds),
        Err(error) => Err(error.into()),
    }
}

/// Whether the descriptor is a folder's.
///
/// # Errors
/// Those of `fstat`.
pub(crate) fn is_folder(descriptor: impl AsFd) -> io::Result<bool> {
    let mode = fstat(descriptor)?.st_mode;
    Ok(SFlag::from_bits_truncate(mode) & SFlag::S_IFMT == SFlag::S_IFDIR)
}

/// The path without `.` and `..`, which are taken by the letter, as Kubernetes does with the target of a mount.
pub(crate) fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder `inside` with links that lead out of it, beside a folder `outside`.
    fn folders() -> (tempfile::TempDir, OwnedFd) {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("inside");
        fs::create_dir_all(inside.join("real")).unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        symlink(folder.path().join("outside"), inside.join("absolute")).unwrap();
        symlink("../outside", inside.join("relative")).unwrap();
        symlink("../outside/new", inside.join("dangling")).unwrap();
        symlink("/proc/self/root", inside.join("magic")).unwrap();
        symlink("real", inside.join("link")).unwrap();
        let descriptor = locate(&inside).unwrap();
        (folder, descriptor)
    }

    fn outside_is_empty(folder: &tempfile::TempDir) -> bool {
        fs::read_dir(folder.path().join("outside")).unwrap().next().is_none()
    }

    #[test]
    fn what_leads_out_is_refused_and_makes_nothing() {
        let (folder, inside) = folders();
        for path in ["absolute", "relative", "absolute/new", "relative/new/deep", "dangling", "magic", "..", "/etc"] {
            for missing in [Missing::File, Missing::Folder] {
                let outcome = resolve_or_create(&inside, Path::new(path), Bounds::Refused, missing);
                assert_eq!(outcome.unwrap_err().raw_os_error(), Some(libc::EXDEV), "{path}");
            }
        }
        assert!(outside_is_empty(&folder));
    }

    #[test]
    fn what_stays_inside_is_found_or_made() {
        let (folder, inside) = folders();
        let make = |path: &str, missing| resolve_or_create(&inside, Path::new(path), Bounds::Refused, missing);
        let made = make("link/a/b", Missing::Folder).unwrap();
        assert!(is_folder(&made).unwrap());
        assert!(folder.path().join("inside/real/a/b").is_dir());
        let made = make("c/file", Missing::File).unwrap();
        assert!(!is_folder(&made).unwrap());
        assert!(folder.path().join("inside/c/file").is_file());
        // What exists is not touched.
        fs::write(folder.path().join("inside/c/file"), "text").unwrap();
        make("c/file", Missing::Folder).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("inside/c/file")).unwrap(), "text");
    }

    #[test]
    fn as_a_root_the_folder_holds_every_path() {
        let (folder, inside) = folders();
        for path in ["/relative/new", "/../../x", "/absolute"] {
            // The links lead to names that the root does not have.
            let outcome = resolve_or_create(&inside, Path::new(path), Bounds::Root, Missing::Folder);
            assert_eq!(outcome.is_ok(), path == "/../../x", "{path}");
        }
        assert!(folder.path().join("inside/x").is_dir() && !folder.path().join("x").exists());
        assert!(outside_is_empty(&folder));
    }

    #[test]
    fn a_path_is_found_while_others_rename() {
        let (folder, inside) = folders();
        let (one, other) = (folder.path().join("outside/one"), folder.path().join("outside/other"));
        fs::write(&one, "").unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    fs::rename(&one, &other).unwrap();
                    fs::rename(&other, &one).unwrap();
                }
            });
            let path = Path::new("real/../real/../real/../real/../real");
            let found: Vec<_> = (0..20_000).map(|_| resolve(&inside, path, Bounds::Root).map(drop)).collect();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            let failed = found.into_iter().find_map(Result::err);
            assert!(failed.is_none(), "{failed:?}");
        });
    }

    #[test]
    fn paths_are_cleaned_by_the_letter() {
        let cleaned = ["/a/./b/../c", "/../../a", "a//b/", "/", "/a/.."].map(|path| clean(Path::new(path)));
        assert_eq!(cleaned, ["/a/c", "/a", "/a/b", "/", "/"].map(PathBuf::from));
    }
}
