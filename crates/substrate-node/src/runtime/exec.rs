//! Commands in a running container, with pipes or with a terminal.
#![expect(unsafe_code, reason = "terminal ioctls have no safe wrapper among the dependencies")]

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::child::Child;
use super::container::receiver;
use super::helper::{Enter, ExecRequest, Launch, Program, Request};
use super::{ExecSession, ExecSpec, StartError};
use crate::beneath;

/// Starts `program` beside the process `container`, which `process` refers to as well.
pub(super) async fn start(
    exec: ExecSpec,
    program: Program,
    container: i32,
    process: OwnedFd,
) -> Result<ExecSession, StartError> {
    let request = |stdin| Request::Exec(ExecRequest { container, program, tty: exec.tty, stdin });
    let enter = Enter::Existing { process };
    if exec.tty {
        let (master, slave) = open_terminal(container)
            .map_err(|error| StartError::Setup { what: "a terminal".to_owned(), message: error.to_string() })?;
        if let Some(size) = exec.terminal_size {
            resize(&master, size)?;
        }
        let (stdout, stderr) = (slave.try_clone()?, slave.try_clone()?);
        let launch = Launch { enter, request: request(true), stdin: Some(slave), stdout, stderr };
        return with_terminal(launch.start().await?, master, exec.stdin).map_err(StartError::from);
    }
    let pipe = || pipe2(OFlag::O_CLOEXEC).map_err(io::Error::from);
    let (stdout, stdout_writer) = pipe()?;
    let (stderr, stderr_writer) = pipe()?;
    let (stdin_reader, stdin) =
        if exec.stdin { pipe().map(|(reader, writer)| (Some(reader), Some(writer)))? } else { (None, None) };
    let request = request(stdin_reader.is_some());
    let launch = Launch { enter, request, stdin: stdin_reader, stdout: stdout_writer, stderr: stderr_writer };
    let child = launch.start().await?;
    let stdin = stdin.map(pipe::Sender::from_owned_fd).transpose()?;
    Ok(ExecSession {
        stdin: stdin.map(|stdin| Box::new(stdin) as _),
        stdout: Box::new(receiver(stdout)?),
        stderr: Some(Box::new(receiver(stderr)?)),
        resize: None,
        exit: exit(child),
    })
}

fn exit(mut child: Child) -> futures::future::BoxFuture<'static, io::Result<i32>> {
    Box::pin(async move { child.wait().await.map(|(code, _)| code) })
}

fn with_terminal(child: Child, master: OwnedFd, stdin: bool) -> io::Result<ExecSession> {
    let master = Terminal::new(master)?;
    let (sizes, mut changes) = mpsc::channel(4);
    let resized = master.clone();
    tokio::spawn(async move {
        while let Some(size) = changes.recv().await {
            if let Err(error) = resize(resized.0.get_ref(), size) {
                tracing::debug!(%error, "cannot resize a terminal");
            }
        }
    });
    Ok(ExecSession {
        stdin: stdin.then(|| Box::new(master.clone()) as _),
        stdout: Box::new(master),
        stderr: None,
        resize: Some(sizes),
        exit: exit(child),
    })
}

/// Both sides of a new terminal of the container, so that its path inside exists.
fn open_terminal(container: i32) -> io::Result<(OwnedFd, OwnedFd)> {
    // The container may have made its `ptmx` a link: to whatever is inside, never to a path of the host.
    let root = beneath::locate(Path::new(&format!("/proc/{container}/root")))?;
    let master = File::from(beneath::open_device(root, Path::new("dev/ptmx"))?);
    let flags = libc::O_NOCTTY | libc::O_CLOEXEC;
    let unlocked: libc::c_int = 0;
    // SAFETY: `master` is open, and the pointer is to an integer that lives through the call.
    if unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `master` is open; the argument is a plain integer; the result is a new descriptor or -1.
    let slave = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, libc::O_RDWR | flags) };
    if slave < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor for us.
    Ok((master.into(), unsafe { OwnedFd::from_raw_fd(slave) }))
}

fn resize(terminal: &impl AsRawFd, (columns, rows): (u16, u16)) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is open, and the pointer is to a winsize that lives through the call.
    if unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The supervisor's side of a terminal, for reading and writing at the same time.
#[derive(Clone)]
struct Terminal(Arc<AsyncFd<File>>);

impl Terminal {
    fn new(master: OwnedFd) -> io::Result<Self> {
        nix::fcntl::fcntl(&master, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK))?;
        // SAFETY: a File names the same open descriptor for as long as it lives, and is never taken out.
        let master = unsafe { AsyncFd::register(File::from(master)) }?;
        Ok(Self(Arc::new(master)))
    }
}

impl AsyncRead for Terminal {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(context))?;
            match guard.try_io(|terminal| terminal.get_ref().read(buffer.initialize_unfilled())) {
                Ok(Ok(length)) => {
                    buffer.advance(length);
                    return Poll::Ready(Ok(()));
                }
                // The last process that had the terminal open is gone: for a reader, the end of the file.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => return Poll::Ready(Ok(())),
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(context))?;
            if let Ok(outcome) = guard.try_io(|terminal| terminal.get_ref().write(bytes)) {
                return Poll::Ready(outcome);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
