//! `echo` over a WebSocket: every text or binary message comes back behind who served it.

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;

use super::App;
use crate::context::SharedContext;
use crate::line;

/// Accepts the upgrade. Who the caller is was seen in its request, for all messages.
pub(super) async fn accept(
    State(app): State<App>,
    SharedContext(context): SharedContext,
    upgrade: WebSocketUpgrade,
) -> Response {
    let (server, peer) = (line::server(&app.served_by), line::peer(&context.peer));
    upgrade.max_message_size(line::LIMIT).on_upgrade(async move |socket| echo(socket, &server, &peer).await)
}

/// A caller that goes away ends it; that is no error.
async fn echo(mut socket: WebSocket, server: &str, peer: &str) {
    while let Some(Ok(message)) = socket.recv().await {
        let text = match &message {
            Message::Text(text) => text.as_str().to_owned(),
            Message::Binary(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Message::Ping(_) | Message::Pong(_) => continue,
            Message::Close(_) => break,
        };
        if socket.send(Message::Text(line::write(server, peer, &text).into())).await.is_err() {
            break;
        }
    }
}
