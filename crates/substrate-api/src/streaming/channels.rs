//! The framing of Kubernetes' WebSocket subprotocols: every message starts with the number of its channel.

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use bytes::{BufMut, Bytes, BytesMut};
use futures::SinkExt;
use futures::stream::SplitSink;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Mutex;

/// The sending half, shared by the channels of one connection.
pub(super) struct Sender(Mutex<SplitSink<WebSocket, Message>>);

/// The client is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Disconnected;

impl Sender {
    pub(super) fn new(sink: SplitSink<WebSocket, Message>) -> Sender {
        Sender(Mutex::new(sink))
    }

    /// Sends data on a channel.
    pub(super) async fn send(&self, channel: u8, data: &[u8]) -> Result<(), Disconnected> {
        let mut message = BytesMut::with_capacity(data.len() + 1);
        message.put_u8(channel);
        message.put_slice(data);
        self.0.lock().await.send(Message::Binary(message.freeze())).await.map_err(|_| Disconnected)
    }

    /// Ends the connection in order.
    pub(super) async fn close(&self) {
        let mut sink = self.0.lock().await;
        // A client that has gone already needs no goodbye; kubectl takes any code but this one for a failure.
        let normal = CloseFrame { code: close_code::NORMAL, reason: Utf8Bytes::from_static("") };
        let _ = sink.send(Message::Close(Some(normal))).await;
        let _ = sink.close().await;
    }

    /// Sends everything that `source` gives on a channel, until its end.
    pub(super) async fn copy(&self, channel: u8, mut source: impl AsyncRead + Unpin) -> Result<(), Disconnected> {
        let mut buffer = vec![0; 32 * 1024];
        loop {
            match source.read(&mut buffer).await {
                Ok(0) => return Ok(()),
                Ok(count) => self.send(channel, &buffer[..count]).await?,
                Err(error) => {
                    tracing::debug!(%error, channel, "a stream of a pod ended early");
                    return Ok(());
                }
            }
        }
    }
}

/// Channel and data of a message; `None` for those that carry none.
pub(super) fn unframe(message: Message) -> Option<(u8, Bytes)> {
    let mut data = match message {
        Message::Binary(data) => data,
        Message::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
        _ => return None,
    };
    if data.is_empty() {
        return None;
    }
    let channel = data.split_to(1)[0];
    Some((channel, data))
}
