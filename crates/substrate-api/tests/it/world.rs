//! A server on a loopback port with a node that is not there: it echoes what it is asked.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use kube::Client;
use kube::api::{Api, DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use substrate_api::{
    ApiServer, ApiServerConfig, Dialer, ExecOptions, ExecSession, LogOptions, NodeBackend, NodeError, PodRef,
};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A running server; it stops when this is dropped.
pub(crate) struct World {
    pub(crate) server: Arc<ApiServer>,
    /// The server's URL.
    pub(crate) url: String,
    /// A client of `system:masters`, in process.
    pub(crate) client: Client,
    _stop: DropGuard,
}

struct Host;

impl Dialer for Host {
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        // Every Service of these tests is a listener on loopback at the Service's port.
        Box::pin(TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], address.port()))))
    }
}

impl NodeBackend for Host {
    fn logs(
        &self,
        pod: PodRef,
        options: LogOptions,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<Bytes, io::Error>>, NodeError>> {
        Box::pin(async move {
            if options.previous {
                return Err(NodeError::BadRequest(format!(
                    "previous terminated container {:?} in pod {:?} not found",
                    options.container, pod.name
                )));
            }
            let lines = [format!("{} {}\n", pod.name, options.container), format!("tail {:?}\n", options.tail_lines)];
            Ok(stream::iter(lines.map(|line| Ok(Bytes::from(line)))).boxed())
        })
    }

    /// Knows three commands: `cat`, `exit N`, and `echo ...`, and one that cannot be started: `missing`.
    fn exec(&self, _: PodRef, options: ExecOptions) -> BoxFuture<'_, Result<ExecSession, NodeError>> {
        Box::pin(async move {
            if options.command == ["missing"] {
                return Err(NodeError::BadRequest("no program of that name".to_owned()));
            }
            let (input, mut from_client) = tokio::io::duplex(1024);
            let (mut to_client, output) = tokio::io::duplex(1024);
            let (mut errors, stderr) = tokio::io::duplex(1024);
            let words: Vec<String> = options.command.clone();
            let running = tokio::spawn(async move {
                match words[0].as_str() {
                    "cat" => tokio::io::copy(&mut from_client, &mut to_client).await.map(|_| 0),
                    "exit" => {
                        errors.write_all(b"leaving\n").await?;
                        Ok(words[1].parse().unwrap())
                    }
                    _ => to_client.write_all(format!("{}\n", words[1..].join(" ")).as_bytes()).await.map(|()| 0),
                }
            });
            Ok(ExecSession {
                stdin: options.stdin.then(|| Box::new(input) as _),
                stdout: Box::new(output),
                stderr: (!options.tty).then(|| Box::new(stderr) as _),
                resize: None,
                exit: Box::pin(async move { running.await.unwrap() }),
            })
        })
    }

    fn dial_pod(&self, _: PodRef, port: u16) -> BoxFuture<'_, Result<TcpStream, NodeError>> {
        Box::pin(async move {
            TcpStream::connect(("127.0.0.1", port)).await.map_err(|error| NodeError::Internal(error.to_string()))
        })
    }
}

impl World {
    pub(crate) async fn start() -> World {
        let config = ApiServerConfig {
            cluster_name: "test".to_owned(),
            service_subnet: "10.96.0.0/16".to_owned(),
            subject_alt_names: Vec::new(),
            state_directory: std::env::temp_dir(),
            dialer: Arc::new(Host),
            node: Arc::new(Host),
        };
        let server = ApiServer::start(config).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let cancel = CancellationToken::new();
        let (serving, token) = (Arc::clone(&server), cancel.clone());
        tokio::spawn(async move { serving.serve(listener, token).await });
        let client = server.client("admin", &["system:masters"]);
        let world = World { server, url, client, _stop: cancel.drop_guard() };
        world.create("v1", "ServiceAccount", "default", json!({"metadata": {"name": "default"}})).await;
        world
    }

    /// A client over TLS with the given kubeconfig.
    pub(crate) async fn client_of(&self, kubeconfig: &str) -> Client {
        let config = kube::config::Kubeconfig::from_yaml(kubeconfig).unwrap();
        let mut config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await.unwrap();
        config.default_retry = false;
        Client::try_from(config).unwrap()
    }

    /// The administrator over TLS.
    pub(crate) async fn remote(&self) -> Client {
        self.client_of(&self.server.admin_kubeconfig(&self.url)).await
    }

    pub(crate) fn api(&self, api_version: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
        api(&self.client, api_version, kind, namespace)
    }

    /// Creates an object or panics with the server's words.
    pub(crate) async fn create(&self, api_version: &str, kind: &str, namespace: &str, object: Value) -> Value {
        try_create(&self.client, api_version, kind, namespace, object).await.unwrap()
    }
}

/// Objects of a kind, in a namespace or (empty) cluster-wide.
pub(crate) fn api(client: &Client, api_version: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    match namespace {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    }
}

pub(crate) async fn try_create(
    client: &Client,
    api_version: &str,
    kind: &str,
    namespace: &str,
    mut object: Value,
) -> Result<Value, kube::Error> {
    object["apiVersion"] = json!(api_version);
    object["kind"] = json!(kind);
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    let created = api(client, api_version, kind, namespace).create(&PostParams::default(), &object).await?;
    Ok(serde_json::to_value(created).unwrap())
}

/// The status with which the server refused.
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, kube::Error>) -> (u16, String, String) {
    match result {
        Err(kube::Error::Api(status)) => (status.code, status.reason, status.message),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

pub(crate) fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}})
}

pub(crate) fn value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap()
}

/// A request that no client library makes.
pub(crate) async fn raw(client: &Client, method: &str, path: &str, content_type: &str, body: Value) -> (u16, Value) {
    let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(&body).unwrap() };
    let request = http::Request::builder().method(method).uri(path).header("content-type", content_type);
    let response = client.send(request.body(body.into()).unwrap()).await.unwrap();
    let code = response.status().as_u16();
    let bytes = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}
