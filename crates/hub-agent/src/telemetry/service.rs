//! Envoy's access log service: takes the logs of the cluster's proxies, counts them and hands them on to who listens.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use envoy_types::pb::envoy::service::accesslog::v3::access_log_service_server::AccessLogService;
use envoy_types::pb::envoy::service::accesslog::v3::stream_access_logs_message::{Identifier, LogEntries};
use envoy_types::pb::envoy::service::accesslog::v3::{StreamAccessLogsMessage, StreamAccessLogsResponse};
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tonic::{Request, Response, Status, Streaming};

use super::labels::{Node, Observed, Workload, observe_http, observe_tcp};
use super::metrics::Metrics;

/// Requests that wait for a slow listener; then it misses some, and is told how many.
const BACKLOG: usize = 4096;

/// Knows the workload that has an address in this cluster.
pub type Lookup = Arc<dyn Fn(&str) -> Option<Workload> + Send + Sync>;

/// The access logs of the cluster.
#[derive(Clone)]
pub struct AccessLogs {
    metrics: Arc<Mutex<Metrics>>,
    lines: broadcast::Sender<Arc<str>>,
    lookup: Lookup,
}

impl AccessLogs {
    /// Logs of workloads that `lookup` knows.
    pub fn new(lookup: Lookup) -> Self {
        Self { metrics: Arc::default(), lines: broadcast::Sender::new(BACKLOG), lookup }
    }

    /// Everything that was counted, in Prometheus' text format.
    pub fn text(&self) -> String {
        self.lock().text()
    }

    /// The requests from now on, each as a line of JSON.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<str>> {
        self.lines.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Metrics> {
        // Counters are plain values: a panic elsewhere does not spoil them.
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, node: &Node, entries: LogEntries) {
        let find = |address: &str| (self.lookup)(address);
        match entries {
            LogEntries::HttpLogs(logs) => {
                let observed: Vec<Observed> =
                    logs.log_entry.iter().map(|entry| observe_http(entry, node, find)).collect();
                let mut metrics = self.lock();
                observed.iter().for_each(|one| metrics.request(one));
                drop(metrics);
                observed.iter().for_each(|one| self.tell(node, one));
            }
            LogEntries::TcpLogs(logs) => {
                let observed: Vec<Observed> =
                    logs.log_entry.iter().map(|entry| observe_tcp(entry, node, find)).collect();
                let mut metrics = self.lock();
                observed.iter().for_each(|one| metrics.connection(one));
                drop(metrics);
                observed.iter().for_each(|one| self.tell(node, one));
            }
        }
    }

    fn tell(&self, node: &Node, observed: &Observed) {
        if self.lines.receiver_count() > 0 {
            let line: Arc<str> = format!("{}\n", line(node, observed)).into();
            // The last listener may have gone in between.
            let _ = self.lines.send(line);
        }
    }
}

/// One request as an object.
fn line(node: &Node, observed: &Observed) -> Value {
    json!({
        "start": observed.start,
        "cluster": node.cluster,
        "method": observed.method,
        "path": observed.path,
        "authority": observed.authority,
        "requestId": observed.request_id,
        "durationMilliseconds": observed.duration.map(|duration| duration.as_secs_f64() * 1000.0),
        "receivedBytes": observed.received,
        "sentBytes": observed.sent,
        "labels": observed.labels,
    })
}

#[tonic::async_trait]
impl AccessLogService for AccessLogs {
    async fn stream_access_logs(
        &self,
        request: Request<Streaming<StreamAccessLogsMessage>>,
    ) -> Result<Response<StreamAccessLogsResponse>, Status> {
        let address = request.remote_addr().map(|address| address.ip().to_string());
        let mut messages = request.into_inner();
        let mut node = None;
        while let Some(message) = messages.message().await? {
            if let Some(Identifier { node: Some(told), .. }) = &message.identifier {
                let workload = address.as_deref().and_then(|address| (self.lookup)(address));
                node = Some(Node::read(told, workload));
            }
            let node = node.as_ref().ok_or_else(|| Status::invalid_argument("the first message names no node"))?;
            if let Some(entries) = message.log_entries {
                self.take(node, entries);
            }
        }
        Ok(Response::new(StreamAccessLogsResponse {}))
    }
}
