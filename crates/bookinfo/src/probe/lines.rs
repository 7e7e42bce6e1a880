//! Lines over TCP or TLS: one line out, one line back.

use std::io;

use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

use super::connection::{Answer, Sent};
use super::failure::{ErrorClass, Failure};
use super::transport::Stream;
use crate::hop::PEER_HEADER;
use crate::identity::SERVED_BY_HEADER;
use crate::line;

/// A connection that lines go over.
pub(super) struct Lines {
    stream: BufReader<Stream>,
    received: Vec<u8>,
}

impl Lines {
    /// Takes a connection; with a server that speaks first, waits for its greeting.
    pub(super) async fn open(stream: Stream, server_first: bool) -> Result<Self, Failure> {
        let mut lines = Self { stream: BufReader::new(stream), received: Vec::new() };
        if server_first {
            lines.receive().await?;
            text_is(&lines.received, line::GREETING)?;
        }
        Ok(lines)
    }

    /// Sends a line and reads the line that answers it, which must hold the same text.
    pub(super) async fn send(&mut self, message: &str) -> Sent {
        match self.exchange(message).await {
            Ok(answer) => Sent::Answered(answer),
            Err(failure) => Sent::Failed(failure),
        }
    }

    async fn exchange(&mut self, message: &str) -> Result<Answer, Failure> {
        let line = [message.as_bytes(), b"\n"].concat();
        self.stream.write_all(&line).await.map_err(|error| of_io(&error))?;
        self.stream.flush().await.map_err(|error| of_io(&error))?;
        self.receive().await?;
        text_is(&self.received, message)
    }

    async fn receive(&mut self) -> Result<(), Failure> {
        self.received.clear();
        let limit = u64::try_from(2 * line::LIMIT).unwrap_or(u64::MAX);
        let read = (&mut self.stream).take(limit).read_until(b'\n', &mut self.received).await;
        read.map_err(|error| of_io(&error))?;
        if self.received.last() == Some(&b'\n') {
            return Ok(());
        }
        Err(Failure::new(ErrorClass::Reset, "the other side ended the connection"))
    }
}

/// The answer that a line is, if it holds this text.
pub(super) fn text_is(received: &[u8], expected: &str) -> Result<Answer, Failure> {
    let text = String::from_utf8_lossy(received);
    let protocol = |what: &str| {
        let begin: String = text.chars().take(80).collect();
        Failure::new(ErrorClass::Protocol, format!("{what}: {begin:?}"))
    };
    let line = line::read(text.trim_end_matches(['\r', '\n'])).ok_or_else(|| protocol("not a line of echo"))?;
    if line.text != expected {
        return Err(protocol("not the text that was sent"));
    }
    Ok(answer(line.served_by, line.peer))
}

/// An answer of a protocol without status and headers, with the headers that echo would have set.
pub(super) fn answer(served_by: &str, peer: &str) -> Answer {
    let headers = [(SERVED_BY_HEADER, served_by), (PEER_HEADER, peer)];
    let known = headers
        .into_iter()
        .filter_map(|(name, value)| Some((http::HeaderName::from_static(name), HeaderValue::from_str(value).ok()?)));
    Answer {
        status: StatusCode::OK,
        grpc_status: None,
        headers: HeaderMap::from_iter(known),
        body: bytes::Bytes::new(),
    }
}

/// A connection that broke.
pub(super) fn of_io(error: &io::Error) -> Failure {
    let failure = Failure::of_connect(error);
    match error.kind() {
        // The connection stood: a refusal or a lack of a way is about another one.
        io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionAborted => {
            Failure::new(ErrorClass::Reset, error.to_string())
        }
        io::ErrorKind::ConnectionReset => failure,
        _ => Failure::new(ErrorClass::Reset, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_that_was_sent_is_an_answer() {
        let answer = text_is(b"service=echo;version=v2 unknown hello\r\n", "hello").unwrap();
        assert_eq!(answer.headers[SERVED_BY_HEADER], "service=echo;version=v2");
        assert_eq!(text_is(b"service=echo unknown hullo\n", "hello").unwrap_err().class, ErrorClass::Protocol);
        assert_eq!(text_is(b"HTTP/1.1 400 Bad Request\r\n", "hello").unwrap_err().class, ErrorClass::Protocol);
    }
}
