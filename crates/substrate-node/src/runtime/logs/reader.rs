//! Reading a log file: from a time on, the last lines only, with timestamps, following what is still written.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::Stream;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

use super::format::Piece;
use super::writer::LogProgress;

/// What of a log is wanted. The default is everything there is.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// Put the time before every line.
    pub timestamps: bool,
    /// Leave out lines that are older.
    pub since: Option<Timestamp>,
    /// Begin with so many lines before the end.
    pub tail_lines: Option<u64>,
    /// Stop after so many bytes.
    pub limit_bytes: Option<u64>,
}

/// Reads a log. With `follow`, the stream goes on until the writer has ended.
///
/// # Errors
/// The file cannot be opened or, as an item of the stream, read.
pub fn read_logs(
    path: &Path,
    options: LogOptions,
    follow: Option<watch::Receiver<LogProgress>>,
) -> io::Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>> {
    let file = File::open(path)?;
    let (sender, receiver) = mpsc::channel(16);
    let limit = options.limit_bytes.unwrap_or(u64::MAX);
    let reader = Reader { file, path: path.to_owned(), lines: Lines::new(options), sender, left: limit };
    tokio::spawn(reader.run(follow));
    Ok(ReceiverStream::new(receiver))
}

struct Reader {
    file: File,
    path: PathBuf,
    lines: Lines,
    sender: mpsc::Sender<io::Result<Bytes>>,
    left: u64,
}

/// The receiver is gone, or has all it wanted.
struct Finished;

impl Reader {
    async fn run(mut self, mut follow: Option<watch::Receiver<LogProgress>>) {
        loop {
            let ended = follow.as_mut().is_none_or(|progress| progress.borrow_and_update().ended);
            if self.read_on().await.is_err() || self.send_tail().await.is_err() || ended {
                return;
            }
            let Some(progress) = &mut follow else { return };
            tokio::select! {
                changed = progress.changed() => if changed.is_err() { follow = None },
                () = self.sender.closed() => return,
            }
        }
    }

    /// Reads up to the present end of the file.
    async fn read_on(&mut self) -> Result<(), Finished> {
        let mut chunk = vec![0; 64 * 1024];
        loop {
            match self.file.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(length) => {
                    let text = self.lines.push(&chunk[..length]);
                    self.send(text).await?;
                }
                Err(error) => {
                    let error = io::Error::new(error.kind(), format!("{}: {error}", self.path.display()));
                    return self.sender.send(Err(error)).await.map_err(|_| Finished).and(Err(Finished));
                }
            }
        }
    }

    async fn send_tail(&mut self) -> Result<(), Finished> {
        let text = self.lines.end_of_tail();
        self.send(text).await
    }

    async fn send(&mut self, mut text: Vec<u8>) -> Result<(), Finished> {
        if text.is_empty() {
            return Ok(());
        }
        text.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= text.len() as u64;
        self.sender.send(Ok(text.into())).await.map_err(|_| Finished)?;
        if self.left == 0 { Err(Finished) } else { Ok(()) }
    }
}

/// From pieces of a log file to the lines that were asked for. Pure.
struct Lines {
    options: LogOptions,
    /// The end of what was pushed, without its newline yet.
    pending: Vec<u8>,
    /// While the beginning is being looked for: the last complete lines.
    tail: Option<VecDeque<Vec<u8>>>,
    /// The line whose pieces are being put together.
    line: Vec<u8>,
    line_started: bool,
}

impl Lines {
    fn new(options: LogOptions) -> Self {
        let tail = options.tail_lines.map(|_| VecDeque::new());
        Self { options, pending: Vec::new(), tail, line: Vec::new(), line_started: false }
    }

    /// Takes more of the file; returns what can be sent.
    fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut output = Vec::new();
        self.pending.extend_from_slice(bytes);
        let pending = std::mem::take(&mut self.pending);
        let mut rest = &pending[..];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.piece(&rest[..end], &mut output);
            rest = &rest[end + 1..];
        }
        self.pending = rest.to_vec();
        output
    }

    fn piece(&mut self, line: &[u8], output: &mut Vec<u8>) {
        let Some(piece) = Piece::parse(line) else { return };
        if !self.line_started {
            let too_old = |since| piece.timestamp().is_some_and(|time| time < since);
            if self.options.since.is_some_and(too_old) {
                return;
            }
            if self.options.timestamps {
                self.line.extend_from_slice(piece.time);
                self.line.push(b' ');
            }
        }
        self.line.extend_from_slice(piece.content);
        self.line_started = !piece.full;
        if piece.full {
            self.line.push(b'\n');
            self.emit(output);
        }
    }

    fn emit(&mut self, output: &mut Vec<u8>) {
        let line = std::mem::take(&mut self.line);
        match (&mut self.tail, self.options.tail_lines) {
            (Some(tail), Some(count)) => {
                tail.push_back(line);
                if tail.len() as u64 > count {
                    tail.pop_front();
                }
            }
            _ => output.extend_from_slice(&line),
        }
    }

    /// The end has been seen once: the lines held back so far, and none is held back from now on.
    fn end_of_tail(&mut self) -> Vec<u8> {
        self.tail.take().into_iter().flatten().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "2026-11-21T01:00:00.000000000Z stdout F one\n\
        2026-11-21T01:00:01.000000000Z stdout P tw\n\
        2026-11-21T01:00:01.000000001Z stdout F o\n\
        2026-11-21T01:00:02.000000000Z stderr F three\n";

    fn read(options: LogOptions) -> String {
        let mut lines = Lines::new(options);
        let mut output = Vec::new();
        for chunk in LOG.as_bytes().chunks(7) {
            output.extend(lines.push(chunk));
        }
        output.extend(lines.end_of_tail());
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn options_select_lines() {
        assert_eq!(read(LogOptions::default()), "one\ntwo\nthree\n");
        assert_eq!(read(LogOptions { tail_lines: Some(2), ..Default::default() }), "two\nthree\n");
        assert_eq!(read(LogOptions { tail_lines: Some(0), ..Default::default() }), "");
        let since = Some("2026-11-21T01:00:00.5Z".parse().unwrap());
        assert_eq!(read(LogOptions { since, ..Default::default() }), "two\nthree\n");
        let timestamps = LogOptions { timestamps: true, tail_lines: Some(1), ..Default::default() };
        assert_eq!(read(timestamps), "2026-11-21T01:00:02.000000000Z three\n");
    }

    #[tokio::test]
    async fn a_follower_sees_later_lines_and_the_end() {
        use futures::TryStreamExt as _;
        use tokio::io::AsyncWriteExt as _;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pod").join("0.log");
        let (writer, progress) = super::super::LogWriter::create(&path).unwrap();
        let (mut stdout, stdout_end) = tokio::io::duplex(64);
        let (stderr, stderr_end) = tokio::io::duplex(64);
        let pump = tokio::spawn(writer.pump(stdout_end, stderr_end));
        stdout.write_all(b"early\n").await.unwrap();
        progress.clone().wait_for(|progress| progress.bytes > 0).await.unwrap();
        let options = LogOptions { tail_lines: Some(1), ..Default::default() };
        let mut log = Box::pin(read_logs(&path, options, Some(progress)).unwrap());
        assert_eq!(log.try_next().await.unwrap().unwrap(), "early\n");
        stdout.write_all(b"late\nunterminated").await.unwrap();
        assert_eq!(log.try_next().await.unwrap().unwrap(), "late\n");
        drop((stdout, stderr));
        assert_eq!(log.try_next().await.unwrap().unwrap(), "unterminated\n");
        assert_eq!(log.try_next().await.unwrap(), None);
        pump.await.unwrap().unwrap();
    }
}
