//! Asks what listens on the loopback address of a pod (Envoy's administration interface, the control plane's debug port), as
//! `kubectl port-forward` and `curl` do. A connection is kept for the next question: a proxy is asked hundreds of times in
//! a run, and a command in its container for each costs more than all that it is asked for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use tokio::sync::Mutex;

use super::{Cluster, Error, chain};

/// A port inside a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PodPort<'name> {
    /// Namespace of the pod.
    pub namespace: &'name str,
    /// Its name.
    pub pod: &'name str,
    /// Port of its loopback address.
    pub port: u16,
}

/// Namespace, pod and port.
type Key = (String, String, u16);
/// One question at a time goes over a connection.
type Connection = Arc<Mutex<Option<SendRequest<Empty<Bytes>>>>>;

/// Connections into pods, by pod and port.
#[derive(Clone, Default)]
pub(super) struct Forwards(Arc<Mutex<HashMap<Key, Connection>>>);

impl Forwards {
    async fn connection(&self, of: PodPort<'_>) -> Connection {
        let key = (of.namespace.to_owned(), of.pod.to_owned(), of.port);
        Arc::clone(self.0.lock().await.entry(key).or_default())
    }

    /// The pod may be gone for good.
    async fn forget(&self, of: PodPort<'_>) {
        self.0.lock().await.remove(&(of.namespace.to_owned(), of.pod.to_owned(), of.port));
    }
}

impl Cluster {
    /// What `GET path` of HTTP/1.1 is answered with by a port of a pod.
    ///
    /// # Errors
    /// [`Error::Ask`] where nobody listens, the answer has another status than 200, or `deadline` has passed.
    pub async fn ask(&self, of: PodPort<'_>, path: &str, deadline: Duration) -> Result<String, Error> {
        let failed = |message: String| Error::Ask {
            cluster: self.name().to_owned(),
            pod: format!("{}/{}", of.namespace, of.pod),
            port: of.port,
            path: path.to_owned(),
            message,
        };
        let connection = self.forwards.connection(of).await;
        let exchange = async {
            let mut connection = connection.lock().await;
            // Taken out, so that what is dropped in the middle of an answer is not used again.
            if let Some(mut kept) = connection.take().filter(SendRequest::is_ready)
                && let Ok(answer) = get(&mut kept, path).await
            {
                *connection = Some(kept);
                return Ok(answer);
            }
            // None is kept, or it ended meanwhile, which says nothing of who answers there now.
            let (mut sender, refusal) = self.forward(of).await?;
            let answer = tokio::select! {
                biased;
                message = refusal => return Err(message),
                answer = get(&mut sender, path) => answer?,
            };
            *connection = Some(sender);
            Ok(answer)
        };
        let answer = match tokio::time::timeout(deadline, exchange).await {
            Ok(answer) => answer.and_then(good),
            Err(_elapsed) => Err(format!("no answer within {} s", deadline.as_secs_f64())),
        };
        if answer.is_err() {
            self.forwards.forget(of).await;
        }
        answer.map_err(failed)
    }

    /// A new connection to a port of a pod, and why the pod's node cannot serve it, should it say so.
    async fn forward(
        &self,
        of: PodPort<'_>,
    ) -> Result<(SendRequest<Empty<Bytes>>, BoxFuture<'static, String>), String> {
        let api: Api<Pod> = Api::namespaced(self.client(), of.namespace);
        let mut forwarder = api.portforward(of.pod, &[of.port]).await.map_err(|error| chain(&error))?;
        let refusal = forwarder.take_error(of.port).ok_or("the port has no channel for errors")?;
        let stream = forwarder.take_stream(of.port).ok_or("the port has no channel for data")?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(async move {
            // Its error is also that of the request; the forwarder lives as long as the connection.
            let _ended = connection.await;
            drop(forwarder);
        });
        let refused = async {
            match refusal.await {
                Some(message) => message,
                None => futures::future::pending().await,
            }
        };
        Ok((sender, refused.boxed()))
    }
}

/// An answer, whatever its status.
type Answer = (StatusCode, String);

fn good((status, body): Answer) -> Result<String, String> {
    if status == StatusCode::OK { Ok(body) } else { Err(format!("status {status}: {body}")) }
}

async fn get(sender: &mut SendRequest<Empty<Bytes>>, path: &str) -> Result<Answer, String> {
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let request =
        Request::get(path).header("host", "localhost").body(Empty::new()).map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| chain(&error))?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|error| chain(&error))?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_status_200_is_an_answer() {
        assert_eq!(good((StatusCode::OK, "a: 1".to_owned())), Ok("a: 1".to_owned()));
        let error = good((StatusCode::NOT_FOUND, "invalid path".to_owned()));
        assert_eq!(error, Err("status 404 Not Found: invalid path".to_owned()));
    }
}
