//! Lines of the CRI log format. Pure.

use std::io::Write as _;

use jiff::Timestamp;

/// Which output stream a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// Longest piece of a line; longer lines are written in pieces.
pub(super) const LONGEST_PIECE: usize = 16 * 1024;

/// Appends one piece. `full` says that the line ends here.
pub(super) fn append(target: &mut Vec<u8>, time: Timestamp, stream: Stream, full: bool, piece: &[u8]) {
    let stream = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    let tag = if full { 'F' } else { 'P' };
    write!(target, "{time:.9} {stream} {tag} ").expect("invariant: a Vec takes every write");
    target.extend_from_slice(piece);
    target.push(b'\n');
}

/// One line of a log file, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) time: &'a [u8],
    pub(super) full: bool,
    pub(super) content: &'a [u8],
}

impl<'a> Piece<'a> {
    /// Takes a line apart, without its newline. `None` if it is not in the format.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let (time, _stream, tag, content) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        Some(Self { time, full: tag != b"P", content })
    }

    /// When it was written.
    pub(super) fn timestamp(&self) -> Option<Timestamp> {
        std::str::from_utf8(self.time).ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let time: Timestamp = "2026-11-21T01:02:03.12Z".parse().unwrap();
        let mut text = Vec::new();
        append(&mut text, time, Stream::Stderr, false, b"a b  c");
        assert_eq!(String::from_utf8(text.clone()).unwrap(), "2026-11-21T01:02:03.120000000Z stderr P a b  c\n");
        let piece = Piece::parse(text.strip_suffix(b"\n").unwrap()).unwrap();
        assert_eq!((piece.full, piece.content, piece.timestamp()), (false, &b"a b  c"[..], Some(time)));
        assert_eq!(Piece::parse(b"no log line"), None);
    }
}
