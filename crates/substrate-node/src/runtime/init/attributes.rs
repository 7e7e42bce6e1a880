//! Mount attributes, for whole trees of mounts.
#![expect(unsafe_code, reason = "mount_setattr has no safe wrapper among the dependencies")]

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Makes a mount, and with `recursive` everything mounted below it, read-only; set-user-ID is ignored there too.
///
/// `mount_setattr` (Linux 5.12) only adds attributes; a remount would have to name all that the kernel has locked.
pub(crate) fn set_read_only(target: &Path, recursive: bool) -> io::Result<()> {
    let path = CString::new(target.as_os_str().as_bytes())?;
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let flags = if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string and the attributes are of the size given; both live through the call.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
