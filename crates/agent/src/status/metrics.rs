//! One page of metrics for the pod: the agent's, Envoy's and, where its annotations offer them, the application's.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode, header};

use super::{Reply, text};
use crate::ads::Counters;
use crate::http_client;
use crate::identity::SecretsWatch;
use crate::settings::{PrometheusScrape, Settings};

const DEADLINE: Duration = Duration::from_secs(5);

/// Sources of the agent's own figures.
pub struct Metrics {
    secrets: SecretsWatch,
    counters: Arc<Counters>,
}

impl Metrics {
    /// Reads from the given sources at every scrape.
    #[must_use]
    pub fn new(secrets: SecretsWatch, counters: Arc<Counters>) -> Self {
        Self { secrets, counters }
    }

    /// The page. A source that does not answer is left out and counted.
    pub(super) async fn merged(&self, settings: &Settings) -> Reply {
        let envoy = fetch(settings.ports.admin, "/stats/prometheus").await;
        let application = match settings.prometheus.as_ref().and_then(|scrape| target(scrape, settings)) {
            Some((port, path)) => fetch(port, &path).await,
            None => Ok(String::new()),
        };
        let mut page = self.own(&envoy, &application);
        for part in [envoy, application].into_iter().flatten() {
            page.push_str(&part);
            if !page.ends_with('\n') {
                page.push('\n');
            }
        }
        let mut reply = text(StatusCode::OK, page);
        let kind = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        reply.headers_mut().insert(header::CONTENT_TYPE, kind);
        reply
    }

    fn own(&self, envoy: &Result<String, String>, application: &Result<String, String>) -> String {
        let mut page = String::new();
        let mut figure = |name: &str, kind: &str, value: u64| {
            // Writing to a string cannot fail.
            let _infallible = write!(page, "# TYPE {name} {kind}\n{name} {value}\n");
        };
        figure("istio_agent_xds_streams_total", "counter", self.counters.streams.load(Ordering::Relaxed));
        figure("istio_agent_xds_failures_total", "counter", self.counters.failures.load(Ordering::Relaxed));
        figure("istio_agent_scrape_failures", "gauge", u64::from(envoy.is_err()) + u64::from(application.is_err()));
        if let Some(secrets) = self.secrets.borrow().as_ref() {
            let left = secrets.not_after.duration_since(SystemTime::now()).unwrap_or_default();
            figure("istio_agent_cert_expiry_seconds", "gauge", left.as_secs());
            figure("istio_agent_secret_version", "gauge", secrets.version);
        }
        page
    }
}

async fn fetch(port: u16, path: &str) -> Result<String, String> {
    let answer = http_client::local(Method::GET, port, path, DEADLINE).await.map_err(|error| error.to_string())?;
    if !answer.status().is_success() {
        return Err(format!("status {}", answer.status()));
    }
    Ok(String::from_utf8_lossy(answer.body()).into_owned())
}

/// Port and path of the application's metrics; `None` where it offers none, or only what is served here anyway.
fn target(scrape: &PrometheusScrape, settings: &Settings) -> Option<(u16, String)> {
    if scrape.scrape != "true" {
        return None;
    }
    let port = if scrape.port.is_empty() { 80 } else { scrape.port.parse().ok()? };
    if [settings.ports.status, settings.ports.prometheus, settings.ports.admin].contains(&port) {
        return None;
    }
    Some((port, if scrape.path.is_empty() { "/metrics".to_owned() } else { scrape.path.clone() }))
}
