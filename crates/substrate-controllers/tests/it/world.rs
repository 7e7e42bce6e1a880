//! An API server, the controllers, and a pretended node.

use std::fmt::Debug;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::{Condition, await_condition};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use substrate_api::{
    ApiServer, ApiServerConfig, Dialer, ExecOptions, ExecSession, LogOptions, NodeBackend, NodeError, PodRef,
};
use substrate_controllers::ControllerConfig;
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long anything may take before a test gives up; nothing here takes a tenth of it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster without a network.
pub(crate) struct World {
    pub(crate) client: Client,
    _stop: DropGuard,
}

struct Nothing;

impl Dialer for Nothing {
    fn dial(&self, _: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        async { Err(io::ErrorKind::Unsupported.into()) }.boxed()
    }
}

impl NodeBackend for Nothing {
    fn logs(
        &self,
        _: PodRef,
        _: LogOptions,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<Bytes, io::Error>>, NodeError>> {
        async { Err(NodeError::Internal("a pretended node has no logs".into())) }.boxed()
    }

    fn exec(&self, _: PodRef, _: ExecOptions) -> BoxFuture<'_, Result<ExecSession, NodeError>> {
        async { Err(NodeError::Internal("a pretended node runs nothing".into())) }.boxed()
    }

    fn dial_pod(&self, _: PodRef, _: u16) -> BoxFuture<'_, Result<TcpStream, NodeError>> {
        async { Err(NodeError::Internal("a pretended node has no network".into())) }.boxed()
    }
}

impl World {
    /// A world with one node, Ready.
    pub(crate) async fn with_node() -> Self {
        let world = Self::without_node().await;
        world.add_node().await;
        world
    }

    /// A world in which no pod finds a node.
    pub(crate) async fn without_node() -> Self {
        // Another test of this process may have been first.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let directory = tempfile::tempdir().unwrap();
        let server = ApiServer::start(ApiServerConfig {
            cluster_name: "test".into(),
            service_subnet: "10.96.0.0/16".into(),
            subject_alt_names: Vec::new(),
            state_directory: directory.path().to_owned(),
            dialer: Arc::new(Nothing),
            node: Arc::new(Nothing),
        })
        .await
        .unwrap();
        let client = server.client("admin", &["system:masters"]);
        let stop = CancellationToken::new();
        let config = ControllerConfig {
            load_balancer_pool: (Ipv4Addr::new(172, 30, 1, 100), Ipv4Addr::new(172, 30, 1, 101)),
            root_ca_pem: server.ca_certificate_pem(),
        };
        let manager = server.client("system:kube-controller-manager", &["system:masters"]);
        tokio::spawn(substrate_controllers::run(manager, config, stop.clone()));
        Self { client, _stop: stop.drop_guard() }
    }

    /// Adds the node and begins to pretend.
    pub(crate) async fn add_node(&self) {
        let labels = json!({"topology.kubernetes.io/zone": "z1"});
        let status = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        let node = json!({"metadata": {"name": "node", "labels": labels}, "status": status});
        let nodes: Api<Node> = Api::all(self.client.clone());
        nodes.create(&PostParams::default(), &serde_json::from_value(node.clone()).unwrap()).await.unwrap();
        let patch = json!({"status": node["status"]});
        nodes.patch_status("node", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
        tokio::spawn(pretend_to_run_pods(self.client.clone()));
    }

    pub(crate) async fn create_namespace(&self, name: &str) {
        let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        Api::<Namespace>::all(self.client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
    }

    pub(crate) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Creates an object of the namespace `default` from JSON.
    pub(crate) async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Serialize + Clone + Debug,
    {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default").to_owned();
        let object = serde_json::from_value(object).unwrap();
        self.api::<K>(&namespace).create(&PostParams::default(), &object).await.unwrap()
    }

    /// Waits until an object of the namespace `default` is as it should be.
    #[track_caller]
    pub(crate) fn until<K>(&self, name: &str, condition: impl Condition<K> + Send) -> impl Future<Output = Option<K>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: DeserializeOwned + Serialize + Clone + Debug + Send + 'static,
    {
        let place = std::panic::Location::caller();
        let api = self.api::<K>("default");
        let name = name.to_owned();
        async move {
            match tokio::time::timeout(PATIENCE, await_condition(api.clone(), &name, condition)).await {
                Ok(found) => found.unwrap(),
                Err(_) => {
                    let last = serde_json::to_string_pretty(&api.get_opt(&name).await.unwrap()).unwrap();
                    panic!("{place}: {name} did not become what it should be; it is {last}");
                }
            }
        }
    }

    /// The resource version of the whole cluster: it changes with every write to pods and events alike.
    pub(crate) async fn version(&self) -> String {
        let list = Api::<Pod>::all(self.client.clone()).list(&kube::api::ListParams::default()).await.unwrap();
        list.metadata.resource_version.unwrap()
    }
}

/// A small Deployment's JSON.
pub(crate) fn deployment(name: &str, replicas: usize) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "v1", "ports": [{"name": "web", "containerPort": 8080}]}]},
            },
        },
    })
}

async fn pretend_to_run_pods(client: Client) {
    let pods: Api<Pod> = Api::all(client.clone());
    let mut events = watcher(pods, watcher::Config::default()).default_backoff().applied_objects().boxed();
    let mut number = 0_u32;
    while let Some(event) = events.next().await {
        let Ok(pod) = event else { continue };
        let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap());
        let bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        if pod.metadata.deletion_timestamp.is_some() {
            let _gone = api.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await;
        } else if bound && pod.status.as_ref().is_none_or(|status| status.pod_ip.is_none()) {
            number += 1;
            let ready = if pod.annotations().contains_key("unready") { "False" } else { "True" };
            let status = json!({"status": {
                "phase": "Running", "podIP": Ipv4Addr::from_bits(0x0af4_0000 + number).to_string(),
                "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": "2020-01-01T00:00:00Z"}]}});
            let _gone = api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&status)).await;
        }
    }
}
