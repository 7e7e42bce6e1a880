//! What all answers have in common: the identity fields of JSON bodies, the identity headers, counting and logging.

use std::io::Write as _;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::context::{RequestContext, SharedContext};
use crate::hop::{Hop, PEER_HEADER, Peer, Seen};
use crate::identity::{SERVED_BY_HEADER, ServedBy};
use crate::services::App;

/// Fields that [`answer`] adds; a caller takes them off the body of the service it called.
pub const ENVELOPE: [&str; 4] = ["servedBy", "peer", "seen", "upstreams"];

/// Paths that no storm strikes.
const HEALTH: [&str; 2] = ["/health", "/metrics"];

/// A body: the service's own fields, then the [`ENVELOPE`].
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(flatten)]
    fields: &'a Map<String, Value>,
    served_by: &'a ServedBy,
    peer: &'a Peer,
    seen: &'a Seen,
    upstreams: &'a [Hop],
}

/// A JSON answer: the service's own fields, then who served it, what it saw, and what its own calls brought.
pub fn answer(
    app: &App,
    context: &RequestContext,
    status: StatusCode,
    fields: &Map<String, Value>,
    upstreams: &[Hop],
) -> Response {
    let (served_by, peer, seen) = (&app.served_by, &context.peer, &context.seen);
    (status, Json(Body { fields, served_by, peer, seen, upstreams })).into_response()
}

/// A JSON answer that only says what is wrong.
pub fn refuse(app: &App, context: &RequestContext, status: StatusCode, error: &str) -> Response {
    let fields = Map::from_iter([("error".to_owned(), json!(error))]);
    answer(app, context, status, &fields, &[])
}

/// The answer to a path that the service does not have.
pub async fn not_found(State(app): State<App>, SharedContext(context): SharedContext) -> Response {
    refuse(&app, &context, StatusCode::NOT_FOUND, "this service has no such path")
}

/// Layer around every handler: reads the request's head once, lets a storm strike, and adds identity headers, counters, and the access log
/// where it is wanted.
pub async fn describe(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let line = app.access_log.then(|| format!("{} {}", request.method(), request.uri()));
    let context = Arc::new(RequestContext::from_head(&request));
    request.extensions_mut().insert(Arc::clone(&context));
    let struck = if HEALTH.contains(&request.uri().path()) { None } else { app.storm.strikes() };
    let mut response = match struck {
        Some(status) => refuse(&app, &context, status, "a storm, on request"),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    if let Some(served_by) = &app.served_by_header {
        headers.insert(HeaderName::from_static(SERVED_BY_HEADER), served_by.clone());
    }
    // An identity that cannot stand in a header is left out: the JSON body still has it.
    if let Ok(peer) = HeaderValue::from_str(&context.peer.to_header()) {
        headers.insert(HeaderName::from_static(PEER_HEADER), peer);
    }
    let status = response.status().as_u16();
    app.metrics.count_answer(status);
    if let Some(line) = line {
        log(&line, status, &context);
    }
    response
}

fn log(line: &str, status: u16, context: &RequestContext) {
    let id = context.seen.request_id.as_deref().unwrap_or("-");
    let user = context.seen.end_user.as_deref().or(context.user.as_deref()).unwrap_or("-");
    let peer = context.peer.uri.as_deref().unwrap_or("-");
    // A reader of the log that went away must not end a server, as `println!` would.
    let _ = writeln!(std::io::stdout(), "{line} {status} request-id={id} end-user={user} peer={peer}");
}
