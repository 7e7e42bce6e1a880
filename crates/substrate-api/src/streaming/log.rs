//! `pods/log`: a container's output as plain text, once or followed.

use axum::body::Body;
use futures::{StreamExt, stream};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{check_placed, container, node_error, reference};
use crate::backend::LogOptions;
use crate::status::ApiError;
use crate::verbs::Context;

pub(super) async fn serve(ctx: &Context, pod: &Value) -> Result<Response<Body>, ApiError> {
    let options = options(ctx, pod)?;
    check_placed(ctx, pod)?;
    let limit = options.limit_bytes;
    let lines = ctx.server.node.logs(reference(pod), options).await.map_err(node_error)?;
    let body = match limit {
        None => Body::from_stream(lines),
        Some(limit) => Body::from_stream(limited(lines, limit)),
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

fn options(ctx: &Context, pod: &Value) -> Result<LogOptions, ApiError> {
    let query = &ctx.request.query;
    let number = |key: &str| -> Result<Option<u64>, ApiError> {
        let problem = |text: &str| {
            ApiError::unprocessable(format!(
                "PodLogOptions is invalid: {key}: Invalid value: {text}: must be greater than or equal to 0"
            ))
        };
        query.get(key).map(|text| text.parse().map_err(|_| problem(text))).transpose()
    };
    let since_seconds = number("sinceSeconds")?.and_then(|seconds| i64::try_from(seconds).ok());
    let since_time = query
        .get("sinceTime")
        .map(|text| text.parse::<Timestamp>().map_err(|error| ApiError::bad_request(format!("sinceTime: {error}"))));
    let since = match since_seconds {
        Some(seconds) => Timestamp::now().checked_sub(SignedDuration::from_secs(seconds)).ok(),
        None => since_time.transpose()?,
    };
    Ok(LogOptions {
        container: container(ctx, pod)?,
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        tail_lines: number("tailLines")?,
        timestamps: query.flag("timestamps"),
        since,
        limit_bytes: number("limitBytes")?,
    })
}

type Lines = stream::BoxStream<'static, Result<bytes::Bytes, std::io::Error>>;

/// Ends the stream after so many bytes.
fn limited(lines: Lines, limit: u64) -> Lines {
    let state = (lines, usize::try_from(limit).unwrap_or(usize::MAX));
    stream::unfold(state, |(mut lines, left)| async move {
        if left == 0 {
            return None;
        }
        let chunk = lines.next().await?;
        let chunk = chunk.map(|mut bytes| bytes.split_to(left.min(bytes.len())));
        let used = chunk.as_ref().map_or(0, bytes::Bytes::len);
        Some((chunk, (lines, left - used)))
    })
    .boxed()
}
