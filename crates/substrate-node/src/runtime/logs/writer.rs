//! From a container's pipes to its log file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::watch;

use super::format::{self, LONGEST_PIECE, Stream};

/// How far a log has been written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogProgress {
    /// Bytes in the file.
    pub bytes: u64,
    /// Nothing more will come.
    pub ended: bool,
}

/// Writes one log file.
pub struct LogWriter {
    file: Arc<Mutex<LogFile>>,
}

struct LogFile {
    file: File,
    bytes: u64,
    progress: watch::Sender<LogProgress>,
}

impl LogWriter {
    /// Makes the file, and the folders above it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create(path: &Path) -> io::Result<(Self, watch::Receiver<LogProgress>)> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        let (progress, receiver) = watch::channel(LogProgress { bytes, ended: false });
        Ok((Self { file: Arc::new(Mutex::new(LogFile { file, bytes, progress })) }, receiver))
    }

    /// Copies both streams into the file until both have ended.
    ///
    /// # Errors
    /// The first failure to write, a full disk for instance. The streams are read on nevertheless, since a container
    /// must not stand still because of its log.
    pub async fn pump(self, stdout: impl AsyncRead + Unpin, stderr: impl AsyncRead + Unpin) -> io::Result<()> {
        let outcomes = tokio::join!(self.copy(Stream::Stdout, stdout), self.copy(Stream::Stderr, stderr));
        self.lock().progress.send_modify(|progress| progress.ended = true);
        outcomes.0.and(outcomes.1)
    }

    /// Appends one line.
    ///
    /// # Errors
    /// The failure to write.
    pub(crate) fn line(&self, error: bool, text: &str) -> io::Result<()> {
        let stream = if error { Stream::Stderr } else { Stream::Stdout };
        let (line, time, mut pieces) = ([text.as_bytes(), b"\n"].concat(), Timestamp::now(), Vec::new());
        take_lines(&line, |full, piece| format::append(&mut pieces, time, stream, full, piece));
        self.lock().append(&pieces)
    }

    async fn copy(&self, stream: Stream, mut source: impl AsyncRead + Unpin) -> io::Result<()> {
        let mut outcome = Ok(());
        let mut pending = Vec::with_capacity(4096);
        loop {
            let length = source.read_buf(&mut pending).await?;
            let mut text = Vec::new();
            let time = Timestamp::now();
            let used = take_lines(&pending, |full, piece| format::append(&mut text, time, stream, full, piece));
            pending.drain(..used);
            if length == 0 && !pending.is_empty() {
                format::append(&mut text, time, stream, true, &std::mem::take(&mut pending));
            }
            if !text.is_empty() {
                outcome = outcome.and(self.lock().append(&text));
            }
            if length == 0 {
                return outcome;
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LogFile> {
        self.file.lock().expect("invariant: no panic while a log file is locked")
    }
}

impl LogFile {
    /// Short appends to the page cache, done in place: cheaper than a hop to another thread.
    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        self.file.write_all(text)?;
        self.bytes += text.len() as u64;
        self.progress.send_modify(|progress| progress.bytes = self.bytes);
        Ok(())
    }
}

/// Hands out complete lines, and pieces of lines that are too long. Returns how many bytes were used.
fn take_lines(bytes: &[u8], mut line: impl FnMut(bool, &[u8])) -> usize {
    let mut used = 0;
    loop {
        let rest = &bytes[used..];
        let window = &rest[..rest.len().min(LONGEST_PIECE + 1)];
        match window.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                line(true, &rest[..end]);
                used += end + 1;
            }
            None if window.len() > LONGEST_PIECE => {
                line(false, &rest[..LONGEST_PIECE]);
                used += LONGEST_PIECE;
            }
            None => return used,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_come_in_pieces() {
        let mut text = vec![b'x'; LONGEST_PIECE + 3];
        text.extend_from_slice(b"\n\nend");
        let mut pieces = Vec::new();
        let used = take_lines(&text, |full, piece| pieces.push((full, piece.len())));
        assert_eq!(pieces, [(false, LONGEST_PIECE), (true, 3), (true, 0)]);
        assert_eq!(&text[used..], b"end");
    }
}
