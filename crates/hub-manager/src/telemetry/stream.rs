//! One stream of the requests of all clusters, as long as somebody listens. An agent that comes later or comes back joins.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use futures::stream;
use http_body_util::BodyExt as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::Sources;
use crate::agent::{self, Lines};
use crate::clusters::session::AgentPlace;

/// Lines that wait for a slow listener; then the agents are slowed down, which tell how much is missed.
const BACKLOG: usize = 1024;
/// Pause before an agent is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// The stream.
pub(super) fn response(sources: Sources) -> Response {
    let (lines, listener) = mpsc::channel(BACKLOG);
    let tasks = {
        let mut tasks = JoinSet::new();
        tasks.spawn(follow_all(sources, lines));
        tasks
    };
    // The tasks end with the body, that is with the listener.
    let lines = stream::unfold((listener, tasks), |(mut listener, tasks)| async move {
        Some((listener.recv().await?, (listener, tasks)))
    });
    let body = Body::from_stream(lines.map(Ok::<_, Infallible>));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

async fn follow_all(sources: Sources, lines: mpsc::Sender<Bytes>) {
    let mut changed = sources.agents.subscribe();
    let mut followers = JoinSet::new();
    let mut followed: BTreeMap<String, tokio::task::AbortHandle> = BTreeMap::new();
    loop {
        followed.retain(|_, task| !task.is_finished());
        for (cluster, place) in sources.agents.all() {
            let begin = || followers.spawn(follow(sources.namespace.clone(), place, lines.clone()));
            followed.entry(cluster).or_insert_with(begin);
        }
        tokio::select! {
            changed = changed.changed() => if changed.is_err() { return },
            Some(_) = followers.join_next() => {}
        }
    }
}

/// Follows the agent of a cluster until the cluster is no longer registered.
async fn follow(namespace: String, mut place: watch::Receiver<AgentPlace>, lines: mpsc::Sender<Bytes>) {
    loop {
        let known = place.borrow_and_update().clone();
        let moved = match known {
            None => place.changed().await,
            Some((client, pod)) => tokio::select! {
                moved = place.changed() => moved,
                () = hand_on(&client, &namespace, &pod, &lines) => {
                    match tokio::time::timeout(PAUSE, place.changed()).await {
                        Ok(moved) => moved,
                        Err(_elapsed) => Ok(()),
                    }
                }
            },
        };
        if moved.is_err() || lines.is_closed() {
            return;
        }
    }
}

async fn hand_on(client: &kube::Client, namespace: &str, pod: &str, listener: &mpsc::Sender<Bytes>) {
    let mut body = match agent::get(client, namespace, pod, "/v1/access-log").await {
        Ok(response) => response.into_body().into_data_stream(),
        Err(error) => {
            tracing::debug!(pod, %error, "no access log of this agent");
            return;
        }
    };
    let mut lines = Lines::default();
    while let Some(Ok(chunk)) = body.next().await {
        for mut line in lines.take(&chunk) {
            line.push(b'\n');
            if listener.send(Bytes::from(line)).await.is_err() {
                return;
            }
        }
    }
}
