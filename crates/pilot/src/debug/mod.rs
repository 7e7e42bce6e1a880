//! What the control plane knows and has told whom, over HTTP for people and tests. Reads only.

mod answers;
pub mod client;
mod versions;

use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::ads::status::Registry;
use crate::model::Mesh;

pub use answers::{Syncz, syncz};
pub use versions::{ConfigVersions, EndpointVersion, TypeVersions, config_versions};

/// Longest time for which a question waits for something new.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// For so long an answer waits for proxies that have not acknowledged the newest snapshot, so that one tells of many.
const COLLECTED: Duration = Duration::from_millis(20);
/// Tells the answers of one process from those of another.
static PROCESS: LazyLock<u32> = LazyLock::new(rand::random);

/// Where the answers come from.
#[derive(Clone)]
pub struct Sources {
    /// The latest snapshot.
    pub snapshots: watch::Receiver<Option<Arc<Mesh>>>,
    /// The account of all proxies.
    pub registry: Arc<Registry>,
    /// Whether everything is served.
    pub serves: watch::Receiver<bool>,
}

/// The routes of the monitoring port.
pub fn router(sources: Sources) -> Router {
    Router::new()
        .route("/debug/syncz", get(serve_syncz))
        .route("/debug/endpointz", get(serve_endpointz))
        .route("/debug/configz", get(serve_configz))
        .route("/debug/clusterz", get(serve_clusterz))
        .route("/debug/config_dump", get(serve_config_dump))
        .route("/debug/config_versions", get(serve_config_versions))
        .route("/metrics", get(serve_metrics))
        .route("/version", get(serve_version))
        .route("/ready", get(serve_ready))
        .with_state(sources)
}

/// The routes of the readiness port.
pub fn readiness(sources: Sources) -> Router {
    Router::new().route("/ready", get(serve_ready)).with_state(sources)
}

/// Serves until cancelled.
pub async fn serve(listener: TcpListener, router: Router, cancel: CancellationToken) -> io::Result<()> {
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
    });
    axum::serve(listener, router).with_graceful_shutdown(cancel.cancelled_owned()).await
}

/// Which answer the asker has, and how long it waits for another.
#[derive(Deserialize)]
struct After {
    #[serde(default)]
    after: String,
    #[serde(default)]
    seconds: u64,
}

/// The answer of the moment; to one who says `after=<revision>`, the next one, or the same after `seconds`.
async fn serve_syncz(State(sources): State<Sources>, Query(After { after, seconds }): Query<After>) -> Response {
    let patience = Duration::from_secs(seconds).min(LONGEST_WAIT);
    if !after.is_empty() {
        // Nothing new in time is an answer, too.
        if tokio::time::timeout(patience, changed(&sources, &after)).await.is_ok() {
            let _some_are_late = tokio::time::timeout(COLLECTED, acknowledged(&sources)).await;
        }
    }
    let revision = revision(&sources);
    match snapshot(&sources) {
        Some(mesh) => Json(syncz(&mesh, &sources.registry, revision)).into_response(),
        None => not_ready(),
    }
}

/// Names the answer of the moment. Taken before the answer is made, so that no change falls between.
fn revision(sources: &Sources) -> String {
    let number = snapshot(sources).map_or(0, |mesh| mesh.number);
    format!("{:08x}.{number}.{}", *PROCESS, *sources.registry.changes().borrow())
}

async fn changed(sources: &Sources, after: &str) {
    let mut snapshots = sources.snapshots.clone();
    let mut changes = sources.registry.changes();
    snapshots.mark_unchanged();
    while revision(sources) == after {
        tokio::select! {
            changed = snapshots.changed() => if changed.is_err() { return },
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}

/// Waits until every proxy that is connected has acknowledged the newest snapshot.
async fn acknowledged(sources: &Sources) {
    let mut changes = sources.registry.changes();
    loop {
        changes.mark_unchanged();
        let newest = snapshot(sources).map_or(0, |mesh| mesh.number);
        if sources.registry.has_acknowledged(newest) || changes.changed().await.is_err() {
            return;
        }
    }
}

async fn serve_endpointz(State(sources): State<Sources>) -> Response {
    snapshot(&sources).map_or_else(not_ready, |mesh| Json(answers::endpoints(&mesh)).into_response())
}

async fn serve_configz(State(sources): State<Sources>) -> Response {
    snapshot(&sources).map_or_else(not_ready, |mesh| Json(answers::configs(&mesh, &sources.registry)).into_response())
}

async fn serve_clusterz(State(sources): State<Sources>) -> Response {
    snapshot(&sources).map_or_else(not_ready, |mesh| Json(&*mesh.state.clusters).into_response())
}

#[derive(Deserialize)]
struct WhichProxy {
    #[serde(rename = "proxyID")]
    id: Option<String>,
}

async fn serve_config_dump(State(sources): State<Sources>, Query(which): Query<WhichProxy>) -> Response {
    of_proxy(which, |id| answers::resources(&sources.registry, id))
}

async fn serve_config_versions(State(sources): State<Sources>, Query(which): Query<WhichProxy>) -> Response {
    of_proxy(which, |id| config_versions(&sources.registry, id))
}

fn of_proxy<T: Serialize>(which: WhichProxy, answer: impl FnOnce(&str) -> Option<T>) -> Response {
    let Some(id) = which.id else {
        return (StatusCode::BAD_REQUEST, "query proxyID=<pod>.<namespace> is missing\n").into_response();
    };
    match answer(&id) {
        Some(document) => Json(document).into_response(),
        None => (StatusCode::NOT_FOUND, format!("no proxy {id} has connected\n")).into_response(),
    }
}

async fn serve_metrics(State(sources): State<Sources>) -> Response {
    let text = answers::metrics(snapshot(&sources).as_deref(), &sources.registry);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

async fn serve_version() -> &'static str {
    concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"), "\n")
}

async fn serve_ready(State(sources): State<Sources>) -> Response {
    if *sources.serves.borrow() { StatusCode::OK.into_response() } else { not_ready() }
}

fn snapshot(sources: &Sources) -> Option<Arc<Mesh>> {
    sources.snapshots.borrow().clone()
}

fn not_ready() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the cluster has not been read completely yet\n").into_response()
}
