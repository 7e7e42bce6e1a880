//! A control plane for one proxy: a certificate authority that wants a token, and delta ADS with fixed resources.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use envoy_types::pb::google::protobuf::Any;
use futures::future::BoxFuture;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, IsCa, KeyPair, SanType};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

use agent::proto::{IstioCertificateRequest, IstioCertificateResponse};

/// The token that the authority accepts.
pub(crate) const TOKEN: &str = "a-good-token";

/// What is seen of the proxy, and what it is served.
pub(crate) struct State {
    pub(crate) root: CertifiedIssuer<'static, KeyPair>,
    /// Resources by type URL, then name.
    pub(crate) resources: BTreeMap<String, BTreeMap<String, Any>>,
    pub(crate) seen: Mutex<Seen>,
}

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) streams: usize,
    pub(crate) certificates: usize,
    pub(crate) refused_calls: usize,
    pub(crate) node_id: String,
    pub(crate) cluster_ids: Vec<String>,
    pub(crate) nacks: Vec<String>,
    pub(crate) initial_versions: HashMap<String, String>,
    /// Calls that were let in by their token.
    pub(crate) by_token: usize,
    /// Calls that showed no token and were let in by their certificate.
    pub(crate) by_certificate: usize,
    /// What was said of the application's health: the error, or nothing.
    pub(crate) health: Vec<Option<String>>,
}

/// A running control plane; dropping it cuts every connection.
pub(crate) struct ControlPlane {
    runtime: Option<Runtime>,
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub(crate) fn issuer(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

impl State {
    pub(crate) fn new(resources: Vec<(String, Any)>) -> Arc<Self> {
        let mut by_type: BTreeMap<String, BTreeMap<String, Any>> = BTreeMap::new();
        for (name, resource) in resources {
            by_type.entry(resource.type_url.clone()).or_default().insert(name, resource);
        }
        // Two roots of one name would be mistaken for each other by whoever verifies.
        static ROOTS: AtomicUsize = AtomicUsize::new(0);
        let name = format!("root {}", ROOTS.fetch_add(1, Ordering::Relaxed));
        Arc::new(Self { root: issuer(&name), resources: by_type, seen: Mutex::default() })
    }

    /// Signs for a SPIFFE id, from a minute ago.
    pub(crate) fn sign(&self, csr_pem: &str, id: &str, lifetime: Duration) -> Vec<String> {
        self.sign_within(csr_pem, id, -60, i64::try_from(lifetime.as_secs()).unwrap())
    }

    /// Signs for a SPIFFE id, from and until so many seconds from now.
    pub(crate) fn sign_within(&self, csr_pem: &str, id: &str, from: i64, until: i64) -> Vec<String> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(csr_pem.as_bytes()).unwrap();
        let request =
            <x509_parser::certification_request::X509CertificationRequest<'_> as x509_parser::prelude::FromDer<
                '_,
                _,
            >>::from_der(&pem.contents);
        let key = rcgen::SubjectPublicKeyInfo::from_der(request.unwrap().1.certification_request_info.subject_pki.raw)
            .unwrap();
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let at = |offset: i64| {
            rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(now.checked_add_signed(offset).unwrap())
        };
        (parameters.not_before, parameters.not_after) = (at(from), at(until));
        vec![parameters.signed_by(&key, &self.root).unwrap().pem(), self.root.pem()]
    }
}

/// Starts a control plane on `port`.
pub(crate) fn start(port: u16, state: &Arc<State>) -> ControlPlane {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &state.root).unwrap();
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(certificate.pem(), key.serialize_pem()))
        .client_ca_root(Certificate::from_pem(state.root.pem()))
        .client_auth_optional(true);
    let (ads, authority) = (Ads(Arc::clone(state)), CertificateAuthority(Arc::clone(state)));
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    listener.set_nonblocking(true).unwrap();
    runtime.spawn(async move {
        let incoming = TcpListenerStream::new(tokio::net::TcpListener::from_std(listener).unwrap());
        let server = Server::builder().tls_config(tls).unwrap();
        let server = { server }.add_service(AggregatedDiscoveryServiceServer::new(ads)).add_service(authority);
        server.serve_with_incoming(incoming).await.unwrap();
    });
    ControlPlane { runtime: Some(runtime) }
}

struct Ads(Arc<State>);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Ads {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("delta only"))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        check(&self.0, &request)?;
        let (sender, receiver) = mpsc::channel(16);
        self.0.seen.lock().unwrap().streams += 1;
        tokio::spawn(answer(Arc::clone(&self.0), request.into_inner(), sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

async fn answer(
    state: Arc<State>,
    mut requests: Streaming<DeltaDiscoveryRequest>,
    sender: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
) {
    let mut nonce = 0;
    while let Ok(Some(request)) = requests.message().await {
        {
            let mut seen = state.seen.lock().unwrap();
            if let Some(node) = &request.node {
                seen.node_id.clone_from(&node.id);
            }
            seen.initial_versions.extend(request.initial_resource_versions.clone());
            if request.type_url == agent::proto::HEALTH_INFORMATION {
                seen.health.push(request.error_detail.map(|detail| detail.message));
                continue;
            }
            seen.nacks.extend(request.error_detail.as_ref().map(|detail| detail.message.clone()));
        }
        if !request.response_nonce.is_empty() {
            continue;
        }
        nonce += 1;
        let resources = state.resources.get(&request.type_url).into_iter().flatten().map(|(name, resource)| Resource {
            name: name.clone(),
            version: "1".to_owned(),
            resource: Some(resource.clone()),
            ..Resource::default()
        });
        let response = DeltaDiscoveryResponse {
            resources: resources.collect(),
            type_url: request.type_url,
            nonce: nonce.to_string(),
            ..DeltaDiscoveryResponse::default()
        };
        if sender.send(Ok(response)).await.is_err() {
            return;
        }
    }
}

fn check<T>(state: &State, request: &Request<T>) -> Result<(), Status> {
    let text =
        |key: &str| request.metadata().get(key).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let mut seen = state.seen.lock().unwrap();
    seen.cluster_ids.push(text("clusterid"));
    if text("authorization") == format!("Bearer {TOKEN}") {
        seen.by_token += 1;
        return Ok(());
    }
    let certified = request.peer_certs().is_some_and(|certificates| !certificates.is_empty());
    if certified && text("authorization").is_empty() {
        seen.by_certificate += 1;
        return Ok(());
    }
    seen.refused_calls += 1;
    Err(Status::unauthenticated("the token is not accepted"))
}

#[derive(Clone)]
struct CertificateAuthority(Arc<State>);

impl tonic::server::NamedService for CertificateAuthority {
    const NAME: &'static str = "istio.v1.auth.IstioCertificateService";
}

impl tonic::server::UnaryService<IstioCertificateRequest> for CertificateAuthority {
    type Response = IstioCertificateResponse;
    type Future = BoxFuture<'static, Result<Response<IstioCertificateResponse>, Status>>;

    fn call(&mut self, request: Request<IstioCertificateRequest>) -> Self::Future {
        let state = Arc::clone(&self.0);
        Box::pin(async move {
            check(&state, &request)?;
            let request = request.into_inner();
            let lifetime = Duration::from_secs(request.validity_duration.try_into().unwrap());
            state.seen.lock().unwrap().certificates += 1;
            let cert_chain =
                state.sign(&request.csr, "spiffe://cluster.local/ns/bookinfo/sa/bookinfo-reviews", lifetime);
            Ok(Response::new(IstioCertificateResponse { cert_chain }))
        })
    }
}

impl tower::Service<http::Request<tonic::body::Body>> for CertificateAuthority {
    type Response = http::Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            assert_eq!(request.uri().path(), agent::proto::CREATE_CERTIFICATE);
            Ok(tonic::server::Grpc::new(tonic_prost::ProstCodec::default()).unary(service, request).await)
        })
    }
}
