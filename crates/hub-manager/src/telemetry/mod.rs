//! The telemetry of all clusters as one: merged metrics, one stream of requests, and a graph of who calls whom. It is asked of the
//! agents in the moment in which somebody asks; an agent that does not answer is left out, and told as such.

pub mod graph;
pub mod merge;
mod stream;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http_body_util::{BodyExt as _, Limited};

use crate::agent;
use crate::clusters::Agents;

/// How long an agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer that is taken.
const LONGEST: usize = 64 << 20;

/// Where the answers come from.
#[derive(Clone)]
pub struct Sources {
    /// The agents.
    pub agents: Agents,
    /// Their namespace.
    pub namespace: String,
}

/// `/v1/metrics`, `/v1/graph` and `/v1/access-log`.
pub fn router(sources: Sources) -> Router {
    Router::new()
        .route("/v1/metrics", get(serve_metrics))
        .route("/v1/graph", get(serve_graph))
        .route("/v1/access-log", get(serve_access_log))
        .with_state(sources)
}

async fn serve_metrics(State(sources): State<Sources>) -> Response {
    let text = merge::text(&answers(&sources).await);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

async fn serve_graph(State(sources): State<Sources>) -> Response {
    Json(graph::of(&answers(&sources).await)).into_response()
}

async fn serve_access_log(State(sources): State<Sources>) -> Response {
    stream::response(sources)
}

/// What each cluster's agent answered, or why it did not.
pub type Answers = BTreeMap<String, Result<String, String>>;

async fn answers(sources: &Sources) -> Answers {
    let asked = sources.agents.all().into_iter().map(|(cluster, place)| {
        let place = place.borrow().clone();
        async move {
            let Some((client, pod)) = place else { return (cluster, Err("no agent is ready".to_owned())) };
            let answer = async {
                let response = agent::get(&client, &sources.namespace, &pod, "/metrics").await;
                let body = response.map_err(|error| error.to_string())?.into_body();
                let body = Limited::new(body, LONGEST).collect().await.map_err(|error| error.to_string())?;
                String::from_utf8(body.to_bytes().to_vec()).map_err(|error| error.to_string())
            };
            let answer = tokio::time::timeout(PATIENCE, answer).await;
            (cluster, answer.unwrap_or_else(|_elapsed| Err("no answer in time".to_owned())))
        }
    });
    futures::future::join_all(asked).await.into_iter().collect()
}
