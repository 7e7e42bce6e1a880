//! Child processes by pidfd: waiting without a signal handler, signals that never hit another process.
//!
//! Waits for exactly one process id, and therefore never takes the exit status of a child that others wait for.
#![expect(unsafe_code, reason = "pidfd system calls have no safe wrapper among the dependencies")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A child of this process. Killed with its process group when dropped before its end was seen.
pub(super) struct Child {
    pid: Pid,
    descriptor: AsyncFd<OwnedFd>,
    ended: bool,
}

/// The exit code (128 plus the signal where one ended the process), and that signal.
pub(super) type Outcome = (i32, Option<i32>);

impl Child {
    /// Takes over a child that nobody else waits for. Needs a tokio runtime.
    pub(super) fn adopt(pid: u32) -> io::Result<Self> {
        let pid = Pid::from_raw(i32::try_from(pid).map_err(io::Error::other)?);
        // SAFETY: an OwnedFd names the same open descriptor for as long as it lives, and is never taken out.
        let descriptor = unsafe { AsyncFd::register_with_interest(pidfd_open(pid)?, Interest::READABLE) }?;
        Ok(Self { pid, descriptor, ended: false })
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// A descriptor for [`send_signal`] that outlives this value.
    pub(super) fn handle(&self) -> io::Result<OwnedFd> {
        self.descriptor.get_ref().try_clone()
    }

    /// Waits for the end and reaps. Cancel safe.
    pub(super) async fn wait(&mut self) -> io::Result<Outcome> {
        loop {
            let mut ready = self.descriptor.readable().await?;
            match waitpid(self.pid, Some(WaitPidFlag::WNOHANG))? {
                WaitStatus::Exited(_, code) => {
                    self.ended = true;
                    return Ok((code, None));
                }
                WaitStatus::Signaled(_, signal, _) => {
                    self.ended = true;
                    return Ok((128 + signal as i32, Some(signal as i32)));
                }
                _ => ready.clear_ready(),
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Its process group too: what a command of `exec` has started would otherwise stay in the container. The
        // number cannot belong to others, since the process has not been reaped.
        if !self.ended && send_signal(self.descriptor.get_ref(), libc::SIGKILL).is_ok() {
            killpg(self.pid, Signal::SIGKILL).ok();
            // The kernel takes a moment to end a whole PID namespace; a thread waits, never the async worker.
            let pid = self.pid;
            std::thread::spawn(move || waitpid(pid, None));
        }
    }
}

/// Sends a signal to the process behind a pidfd.
///
/// # Errors
/// `ESRCH` once the process has been reaped.
pub(super) fn send_signal(process: &impl AsRawFd, signal: i32) -> io::Result<()> {
    // SAFETY: the descriptor is open for the duration of the call; a null siginfo is allowed.
    let outcome = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, std::ptr::null::<libc::siginfo_t>(), 0)
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn pidfd_open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: plain integers in; on success the kernel returns a new descriptor that nobody else owns.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    let descriptor = RawFd::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: see above; `descriptor` is open and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
