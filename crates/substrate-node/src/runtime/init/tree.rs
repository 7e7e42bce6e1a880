//! Mounts as descriptors: copied while their source can be reached, attached later where no path leads to it any more.
#![expect(unsafe_code, reason = "open_tree and move_mount have no safe wrapper among the dependencies")]

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use super::attributes;
use crate::beneath;

// The kernel's numbers, the same on every architecture; libc does not have them.
const OPEN_TREE_CLONE: libc::c_int = 1;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_int = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_int = 0x40;

/// A copy of a file or folder as a mount, with everything mounted below it; attached nowhere yet.
pub(super) struct Tree {
    mount: OwnedFd,
    pub(super) is_folder: bool,
}

impl Tree {
    /// Copies what the descriptor names. Mounts of this namespace must be private, or the copy would follow the source.
    pub(super) fn copy(source: impl AsFd) -> io::Result<Self> {
        let is_folder = beneath::is_folder(&source)?;
        // Recursive, because the kernel keeps the mounts that it locked together as one.
        let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC | libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
        // SAFETY: the descriptor is open and the path is an empty C string; on success the kernel returns a new
        // descriptor that nobody else owns.
        let mount = unsafe { libc::syscall(libc::SYS_open_tree, source.as_fd().as_raw_fd(), c"".as_ptr(), flags) };
        if mount < 0 {
            return Err(io::Error::last_os_error());
        }
        let mount = RawFd::try_from(mount).map_err(io::Error::other)?;
        // SAFETY: see above; `mount` is open and owned by nobody else.
        Ok(Self { mount: unsafe { OwnedFd::from_raw_fd(mount) }, is_folder })
    }

    /// Attaches the copy on top of what the descriptor names: a folder on a folder, a file on a file.
    pub(super) fn attach(self, target: impl AsFd, read_only: bool) -> io::Result<()> {
        if read_only {
            attributes::set_tree_read_only(&self.mount)?;
        }
        let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
        let (from, to) = (self.mount.as_raw_fd(), target.as_fd().as_raw_fd());
        // SAFETY: both descriptors are open through the call, and the paths are empty C strings.
        let outcome = unsafe { libc::syscall(libc::SYS_move_mount, from, c"".as_ptr(), to, c"".as_ptr(), flags) };
        if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}
