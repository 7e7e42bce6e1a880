//! What all answers have in common: the identity fields of JSON bodies, the identity headers, counting and logging.

use std::io::Write as _;

use axum::Json;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use crate::context::RequestContext;
use crate::hop::{Hop, PEER_HEADER};
use crate::identity::SERVED_BY_HEADER;
use crate::services::App;

/// Fields that [`answer`] adds; a caller takes them off the body of the service it called.
pub const ENVELOPE: [&str; 4] = ["servedBy", "peer", "seen", "upstreams"];

/// A JSON answer: the service's own fields, then who served it, what it saw, and what its own calls brought.
pub fn answer(
    app: &App,
    context: &RequestContext,
    status: StatusCode,
    mut fields: Map<String, Value>,
    upstreams: &[Hop],
) -> Response {
    let envelope = [json!(app.served_by), json!(context.peer), json!(context.seen), json!(upstreams)];
    fields.extend(ENVELOPE.map(str::to_owned).into_iter().zip(envelope));
    (status, Json(fields)).into_response()
}

/// A JSON answer that only says what is wrong.
pub fn refuse(app: &App, context: &RequestContext, status: StatusCode, error: &str) -> Response {
    let fields = Map::from_iter([("error".to_owned(), json!(error))]);
    answer(app, context, status, fields, &[])
}

/// The answer to a path that the service does not have.
pub async fn not_found(State(app): State<App>, context: RequestContext) -> Response {
    refuse(&app, &context, StatusCode::NOT_FOUND, "this service has no such path")
}

/// Layer around every handler: identity headers, counters, and the access log where it is wanted.
pub async fn describe(State(app): State<App>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let context = RequestContext::from_head(&parts);
    let line = app.access_log.then(|| format!("{} {}", parts.method, parts.uri));
    let mut response = next.run(Request::from_parts(parts, body)).await;
    let headers = response.headers_mut();
    insert(headers, SERVED_BY_HEADER, &app.served_by.to_header());
    insert(headers, PEER_HEADER, &context.peer.to_header());
    let status = response.status().as_u16();
    app.metrics.count_answer(status);
    if let Some(line) = line {
        let id = context.seen.request_id.as_deref().unwrap_or("-");
        let user = context.seen.end_user.as_deref().or(context.user.as_deref()).unwrap_or("-");
        let peer = context.peer.uri.as_deref().unwrap_or("-");
        // A reader of the log that went away must not end a server, as `println!` would.
        let _ = writeln!(std::io::stdout(), "{line} {status} request-id={id} end-user={user} peer={peer}");
    }
    response
}

/// An identity that cannot stand in a header is left out: the JSON body still has it.
fn insert(headers: &mut http::HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}
