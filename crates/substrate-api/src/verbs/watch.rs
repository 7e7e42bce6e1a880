//! `watch`: a stream of events that starts at a revision, at the present, or with everything there is.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use tokio::time::Instant;

use super::Context;
use super::list::expired;
use super::options::{self, Filter};
use crate::http::query::Query;
use crate::http::render::{Renderer, frame};
use crate::object;
use crate::server::ApiServer;
use crate::status::ApiError;
use crate::store::{Change, ChangeKind, Cursor, Expired, Stored};

/// Bookmarks are sent this often to those who want them.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// A watch without `timeoutSeconds` ends after this long, as clients expect of a real server.
const LONGEST: Duration = Duration::from_secs(45 * 60);

/// How a watch begins.
enum Start {
    /// After a revision.
    After(u64),
    /// With ADDED events for all present objects; then, where asked for, the bookmark that says so.
    WithPresent { mark_end: bool },
    /// With what happens next.
    Now,
}

pub(crate) fn watch(ctx: &Context) -> Result<Response<Body>, ApiError> {
    let renderer = ctx.renderer()?;
    let query = &ctx.request.query;
    let filter = Filter::new(query, &ctx.resource, &ctx.name)?;
    let start = start(query, ctx.server.store.revision())?;
    let store = &ctx.server.store;
    let table = &ctx.resource.table;
    let namespace = Some(ctx.namespace.clone()).filter(|namespace| !namespace.is_empty());
    let mut first = Vec::new();
    let cursor = match start {
        Start::After(revision) => store.watch(table, revision).map_err(expired)?,
        Start::Now => store.list_and_watch(table, Some("")).2,
        Start::WithPresent { mark_end } => {
            let (objects, revision, cursor) = store.list_and_watch(table, namespace.as_deref());
            let matching = objects.iter().filter(|stored| filter.matches(&stored.value));
            first = matching.map(|stored| renderer.event("ADDED", stored)).collect();
            if mark_end {
                first.push(renderer.bookmark(revision, true));
            }
            cursor
        }
    };
    let timeout = query.number("timeoutSeconds").filter(|seconds| *seconds > 0).map_or(LONGEST, Duration::from_secs);
    let watcher = Watcher {
        cursor,
        renderer,
        filter,
        namespace,
        bookmarks: query.flag("allowWatchBookmarks"),
        next_bookmark: Instant::now() + BOOKMARK_EVERY,
        end: Instant::now() + timeout,
        ready: first.into(),
        ended: false,
    };
    Ok(response(watcher, Arc::clone(&ctx.server)))
}

fn start(query: &Query, current: u64) -> Result<Start, ApiError> {
    let revision = options::revision(query)?;
    let invalid = |field: &str, why: &str| {
        ApiError::unprocessable(format!("ListOptions.meta.k8s.io \"\" is invalid: {field}: Forbidden: {why}"))
    };
    if let Some(initial) = query.get("sendInitialEvents") {
        if query.get("resourceVersionMatch") != Some("NotOlderThan") {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            return Err(invalid("resourceVersionMatch", why));
        }
        if let Some(wanted) = revision.filter(|wanted| *wanted > current) {
            return Err(ApiError::too_large_resource_version(wanted, current));
        }
        if initial == "true" {
            return Ok(Start::WithPresent { mark_end: query.flag("allowWatchBookmarks") });
        }
        return Ok(revision.filter(|revision| *revision > 0).map_or(Start::Now, Start::After));
    }
    if query.get("resourceVersionMatch").is_some() {
        let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        return Err(invalid("resourceVersionMatch", why));
    }
    match revision {
        None | Some(0) => Ok(Start::WithPresent { mark_end: false }),
        Some(wanted) if wanted > current => Err(ApiError::too_large_resource_version(wanted, current)),
        Some(revision) => Ok(Start::After(revision)),
    }
}

fn response(watcher: Watcher, server: Arc<ApiServer>) -> Response<Body> {
    let events = stream::unfold((watcher, server), |(mut watcher, server)| async move {
        let chunk = watcher.next().await?;
        server.gate.pass().await;
        Some((Ok::<Bytes, Infallible>(chunk), (watcher, server)))
    });
    let mut response = Response::new(Body::from_stream(events));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

struct Watcher {
    cursor: Cursor,
    renderer: Renderer,
    filter: Filter,
    namespace: Option<String>,
    bookmarks: bool,
    next_bookmark: Instant,
    end: Instant,
    ready: VecDeque<Bytes>,
    ended: bool,
}

impl Watcher {
    /// The next bytes of the stream; waits until there are some. `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.take_ready() {
                return Some(bytes);
            }
            if self.ended {
                return None;
            }
            let revision = match self.cursor.poll() {
                Ok(batch) => {
                    let events: Vec<Bytes> = batch.changes.iter().filter_map(|change| self.event(change)).collect();
                    self.ready.extend(events);
                    batch.revision
                }
                Err(problem) => {
                    self.fail(problem);
                    continue;
                }
            };
            if self.ready.is_empty() {
                self.wait(revision).await;
            }
        }
    }

    fn take_ready(&mut self) -> Option<Bytes> {
        match self.ready.len() {
            0 => None,
            1 => self.ready.pop_front(),
            _ => Some(Bytes::from(self.ready.drain(..).fold(Vec::new(), |mut all, part| {
                all.extend_from_slice(&part);
                all
            }))),
        }
    }

    /// Waits for a change, the time of a bookmark, or the end.
    async fn wait(&mut self, revision: u64) {
        let wake = if self.bookmarks { self.next_bookmark.min(self.end) } else { self.end };
        tokio::select! {
            () = self.cursor.changed() => {}
            () = tokio::time::sleep_until(wake) => {
                if self.bookmarks {
                    self.ready.push_back(self.renderer.bookmark(revision, false));
                    self.next_bookmark = Instant::now() + BOOKMARK_EVERY;
                }
                self.ended = Instant::now() >= self.end;
            }
        }
    }

    fn fail(&mut self, problem: Expired) {
        let status = expired(problem).to_value().to_string();
        self.ready.push_back(frame("ERROR", status.as_bytes()));
        self.ended = true;
    }

    /// What a change means for this watcher: objects enter and leave a selection.
    fn event(&self, change: &Change) -> Option<Bytes> {
        if self.namespace.as_ref().is_some_and(|namespace| *namespace != change.key.namespace) {
            return None;
        }
        let before = change.previous.as_ref().filter(|previous| self.filter.matches(&previous.value));
        let now = change.kind != ChangeKind::Deleted && self.filter.matches(&change.object.value);
        match (before, now) {
            (None, false) => None,
            (None, true) => Some(self.renderer.event("ADDED", &change.object)),
            (Some(_), true) => Some(self.renderer.event("MODIFIED", &change.object)),
            (Some(_), false) if change.kind == ChangeKind::Deleted => {
                Some(self.renderer.event("DELETED", &change.object))
            }
            (Some(previous), false) => Some(self.renderer.event("DELETED", &departed(previous, change))),
        }
    }
}

/// The last selected state of an object that left the selection, at the revision at which it left.
fn departed(previous: &Arc<Stored>, change: &Change) -> Stored {
    let mut value = previous.value.clone();
    let revision = change.revision();
    object::metadata_mut(&mut value).insert("resourceVersion".to_owned(), revision.to_string().into());
    Stored::new(revision, value)
}
