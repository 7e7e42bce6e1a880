//! Announces changes of the files of a directory. The kubelet replaces projected files by renaming a symbolic link in
//! their directory, so the directory is watched and not the files.
#![expect(unsafe_code, reason = "the runtime takes a file descriptor on trust")]

use std::io;
use std::os::fd::{AsFd as _, AsRawFd, RawFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tracing::warn;

/// A watch; one that could not be set up never announces anything and has said so in the log.
pub struct DirectoryWatch {
    inotify: Option<AsyncFd<Events>>,
}

struct Events(Inotify);

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl DirectoryWatch {
    /// Starts to watch `directory`.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        let inotify = open(directory);
        if let Err(error) = &inotify {
            warn!(directory = %directory.display(), %error, "changes of this directory will not be noticed");
        }
        Self { inotify: inotify.ok() }
    }

    /// Returns after the next change. Several changes at a time count as one.
    pub async fn changed(&mut self) {
        let Some(inotify) = &self.inotify else { return std::future::pending().await };
        let read = inotify.async_io(Interest::READABLE, |events| events.0.read_events().map_err(io::Error::from)).await;
        if let Err(error) = read {
            warn!(%error, "a directory is no longer watched");
            self.inotify = None;
        }
    }
}

fn open(directory: &Path) -> io::Result<AsyncFd<Events>> {
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    let events = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_CREATE;
    inotify.add_watch(directory, events)?;
    // SAFETY: `Events` owns the descriptor it names and names the same one until it is dropped.
    let registered = unsafe { AsyncFd::register_with_interest(Events(inotify), Interest::READABLE) };
    registered.map_err(|error| error.into_parts().1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_swapped_link_is_announced() {
        let directory = tempfile::tempdir().unwrap();
        let mut watch = DirectoryWatch::new(directory.path());
        std::os::unix::fs::symlink("a", directory.path().join("next")).unwrap();
        std::fs::rename(directory.path().join("next"), directory.path().join("..data")).unwrap();
        tokio::time::timeout(Duration::from_secs(5), watch.changed()).await.expect("the rename is announced");
    }
}
