//! `istio.v1.auth.IstioCertificateService`: certificates for callers whose identity is proven.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use tonic::body::Body;
use tonic::server::{NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tracing::{info, warn};

use super::authenticate::Authenticator;
use super::authority::Authority;
use super::proto::{IstioCertificateRequest, IstioCertificateResponse};
use super::sign::SignError;

const CREATE_CERTIFICATE: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";

/// The service, to be added to a tonic server.
#[derive(Clone)]
pub struct CertificateService {
    authority: Arc<Authority>,
    authenticator: Authenticator,
}

impl CertificateService {
    /// Signs with `authority` for whom `authenticator` accepts.
    #[must_use]
    pub fn new(authority: Arc<Authority>, authenticator: Authenticator) -> Self {
        Self { authority, authenticator }
    }

    async fn create(&self, request: Request<IstioCertificateRequest>) -> Result<IstioCertificateResponse, Status> {
        let certificates = request.peer_certs();
        let caller = self.authenticator.authenticate(request.metadata(), certificates).await?;
        let message = request.into_inner();
        let lifetime = u64::try_from(message.validity_duration)
            .map_err(|_negative| Status::invalid_argument("validity_duration is negative"))?;
        let signed = self.authority.sign(&message.csr, &caller.identity, Some(Duration::from_secs(lifetime)));
        match signed {
            Ok(cert_chain) => {
                info!(identity = %caller.identity, means = ?caller.means, "certificate issued");
                Ok(IstioCertificateResponse { cert_chain })
            }
            Err(error) => {
                warn!(identity = %caller.identity, %error, "no certificate issued");
                Err(status(&error))
            }
        }
    }
}

fn status(error: &SignError) -> Status {
    match error {
        SignError::Request(_) | SignError::Lifetime { .. } => Status::invalid_argument(error.to_string()),
        SignError::Authority(_) => Status::failed_precondition(error.to_string()),
    }
}

impl NamedService for CertificateService {
    const NAME: &'static str = "istio.v1.auth.IstioCertificateService";
}

impl UnaryService<IstioCertificateRequest> for CertificateService {
    type Response = IstioCertificateResponse;
    type Future = BoxFuture<'static, Result<Response<IstioCertificateResponse>, Status>>;

    fn call(&mut self, request: Request<IstioCertificateRequest>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { service.create(request).await.map(Response::new) })
    }
}

impl tower::Service<http::Request<Body>> for CertificateService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            if request.uri().path() != CREATE_CERTIFICATE {
                return Ok(Status::unimplemented(format!("{} is not served", request.uri().path())).into_http());
            }
            Ok(tonic::server::Grpc::new(ProstCodec::default()).unary(service, request).await)
        })
    }
}

#[cfg(test)]
mod tests;
