//! The answer of `echo` where a protocol has no headers: one line of TCP or TLS, one message of a WebSocket. Pure.
//!
//! `<served-by> <peer> <text>`: the server and the identities it saw in their header forms, which hold no spaces, then
//! the text that was sent. A server that speaks first greets with such a line too, with [`GREETING`] as its text.

use crate::hop::Peer;
use crate::identity::ServedBy;

/// Peer of a connection whose server is told nothing of its caller.
pub const UNKNOWN_PEER: &str = "unknown";
/// Text of the line with which a server that speaks first begins.
pub const GREETING: &str = "ready";
/// Longest line that is taken.
pub const LIMIT: usize = 64 << 10;

/// A line in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'text> {
    /// The server in its header form.
    pub served_by: &'text str,
    /// The identities that it saw in their header form.
    pub peer: &'text str,
    /// The text.
    pub text: &'text str,
}

/// Writes a line, without its end.
pub fn write(served_by: &str, peer: &str, text: &str) -> String {
    format!("{served_by} {peer} {text}")
}

/// Reads a line; `None` where it is none of a server of ours.
pub fn read(line: &str) -> Option<Line<'_>> {
    let (served_by, rest) = line.split_once(' ')?;
    let (peer, text) = rest.split_once(' ')?;
    (served_by.starts_with("service=") && !peer.is_empty()).then_some(Line { served_by, peer, text })
}

/// The server as it stands in a line: a value with a space would end it early.
pub fn server(served_by: &ServedBy) -> String {
    served_by.to_header().replace(' ', "_")
}

/// The identities as they stand in a line.
pub fn peer(peer: &Peer) -> String {
    peer.to_header().replace(' ', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_as_it_was_written() {
        let served_by =
            ServedBy { service: Some("echo".to_owned()), pod: Some("a b".to_owned()), ..ServedBy::default() };
        let line = write(&server(&served_by), UNKNOWN_PEER, "two words ");
        assert_eq!(read(&line), Some(Line { served_by: "service=echo;pod=a_b", peer: "unknown", text: "two words " }));
        assert_eq!(read("service=echo none "), Some(Line { served_by: "service=echo", peer: "none", text: "" }));
    }

    #[test]
    fn other_lines_are_not_taken_for_ours() {
        for line in ["", "220 mail.example ESMTP", "service=echo", "service=echo none", "HTTP/1.1 400 Bad Request"] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
