//! The edge: from an HTTP request to a verb of the API and back to a response. Decides nothing about objects.

pub(crate) mod accept;
pub(crate) mod body;
mod discovery;
mod nonresource;
mod openapi;
pub(crate) mod query;
pub(crate) mod render;
pub(crate) mod request_info;
pub(crate) mod resource;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures::FutureExt;
use http::header::{CONTENT_TYPE, HeaderValue, WARNING};
use http::{HeaderMap, Response, StatusCode};
use serde_json::Value;

use crate::authentication::{self, User};
use crate::authorization;
use crate::server::ApiServer;
use crate::status::ApiError;
pub use nonresource::kubernetes_version;
pub(crate) use openapi::OpenApiCache;
use query::Query;
use request_info::RequestInfo;

/// Who is at the other end of a connection, before headers are looked at.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// A TLS connection, with the user of its client certificate if it has one.
    Connection(Option<User>),
    /// A caller in this process, who says who it is.
    InProcess(User),
}

/// A request whose caller is known and allowed.
pub(crate) struct ApiRequest {
    pub(crate) info: RequestInfo,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) user: User,
}

impl ApiRequest {
    /// The name under which field ownership is recorded: as given, else the first word of the user agent, else (for
    /// clients in this process, which send none) the user.
    pub(crate) fn field_manager(&self) -> String {
        if let Some(manager) = self.query.get("fieldManager") {
            return manager.to_owned();
        }
        let agent =
            self.headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let program = agent.split(['/', ' ']).next().unwrap_or_default();
        let name = if program.is_empty() { self.user.name.trim_start_matches("system:") } else { program };
        name.chars().take(128).collect()
    }

    pub(crate) fn dry_run(&self) -> bool {
        self.query.get("dryRun") == Some("All")
    }
}

/// An answer in JSON, with the warnings that go along.
pub(crate) struct Reply {
    pub(crate) code: StatusCode,
    pub(crate) json: Bytes,
    pub(crate) warnings: Vec<String>,
}

impl Reply {
    pub(crate) fn json(json: Bytes) -> Reply {
        Reply { code: StatusCode::OK, json, warnings: Vec::new() }
    }

    pub(crate) fn value(value: &Value) -> Reply {
        Reply::json(Bytes::from(value.to_string()))
    }

    pub(crate) fn created(value: &Value) -> Reply {
        Reply { code: StatusCode::CREATED, ..Reply::value(value) }
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let mut response = json_response(self.code, self.json);
        for warning in &self.warnings {
            if let Some(value) = warning_header(warning) {
                response.headers_mut().append(WARNING, value);
            }
        }
        response
    }
}

/// `299 - "text"`, with what a header cannot carry taken out.
fn warning_header(text: &str) -> Option<HeaderValue> {
    let quoted: String = text
        .chars()
        .filter(|c| !c.is_control())
        .flat_map(|c| {
            let escape = matches!(c, '"' | '\\').then_some('\\');
            escape.into_iter().chain(std::iter::once(c))
        })
        .collect();
    HeaderValue::from_str(&format!("299 - \"{quoted}\"")).ok()
}

pub(crate) fn json_response(code: StatusCode, json: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(json));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub(crate) fn text_response(code: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::from(text.into()));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

impl ApiError {
    pub(crate) fn into_response(self) -> Response<Body> {
        json_response(self.code, Bytes::from(self.to_value().to_string()))
    }
}

/// Answers one request. Never fails: every problem becomes a Status.
pub(crate) async fn handle(server: Arc<ApiServer>, request: http::Request<Body>, caller: Caller) -> Response<Body> {
    server.gate.pass().await;
    let path = request.uri().path().to_owned();
    let answer = AssertUnwindSafe(route(&server, request, caller)).catch_unwind().await;
    // A pause that has begun meanwhile holds the answer back.
    server.gate.pass().await;
    match answer {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            if error.code.is_server_error() {
                tracing::warn!(cluster = %server.cluster_name, path, code = error.code.as_u16(), "{}", error.message);
            }
            error.into_response()
        }
        Err(_) => {
            tracing::error!(cluster = %server.cluster_name, path, "a request handler panicked");
            ApiError::internal("the request handler panicked; this is a defect of the API server").into_response()
        }
    }
}

async fn route(
    server: &Arc<ApiServer>,
    request: http::Request<Body>,
    caller: Caller,
) -> Result<Response<Body>, ApiError> {
    let (mut parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let info = RequestInfo::new(&parts.method, parts.uri.path(), &query);
    let user = authentication::authenticate(server, &parts.headers, caller)?;
    let user = authorization::impersonate(server, user, &parts.headers)?;
    authorization::authorize_request(server, &user, &info)?;
    let headers = std::mem::take(&mut parts.headers);
    let request = ApiRequest { info, query, headers, user };
    if request.info.target.is_some() {
        resource::serve(server, request, parts, body).await
    } else {
        nonresource::serve(server, &request)
    }
}
