//! A cluster for unit tests: what its API server answers is a function of the request.

use std::convert::Infallible;

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Bytes;
use kube::Client;
use kube::client::Body;
use serde_json::Value;

use super::{Access, Cluster};

impl Cluster {
    /// A cluster whose API server answers with this status and document.
    pub(crate) fn answering(
        name: &str,
        answer: impl Fn(&Request<Body>) -> (u16, Value) + Clone + Send + Sync + 'static,
    ) -> Self {
        let service = tower::service_fn(move |request: Request<Body>| {
            let (status, document) = answer(&request);
            let mut response = Response::new(Full::new(Bytes::from(document.to_string())));
            *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
            async move { Ok::<_, Infallible>(response) }
        });
        let access = Access { kubeconfig: "/nowhere".into(), server_for_other_clusters: String::new() };
        Self::new(name, name, access, Client::new(service, "default"))
    }
}
