//! A real Envoy takes everything over the wire: the whole start, then changes of every kind.

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
use pilot::ads::Type;
use pilot::ads::server::Ads;
use pilot::ads::status::{Registry, TypeStatus};
use pilot::model::Mesh;
use pilot::model::store::Store;
use requirements::{Capability, require};
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use crate::fixture::{Fixture, settings};
use crate::translate::{BOOKINFO, BREADTH, GATEWAYS, POLICY};

/// Stands in for the agent: one self-signed certificate for everything.
struct Secrets {
    certificate: String,
    key: String,
}

impl Secrets {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["test".to_owned()]).unwrap();
        Self { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    fn secret(&self, name: &str) -> tls::Secret {
        let inline = |text: &str| {
            Some(core::DataSource {
                specifier: Some(core::data_source::Specifier::InlineString(text.to_owned())),
                ..Default::default()
            })
        };
        let content = if name == "ROOTCA" {
            let context =
                tls::CertificateValidationContext { trusted_ca: inline(&self.certificate), ..Default::default() };
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
        let secrets = Self { certificate: self.certificate.clone(), key: self.key.clone() };
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

fn bootstrap(fixture: &Fixture, role: &str, namespace: &str, pod: &str, socket: &Path) -> Value {
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
        "dynamic_resources": {"cds_config": ads, "lds_config": ads, "ads_config": {
            "api_type": "DELTA_GRPC",
            "transport_api_version": "V3",
            "set_node_on_first_message_only": true,
            "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
        }},
        "static_resources": {"clusters": [cluster("xds-grpc"), cluster("sds-grpc")]},
    })
}

/// Envoy in a network namespace of its own, where it may take the well-known ports.
fn start_envoy(directory: &Path, bootstrap: &Value) -> Running {
    let path = directory.join("bootstrap.json");
    std::fs::write(&path, bootstrap.to_string()).unwrap();
    let log = std::fs::File::create(directory.join("envoy.log")).unwrap();
    let child = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net"])
        .arg(requirements::envoy().unwrap())
        .args(["--concurrency", "1", "--disable-hot-restart", "-l", "warning", "-c"])
        .arg(&path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    Running(child)
}

async fn accepts_everything(role: &str, namespace: &str, pod: &str) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("xds");
    let store = Store::new(settings("cluster1"));
    let registry = Arc::new(Registry::default());
    let ads = Ads::new(store.snapshots(), Arc::clone(&registry), Arc::new(|_, _| Box::pin(async { Ok(None) })))
        .into_service();
    let secrets = SecretDiscoveryServiceServer::new(Secrets::new());
    let incoming = UnixListenerStream::new(UnixListener::bind(&socket).unwrap());
    tokio::spawn(Server::builder().add_service(ads).add_service(secrets).serve_with_incoming(incoming));

    let strict =
        "kind: PeerAuthentication\nmetadata: {name: default, namespace: istio-system}\nspec: {mtls: {mode: STRICT}}\n";
    let steps: [(&str, &[&str]); 6] = [
        ("plain", &[BOOKINFO, GATEWAYS]),
        ("shift", &[BOOKINFO, GATEWAYS, POLICY]),
        ("every field", &[BOOKINFO, GATEWAYS, BREADTH]),
        ("strict", &[BOOKINFO, GATEWAYS, POLICY, strict]),
        ("without gateways", &[BOOKINFO]),
        ("plain again", &[BOOKINFO, GATEWAYS]),
    ];
    let fixture = Fixture::read(steps[0].1);
    let _envoy = start_envoy(directory.path(), &bootstrap(&fixture, role, namespace, pod, &socket));
    for (number, (what, texts)) in (1..).zip(steps) {
        let state = Arc::new(Fixture::read(texts).state("cluster1"));
        store.publish_mesh(Mesh {
            number,
            settings: Arc::clone(store.settings()),
            state,
            config_versions: Arc::default(),
        });
        let done: BTreeMap<Type, TypeStatus> =
            Type::ALL.into_iter().map(|kind| (kind, TypeStatus { sent: number, acked: number, error: None })).collect();
        let poll = async || {
            let types = registry.all().first().map(|status| status.types.clone()).unwrap_or_default();
            let refused = types.values().find_map(|status| status.error.clone());
            assert_eq!(refused, None, "{pod}: {what}");
            if types == done { Ok(()) } else { Err(format!("{types:?}")) }
        };
        let waited = eventually::poll(what, Duration::from_secs(30), Duration::from_millis(20), poll).await;
        let log = std::fs::read_to_string(directory.path().join("envoy.log")).unwrap();
        waited.unwrap_or_else(|error| panic!("{pod}: {error}\n{log}"));
    }
}

#[tokio::test]
async fn a_sidecar_accepts_everything() {
    require!(Capability::Envoy);
    require!(Capability::UserNamespaces);
    accepts_everything("sidecar", "bookinfo", "productpage-v1").await;
}

#[tokio::test]
async fn an_east_west_gateway_accepts_everything() {
    require!(Capability::Envoy);
    require!(Capability::UserNamespaces);
    accepts_everything("router", "istio-system", "eastwest-1").await;
}

#[tokio::test]
async fn an_ingress_gateway_accepts_everything() {
    require!(Capability::Envoy);
    require!(Capability::UserNamespaces);
    accepts_everything("router", "istio-system", "ingress-1").await;
}
