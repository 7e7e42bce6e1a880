//! HTTPS for the webhooks.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::StreamExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::review::{answer_inject, answer_validate};
use crate::ca::incoming;
use crate::inject::MeshSettings;

/// The webhooks' routes. The settings are read anew for every pod, since the cluster's network may be learnt late.
pub fn router(settings: watch::Receiver<Arc<MeshSettings>>) -> Router {
    Router::new()
        .route("/inject", post(inject))
        .route("/inject/{*environment}", post(inject))
        .with_state(settings)
        .route("/validate", post(validate))
}

async fn inject(State(settings): State<watch::Receiver<Arc<MeshSettings>>>, body: Bytes) -> Response {
    let settings = settings.borrow().clone();
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

/// Serves until cancelled.
pub async fn serve(
    listener: TcpListener,
    tls: watch::Receiver<Arc<ServerConfig>>,
    router: Router,
    cancel: CancellationToken,
) {
    let mut connections = incoming(listener, tls);
    while let Some(Some(connection)) = cancel.run_until_cancelled(connections.next()).await {
        let Ok(stream) = connection else { continue };
        let service = TowerToHyperService::new(router.clone());
        let cancel = cancel.clone();
        tokio::spawn(async move {
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let served = builder.serve_connection(TokioIo::new(stream), service);
            if let Some(Err(error)) = cancel.run_until_cancelled(served).await {
                debug!(%error, "a webhook connection broke");
            }
        });
    }
}
