//! The routes of the webhooks.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::Value;
use tokio::sync::watch;
use tracing::warn;

use super::review::{answer_inject, answer_validate};
use crate::inject::MeshSettings;

/// The webhooks' routes. The settings are read anew for every pod, since the cluster's network may be learnt late.
pub fn router(settings: watch::Receiver<Arc<MeshSettings>>) -> Router {
    Router::new()
        .route("/inject", post(inject))
        .route("/inject/{*environment}", post(inject_elsewhere))
        .with_state(settings)
        .route("/validate", post(validate))
}

async fn inject(State(settings): State<watch::Receiver<Arc<MeshSettings>>>, body: Bytes) -> Response {
    let settings = settings.borrow().clone();
    reply(&body, |review| answer_inject(review, &settings))
}

/// For a cluster that shares this control plane: its webhook says in the path which it is, as Istio's `injectionPath` does.
async fn inject_elsewhere(
    State(settings): State<watch::Receiver<Arc<MeshSettings>>>,
    Path(environment): Path<String>,
    body: Bytes,
) -> Response {
    let settings = settings.borrow().elsewhere(&environment);
    reply(&body, |review| answer_inject(review, &settings))
}

async fn validate(body: Bytes) -> Response {
    reply(&body, answer_validate)
}

fn reply(body: &[u8], answer: impl FnOnce(&Value) -> Result<Value, String>) -> Response {
    let review = serde_json::from_slice(body).map_err(|error| error.to_string());
    match review.and_then(|review| answer(&review)) {
        Ok(answer) => ([(header::CONTENT_TYPE, "application/json")], answer.to_string()).into_response(),
        Err(problem) => {
            warn!(problem, "a webhook call is not understood");
            (StatusCode::BAD_REQUEST, problem).into_response()
        }
    }
}
