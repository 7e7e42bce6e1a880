//! A real Envoy that takes its configuration from a control plane of snapshots that are put in by hand.

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::envoy::service::secret::v3::secret_discovery_service_server::{
    SecretDiscoveryService, SecretDiscoveryServiceServer,
};
use envoy_types::util::pack_any;
use futures::{Stream, StreamExt as _};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use pilot::ads::Type;
use pilot::ads::server::Ads;
use pilot::ads::status::{Registry, TypeStatus};
use pilot::model::Mesh;
use pilot::model::store::Store;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use crate::fixture::{Fixture, settings};

const PATIENCE: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(20);

/// A pod's proxy: type of node, namespace and name.
pub(crate) type Which<'a> = (&'a str, &'a str, &'a str);

/// A control plane with one Envoy.
pub(crate) struct World {
    pub(crate) registry: Arc<Registry>,
    store: Arc<Store>,
    directory: TempDir,
    number: u64,
    _envoy: Running,
}

impl World {
    /// Starts both. `namespace` gives Envoy a network namespace of its own, where it may take the well-known ports.
    pub(crate) fn start(fixture: &Fixture, which: Which<'_>, secrets: Secrets, namespace: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("xds");
        let store = Store::new(settings("cluster1"));
        let registry = Arc::new(Registry::default());
        let ads = Ads::new(store.snapshots(), Arc::clone(&registry), Arc::new(|_, _| Box::pin(async { Ok(None) })))
            .into_service();
        let secrets = SecretDiscoveryServiceServer::new(secrets);
        let incoming = UnixListenerStream::new(UnixListener::bind(&socket).unwrap());
        tokio::spawn(Server::builder().add_service(ads).add_service(secrets).serve_with_incoming(incoming));
        let envoy = start_envoy(directory.path(), &bootstrap(fixture, which, directory.path()), namespace);
        Self { registry, store, directory, number: 0, _envoy: envoy }
    }

    /// Publishes a state and waits until Envoy has acknowledged all of it.
    pub(crate) async fn converge(&mut self, what: &str, fixture: &Fixture) {
        self.number += 1;
        let number = self.number;
        self.store.publish_mesh(Mesh {
            number,
            settings: Arc::clone(self.store.settings()),
            state: Arc::new(fixture.state("cluster1")),
            config_versions: Arc::default(),
        });
        let done: BTreeMap<Type, TypeStatus> = Type::ALL
            .into_iter()
            .map(|kind| (kind, TypeStatus { sent: number, acked: number, ..TypeStatus::default() }))
            .collect();
        let poll = async || {
            let types = self.registry.all().first().map(|status| status.types.clone()).unwrap_or_default();
            let refused = types.values().find_map(|status| status.error.clone());
            assert_eq!(refused, None, "{what}");
            if types == done { Ok(()) } else { Err(format!("{types:?}")) }
        };
        let waited = eventually::poll(what, PATIENCE, STEP, poll).await;
        waited.unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("envoy.log")).unwrap()
    }

    /// What Envoy wrote to its standard output, which is where access logs go.
    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("envoy.out")).unwrap()
    }

    /// A page of Envoy's admin interface.
    pub(crate) async fn admin(&self, path: &str) -> String {
        let stream = UnixStream::connect(self.directory.path().join("admin")).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = hyper::Request::get(path).header("host", "admin").body(Empty::<Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }
}

/// Stands in for the agent.
#[derive(Clone)]
pub(crate) struct Secrets {
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) root: String,
}

impl Secrets {
    /// One self-signed certificate for everything.
    pub(crate) fn self_signed() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["test".to_owned()]).unwrap();
        Self { certificate: made.cert.pem(), key: made.signing_key.serialize_pem(), root: made.cert.pem() }
    }

    fn secret(&self, name: &str) -> tls::Secret {
        let inline = |text: &str| {
            Some(core::DataSource {
                specifier: Some(core::data_source::Specifier::InlineString(text.to_owned())),
                ..Default::default()
            })
        };
        let content = if name == "ROOTCA" {
            let context = tls::CertificateValidationContext { trusted_ca: inline(&self.root), ..Default::default() };
            tls::secret::Type::ValidationContext(context)
        } else {
            let certificate = tls::TlsCertificate {
                certificate_chain: inline(&self.certificate),
                private_key: inline(&self.key),
                ..Default::default()
            };
            tls::secret::Type::TlsCertificate(certificate)
        };
        tls::Secret { name: name.to_owned(), r#type: Some(content) }
    }
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl SecretDiscoveryService for Secrets {
    type DeltaSecretsStream = Responses<DeltaDiscoveryResponse>;
    type StreamSecretsStream = Responses<DiscoveryResponse>;

    async fn delta_secrets(
        &self,
        _: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        let secrets = self.clone();
        let answers = request.into_inner().filter_map(move |message| {
            let request = message.unwrap_or_default();
            let first = request.response_nonce.is_empty() && !request.resource_names.is_empty();
            let answer = first.then(|| {
                Ok(DiscoveryResponse {
                    version_info: "1".to_owned(),
                    nonce: "1".to_owned(),
                    type_url: request.type_url,
                    resources: request.resource_names.iter().map(|name| pack_any(secrets.secret(name))).collect(),
                    ..Default::default()
                })
            });
            std::future::ready(answer)
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn fetch_secrets(&self, _: Request<DiscoveryRequest>) -> Result<Response<DiscoveryResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn bootstrap(fixture: &Fixture, (role, namespace, pod): Which<'_>, directory: &Path) -> Value {
    let socket = directory.join("xds");
    let node = fixture.node(role, "cluster1", namespace, pod);
    let network = if pod.contains("eastwest") { "network1" } else { "" };
    let cluster = |name: &str| {
        json!({
            "name": name,
            "type": "STATIC",
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }},
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": socket}}}}]}]},
        })
    };
    let ads = json!({"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"});
    json!({
        "node": {"id": node.id, "cluster": "test", "metadata": {
            "CLUSTER_ID": "cluster1", "NETWORK": "network1", "NAMESPACE": namespace, "NAME": pod, "REQUESTED_NETWORK_VIEW": network,
        }},
        "admin": {"address": {"pipe": {"path": directory.join("admin")}}},
        "dynamic_resources": {"cds_config": ads, "lds_config": ads, "ads_config": {
            "api_type": "DELTA_GRPC",
            "transport_api_version": "V3",
            "set_node_on_first_message_only": true,
            "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
        }},
        "static_resources": {"clusters": [cluster("xds-grpc"), cluster("sds-grpc")]},
    })
}

fn start_envoy(directory: &Path, bootstrap: &Value, namespace: bool) -> Running {
    let path = directory.join("bootstrap.json");
    std::fs::write(&path, bootstrap.to_string()).unwrap();
    let log = std::fs::File::create(directory.join("envoy.log")).unwrap();
    let output = std::fs::File::create(directory.join("envoy.out")).unwrap();
    let envoy = requirements::envoy().unwrap();
    let mut command = if namespace {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net"]).arg(envoy);
        command
    } else {
        Command::new(envoy)
    };
    let arguments =
        ["--concurrency", "1", "--disable-hot-restart", "--file-flush-interval-msec", "50", "-l", "warning", "-c"];
    command.args(arguments).arg(&path).stdin(Stdio::null()).stdout(output).stderr(log);
    Running(command.spawn().unwrap())
}
