//! A minimal HTTP/1.1 client for calls inside the pod: Envoy's admin interface, the application's metrics and probes.
//! One connection per call, no proxies, no redirects.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Answers larger than this are refused: a configuration dump of a large mesh still fits.
const BODY_LIMIT: usize = 256 << 20;

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The exchange broke.
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// The answer's body broke or was too large.
    #[error("body: {0}")]
    Body(String),
    /// The request cannot be written down.
    #[error("request: {0}")]
    Request(#[from] http::Error),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
}

/// An answer, read to its end.
pub type Answer = Response<Bytes>;

/// Calls `path` on this machine's loopback.
///
/// # Errors
/// [`CallError`]; an answer with any status is no error.
pub async fn local(method: Method, port: u16, path: &str, deadline: Duration) -> Result<Answer, CallError> {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let request = Request::builder().method(method).uri(path).header("host", "localhost").body(Empty::new())?;
    within(deadline, async {
        let stream = TcpStream::connect(address).await.map_err(|source| CallError::Connect { address, source })?;
        exchange(stream, request).await
    })
    .await
}

/// Bounds a call.
///
/// # Errors
/// [`CallError::TimedOut`] or the call's own.
pub async fn within<T>(deadline: Duration, call: impl Future<Output = Result<T, CallError>>) -> Result<T, CallError> {
    tokio::time::timeout(deadline, call).await.unwrap_or(Err(CallError::TimedOut(deadline)))
}

/// One request over a connection that is then closed.
///
/// # Errors
/// [`CallError`].
pub async fn exchange<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<Answer, CallError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let call = async {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body =
            Limited::new(body, BODY_LIMIT).collect().await.map_err(|error| CallError::Body(error.to_string()))?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    };
    tokio::pin!(call, connection);
    // A connection that has ended has handed over its answer, or its failure, to the call.
    tokio::select! {
        biased;
        answer = &mut call => return answer,
        _ended = &mut connection => {}
    }
    call.await
}
