//! Talks to the agent of a registered cluster: over a port-forward to its pod, which is all that the manager may do there.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::utils::Backoff as _;
use kube::{Api, Client};
use kube_support::error::describe;
use kube_support::watch::QuickBackoff;
use mesh_types::hub::acknowledgement::Acknowledgements;
use mesh_types::hub::names::PORT_AGENT_ADMIN;
use tokio::sync::watch;

use crate::clusters::session::AgentPlace;
use crate::write::{Command, Writer};

/// How long an agent may take to begin its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest line that is taken of an agent.
const LONGEST: usize = 64 << 20;

/// Why an agent cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// No port-forward to its pod.
    #[error("no port-forward to the agent: {0}")]
    Forward(String),
    /// It speaks no HTTP, or the connection broke.
    #[error("the agent does not answer: {0}")]
    Http(#[from] hyper::Error),
    /// It answers with an error.
    #[error("the agent answers {0}")]
    Status(StatusCode),
    /// A line that cannot be understood.
    #[error("the agent tells what cannot be understood: {0}")]
    Form(String),
    /// It ended its answer.
    #[error("the agent ended its stream")]
    Ended,
}

/// Asks the agent in a pod for a path of its admin port; the answer is read as it comes.
///
/// # Errors
/// It is not there, or does not answer with success.
pub async fn get(cluster: &Client, namespace: &str, pod: &str, path: &str) -> Result<Response<Incoming>, AgentError> {
    let pods: Api<Pod> = Api::namespaced(cluster.clone(), namespace);
    let forward = pods.portforward(pod, &[PORT_AGENT_ADMIN]).await;
    let mut forward = forward.map_err(|error| AgentError::Forward(describe(&error)))?;
    let stream = forward.take_stream(PORT_AGENT_ADMIN).ok_or_else(|| AgentError::Forward("no stream".to_owned()))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // The forwarder lives as long as the connection that it carries.
        let _forward = forward;
        let _ended = connection.await;
    });
    let request = Request::get(path).header("host", "hub-agent").body(Empty::<Bytes>::new());
    let request = request.map_err(|error| AgentError::Form(error.to_string()))?;
    let response = sender.send_request(request).await?;
    if response.status() == StatusCode::OK { Ok(response) } else { Err(AgentError::Status(response.status())) }
}

/// Follows what the agent tells of acknowledgements, wherever the agent is, for as long as it is polled.
pub async fn follow<T: Clone + Ord + Send + Sync + 'static>(
    cluster: String,
    namespace: String,
    mut place: watch::Receiver<AgentPlace>,
    writer: Writer<T>,
) {
    let mut backoff = QuickBackoff::default();
    loop {
        let Some((client, pod)) = place.borrow_and_update().clone() else {
            // The session says why there is none.
            if place.changed().await.is_err() {
                return std::future::pending().await;
            }
            continue;
        };
        let ended = tokio::select! {
            changed = place.changed() => if changed.is_err() { return std::future::pending().await } else { None },
            error = acknowledgements(&client, &namespace, &pod, &writer, &mut backoff) => Some(error),
        };
        if let Some(error) = ended {
            tracing::warn!(cluster, pod, %error, "the agent tells nothing at the moment");
            writer.tell(Command::NoProxies(error.to_string()));
            let pause = backoff.next().unwrap_or_default();
            let _moved = tokio::time::timeout(pause, place.changed()).await;
        } else {
            writer.tell(Command::NoProxies("the agent moved".to_owned()));
        }
    }
}

async fn acknowledgements<T: Clone + Ord + Send + Sync + 'static>(
    client: &Client,
    namespace: &str,
    pod: &str,
    writer: &Writer<T>,
    backoff: &mut QuickBackoff,
) -> AgentError {
    let answer = tokio::time::timeout(PATIENCE, get(client, namespace, pod, "/v1/acknowledged")).await;
    let mut body = match answer {
        Ok(Ok(response)) => response.into_body().into_data_stream(),
        Ok(Err(error)) => return error,
        Err(_elapsed) => return AgentError::Forward(format!("no answer within {PATIENCE:?}")),
    };
    let mut lines = Lines::default();
    while let Some(chunk) = body.next().await {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => return error.into(),
        };
        for line in lines.take(&chunk) {
            match serde_json::from_slice::<Acknowledgements>(&line) {
                Ok(line) => writer.tell(Command::Proxies(line)),
                Err(error) => return AgentError::Form(error.to_string()),
            }
            backoff.reset();
        }
        if lines.rest.len() > LONGEST {
            return AgentError::Form(format!("a line of more than {LONGEST} bytes"));
        }
    }
    AgentError::Ended
}

/// Cuts a stream of bytes into lines.
#[derive(Debug, Default)]
pub struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// The lines that a chunk completes, without empty ones.
    pub fn take(&mut self, chunk: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        for byte in chunk {
            if *byte == b'\n' {
                lines.push(std::mem::take(&mut self.rest));
            } else {
                self.rest.push(*byte);
            }
        }
        lines.retain(|line| !line.is_empty());
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_may_come_in_pieces() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"{\"a\":1}\n{\"b"), [b"{\"a\":1}".to_vec()]);
        assert_eq!(lines.take(b"\":2}\n\n"), [b"{\"b\":2}".to_vec()]);
    }
}
