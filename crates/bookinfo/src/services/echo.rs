//! `echo`: answers any request with what it saw of it. On every HTTP port also gRPC, and WebSockets at `/ws`.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, Method, StatusCode, Uri};
use serde::Deserialize;
use serde_json::json;

use super::catalogue::object;
use super::{App, finish, grpc, websocket};
use crate::context::SharedContext;
use crate::respond::{answer, refuse};

/// Longest request body that is read.
const BODY_LIMIT: usize = 1 << 20;

/// What a request may ask for.
#[derive(Debug, Deserialize)]
struct Wishes {
    /// Status of the answer; 200 without one.
    status: Option<u16>,
}

/// Serves every path and method; `?status=503` chooses the status of the answer.
pub fn router(app: App) -> Router {
    let routes = Router::new()
        .route("/health", get(async || "Echo is healthy"))
        .route("/ws", axum::routing::any(websocket::accept))
        .merge(grpc::routes())
        .route("/", axum::routing::any(echo))
        .route("/{*path}", axum::routing::any(echo))
        .layer(DefaultBodyLimit::max(BODY_LIMIT));
    finish(app, routes)
}

async fn echo(
    State(app): State<App>,
    Query(wishes): Query<Wishes>,
    SharedContext(context): SharedContext,
    (method, uri, headers): (Method, Uri, HeaderMap),
    body: Bytes,
) -> Response {
    if grpc::is_call(&headers) {
        return grpc::unimplemented();
    }
    let wish = wishes.status.unwrap_or(200);
    let Some(status) = StatusCode::from_u16(wish).ok().filter(|_| wish >= 200) else {
        return refuse(&app, &context, StatusCode::BAD_REQUEST, "status is a number from 200 to 999");
    };
    let fields = object(json!({
        "method": method.as_str(),
        "path": uri.path(),
        "query": uri.query(),
        "headers": seen_headers(&headers),
        "bodyLength": body.len(),
        "body": String::from_utf8_lossy(&body),
    }));
    answer(&app, &context, status, &fields, &[])
}

fn seen_headers(headers: &HeaderMap) -> BTreeMap<&str, Vec<String>> {
    let mut seen: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        seen.entry(name.as_str()).or_default().push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    seen
}
