//! An API server with the definitions of the hub, and an agent that works in it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use hub_agent::pods::Pods;
use hub_agent::run::{self, Settings};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use mesh_types::hub::{Kind, crd};
use serde_json::{Value, json};
use substrate_api::{
    ApiServer, ApiServerConfig, Dialer, ExecOptions, ExecSession, LogOptions, NodeBackend, NodeError, PodRef,
};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};

const PATIENCE: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(20);

/// A running API server; its agents end with it.
pub(crate) struct World {
    pub(crate) client: Client,
    server: Arc<ApiServer>,
}

/// There are no nodes.
struct Nowhere;

impl Dialer for Nowhere {
    fn dial(&self, _: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        Box::pin(async { Err(io::Error::other("nothing is reached")) })
    }
}

impl NodeBackend for Nowhere {
    fn logs(
        &self,
        _: PodRef,
        _: LogOptions,
    ) -> BoxFuture<'_, Result<BoxStream<'static, io::Result<bytes::Bytes>>, NodeError>> {
        Box::pin(async { Err(NodeError::Internal("no node".to_owned())) })
    }

    fn exec(&self, _: PodRef, _: ExecOptions) -> BoxFuture<'_, Result<ExecSession, NodeError>> {
        Box::pin(async { Err(NodeError::Internal("no node".to_owned())) })
    }

    fn dial_pod(&self, _: PodRef, _: u16) -> BoxFuture<'_, Result<TcpStream, NodeError>> {
        Box::pin(async { Err(NodeError::Internal("no node".to_owned())) })
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        // Another test of this program may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = ApiServerConfig {
            cluster_name: "cluster1".to_owned(),
            service_subnet: "10.96.0.0/16".to_owned(),
            subject_alt_names: Vec::new(),
            state_directory: std::env::temp_dir(),
            dialer: Arc::new(Nowhere),
            node: Arc::new(Nowhere),
        };
        let server = ApiServer::start(config).await.unwrap();
        let client = server.client("admin", &["system:masters"]);
        let world = Self { client, server };
        for kind in [Kind::IssuedCertificate, Kind::CertificateRequest, Kind::WorkloadRestart] {
            world.create("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", crd::definition(kind)).await;
        }
        for namespace in ["istio-system", "meshproof-hub", "bookinfo"] {
            world.create("v1", "Namespace", "", json!({ "metadata": { "name": namespace } })).await;
        }
        world
    }

    /// An agent; it ends when this is dropped.
    pub(crate) fn agent(&self) -> DropGuard {
        Self::agent_with(self.client.clone())
    }

    /// An agent with the rights of a user; it ends when this is dropped.
    pub(crate) fn agent_as(&self, user: &str) -> DropGuard {
        Self::agent_with(self.server.client(user, &["system:authenticated"]))
    }

    fn agent_with(client: Client) -> DropGuard {
        let cancel = CancellationToken::new();
        let settings = Settings { namespace: "meshproof-hub".to_owned(), cluster: "cluster1".to_owned() };
        let pods = Pods::watch(client.clone(), &cancel);
        tokio::spawn(run::run(client, pods, settings, cancel.clone()));
        cancel.drop_guard()
    }

    pub(crate) fn api(&self, api_version: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match namespace {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }

    /// Resources of the hub in the agent's namespace.
    pub(crate) fn hub(&self, kind: Kind) -> Api<DynamicObject> {
        self.api(&kind.api_version(), kind.name(), "meshproof-hub")
    }

    pub(crate) async fn create(&self, api_version: &str, kind: &str, namespace: &str, mut object: Value) {
        object["apiVersion"] = json!(api_version);
        object["kind"] = json!(kind);
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        let api = self.api(api_version, kind, namespace);
        // A definition is served a moment after it was created.
        let created = eventually::poll("the object to be created", PATIENCE, STEP, async || {
            api.create(&PostParams::default(), &object).await
        });
        created.await.unwrap();
    }

    pub(crate) async fn status(&self, api: &Api<DynamicObject>, name: &str, status: Value) {
        let patch = Patch::Merge(json!({ "status": status }));
        api.patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }
}

/// Waits until an object is as wanted, and returns it.
pub(crate) async fn until(
    what: &str,
    api: &Api<DynamicObject>,
    name: &str,
    mut wanted: impl FnMut(&Value) -> bool,
) -> Value {
    let seen = eventually::poll(what, PATIENCE, STEP, async || {
        let Some(object) = api.get_opt(name).await.map_err(|error| error.to_string())? else {
            return Err(format!("{name} is not there"));
        };
        let value = serde_json::to_value(object).unwrap();
        if wanted(&value) { Ok(value) } else { Err(value["status"].to_string()) }
    });
    seen.await.unwrap()
}
