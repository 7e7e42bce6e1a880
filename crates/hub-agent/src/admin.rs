//! What the plane asks an agent for, over a listener on loopback that is reached by port-forward: `/v1/acknowledged`,
//! `/v1/access-log` (streams of lines of JSON) and `/metrics`. Reads only.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::stream::{self, Stream};
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use crate::acknowledged::{Table, changes};
use crate::telemetry::AccessLogs;

/// Where the answers come from.
#[derive(Clone)]
pub struct Sources {
    /// What the proxies have acknowledged.
    pub acknowledged: watch::Receiver<Arc<Table>>,
    /// What the proxies tell of requests.
    pub access_logs: AccessLogs,
}

/// The routes.
pub fn router(sources: Sources) -> Router {
    Router::new()
        .route("/v1/acknowledged", get(acknowledged))
        .route("/v1/access-log", get(access_log))
        .route("/metrics", get(metrics))
        .with_state(sources)
}

async fn metrics(State(sources): State<Sources>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], sources.access_logs.text()).into_response()
}

async fn acknowledged(State(sources): State<Sources>) -> Response {
    lines(acknowledged_lines(sources.acknowledged))
}

async fn access_log(State(sources): State<Sources>) -> Response {
    let requests = sources.access_logs.subscribe();
    lines(stream::unfold(requests, |mut requests| async move {
        let line = match requests.recv().await {
            Ok(line) => Bytes::from(line.to_string()),
            Err(RecvError::Lagged(missed)) => Bytes::from(format!("{}\n", json!({ "missed": missed }))),
            Err(RecvError::Closed) => return None,
        };
        Some((line, requests))
    }))
}

fn lines(lines: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    use futures::StreamExt as _;
    let body = Body::from_stream(lines.map(Ok::<_, Infallible>));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

/// The whole table at first, then what changed.
fn acknowledged_lines(tables: watch::Receiver<Arc<Table>>) -> impl Stream<Item = Bytes> + Send {
    let begin = (tables, None::<Arc<Table>>);
    stream::unfold(begin, |(mut tables, known)| async move {
        let nothing = Arc::new(Table::new());
        loop {
            let current = tables.borrow_and_update().clone();
            let before = known.as_ref().unwrap_or(&nothing);
            let changed: BTreeMap<_, _> = changes(before, &current);
            if known.is_none() || !changed.is_empty() {
                let line = Bytes::from(format!("{}\n", json!({ "resources": changed })));
                return Some((line, (tables, Some(current))));
            }
            tables.changed().await.ok()?;
        }
    })
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;
    use crate::acknowledged::Row;

    fn row(acknowledged: bool) -> Row {
        Row { resource_version: "7".to_owned(), acknowledged, ..Row::default() }
    }

    #[tokio::test]
    async fn the_whole_table_first_then_what_changed() {
        let sender =
            watch::Sender::new(Arc::new(Table::from([("a".to_owned(), row(false)), ("b".to_owned(), row(true))])));
        let mut lines = std::pin::pin!(acknowledged_lines(sender.subscribe()));
        let first: serde_json::Value = serde_json::from_slice(&lines.next().await.unwrap()).unwrap();
        let shape = json!({ "resourceVersion": "7", "acknowledged": false, "waiting": [], "refused": {} });
        assert_eq!(first["resources"]["a"], shape);
        assert_eq!(first["resources"]["b"]["acknowledged"], true);
        sender.send_replace(Arc::new(Table::from([("a".to_owned(), row(true))])));
        let second: serde_json::Value = serde_json::from_slice(&lines.next().await.unwrap()).unwrap();
        assert_eq!(second["resources"]["a"]["acknowledged"], true);
        assert_eq!(second["resources"]["b"], serde_json::Value::Null);
        drop(sender);
        assert!(lines.next().await.is_none());
    }
}
