//! The services of bookinfo. Each module builds the router of one.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Router, middleware};
use http::HeaderValue;

use crate::identity::ServedBy;
use crate::metrics::Metrics;
use crate::respond;
use crate::storm::Storm;
use crate::upstream::{Answer, Endpoint, UpstreamClient};

pub mod catalogue;
pub mod details;
pub mod echo;
mod grpc;
mod page;
pub mod productpage;
pub mod ratings;
pub mod reviews;
mod session;
mod websocket;

/// What the handlers of a service share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App(Arc<Inner>);

/// The parts of an [`App`].
#[derive(Debug)]
pub struct Inner {
    /// Who this server is.
    pub served_by: ServedBy,
    /// Header form of the identity; `None` when it cannot stand in a header.
    pub served_by_header: Option<HeaderValue>,
    /// Whether each request is a line on standard output.
    pub access_log: bool,
    /// What makes a share of the answers errors, on request.
    pub storm: Storm,
    /// Counters of this server.
    pub metrics: Metrics,
    client: UpstreamClient,
    endpoints: Endpoints,
}

/// Addresses of the services that others call.
#[derive(Debug)]
struct Endpoints {
    details: Endpoint,
    reviews: Endpoint,
    ratings: Endpoint,
    ratings_for_red: Endpoint,
}

impl std::ops::Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl App {
    /// A service with this identity, whose upstreams' addresses come from environment variables.
    pub fn new(served_by: ServedBy, lookup: impl Fn(&str) -> Option<String>, access_log: bool) -> Self {
        use std::time::Duration;
        let endpoint =
            |service, milliseconds| Endpoint::from_environment(service, Duration::from_millis(milliseconds), &lookup);
        // The limits are those of Istio's bookinfo: its fault-injection examples rest on them.
        let endpoints = Endpoints {
            details: endpoint("details", 3_000),
            reviews: endpoint("reviews", 3_000),
            ratings: endpoint("ratings", 10_000),
            ratings_for_red: endpoint("ratings", 2_500),
        };
        let client = UpstreamClient::default();
        let served_by_header = HeaderValue::from_str(&served_by.to_header()).ok();
        let (metrics, storm) = (Metrics::default(), Storm::default());
        Self(Arc::new(Inner { served_by, served_by_header, access_log, storm, metrics, client, endpoints }))
    }

    async fn call(&self, endpoint: &Endpoint, id: u64, headers: http::HeaderMap) -> Answer {
        let answer = self.client.get(endpoint, id, headers).await;
        self.metrics.count_upstream(endpoint.service, answer.hop.status);
        answer
    }
}

/// Completes a service's own routes with what all services have.
fn finish(app: App, routes: Router<App>) -> Router {
    routes
        .route("/metrics", get(metrics))
        .fallback(respond::not_found)
        .layer(middleware::from_fn_with_state(app.clone(), respond::describe))
        .with_state(app)
}

async fn metrics(State(app): State<App>) -> String {
    app.metrics.render(app.served_by.service.as_deref().unwrap_or_default())
}
