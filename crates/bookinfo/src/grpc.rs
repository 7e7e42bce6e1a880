//! gRPC as far as `echo` and the probe need it: messages, their frames, and what a gRPC status means in HTTP. Pure.
//!
//! The messages follow `proto/echo.proto` and gRPC's health protocol.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::HeaderMap;
use prost::Message;

/// Path of the unary call.
pub const ECHO: &str = "/meshproof.echo.v1.Echo/Echo";
/// Path of the call with a stream in both directions.
pub const STREAM: &str = "/meshproof.echo.v1.Echo/Stream";
/// Media type of requests and answers.
pub const CONTENT_TYPE: &str = "application/grpc";
/// Trailer, or header of an answer without a body, with the status.
pub const STATUS: &str = "grpc-status";

/// Longest message that is taken.
const MESSAGE_LIMIT: usize = 4 << 20;
/// Bytes before each message: a flag and the length.
const PREFIX: usize = 5;

/// What is to be echoed.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct EchoRequest {
    /// Any text.
    #[prost(string, tag = "1")]
    pub message: String,
    /// gRPC status to answer with; 0 is success.
    #[prost(uint32, tag = "2")]
    pub status: u32,
}

/// The echo.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct EchoResponse {
    /// The server in its header form.
    #[prost(string, tag = "1")]
    pub served_by: String,
    /// The identities that the server saw, in their header form.
    #[prost(string, tag = "2")]
    pub peer: String,
    /// The text.
    #[prost(string, tag = "3")]
    pub message: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct HealthCheckResponse {
    /// 1 is `SERVING`.
    #[prost(int32, tag = "1")]
    pub status: i32,
}

/// A message with its prefix.
pub fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX + length);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    message.encode(&mut bytes).expect("invariant: the buffer grows");
    bytes.freeze()
}

/// A message that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It says that it is compressed, which was not negotiated.
    #[error("the message is compressed")]
    Compressed,
    /// It is longer than is taken.
    #[error("the message has {0} bytes")]
    TooLong(usize),
    /// It is not of its type.
    #[error("the message cannot be decoded: {0}")]
    Message(#[from] prost::DecodeError),
}

/// Collects the bytes of a body and gives the messages in them.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// Takes more of the body.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether bytes are left that make no message.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The next message that is complete.
    pub fn message<M: Message + Default>(&mut self) -> Result<Option<M>, FrameError> {
        let Some((prefix, rest)) = self.buffer.split_first_chunk::<PREFIX>() else { return Ok(None) };
        let [flag, length @ ..] = *prefix;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if flag != 0 {
            return Err(FrameError::Compressed);
        }
        if length > MESSAGE_LIMIT {
            return Err(FrameError::TooLong(length));
        }
        if rest.len() < length {
            return Ok(None);
        }
        self.buffer.advance(PREFIX);
        Ok(Some(M::decode(self.buffer.split_to(length))?))
    }
}

/// The status in trailers or headers.
pub fn status(headers: &HeaderMap) -> Option<u16> {
    headers.get(STATUS)?.to_str().ok()?.parse().ok()
}

/// The HTTP status that stands for a gRPC status, as gRPC's own gateway maps them.
pub fn http_status(status: u16) -> u16 {
    match status {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(message: &str, status: u32) -> EchoRequest {
        EchoRequest { message: message.to_owned(), status }
    }

    #[test]
    fn a_frame_is_what_grpc_says() {
        // Flag 0, length 4, then field 1 as a string of two bytes.
        assert_eq!(frame(&request("hi", 0)).as_ref(), [0, 0, 0, 0, 4, 0x0a, 2, b'h', b'i']);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let mut decoder = Decoder::default();
        decoder.extend(&[1, 0, 0, 0, 0]);
        assert_eq!(decoder.message::<EchoRequest>(), Err(FrameError::Compressed));
        let mut decoder = Decoder::default();
        decoder.extend(&[0, 0xff, 0, 0, 0]);
        assert_eq!(decoder.message::<EchoRequest>(), Err(FrameError::TooLong(0xff00_0000)));
        let mut decoder = Decoder::default();
        decoder.extend(&[0, 0, 0, 0, 1, 0x0a]);
        assert!(matches!(decoder.message::<EchoRequest>(), Err(FrameError::Message(_))));
    }

    #[test]
    fn every_grpc_status_but_0_stands_for_a_failure() {
        assert_eq!((http_status(0), http_status(14), http_status(7)), (200, 503, 403));
        assert!((1..=20).all(|status| http_status(status) >= 400));
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in_however_the_body_is_cut(
            messages in prop::collection::vec((".{0,40}", any::<u32>()), 0..6),
            cut in 1_usize..12,
        ) {
            let sent: Vec<_> = messages.iter().map(|(message, status)| request(message, *status)).collect();
            let body: Vec<u8> = sent.iter().flat_map(|message| frame(message).to_vec()).collect();
            let (mut decoder, mut received) = (Decoder::default(), Vec::new());
            for part in body.chunks(cut) {
                decoder.extend(part);
                while let Some(message) = decoder.message::<EchoRequest>().unwrap() {
                    received.push(message);
                }
            }
            prop_assert_eq!(received, sent);
            prop_assert!(decoder.is_empty());
        }
    }
}
