//! What the API server asks the node for: logs, commands in containers, connections into pods.

use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use substrate_api::{ExecOptions, ExecSession, LogOptions, NodeBackend, NodeError, PodRef};
use tokio::net::TcpStream;

use super::agent::NodeAgent;
use super::pod::PodCell;
use super::pod::observed::{Record, State};
use crate::runtime::{ExecSpec, StartError, logs};

type LogStream = BoxStream<'static, Result<Bytes, io::Error>>;

impl NodeBackend for NodeAgent {
    fn logs(&self, pod: PodRef, options: LogOptions) -> BoxFuture<'_, Result<LogStream, NodeError>> {
        async move { open_log(&*self.find(&pod)?, &options) }.boxed()
    }

    fn exec(&self, pod: PodRef, options: ExecOptions) -> BoxFuture<'_, Result<ExecSession, NodeError>> {
        async move { exec(&*self.find(&pod)?, options).await }.boxed()
    }

    fn dial_pod(&self, pod: PodRef, port: u16) -> BoxFuture<'_, Result<TcpStream, NodeError>> {
        async move {
            let cell = self.find(&pod)?;
            let network =
                cell.network().ok_or_else(|| NodeError::BadRequest(format!("pod {} has no network yet", pod.name)))?;
            let dialled = network.dial((Ipv4Addr::LOCALHOST, port).into()).await;
            dialled.map_err(|error| {
                NodeError::Internal(format!("cannot connect to port {port} of pod {}: {error}", pod.name))
            })
        }
        .boxed()
    }
}

fn record(cell: &PodCell, container: &str) -> Result<Record, NodeError> {
    let found = cell.observed().record_mut(container).cloned();
    found.ok_or_else(|| NodeError::NotFound(format!("container {container} is not in pod {}", cell.name)))
}

fn open_log(cell: &PodCell, options: &LogOptions) -> Result<LogStream, NodeError> {
    let record = record(cell, &options.container)?;
    if options.previous {
        return previous_log(cell, &record, options);
    }
    let instance = cell.instance(&record.name);
    let Some(instance) = instance else {
        let reason = match &record.state {
            State::Waiting(why) if why.message.is_empty() => why.reason.clone(),
            State::Waiting(why) => format!("{} ({})", why.reason, why.message),
            State::Ended(ended) => ended.message.clone().unwrap_or_else(|| ended.reason.clone()),
            State::Running(_) => "it is just being started".to_owned(),
        };
        let message = format!("container \"{}\" in pod \"{}\" is waiting to start: {reason}", record.name, cell.name);
        return Err(NodeError::BadRequest(message));
    };
    let follow = options.follow.then(|| instance.log_progress());
    read(cell, &record, record.restarts, options, follow)
}

fn previous_log(cell: &PodCell, record: &Record, options: &LogOptions) -> Result<LogStream, NodeError> {
    if record.restarts == 0 {
        let message = format!("previous terminated container \"{}\" in pod \"{}\" not found", record.name, cell.name);
        return Err(NodeError::BadRequest(message));
    }
    read(cell, record, record.restarts - 1, options, None)
}

fn read(
    cell: &PodCell,
    record: &Record,
    restarts: i32,
    options: &LogOptions,
    follow: Option<tokio::sync::watch::Receiver<logs::LogProgress>>,
) -> Result<LogStream, NodeError> {
    let wanted = logs::LogOptions {
        timestamps: options.timestamps,
        since: options.since,
        tail_lines: options.tail_lines,
        limit_bytes: options.limit_bytes,
    };
    let stream = logs::read_logs(&cell.log_file(&record.name, restarts), wanted, follow);
    stream.map(|stream| stream.boxed()).map_err(|error| NodeError::Internal(format!("the log cannot be read: {error}")))
}

async fn exec(cell: &PodCell, options: ExecOptions) -> Result<ExecSession, NodeError> {
    let record = record(cell, &options.container)?;
    let running = cell.instance(&record.name).filter(|_| record.is_running());
    let container =
        running.ok_or_else(|| NodeError::BadRequest(format!("container {} is not running", record.name)))?;
    let spec = ExecSpec { command: options.command, tty: options.tty, stdin: options.stdin, terminal_size: None };
    let session = container.exec(spec).await.map_err(|error| match error {
        StartError::NoCommand | StartError::NotRunning(_) => NodeError::BadRequest(error.to_string()),
        other => NodeError::Internal(other.to_string()),
    })?;
    Ok(ExecSession {
        stdin: session.stdin,
        stdout: session.stdout,
        stderr: session.stderr,
        resize: session.resize,
        exit: session.exit,
    })
}

/// A place for the node agent in an API server's configuration: the server is there before the agent, which needs
/// the server to start.
#[derive(Clone, Default)]
pub struct LateBackend(Arc<OnceLock<Arc<NodeAgent>>>);

impl LateBackend {
    /// Puts the agent in its place. Only the first call has an effect.
    pub fn set(&self, agent: Arc<NodeAgent>) {
        // A second agent for the same server would be a mistake of the caller; the first one stays.
        let _already_set = self.0.set(agent);
    }

    fn get(&self) -> Result<&Arc<NodeAgent>, NodeError> {
        self.0.get().ok_or_else(|| NodeError::Internal("the node agent has not been started yet".to_owned()))
    }
}

impl NodeBackend for LateBackend {
    fn logs(&self, pod: PodRef, options: LogOptions) -> BoxFuture<'_, Result<LogStream, NodeError>> {
        async move { self.get()?.logs(pod, options).await }.boxed()
    }

    fn exec(&self, pod: PodRef, options: ExecOptions) -> BoxFuture<'_, Result<ExecSession, NodeError>> {
        async move { self.get()?.exec(pod, options).await }.boxed()
    }

    fn dial_pod(&self, pod: PodRef, port: u16) -> BoxFuture<'_, Result<TcpStream, NodeError>> {
        async move { self.get()?.dial_pod(pod, port).await }.boxed()
    }
}
