//! Workloads register themselves: over a real stream, with an API server that keeps objects.

mod api;

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use envoy_types::pb::google::protobuf::{Struct, Value as ProtoValue, value::Kind as ProtoKind};
use envoy_types::pb::google::rpc;
use mesh_types::names;
use pilot::ads::Type;
use pilot::ads::server::{Ads, Authenticate};
use pilot::ads::status::Registry;
use pilot::model::Mesh;
use pilot::model::store::Store;
use pilot::registration::{HEALTH_INFORMATION, Registrar, sweep};
use pilot::translate::translate;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Channel, Server};
use tonic::{Code, Streaming};

use crate::fixture::{Fixture, settings};
use crate::translate::BOOKINFO;
use api::ApiServer;

const PATIENCE: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(5);
const IDENTITY: &str = "spiffe://cluster.local/ns/bookinfo/sa/bookinfo-details";
const ENTRY: &str = "workloadentries/bookinfo/details-vm-192.0.2.10-vms";

fn group() -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "WorkloadGroup",
        "metadata": {"name": "details-vm", "namespace": "bookinfo", "uid": "u-1"},
        "spec": {"template": {"labels": {"app": "details"}, "ports": {"http": 9080}, "serviceAccount": "bookinfo-details"}},
    })
}

/// A control plane that registers workloads with an API server; snapshots are put in by hand.
struct Pilot {
    store: Arc<Store>,
    registry: Arc<Registry>,
    registrar: Registrar,
    channel: Channel,
}

impl Pilot {
    async fn start(api: &ApiServer, identity: &'static str) -> Self {
        let store = Store::new(settings("cluster1"));
        let registry = Arc::new(Registry::default());
        let registrar = Registrar::new(api.client(), "istiod-1");
        let authenticate: Authenticate =
            Arc::new(move |_, _| Box::pin(async move { Ok(Some(identity.parse().unwrap())) }));
        let service = Ads::new(store.snapshots(), Arc::clone(&registry), authenticate)
            .registering(registrar.clone())
            .into_service();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        Self { store, registry, registrar, channel }
    }

    fn publish(&self, number: u64, objects: &[Value]) {
        self.store.publish_mesh(Mesh {
            number,
            settings: Arc::clone(self.store.settings()),
            state: Arc::new(Fixture::read(&[BOOKINFO]).with(objects).state("cluster1")),
            config_versions: Arc::default(),
        });
    }

    async fn connect(&self) -> Machine {
        let (requests, stream) = mpsc::channel(16);
        let mut client = AggregatedDiscoveryServiceClient::new(self.channel.clone());
        requests
            .send(DeltaDiscoveryRequest {
                node: Some(node()),
                type_url: Type::Cds.url().to_owned(),
                ..Default::default()
            })
            .await
            .unwrap();
        let responses = client.delta_aggregated_resources(ReceiverStream::new(stream)).await.unwrap().into_inner();
        Machine { requests, responses }
    }
}

/// The stream of a machine's proxy.
struct Machine {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Machine {
    async fn says(&self, error: Option<&str>) {
        let error_detail =
            error.map(|message| rpc::Status { code: 13, message: message.to_owned(), ..Default::default() });
        let request =
            DeltaDiscoveryRequest { type_url: HEALTH_INFORMATION.to_owned(), error_detail, ..Default::default() };
        self.requests.send(request).await.unwrap();
    }

    async fn refused(&mut self) -> tonic::Status {
        tokio::time::timeout(PATIENCE, self.responses.message()).await.expect("no answer in time").unwrap_err()
    }
}

fn node() -> Node {
    let text = |text: &str| ProtoValue { kind: Some(ProtoKind::StringValue(text.to_owned())) };
    let object = |fields: Vec<(&str, ProtoValue)>| Struct {
        fields: fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
    };
    let nested = |fields| ProtoValue { kind: Some(ProtoKind::StructValue(object(fields))) };
    let metadata = object(vec![
        ("AUTO_REGISTER_GROUP", text("details-vm")),
        ("CLUSTER_ID", text("cluster1")),
        ("NAMESPACE", text("bookinfo")),
        ("NETWORK", text("vms")),
        ("SERVICE_ACCOUNT", text("bookinfo-details")),
        ("LABELS", nested(vec![("version", text("vm"))])),
        ("PROXY_CONFIG", nested(vec![("readinessProbe", nested(vec![]))])),
    ]);
    Node {
        id: "sidecar~192.0.2.10~vm1.bookinfo~bookinfo.svc.cluster.local".to_owned(),
        metadata: Some(metadata),
        ..Default::default()
    }
}

fn annotation<'a>(entry: &'a Value, name: &str) -> Option<&'a str> {
    entry["metadata"]["annotations"][name].as_str()
}

fn healthy(entry: &Value) -> Option<String> {
    let conditions = entry["status"]["conditions"].as_array()?;
    Some(conditions.iter().find(|one| one["type"] == "Healthy")?["status"].as_str()?.to_owned())
}

async fn becomes(api: &ApiServer, what: &str, holds: impl Fn(Option<&Value>) -> bool) {
    let poll = async || {
        let entry = api.get(ENTRY);
        if holds(entry.as_ref()) { Ok(()) } else { Err(format!("{entry:?}")) }
    };
    eventually::poll(what, PATIENCE, STEP, poll).await.unwrap();
}

async fn registered(api: &ApiServer) {
    becomes(api, "the workload is registered", |entry| {
        entry.is_some_and(|entry| annotation(entry, names::ANNOTATION_CONNECTED_AT).is_some())
    })
    .await;
}

#[tokio::test]
async fn a_workload_is_an_entry_while_it_is_connected_and_a_while_longer() {
    let api = ApiServer::with(&[group()]);
    let pilot = Pilot::start(&api, IDENTITY).await;
    pilot.publish(1, &[]);
    let grace = Duration::from_millis(300);
    tokio::spawn(sweep::run(pilot.registrar.clone(), pilot.store.snapshots(), grace));
    let machine = pilot.connect().await;
    registered(&api).await;
    let entry = api.get(ENTRY).unwrap();
    assert_eq!(entry["spec"]["address"], "192.0.2.10");
    assert_eq!(entry["spec"]["network"], "vms");
    assert_eq!(entry["spec"]["labels"], json!({"app": "details", "version": "vm"}));
    assert_eq!(entry["spec"]["serviceAccount"], "bookinfo-details");
    assert_eq!(entry["metadata"]["ownerReferences"][0]["uid"], "u-1");
    assert_eq!(annotation(&entry, names::ANNOTATION_REGISTERED_FROM), Some("details-vm"));
    assert_eq!(annotation(&entry, names::ANNOTATION_WORKLOAD_CONTROLLER), Some("istiod-1"));

    pilot.publish(2, &[entry]);
    drop(machine);
    becomes(&api, "the entry says that its workload is away", |entry| {
        entry.is_some_and(|entry| {
            annotation(entry, names::ANNOTATION_DISCONNECTED_AT).is_some()
                && annotation(entry, names::ANNOTATION_CONNECTED_AT).is_none()
        })
    })
    .await;
    // It comes back in time and keeps its entry.
    let left = api.get(ENTRY).unwrap();
    pilot.publish(3, std::slice::from_ref(&left));
    let machine = pilot.connect().await;
    registered(&api).await;
    let back = api.get(ENTRY).unwrap();
    assert_eq!(back["metadata"]["uid"], left["metadata"]["uid"]);
    assert_eq!(annotation(&back, names::ANNOTATION_DISCONNECTED_AT), None);
    pilot.publish(4, &[back]);
    let still = tokio::time::timeout(grace * 3, async {
        becomes(&api, "never", |entry| entry.is_none()).await;
    });
    assert!(still.await.is_err(), "a workload that is connected was removed");

    drop(machine);
    becomes(&api, "away again", |entry| {
        entry.is_some_and(|entry| annotation(entry, names::ANNOTATION_DISCONNECTED_AT).is_some())
    })
    .await;
    pilot.publish(5, &[api.get(ENTRY).unwrap()]);
    becomes(&api, "removed", |entry| entry.is_none()).await;
}

#[tokio::test]
async fn without_a_group_the_stream_is_refused_and_nothing_is_written() {
    let api = ApiServer::with(&[]);
    let pilot = Pilot::start(&api, IDENTITY).await;
    pilot.publish(1, &[]);
    let status = pilot.connect().await.refused().await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("no WorkloadGroup bookinfo/details-vm"), "{status}");
    assert_eq!(api.names(), Vec::<String>::new());
    assert!(pilot.registry.all().is_empty());
}

#[tokio::test]
async fn the_identity_must_be_that_of_the_group() {
    let mut of_reviews = group();
    of_reviews["spec"]["template"]["serviceAccount"] = "bookinfo-reviews".into();
    let api = ApiServer::with(&[of_reviews]);
    let pilot = Pilot::start(&api, IDENTITY).await;
    pilot.publish(1, &[]);
    let status = pilot.connect().await.refused().await;
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("bookinfo-reviews"), "{status}");
    assert_eq!(api.names(), ["workloadgroups/bookinfo/details-vm"]);
}

/// An entry of the same name that stands for another identity is nobody's to take.
#[tokio::test]
async fn the_entry_of_another_identity_is_not_taken_over() {
    let taken = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry",
        "metadata": {"name": "details-vm-192.0.2.10-vms", "namespace": "bookinfo"},
        "spec": {"address": "192.0.2.10", "serviceAccount": "bookinfo-ratings"},
    });
    let api = ApiServer::with(&[group(), taken]);
    let before = api.get(ENTRY);
    let pilot = Pilot::start(&api, IDENTITY).await;
    pilot.publish(1, &[]);
    let status = pilot.connect().await.refused().await;
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(api.get(ENTRY), before);
}

#[tokio::test]
async fn what_a_workload_says_of_its_health_is_its_condition() {
    let api = ApiServer::with(&[group()]);
    let pilot = Pilot::start(&api, IDENTITY).await;
    pilot.publish(1, &[]);
    let machine = pilot.connect().await;
    registered(&api).await;
    assert_eq!(healthy(&api.get(ENTRY).unwrap()), None);
    for (said, expected) in [(None, "True"), (Some("connection refused"), "False"), (None, "True")] {
        machine.says(said).await;
        becomes(&api, "the condition", |entry| entry.and_then(healthy).as_deref() == Some(expected)).await;
    }
}

/// A machine that comes back before its old connection is known to be dead is not away when that ends.
#[tokio::test]
async fn the_end_of_an_old_connection_says_nothing_about_the_new_one() {
    let api = ApiServer::with(&[group()]);
    let pilot = Pilot::start(&api, IDENTITY).await;
    pilot.publish(1, &[]);
    let old = pilot.connect().await;
    registered(&api).await;
    let since = annotation(&api.get(ENTRY).unwrap(), names::ANNOTATION_CONNECTED_AT).map(str::to_owned);
    let new = pilot.connect().await;
    becomes(&api, "the new connection is written", |entry| {
        entry.and_then(|entry| annotation(entry, names::ANNOTATION_CONNECTED_AT)) != since.as_deref()
    })
    .await;
    drop(old);
    new.says(None).await;
    becomes(&api, "the new stream is served", |entry| entry.and_then(healthy).as_deref() == Some("True")).await;
    let away = tokio::time::timeout(Duration::from_millis(300), async {
        becomes(&api, "never", |entry| {
            entry.is_some_and(|entry| annotation(entry, names::ANNOTATION_DISCONNECTED_AT).is_some())
        })
        .await;
    });
    assert!(away.await.is_err(), "the workload is said to be away");
}

/// Entries that a control plane left behind when it died.
#[tokio::test]
async fn what_a_dead_control_plane_left_is_removed() {
    let entry = |name: &str, controller: &str| {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry",
            "metadata": {"name": name, "namespace": "bookinfo", "annotations": {
                names::ANNOTATION_REGISTERED_FROM: "details-vm",
                names::ANNOTATION_WORKLOAD_CONTROLLER: controller,
                names::ANNOTATION_CONNECTED_AT: "2026-01-01T00:00:00Z",
            }},
            "spec": {"address": "192.0.2.10"},
        })
    };
    let by_hand = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry",
        "metadata": {"name": "by-hand", "namespace": "bookinfo"}, "spec": {"address": "192.0.2.11"},
    });
    // A pod of the control plane's namespace stands for another instance that is there.
    let api = ApiServer::with(&[
        entry("of-the-dead", "istiod-0"),
        entry("of-its-own-past", "istiod-1"),
        entry("of-another", "eastwest-1"),
        by_hand,
    ]);
    let pilot = Pilot::start(&api, IDENTITY).await;
    let entries: Vec<Value> = api.names().iter().filter_map(|name| api.get(name)).collect();
    pilot.publish(1, &entries);
    let sweeping =
        tokio::spawn(sweep::run(pilot.registrar.clone(), pilot.store.snapshots(), Duration::from_millis(200)));
    let left = ["workloadentries/bookinfo/by-hand", "workloadentries/bookinfo/of-another"];
    let poll = async || if api.names() == left { Ok(()) } else { Err(format!("{:?}", api.names())) };
    eventually::poll("only what is somebody's is left", PATIENCE, STEP, poll).await.unwrap();
    sweeping.abort();
}

/// What another control plane has written since is not removed on old knowledge.
#[tokio::test]
async fn an_entry_that_has_changed_since_is_not_removed() {
    let left = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry",
        "metadata": {"name": "vm", "namespace": "bookinfo", "annotations": {
            names::ANNOTATION_REGISTERED_FROM: "details-vm",
            names::ANNOTATION_DISCONNECTED_AT: "2026-01-01T00:00:00Z",
        }},
        "spec": {"address": "192.0.2.10"},
    });
    let api = ApiServer::with(&[left]);
    let pilot = Pilot::start(&api, IDENTITY).await;
    let old = api.get("workloadentries/bookinfo/vm").unwrap();
    api.touch("workloadentries/bookinfo/vm");
    pilot.publish(1, std::slice::from_ref(&old));
    let sweeping =
        tokio::spawn(sweep::run(pilot.registrar.clone(), pilot.store.snapshots(), Duration::from_millis(50)));
    let tried = async || if api.refused() > 0 { Ok(()) } else { Err("no attempt") };
    eventually::poll("it was tried", PATIENCE, STEP, tried).await.unwrap();
    assert_eq!(api.names(), ["workloadentries/bookinfo/vm"]);
    // Once the change is known, it goes.
    pilot.publish(2, &[api.get("workloadentries/bookinfo/vm").unwrap()]);
    let gone = async || if api.names().is_empty() { Ok(()) } else { Err(format!("{:?}", api.names())) };
    eventually::poll("it is removed", PATIENCE, STEP, gone).await.unwrap();
    sweeping.abort();
}

/// The entry as a snapshot has it, checked and with or without a condition.
fn entry(conditions: &Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry",
        "metadata": {"name": "details-vm-192.0.2.10-vms", "namespace": "bookinfo", "annotations": {
            names::ANNOTATION_HEALTH_CHECKED: "true",
        }},
        "spec": {"address": "192.0.2.10", "ports": {"http": 8080}, "labels": {"app": "reviews"}, "serviceAccount": "bookinfo-details"},
        "status": {"conditions": conditions},
    })
}

#[test]
fn only_a_healthy_workload_has_endpoints() {
    let addresses = |conditions: &Value| {
        let state = Fixture::read(&[BOOKINFO]).with(&[entry(conditions)]).state("cluster1");
        let endpoints = &state.endpoints["reviews.bookinfo.svc.cluster.local"][&9080];
        endpoints
            .iter()
            .filter(|one| one.address == "192.0.2.10")
            .map(|one| (one.port, one.workload.mutual_tls))
            .collect::<Vec<_>>()
    };
    assert_eq!(addresses(&json!([])), []);
    assert_eq!(addresses(&json!([{"type": "Healthy", "status": "False"}])), []);
    assert_eq!(addresses(&json!([{"type": "Healthy", "status": "True"}])), [(8080, true)]);
}

/// The proxy beside the workload takes the service's connections at the port that the entry names.
#[test]
fn a_workload_is_served_by_its_own_ports() {
    let state = Fixture::read(&[BOOKINFO]).with(&[entry(&json!([]))]).state("cluster1");
    let clusters = |workload_entry: Option<&str>| {
        let mut proxy = pilot::translate::Proxy::from_node(&node()).unwrap();
        proxy.workload_entry = workload_entry.map(str::to_owned);
        let translation = translate(&settings("cluster1"), &state, &proxy.refreshed(&state));
        let names = translation.clusters.into_iter().map(|cluster| cluster.name);
        names.filter(|name| name.starts_with("inbound|")).collect::<Vec<_>>()
    };
    assert_eq!(clusters(Some("details-vm-192.0.2.10-vms")), ["inbound|8080||"]);
    assert_eq!(clusters(None), Vec::<String>::new());
}
