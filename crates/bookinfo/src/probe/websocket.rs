//! Messages over a WebSocket: one out, one back.

use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Request, Uri};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::connection::{Answer, Sent};
use super::failure::{ErrorClass, Failure};
use super::lines::{of_io, text_is};
use super::transport::Stream;

/// A connection before or after its upgrade.
pub(super) enum WebSocket {
    /// The first exchange upgrades it.
    Fresh(Box<Stream>),
    /// Open.
    Open(Box<WebSocketStream<Stream>>),
    /// Refused or broken.
    Over,
}

impl WebSocket {
    /// Whether nothing can go over it any more.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// Sends a message and reads the one that answers it; upgrades first where that is still to be done. A refused
    /// upgrade is an answer with its status.
    pub(super) async fn send(&mut self, uri: &Uri, headers: &HeaderMap, message: &str) -> Sent {
        let mut socket = match std::mem::replace(self, Self::Over) {
            Self::Open(socket) => socket,
            Self::Over => return Sent::Unsent,
            Self::Fresh(stream) => match upgrade(*stream, uri, headers).await {
                Ok(socket) => Box::new(socket),
                Err(Error::Http(response)) => return Sent::Answered(refusal(*response)),
                Err(error) => return Sent::Failed(failure(error)),
            },
        };
        match exchange(&mut socket, message).await {
            Ok(answer) => {
                *self = Self::Open(socket);
                Sent::Answered(answer)
            }
            Err(failure) => Sent::Failed(failure),
        }
    }
}

async fn upgrade(stream: Stream, uri: &Uri, headers: &HeaderMap) -> Result<WebSocketStream<Stream>, Error> {
    let mut request: Request<()> = uri.into_client_request()?;
    for (name, value) in headers {
        request.headers_mut().insert(name, value.clone());
    }
    Ok(tokio_tungstenite::client_async(request, stream).await?.0)
}

async fn exchange(socket: &mut WebSocketStream<Stream>, message: &str) -> Result<Answer, Failure> {
    socket.send(Message::text(message)).await.map_err(failure)?;
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return text_is(text.as_bytes(), message),
            Some(Ok(Message::Binary(bytes))) => return text_is(&bytes, message),
            Some(Ok(Message::Close(_))) | None => {
                return Err(Failure::new(ErrorClass::Reset, "the other side ended the connection"));
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(failure(error)),
        }
    }
}

fn refusal(response: http::Response<Option<Vec<u8>>>) -> Answer {
    let (head, body) = response.into_parts();
    let body = body.unwrap_or_default().into();
    Answer { status: head.status, grpc_status: None, headers: head.headers, body }
}

fn failure(error: Error) -> Failure {
    use tokio_tungstenite::tungstenite::error::ProtocolError;
    match error {
        Error::Io(error) => of_io(&error),
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake | ProtocolError::HandshakeIncomplete) => {
            Failure::new(ErrorClass::Reset, error.to_string())
        }
        error => Failure::new(ErrorClass::Protocol, error.to_string()),
    }
}
