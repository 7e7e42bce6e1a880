//! `details`: author, publisher and numbers of a book.

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde_json::json;

use super::{App, catalogue, finish};
use crate::context::SharedContext;
use crate::respond::{answer, refuse};

/// Serves `/details/<id>` and `/health`.
pub fn router(app: App) -> Router {
    finish(app, Router::new().route("/health", get(health)).route("/details/{id}", get(details)))
}

async fn health() -> Response {
    Json(json!({ "status": "Details is healthy" })).into_response()
}

async fn details(State(app): State<App>, Path(id): Path<String>, SharedContext(context): SharedContext) -> Response {
    match id.parse() {
        Ok(id) => answer(&app, &context, StatusCode::OK, &catalogue::details(id), &[]),
        Err(_) => refuse(&app, &context, StatusCode::BAD_REQUEST, "please provide numeric product id"),
    }
}
