//! The lease: a world that belongs to a runner ends when the runner's end of a pipe is closed.

use std::io::{self, Read as _};

/// Returns when standard input has ended, or cannot be read.
///
/// # Errors
/// No thread could be started.
pub async fn stdin_closed() -> io::Result<()> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // A thread of its own, since nothing can interrupt a blocking read: a pool would wait for it at shutdown.
    std::thread::Builder::new().name("lease".to_owned()).spawn(move || {
        let mut ignored = [0; 256];
        let mut stdin = io::stdin();
        while matches!(stdin.read(&mut ignored), Ok(1..)) {}
        sender.send(()).ok();
    })?;
    receiver.await.map_err(io::Error::other)
}
