//! The image's files and the volumes: taken from the host before the root is changed, mounted after the old root is gone.
//!
//! Their targets are paths that a pod chooses, and may lead through links that a container has put into a volume.
//! By the time a target is looked for, or made, there is nothing to be reached but the new root.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use super::setup;
use super::tree::Tree;
use crate::beneath::{self, Bounds, Missing};
use crate::runtime::helper::Failure;
use crate::runtime::spec::{ContainerSpec, MountSource};

/// What is mounted where, in order.
pub(super) struct Prepared(Vec<Target>);

struct Target {
    path: PathBuf,
    source: Source,
    read_only: bool,
}

enum Source {
    Tree(Tree),
    Tmpfs { size: Option<u64> },
}

/// Takes the sources while the host's root is still ours. All mounts must be private by now.
pub(super) fn prepare(spec: &ContainerSpec) -> Result<Prepared, Failure> {
    let mut targets = Vec::new();
    for (path, file) in &spec.files {
        let tree = beneath::locate(file).and_then(Tree::copy).map_err(setup(format!("mount of {}", file.display())))?;
        targets.push(Target { path: path.clone(), source: Source::Tree(tree), read_only: true });
    }
    for volume in &spec.mounts {
        let source = source(&volume.source)?;
        targets.push(Target { path: volume.target.clone(), source, read_only: volume.read_only });
    }
    Ok(Prepared(targets))
}

fn source(source: &MountSource) -> Result<Source, Failure> {
    let (found, name) = match source {
        MountSource::Tmpfs { size } => return Ok(Source::Tmpfs { size: *size }),
        MountSource::Bind(path) => (beneath::locate(path), path.clone()),
        MountSource::Part { volume, part } => {
            let found = beneath::locate(volume).and_then(|volume| beneath::resolve(volume, part, Bounds::Refused));
            (found, volume.join(part))
        }
    };
    found.and_then(Tree::copy).map(Source::Tree).map_err(setup(format!("mount of {}", name.display())))
}

impl Prepared {
    /// Mounts everything below `/`, which must be the new root, with nothing of the old one in it.
    pub(super) fn mount(self) -> Result<(), Failure> {
        for target in self.0 {
            let what = format!("mount {}", target.path.display());
            target.mount().map_err(setup(what))?;
        }
        Ok(())
    }
}

impl Target {
    fn mount(self) -> io::Result<()> {
        let missing = match &self.source {
            Source::Tree(tree) if !tree.is_folder => Missing::File,
            _ => Missing::Folder,
        };
        let target = place(&self.path, missing)?;
        match self.source {
            Source::Tree(tree) => tree.attach(target, self.read_only),
            Source::Tmpfs { size } => tmpfs(&target, size, self.read_only),
        }
    }
}

/// The place of a mount, which is made where missing.
fn place(path: &Path, missing: Missing) -> io::Result<OwnedFd> {
    let root = beneath::locate(Path::new("/"))?;
    let place = beneath::resolve_or_create(root, &beneath::clean(path), Bounds::Root, missing)?;
    // What the kernel says there is about processes, and is followed by whoever looks after them.
    if fstatfs(&place)?.filesystem_type() == PROC_SUPER_MAGIC {
        return Err(io::Error::other("it is inside /proc, which belongs to the kernel; mount it elsewhere"));
    }
    Ok(place)
}

fn tmpfs(target: impl AsFd, size: Option<u64>, read_only: bool) -> io::Result<()> {
    let size = size.map(|bytes| format!(",size={bytes}")).unwrap_or_default();
    let read_only = if read_only { MsFlags::MS_RDONLY } else { MsFlags::empty() };
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | read_only;
    let target = format!("/proc/self/fd/{}", target.as_fd().as_raw_fd());
    Ok(mount(Some("tmpfs"), target.as_str(), Some("tmpfs"), flags, Some(format!("mode=1777{size}").as_str()))?)
}
