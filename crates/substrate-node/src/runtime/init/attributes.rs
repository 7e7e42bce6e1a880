//! Mount attributes, for whole trees of mounts.
#![expect(unsafe_code, reason = "mount_setattr has no safe wrapper among the dependencies")]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Makes a mount, and with `recursive` everything mounted below it, read-only; set-user-ID is ignored there too.
///
/// `mount_setattr` (Linux 5.12) only adds attributes; a remount would have to name all that the kernel has locked.
pub(crate) fn set_read_only(target: &Path, recursive: bool) -> io::Result<()> {
    let path = CString::new(target.as_os_str().as_bytes())?;
    add_read_only(libc::AT_FDCWD, &path, if recursive { libc::AT_RECURSIVE } else { 0 })
}

/// The same for a mount by its descriptor, with everything below it.
pub(super) fn set_tree_read_only(mount: impl AsFd) -> io::Result<()> {
    add_read_only(mount.as_fd().as_raw_fd(), c"", libc::AT_EMPTY_PATH | libc::AT_RECURSIVE)
}

fn add_read_only(folder: RawFd, path: &CStr, flags: libc::c_int) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the descriptor is open or AT_FDCWD, the path is a C string and the attributes are of the size given;
    // all live through the call.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            folder,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
