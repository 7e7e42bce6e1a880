//! `pods/exec` over WebSocket: channels 0 to 4 for input, output, errors, the final status and the terminal's size.

use std::io;

use axum::body::Body;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::SplitStream;
use http::Response;
use serde_json::{Value, json};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::channels::{Disconnected, Sender, unframe};
use super::{container, reference};
use crate::backend::{ExecOptions, ExecSession, NodeError};
use crate::status::ApiError;
use crate::verbs::Context;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// In `v5`, the number of the channel that the client closes follows.
const CLOSE: u8 = 255;

/// Reads the request, as far as it can be judged without the node.
pub(super) fn options(ctx: &Context, pod: &Value) -> Result<ExecOptions, ApiError> {
    let query = &ctx.request.query;
    let command: Vec<String> = query.all("command").map(str::to_owned).collect();
    if command.is_empty() {
        return Err(ApiError::bad_request("you must specify at least 1 command for the container"));
    }
    let container = container(ctx, pod)?;
    Ok(ExecOptions { container, command, tty: query.flag("tty"), stdin: query.flag("stdin") })
}

pub(super) async fn serve(
    ctx: &Context,
    pod: &Value,
    options: ExecOptions,
    upgrade: WebSocketUpgrade,
) -> Result<Response<Body>, ApiError> {
    let upgrade = upgrade.protocols(["v5.channel.k8s.io", "v4.channel.k8s.io"]);
    if upgrade.selected_protocol().is_none() {
        return Err(ApiError::bad_request(
            "unable to upgrade: the subprotocols v5.channel.k8s.io and v4.channel.k8s.io are supported",
        ));
    }
    // Not after the upgrade, so that the client waits for the start before it sends input.
    let session = ctx.server.node.exec(reference(pod), options).await;
    Ok(upgrade.on_upgrade(|socket| async move {
        match session {
            Ok(session) => run(socket, session).await,
            Err(error) => refuse(socket, &error).await,
        }
    }))
}

/// Says on the error channel, where Kubernetes says it, that the command could not be started.
async fn refuse(socket: WebSocket, error: &NodeError) {
    let sender = Sender::new(socket.split().0);
    // A client that has gone needs no answer.
    let _ = sender.send(ERROR, failure(error).to_string().as_bytes()).await;
    sender.close().await;
}

async fn run(socket: WebSocket, session: ExecSession) {
    let ExecSession { stdin, stdout, stderr, resize, exit } = session;
    let (sink, source) = socket.split();
    let sender = Sender::new(sink);
    let output = async {
        let errors = async {
            match stderr {
                Some(stderr) => sender.copy(STDERR, stderr).await,
                None => Ok(()),
            }
        };
        tokio::try_join!(sender.copy(STDOUT, stdout), errors)?;
        let status = exit_status(exit.await);
        sender.send(ERROR, status.to_string().as_bytes()).await
    };
    // Whichever ends first ends the session: the command, or the client. Dropping the rest frees the node's side.
    tokio::select! {
        result = output => {
            if result == Err(Disconnected) {
                tracing::debug!("the client of an exec went away");
            }
        }
        () = receive(source, stdin, resize) => {}
    }
    sender.close().await;
}

type Input = Option<Box<dyn AsyncWrite + Send + Unpin>>;

/// Passes on input and terminal sizes until the client goes.
async fn receive(mut source: SplitStream<WebSocket>, mut stdin: Input, resize: Option<mpsc::Sender<(u16, u16)>>) {
    while let Some(Ok(message)) = source.next().await {
        let Some((channel, data)) = unframe(message) else { continue };
        match channel {
            STDIN => write_input(&mut stdin, &data).await,
            RESIZE => send_size(resize.as_ref(), &data).await,
            CLOSE if data.first() == Some(&STDIN) => stdin = None,
            _ => {}
        }
    }
}

async fn write_input(stdin: &mut Input, data: &Bytes) {
    let Some(writer) = stdin else { return };
    let written = async {
        writer.write_all(data).await?;
        writer.flush().await
    };
    if written.await.is_err() {
        // The command has closed its input; what the client still sends is nobody's.
        *stdin = None;
    }
}

async fn send_size(resize: Option<&mpsc::Sender<(u16, u16)>>, data: &[u8]) {
    let Ok(size) = serde_json::from_slice::<Value>(data) else { return };
    let number = |key: &str| size[key].as_u64().and_then(|number| u16::try_from(number).ok());
    if let (Some(resize), Some(width), Some(height)) = (resize, number("Width"), number("Height")) {
        let _ = resize.send((width, height)).await;
    }
}

/// The Status that ends an exec.
fn exit_status(exit: io::Result<i32>) -> Value {
    match exit {
        Ok(0) => json!({"metadata": {}, "status": "Success"}),
        Ok(code) => json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        Err(error) => failure(&error),
    }
}

fn failure(error: &dyn std::fmt::Display) -> Value {
    json!({
        "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
        "message": format!("Internal error occurred: error executing command in container: {error}"),
    })
}
