//! The socket to the supervisor, and the standard streams.
#![expect(unsafe_code, reason = "received descriptors are plain numbers, and TIOCSCTTY has no safe wrapper")]

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::fcntl::{FcntlArg, fcntl};
use nix::unistd::dup2_stdin;

use crate::message;
use crate::runtime::helper::{Answer, Request};

/// The socket to the supervisor. Closed by the kernel when the program starts.
pub(super) struct Control(UnixStream);

impl Control {
    /// Moves the socket away from standard input.
    pub(super) fn take_over() -> io::Result<Self> {
        let descriptor = fcntl(io::stdin(), FcntlArg::F_DUPFD_CLOEXEC(3))?;
        // SAFETY: the kernel just made this descriptor for us.
        let control = UnixStream::from(unsafe { OwnedFd::from_raw_fd(descriptor) });
        control.peer_addr()?;
        Ok(Self(control))
    }

    /// Reads the request, and the descriptor for standard input if one comes with it.
    pub(super) fn receive(&mut self) -> io::Result<(Request, Option<OwnedFd>)> {
        let (text, stdin) = message::receive(&self.0)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok((serde_json::from_slice(&text)?, stdin))
    }

    pub(super) fn answer(&mut self, answer: &Answer) -> io::Result<()> {
        let text = serde_json::to_vec(answer)?;
        self.0.write_all(&text)
    }
}

/// Standard input is `/dev/null`.
pub(super) fn null_stdin() -> io::Result<()> {
    Ok(dup2_stdin(File::open("/dev/null")?)?)
}

/// Makes the terminal on standard input the controlling one of this session.
pub(super) fn controlling_terminal() -> io::Result<()> {
    // SAFETY: standard input is open; the argument is a plain integer.
    if unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
