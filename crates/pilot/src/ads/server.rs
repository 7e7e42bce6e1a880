//! The ADS service: one task for each stream, which feeds requests and snapshots into a [`Session`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use mesh_types::SpiffeId;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::transport::CertificateDer;
use tonic::{Request, Response, Status, Streaming};

use super::Type;
use super::cache::{Cache, Own, Translated};
use super::resources::Resources;
use super::session::Session;
use super::status::{ProxyStatus, Registry};
use crate::model::{Mesh, Problem, State};
use crate::registration::health::Health;
use crate::registration::{self, Applicant, Membership, Registrar};
use crate::translate::Proxy;

/// Messages under way to a proxy; the session has at most one of each type unanswered.
const BUFFERED: usize = 16;
/// Proxies with many resources send long first requests when they reconnect.
const MESSAGE_LIMIT: usize = 64 << 20;

/// Certificates that a caller presented, its own first.
type Certificates = Option<Arc<Vec<CertificateDer<'static>>>>;

/// Finds out who opened a stream; nothing where connections are not authenticated on purpose, as in tests.
pub type Authenticate =
    Arc<dyn Fn(MetadataMap, Certificates) -> BoxFuture<'static, Result<Option<SpiffeId>, Status>> + Send + Sync>;

/// The ADS service.
#[derive(Clone)]
pub struct Ads {
    shared: Arc<Shared>,
    registrar: Option<Registrar>,
}

struct Shared {
    snapshots: watch::Receiver<Option<Arc<Mesh>>>,
    registry: Arc<Registry>,
    authenticate: Authenticate,
    cache: Cache,
    connections: AtomicU64,
}

impl Ads {
    /// A service of the snapshots.
    pub fn new(
        snapshots: watch::Receiver<Option<Arc<Mesh>>>,
        registry: Arc<Registry>,
        authenticate: Authenticate,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                snapshots,
                registry,
                authenticate,
                cache: Cache::default(),
                connections: AtomicU64::new(0),
            }),
            registrar: None,
        }
    }

    /// Lets workloads register themselves. Without it, a proxy that names a WorkloadGroup is served like any other.
    #[must_use]
    pub fn registering(self, registrar: Registrar) -> Self {
        Self { registrar: Some(registrar), ..self }
    }

    /// The service in the form that a gRPC server takes.
    pub fn into_service(self) -> AggregatedDiscoveryServiceServer<Self> {
        AggregatedDiscoveryServiceServer::new(self)
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(usize::MAX)
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Ads {
    type StreamAggregatedResourcesStream = BoxStream<'static, Result<DiscoveryResponse, Status>>;
    type DeltaAggregatedResourcesStream = ReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

    async fn stream_aggregated_resources(
        &self,
        _request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("only delta xDS is served: set api_type DELTA_GRPC"))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let caller = (self.shared.authenticate)(request.metadata().clone(), request.peer_certs()).await?;
        let (responses, stream) = mpsc::channel(BUFFERED);
        let connection = self.shared.connections.fetch_add(1, Ordering::Relaxed);
        let caller = Caller { identity: caller, registrar: self.registrar.clone() };
        tokio::spawn(serve(Arc::clone(&self.shared), connection, caller, request.into_inner(), responses));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

type Responses = mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>;

/// Who opened a stream, and who may register it.
struct Caller {
    identity: Option<SpiffeId>,
    registrar: Option<Registrar>,
}

async fn serve(
    shared: Arc<Shared>,
    connection: u64,
    caller: Caller,
    mut requests: Streaming<DeltaDiscoveryRequest>,
    responses: Responses,
) {
    let first = match requests.message().await {
        Ok(Some(first)) => first,
        Ok(None) | Err(_) => return,
    };
    let (proxy, membership) = match admitted(&first, &caller).await {
        Ok(admitted) => admitted,
        Err(status) => {
            tracing::warn!(message = status.message(), "proxy refused");
            // A proxy that is gone needs no answer.
            let _ = responses.send(Err(status)).await;
            return;
        }
    };
    tracing::info!(proxy = proxy.id, connection, "proxy connected");
    let id = proxy.id.clone();
    let mut stream = Stream {
        shared: Arc::clone(&shared),
        snapshots: shared.snapshots.clone(),
        session: Session::default(),
        proxy,
        membership,
        current: None,
        own: None,
        connection,
        responses,
    };
    let end = stream.run(first, requests).await;
    shared.registry.disconnected(&id, connection);
    if let Some(membership) = stream.membership {
        membership.leave().await;
    }
    tracing::info!(proxy = id, connection, %end, "proxy disconnected");
}

/// The proxy that the first request introduces, and its membership of a WorkloadGroup where it names one.
async fn admitted(first: &DeltaDiscoveryRequest, caller: &Caller) -> Result<(Proxy, Option<Membership>), Status> {
    let mut proxy = introduced(first, caller.identity.as_ref())?;
    let (Some(registrar), Some(node)) = (&caller.registrar, &first.node) else { return Ok((proxy, None)) };
    let applicant = Applicant::from_node(node).map_err(|error| Status::invalid_argument(error.to_string()))?;
    let Some(applicant) = applicant else { return Ok((proxy, None)) };
    let membership = registrar.register(&applicant, caller.identity.as_ref()).await?;
    proxy.workload_entry = Some(membership.entry().to_owned());
    Ok((proxy, Some(membership)))
}

/// The proxy that the first request introduces, which must be the one that was authenticated.
fn introduced(first: &DeltaDiscoveryRequest, caller: Option<&SpiffeId>) -> Result<Proxy, Status> {
    let node = first.node.as_ref().ok_or_else(|| Status::invalid_argument("the first request names no node"))?;
    let proxy = Proxy::from_node(node).map_err(|error| Status::invalid_argument(error.to_string()))?;
    let Some(caller) = caller else { return Ok(proxy) };
    let account = proxy.service_account.is_empty() || proxy.service_account == caller.service_account;
    if proxy.namespace == caller.namespace && account {
        Ok(proxy)
    } else {
        Err(Status::permission_denied(format!(
            "{caller} is not {}/{} of node {}",
            proxy.namespace, proxy.service_account, proxy.id
        )))
    }
}

struct Stream {
    shared: Arc<Shared>,
    snapshots: watch::Receiver<Option<Arc<Mesh>>>,
    session: Session,
    proxy: Proxy,
    membership: Option<Membership>,
    current: Option<Current>,
    own: Option<Own>,
    connection: u64,
    responses: Responses,
}

/// The translation that the session works with.
struct Current {
    state: Arc<State>,
    resources: Arc<Resources>,
    problems: Vec<Problem>,
}

impl Stream {
    /// Serves until one side ends the stream; says why it ended.
    async fn run(&mut self, first: DeltaDiscoveryRequest, mut requests: Streaming<DeltaDiscoveryRequest>) -> String {
        // Before the first snapshot there is nothing true to say.
        if self.snapshots.wait_for(Option::is_some).await.is_err() {
            return "the control plane stops".to_owned();
        }
        self.take_snapshot();
        let mut request = Some(first);
        loop {
            if let Some(request) = request.take()
                && let Err(end) = self.take_request(request).await
            {
                return end;
            }
            for response in self.session.responses() {
                if self.responses.send(Ok(response)).await.is_err() {
                    return "the proxy is gone".to_owned();
                }
            }
            self.report();
            tokio::select! {
                message = requests.message() => match message {
                    Ok(Some(message)) => request = Some(message),
                    Ok(None) => return "the proxy ended the stream".to_owned(),
                    Err(status) => return status.message().to_owned(),
                },
                changed = self.snapshots.changed() => match changed {
                    Ok(()) => self.take_snapshot(),
                    Err(_) => return "the control plane stops".to_owned(),
                },
            }
        }
    }

    async fn take_request(&mut self, request: DeltaDiscoveryRequest) -> Result<(), String> {
        if request.type_url == registration::HEALTH_INFORMATION {
            // Of others the health is Kubernetes' concern.
            if let Some(membership) = &self.membership {
                membership.report(Health::reported(request.error_detail.map(|error| error.message).as_deref()));
            }
            return Ok(());
        }
        if let Some(error) = &request.error_detail {
            tracing::warn!(
                proxy = self.proxy.id,
                kind = request.type_url,
                error = error.message,
                "proxy refused an update"
            );
        }
        match self.session.request(request) {
            Some(response) => self.responses.send(Ok(response)).await.map_err(|_| "the proxy is gone".to_owned()),
            None => Ok(()),
        }
    }

    fn take_snapshot(&mut self) {
        let Some(mesh) = self.snapshots.borrow_and_update().clone() else { return };
        if self.current.as_ref().is_some_and(|current| same_inputs(&current.state, &mesh.state)) {
            self.session.set_unchanged(mesh.number);
            return;
        }
        let Translated { resources, problems } = self.shared.cache.translate(&mesh, &self.proxy, &mut self.own);
        self.session.set(mesh.number, resources.clone());
        self.current = Some(Current { state: Arc::clone(&mesh.state), resources: Arc::new(resources), problems });
    }

    fn report(&self) {
        let Some(current) = &self.current else { return };
        let types: BTreeMap<_, _> = Type::ALL.into_iter().map(|kind| (kind, self.session.status(kind))).collect();
        self.shared.registry.set(ProxyStatus {
            proxy: self.proxy.clone(),
            connection: self.connection,
            connected: true,
            types,
            acknowledged: Type::ALL.into_iter().map(|kind| (kind, self.session.acknowledged(kind))).collect(),
            resources: Arc::clone(&current.resources),
            problems: current.problems.clone(),
            acknowledged_at: None,
        });
    }
}

/// Whether two states give the same translation without looking: the parts that are translated are shared.
fn same_inputs(left: &State, right: &State) -> bool {
    Arc::ptr_eq(&left.services, &right.services)
        && Arc::ptr_eq(&left.endpoints, &right.endpoints)
        && Arc::ptr_eq(&left.workloads, &right.workloads)
        && Arc::ptr_eq(&left.gateways, &right.gateways)
        && Arc::ptr_eq(&left.credentials, &right.credentials)
        && Arc::ptr_eq(&left.configs, &right.configs)
}
