//! Asks the debug port of this machine, for `pilot-discovery request`.

use std::io;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    /// Nobody listens.
    #[error("cannot connect to 127.0.0.1:{port}: {source}")]
    Connect {
        /// The port.
        port: u16,
        /// The cause.
        source: io::Error,
    },
    /// The exchange broke off.
    #[error("request failed: {0}")]
    Http(#[from] hyper::Error),
    /// The path cannot be asked for.
    #[error("not a path: {0}")]
    Path(#[from] hyper::http::Error),
    /// The answer is an error.
    #[error("status {status}: {body}")]
    Status {
        /// Status of the answer.
        status: StatusCode,
        /// Body of the answer.
        body: String,
    },
}

/// The body that `GET path` is answered with on a port of the loopback address.
pub async fn get(port: u16, path: &str) -> Result<String, GetError> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(|source| GetError::Connect { port, source })?;
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let request = Request::get(path).header("host", "localhost").body(Empty::<Bytes>::new())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // The connection ends with the sender; its error is also the sender's.
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    connection.abort();
    let body = String::from_utf8_lossy(&body).into_owned();
    if status.is_success() { Ok(body) } else { Err(GetError::Status { status, body }) }
}
