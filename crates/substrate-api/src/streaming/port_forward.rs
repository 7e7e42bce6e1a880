//! `pods/portforward` over plain WebSocket channels (`v4.channel.k8s.io`): two channels a port, data and errors.
//! kubectl tunnels SPDY instead, which is not spoken here.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use futures::StreamExt;
use futures::future::join_all;
use futures::stream::SplitStream;
use http::Response;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;

use super::channels::{Sender, unframe};
use super::reference;
use crate::backend::{NodeBackend, PodRef};
use crate::status::ApiError;
use crate::verbs::Context;

pub(super) fn serve(ctx: &Context, pod: &Value, upgrade: WebSocketUpgrade) -> Result<Response<Body>, ApiError> {
    let ports = ports(ctx)?;
    let upgrade = upgrade.protocols(["v4.channel.k8s.io"]);
    if upgrade.selected_protocol().is_none() {
        return Err(ApiError::bad_request(
            "unable to upgrade: port forwarding is served for the subprotocol v4.channel.k8s.io; SPDY is not supported",
        ));
    }
    let (node, pod) = (Arc::clone(&ctx.server.node), reference(pod));
    Ok(upgrade.on_upgrade(move |socket| run(socket, node, pod, ports)))
}

/// The ports of the query: repeated, or separated by commas.
fn ports(ctx: &Context) -> Result<Vec<u16>, ApiError> {
    let texts = ctx.request.query.all("ports").flat_map(|text| text.split(','));
    let ports: Result<Vec<u16>, _> = texts.map(|text| text.trim().parse::<u16>()).collect();
    match ports {
        Ok(ports) if !ports.is_empty() && ports.len() <= 64 && !ports.contains(&0) => Ok(ports),
        _ => Err(ApiError::bad_request("query parameter \"ports\" must list 1 to 64 port numbers")),
    }
}

async fn run(socket: WebSocket, node: Arc<dyn NodeBackend>, pod: PodRef, ports: Vec<u16>) {
    let (sink, source) = socket.split();
    let sender = Sender::new(sink);
    let mut writers = HashMap::new();
    let mut readers = Vec::new();
    for (index, port) in (0_u8..).zip(ports) {
        let (data, errors) = (index * 2, index * 2 + 1);
        for channel in [data, errors] {
            if sender.send(channel, &port.to_le_bytes()).await.is_err() {
                return;
            }
        }
        match node.dial_pod(pod.clone(), port).await {
            Ok(stream) => {
                let (reader, writer) = stream.into_split();
                readers.push(sender.copy(data, reader));
                writers.insert(data, writer);
            }
            Err(error) => {
                let message = format!("error forwarding port {port} to pod {}: {error}", pod.name);
                if sender.send(errors, message.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    }
    // The client may close first; or every port has come to its end.
    tokio::select! {
        _ = join_all(readers) => {}
        () = receive(source, writers) => {}
    }
    sender.close().await;
}

async fn receive(mut source: SplitStream<WebSocket>, mut writers: HashMap<u8, OwnedWriteHalf>) {
    while let Some(Ok(message)) = source.next().await {
        let Some((channel, data)) = unframe(message) else { continue };
        let Some(writer) = writers.get_mut(&channel) else { continue };
        if writer.write_all(&data).await.is_err() {
            writers.remove(&channel);
        }
    }
}
