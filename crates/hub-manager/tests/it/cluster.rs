//! An API server on a loopback port, with the definitions of the mesh and of the hub. Nothing runs in it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;
use substrate_api::{
    ApiServer, ApiServerConfig, Dialer, ExecOptions, ExecSession, LogOptions, NodeBackend, NodeError, PodRef,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A running cluster; it stops when this is dropped.
pub(crate) struct Cluster {
    pub(crate) server: Arc<ApiServer>,
    /// A client of `system:masters`, in process.
    pub(crate) client: Client,
    pub(crate) address: SocketAddr,
    listening: Option<DropGuard>,
    _directory: tempfile::TempDir,
}

/// Ports of pods are ports of loopback: whoever forwards to port 9092 of a pod reaches the port that its annotation names.
struct Host;

impl Dialer for Host {
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        Box::pin(TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], address.port()))))
    }
}

fn no_node<T>() -> BoxFuture<'static, Result<T, NodeError>> {
    Box::pin(async { Err(NodeError::NotFound("this cluster has no node".to_owned())) })
}

impl NodeBackend for Host {
    fn logs(
        &self,
        _: PodRef,
        _: LogOptions,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<Bytes, io::Error>>, NodeError>> {
        no_node()
    }

    fn exec(&self, _: PodRef, _: ExecOptions) -> BoxFuture<'_, Result<ExecSession, NodeError>> {
        no_node()
    }

    fn dial_pod(&self, pod: PodRef, _: u16) -> BoxFuture<'_, Result<TcpStream, NodeError>> {
        // The pod's name ends in the port of loopback that stands for it.
        Box::pin(async move {
            let port = pod.name.rsplit('-').next().and_then(|port| port.parse().ok()).unwrap_or(0_u16);
            TcpStream::connect(("127.0.0.1", port)).await.map_err(|error| NodeError::Internal(error.to_string()))
        })
    }
}

impl Cluster {
    pub(crate) async fn start(name: &str) -> Self {
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let directory = tempfile::tempdir().unwrap();
        let server = ApiServer::start(ApiServerConfig {
            cluster_name: name.to_owned(),
            service_subnet: "10.96.0.0/16".to_owned(),
            subject_alt_names: Vec::new(),
            state_directory: directory.path().to_owned(),
            dialer: Arc::new(Host),
            node: Arc::new(Host),
        })
        .await
        .unwrap();
        let client = server.client("admin", &["system:masters"]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut cluster = Self { server, client, address, listening: None, _directory: directory };
        cluster.listen(listener);
        cluster.define().await;
        cluster
    }

    fn listen(&mut self, listener: TcpListener) {
        let cancel = CancellationToken::new();
        let (server, token) = (Arc::clone(&self.server), cancel.clone());
        tokio::spawn(async move { server.serve(listener, token).await });
        self.listening = Some(cancel.drop_guard());
    }

    /// Nobody is answered any more, until [`Self::answer`].
    pub(crate) fn fall_silent(&mut self) {
        self.listening = None;
    }

    /// Answers again, at the same address.
    pub(crate) async fn answer(&mut self) {
        let address = self.address;
        let listen = || {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(64)
        };
        // Who listened before ends a moment after it was told to.
        self.listen(crate::world::until("the address to be free", async || listen()).await);
    }

    async fn define(&self) {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests");
        for folder in ["crds", "hub/crds"] {
            for entry in std::fs::read_dir(format!("{root}/{folder}")).unwrap() {
                let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
                for document in serde_saphyr::from_multiple::<Value>(&text).unwrap() {
                    self.create(document).await;
                }
            }
        }
    }

    /// A kubeconfig of an administrator.
    pub(crate) fn kubeconfig(&self) -> String {
        self.server.admin_kubeconfig(&format!("https://{}", self.address))
    }

    /// A kubeconfig of a user with no rights but those that are granted.
    pub(crate) fn kubeconfig_of(&self, user: &str) -> String {
        self.server.kubeconfig(&format!("https://{}", self.address), user, &[]).unwrap()
    }

    fn api(&self, object: &Value) -> Api<DynamicObject> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        self.of_kind(text("/apiVersion"), text("/kind"), text("/metadata/namespace"))
    }

    /// Objects of a kind, in a namespace or (empty) cluster-wide.
    pub(crate) fn of_kind(&self, api_version: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let plurals = BTreeMap::from([("Mesh", "meshes"), ("AccessPolicy", "accesspolicies")]);
        let gvk = GroupVersionKind::gvk(group, version, kind);
        let resource = match plurals.get(kind) {
            Some(plural) => ApiResource::from_gvk_with_plural(&gvk, plural),
            None => ApiResource::from_gvk(&gvk),
        };
        match namespace {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }

    /// Creates an object, with its status where it has one.
    pub(crate) async fn create(&self, object: Value) -> Value {
        self.try_create(object).await.unwrap()
    }

    pub(crate) async fn try_create(&self, object: Value) -> Result<Value, kube::Error> {
        let api = self.api(&object);
        let status = object.get("status").cloned();
        let typed: DynamicObject = serde_json::from_value(object).unwrap();
        let created = api.create(&PostParams::default(), &typed).await?;
        if let Some(status) = status {
            let patch = serde_json::json!({ "status": status });
            api.patch_status(&created.metadata.name.clone().unwrap(), &PatchParams::default(), &Patch::Merge(patch))
                .await?;
        }
        Ok(serde_json::to_value(created).unwrap())
    }

    /// Creates every document.
    pub(crate) async fn create_all(&self, text: &str) {
        for document in serde_saphyr::from_multiple::<Value>(text).unwrap() {
            self.create(document).await;
        }
    }

    /// An object, where it is there.
    pub(crate) async fn get(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let found = self.of_kind(api_version, kind, namespace).get_opt(name).await.unwrap();
        found.map(|object| serde_json::to_value(object).unwrap())
    }

    /// All objects of a kind.
    pub(crate) async fn list(&self, api_version: &str, kind: &str) -> Vec<Value> {
        let list = self.of_kind(api_version, kind, "").list(&ListParams::default()).await.unwrap();
        list.items.into_iter().map(|object| serde_json::to_value(object).unwrap()).collect()
    }

    /// Merges a patch into an object.
    pub(crate) async fn patch(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
        patch: Value,
    ) -> Value {
        let params = PatchParams { field_manager: Some("kubectl-edit".to_owned()), ..PatchParams::default() };
        let patched =
            self.of_kind(api_version, kind, namespace).patch(name, &params, &Patch::Merge(patch)).await.unwrap();
        serde_json::to_value(patched).unwrap()
    }

    /// Deletes an object.
    pub(crate) async fn delete(&self, api_version: &str, kind: &str, namespace: &str, name: &str) {
        self.of_kind(api_version, kind, namespace).delete(name, &DeleteParams::default()).await.unwrap();
    }
}
