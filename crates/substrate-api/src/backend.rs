//! What the API server needs from the world around it: a way to dial out, and a node that runs pods.
//! Only types; whoever embeds the server implements them.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Opens connections from where the API server's traffic should come from: the node's network.
pub trait Dialer: Send + Sync {
    /// Connects to an address. The caller sets the time limit.
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>>;
}

/// The node agent's part of the pod subresources `log`, `exec`, `attach` and `portforward`.
pub trait NodeBackend: Send + Sync {
    /// The log of one container, as a stream of bytes that ends unless `follow` is set.
    fn logs(
        &self,
        pod: PodRef,
        options: LogOptions,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<Bytes, io::Error>>, NodeError>>;
    /// Starts a command in a container.
    fn exec(&self, pod: PodRef, options: ExecOptions) -> BoxFuture<'_, Result<ExecSession, NodeError>>;
    /// Connects to a port inside the pod's network, as `kubectl port-forward` does: to its loopback.
    fn dial_pod(&self, pod: PodRef, port: u16) -> BoxFuture<'_, Result<TcpStream, NodeError>>;
}

/// Names one incarnation of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PodRef {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// `metadata.uid` of the pod.
    pub uid: String,
}

/// Which part of a container's log is wanted; the query parameters of `pods/log`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Name of the container.
    pub container: String,
    /// Keep the stream open and send lines as they come.
    pub follow: bool,
    /// The log of the instance before the last restart.
    pub previous: bool,
    /// Only so many lines from the end.
    pub tail_lines: Option<u64>,
    /// Start each line with its time in RFC 3339.
    pub timestamps: bool,
    /// Only lines from this instant on.
    pub since: Option<Timestamp>,
    /// End after so many bytes.
    pub limit_bytes: Option<u64>,
}

/// A command to run in a container; the query parameters of `pods/exec`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecOptions {
    /// Name of the container.
    pub container: String,
    /// Program and arguments; never empty.
    pub command: Vec<String>,
    /// Run on a terminal; standard error then goes the way of standard output.
    pub tty: bool,
    /// Whether standard input is wanted.
    pub stdin: bool,
}

/// A command that runs in a container.
pub struct ExecSession {
    /// Where standard input goes, where it was wanted; dropping it closes it.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Standard output, or the terminal.
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// Standard error; none on a terminal.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Takes changes of the terminal's size as (columns, rows).
    pub resize: Option<mpsc::Sender<(u16, u16)>>,
    /// Resolves to the exit code; 128 + n where signal n ended the command.
    pub exit: BoxFuture<'static, Result<i32, io::Error>>,
}

/// Why the node cannot do what was asked. The text reaches the client.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The pod or container does not run here, or has no such log.
    #[error("{0}")]
    NotFound(String),
    /// The request makes no sense for this container in its present state.
    #[error("{0}")]
    BadRequest(String),
    /// Something failed on the node.
    #[error("{0}")]
    Internal(String),
}
