//! The delta protocol, as a proxy sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use envoy_types::pb::google::rpc;
use pilot::ads::Type;
use pilot::ads::server::{Ads, Authenticate};
use pilot::ads::status::{Registry, TypeStatus};
use pilot::model::Mesh;
use pilot::model::store::Store;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Channel, Server};
use tonic::{Status, Streaming};

use crate::fixture::{Fixture, settings};
use crate::translate::{BOOKINFO, POLICY};

const PATIENCE: Duration = Duration::from_secs(10);

/// A control plane without a cluster: snapshots are put in by hand.
struct Pilot {
    store: Arc<Store>,
    registry: Arc<Registry>,
    channel: Channel,
    number: u64,
}

impl Pilot {
    async fn start(authenticate: Authenticate) -> Self {
        let store = Store::new(settings("cluster1"));
        let registry = Arc::new(Registry::default());
        let service = Ads::new(store.snapshots(), Arc::clone(&registry), authenticate).into_service();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        Self { store, registry, channel, number: 0 }
    }

    fn publish(&mut self, fixture: &Fixture) {
        self.number += 1;
        self.store.publish_mesh(Mesh {
            number: self.number,
            settings: Arc::clone(self.store.settings()),
            state: Arc::new(fixture.state("cluster1")),
            config_versions: Arc::default(),
        });
    }

    async fn connect(&self) -> Proxy {
        let (requests, stream) = mpsc::channel(16);
        let mut client =
            AggregatedDiscoveryServiceClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        let responses = client.delta_aggregated_resources(ReceiverStream::new(stream)).await.unwrap().into_inner();
        Proxy { requests, responses }
    }

    fn status(&self, kind: Type) -> TypeStatus {
        self.registry.all().first().and_then(|status| status.types.get(&kind).cloned()).unwrap_or_default()
    }

    async fn eventually(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let poll =
            async || if holds(self) { Ok(()) } else { Err(format!("{:?}", Type::ALL.map(|kind| self.status(kind)))) };
        eventually::poll(what, PATIENCE, Duration::from_millis(5), poll).await.unwrap();
    }
}

/// The other end of a stream.
struct Proxy {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Proxy {
    async fn send(&self, request: DeltaDiscoveryRequest) {
        self.requests.send(request).await.unwrap();
    }

    async fn subscribe(&self, kind: Type, node: Option<Node>, names: &[&str], held: &[(&str, &str)]) {
        self.send(DeltaDiscoveryRequest {
            node,
            type_url: kind.url().to_owned(),
            resource_names_subscribe: names.iter().map(|name| (*name).to_owned()).collect(),
            initial_resource_versions: held
                .iter()
                .map(|(name, version)| ((*name).to_owned(), (*version).to_owned()))
                .collect(),
            ..Default::default()
        })
        .await;
    }

    async fn next(&mut self) -> (Type, DeltaDiscoveryResponse) {
        let response = tokio::time::timeout(PATIENCE, self.responses.message())
            .await
            .expect("no response in time")
            .unwrap()
            .expect("the stream ended");
        (Type::from_url(&response.type_url).unwrap(), response)
    }

    async fn expect(&mut self, kind: Type) -> DeltaDiscoveryResponse {
        let (found, response) = self.next().await;
        assert_eq!(found, kind, "{:?}", names(&response));
        response
    }

    async fn silent(&mut self) {
        let more = tokio::time::timeout(Duration::from_millis(100), self.responses.message()).await;
        assert!(
            more.is_err(),
            "unexpected {:?}",
            more.unwrap().unwrap().map(|response| (response.type_url.clone(), names(&response)))
        );
    }

    async fn ack(&self, response: &DeltaDiscoveryResponse) {
        self.answer(response, None).await;
    }

    async fn answer(&self, response: &DeltaDiscoveryResponse, refusal: Option<&str>) {
        self.send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail: refusal.map(|message| rpc::Status {
                code: 3,
                message: message.to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        })
        .await;
    }

    /// Takes everything that a starting proxy takes, in Envoy's order. Returns names and versions by type.
    async fn start(&mut self, node: Node) -> BTreeMap<Type, BTreeMap<String, String>> {
        let mut held = BTreeMap::new();
        self.subscribe(Type::Cds, Some(node), &[], &[]).await;
        let clusters = self.expect(Type::Cds).await;
        let eds: Vec<String> = names(&clusters).into_iter().filter(|name| name.starts_with("outbound|")).collect();
        self.subscribe(Type::Eds, None, &eds.iter().map(String::as_str).collect::<Vec<_>>(), &[]).await;
        self.ack(&clusters).await;
        let endpoints = self.expect(Type::Eds).await;
        self.ack(&endpoints).await;
        self.subscribe(Type::Lds, None, &[], &[]).await;
        let listeners = self.expect(Type::Lds).await;
        self.subscribe(Type::Rds, None, &["80", "9080"], &[]).await;
        self.ack(&listeners).await;
        let routes = self.expect(Type::Rds).await;
        self.ack(&routes).await;
        for (kind, response) in
            [(Type::Cds, clusters), (Type::Eds, endpoints), (Type::Lds, listeners), (Type::Rds, routes)]
        {
            held.insert(kind, response.resources.into_iter().map(|one| (one.name, one.version)).collect());
        }
        held
    }
}

fn names(response: &DeltaDiscoveryResponse) -> BTreeSet<String> {
    response.resources.iter().map(|resource| resource.name.clone()).collect()
}

/// Names of the resources that a response sets, and of those that it removes.
type Contents = (BTreeSet<String>, Vec<String>);

fn anybody() -> Authenticate {
    Arc::new(|_, _| Box::pin(async { Ok(None) }))
}

fn node() -> Node {
    Fixture::read(&[BOOKINFO]).node("sidecar", "cluster1", "bookinfo", "productpage-v1")
}

/// The fixture with one more pod behind reviews.
fn with_another_pod() -> Fixture {
    let pod = "cluster: cluster1\n---\nkind: Pod\nmetadata: {name: reviews-more, namespace: bookinfo, labels: {app: reviews, version: v1, security.istio.io/tlsMode: istio}}\nspec: {nodeName: node1, serviceAccountName: bookinfo-reviews, containers: [{name: reviews}]}\nstatus: {podIP: 10.244.0.99}\n";
    Fixture::read(&[BOOKINFO, pod])
}

async fn started() -> (Pilot, Proxy) {
    let mut pilot = Pilot::start(anybody()).await;
    pilot.publish(&Fixture::read(&[BOOKINFO]));
    let mut proxy = pilot.connect().await;
    proxy.start(node()).await;
    pilot
        .eventually("everything acknowledged", |pilot| Type::ALL.iter().all(|kind| pilot.status(*kind).acked == 1))
        .await;
    (pilot, proxy)
}

#[tokio::test]
async fn a_starting_proxy_gets_everything_and_is_accounted_for() {
    let (_pilot, mut proxy) = started().await;
    proxy.silent().await;
}

#[tokio::test]
async fn a_new_endpoint_is_pushed_alone() {
    let (mut pilot, mut proxy) = started().await;
    pilot.publish(&with_another_pod());
    let endpoints = proxy.expect(Type::Eds).await;
    assert_eq!(names(&endpoints), BTreeSet::from(["outbound|9080||reviews.bookinfo.svc.cluster.local".to_owned()]));
    pilot.eventually("the other types hold the snapshot already", |pilot| pilot.status(Type::Lds).acked == 2).await;
    assert_eq!(pilot.status(Type::Eds), TypeStatus { sent: 2, acked: 1, error: None, rejections: 0 });
    proxy.ack(&endpoints).await;
    pilot.eventually("endpoints acknowledged", |pilot| pilot.status(Type::Eds).acked == 2).await;
}

#[tokio::test]
async fn a_snapshot_without_a_change_is_acknowledged_at_once() {
    let (mut pilot, mut proxy) = started().await;
    pilot.publish(&Fixture::read(&[BOOKINFO]));
    pilot.eventually("acknowledged", |pilot| Type::ALL.iter().all(|kind| pilot.status(*kind).acked == 2)).await;
    proxy.silent().await;
}

#[tokio::test]
async fn clusters_come_before_routes_and_go_after_them() {
    let (mut pilot, mut proxy) = started().await;
    pilot.publish(&Fixture::read(&[BOOKINFO, POLICY]));
    let clusters = proxy.expect(Type::Cds).await;
    assert_eq!(clusters.resources.len(), 3, "{:?}", names(&clusters));
    // Routes to the subsets wait until the subsets are known to be there, endpoints included.
    proxy.silent().await;
    let added: Vec<String> = names(&clusters).into_iter().collect();
    proxy.subscribe(Type::Eds, None, &added.iter().map(String::as_str).collect::<Vec<_>>(), &[]).await;
    proxy.ack(&clusters).await;
    let endpoints = proxy.expect(Type::Eds).await;
    assert_eq!(names(&endpoints), names(&clusters));
    proxy.silent().await;
    proxy.ack(&endpoints).await;
    let routes = proxy.expect(Type::Rds).await;
    assert_eq!(names(&routes), BTreeSet::from(["9080".to_owned()]));
    proxy.ack(&routes).await;

    pilot.publish(&Fixture::read(&[BOOKINFO]));
    let routes = proxy.expect(Type::Rds).await;
    proxy.silent().await;
    proxy.ack(&routes).await;
    let clusters = proxy.expect(Type::Cds).await;
    assert!(clusters.resources.is_empty());
    assert_eq!(BTreeSet::from_iter(clusters.removed_resources.clone()), BTreeSet::from_iter(added));
    proxy.ack(&clusters).await;
    pilot.eventually("all acknowledged", |pilot| Type::ALL.iter().all(|kind| pilot.status(*kind).acked == 3)).await;
}

/// The agent asks for names on Envoy's stream, and Envoy knows nothing of it.
#[tokio::test]
async fn names_come_at_once_and_later_after_what_serves_them() {
    let plain = || Fixture::read(&[BOOKINFO]).capturing_dns();
    let mut pilot = Pilot::start(anybody()).await;
    pilot.publish(&plain());
    let mut proxy = pilot.connect().await;
    proxy.subscribe(Type::Cds, Some(plain().node("sidecar", "cluster1", "bookinfo", "productpage-v1")), &[], &[]).await;
    let clusters = proxy.expect(Type::Cds).await;
    proxy.subscribe(Type::Nds, None, &[], &[]).await;
    let names_of = proxy.expect(Type::Nds).await;
    assert_eq!(names(&names_of), BTreeSet::from(["names".to_owned()]));
    proxy.ack(&names_of).await;
    pilot.eventually("the names are acknowledged", |pilot| pilot.status(Type::Nds).acked == 1).await;

    let eds: Vec<String> = names(&clusters).into_iter().filter(|name| name.starts_with("outbound|")).collect();
    proxy.subscribe(Type::Eds, None, &eds.iter().map(String::as_str).collect::<Vec<_>>(), &[]).await;
    proxy.ack(&clusters).await;
    let endpoints = proxy.expect(Type::Eds).await;
    proxy.ack(&endpoints).await;
    let entry = "kind: ServiceEntry\nmetadata: {name: a, namespace: bookinfo}\nspec: {hosts: [a.global], addresses: [240.0.0.1], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 10.9.0.1}]}\n";
    pilot.publish(&Fixture::read(&[BOOKINFO, entry]).capturing_dns());
    let clusters = proxy.expect(Type::Cds).await;
    proxy.silent().await;
    proxy.subscribe(Type::Eds, None, &["outbound|80||a.global"], &[]).await;
    proxy.ack(&clusters).await;
    let endpoints = proxy.expect(Type::Eds).await;
    proxy.ack(&endpoints).await;
    let names_of = proxy.expect(Type::Nds).await;
    proxy.ack(&names_of).await;
    pilot.eventually("the new names are acknowledged", |pilot| pilot.status(Type::Nds).acked == 2).await;
}

#[tokio::test]
async fn a_refusal_is_shown_blocks_nothing_and_heals() {
    let (mut pilot, mut proxy) = started().await;
    pilot.publish(&Fixture::read(&[BOOKINFO, "kind: VirtualService\nmetadata: {name: r, namespace: bookinfo}\nspec: {hosts: [reviews], http: [{route: [{destination: {host: reviews}}], timeout: 1s}]}\n"]));
    let routes = proxy.expect(Type::Rds).await;
    proxy.answer(&routes, Some("no such filter")).await;
    pilot.eventually("shown", |pilot| pilot.status(Type::Rds).error.as_deref() == Some("no such filter")).await;
    proxy.silent().await;
    assert_eq!(pilot.status(Type::Rds).acked, 1);
    // An endpoint still gets through.
    pilot.publish(&with_another_pod());
    let mut seen = BTreeMap::new();
    for _ in 0..2 {
        let (kind, response) = proxy.next().await;
        proxy.ack(&response).await;
        seen.insert(kind, names(&response));
    }
    // Without the virtual service the route is as it was, and is sent because the proxy may have taken the other one.
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [Type::Eds, Type::Rds]);
    pilot
        .eventually("healed", |pilot| {
            Type::ALL.iter().all(|kind| {
                // That it was refused stays known.
                let rejections = u64::from(*kind == Type::Rds);
                pilot.status(*kind) == TypeStatus { sent: 3, acked: 3, error: None, rejections }
            })
        })
        .await;
}

#[tokio::test]
async fn every_name_is_answered() {
    let (_pilot, mut proxy) = started().await;
    proxy.subscribe(Type::Eds, None, &["outbound|1||nobody"], &[]).await;
    let endpoints = proxy.expect(Type::Eds).await;
    assert_eq!(names(&endpoints), BTreeSet::from(["outbound|1||nobody".to_owned()]));
    proxy.ack(&endpoints).await;
    proxy.subscribe(Type::Rds, None, &["nothing", "9080"], &[]).await;
    let routes = proxy.expect(Type::Rds).await;
    assert_eq!(
        names(&routes),
        BTreeSet::from(["9080".to_owned(), "nothing".to_owned()]),
        "asked again is answered again"
    );
    proxy.ack(&routes).await;
    let secrets = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
    proxy
        .send(DeltaDiscoveryRequest {
            type_url: secrets.to_owned(),
            resource_names_subscribe: vec!["kubernetes://x".to_owned()],
            ..Default::default()
        })
        .await;
    let response = proxy.responses.message().await.unwrap().unwrap();
    assert_eq!((response.type_url.as_str(), response.removed_resources), (secrets, vec!["kubernetes://x".to_owned()]));
}

#[tokio::test]
async fn a_proxy_that_comes_back_gets_only_what_changed() {
    let mut pilot = Pilot::start(anybody()).await;
    pilot.publish(&Fixture::read(&[BOOKINFO]));
    let mut proxy = pilot.connect().await;
    let held = proxy.start(node()).await;
    drop(proxy);
    pilot.eventually("disconnection noted", |pilot| pilot.registry.all().iter().all(|status| !status.connected)).await;
    pilot.publish(&with_another_pod());

    let mut proxy = pilot.connect().await;
    let versions =
        |kind: Type| held[&kind].iter().map(|(name, version)| (name.as_str(), version.as_str())).collect::<Vec<_>>();
    let eds: Vec<&str> = held[&Type::Eds].keys().map(String::as_str).collect();
    proxy
        .subscribe(Type::Cds, Some(node()), &[], &[versions(Type::Cds), vec![("outbound|1||gone", "1")]].concat())
        .await;
    proxy.subscribe(Type::Eds, None, &eds, &versions(Type::Eds)).await;
    proxy.subscribe(Type::Lds, None, &[], &versions(Type::Lds)).await;
    proxy.subscribe(Type::Rds, None, &["80", "9080"], &versions(Type::Rds)).await;
    let mut received: BTreeMap<Type, Vec<Contents>> = BTreeMap::new();
    for _ in 0..5 {
        let (kind, response) = proxy.next().await;
        proxy.ack(&response).await;
        received.entry(kind).or_default().push((names(&response), response.removed_resources));
    }
    proxy.silent().await;
    let nothing = || (BTreeSet::new(), Vec::new());
    assert_eq!(received[&Type::Cds], [nothing(), (BTreeSet::new(), vec!["outbound|1||gone".to_owned()])]);
    assert_eq!(
        received[&Type::Eds],
        [(BTreeSet::from(["outbound|9080||reviews.bookinfo.svc.cluster.local".to_owned()]), Vec::new())]
    );
    assert_eq!((&received[&Type::Lds][..], &received[&Type::Rds][..]), (&[nothing()][..], &[nothing()][..]));
    pilot.eventually("all acknowledged", |pilot| Type::ALL.iter().all(|kind| pilot.status(*kind).acked == 2)).await;
}

#[tokio::test]
async fn a_changed_cluster_gets_its_endpoints_again() {
    let (mut pilot, mut proxy) = started().await;
    let limit = "kind: DestinationRule\nmetadata: {name: r, namespace: bookinfo}\nspec: {host: reviews, trafficPolicy: {connectionPool: {tcp: {maxConnections: 7}}}}\n";
    pilot.publish(&Fixture::read(&[BOOKINFO, limit]));
    let clusters = proxy.expect(Type::Cds).await;
    let endpoints = proxy.expect(Type::Eds).await;
    assert_eq!(names(&clusters), names(&endpoints), "a cluster that warms up waits for endpoints that did not change");
}

/// As after a restart of the control plane with another setting: the clusters differ, their endpoints do not. Envoy says
/// which endpoints it has, and waits for them all the same before it acknowledges the clusters.
#[tokio::test]
async fn a_proxy_that_comes_back_to_changed_clusters_gets_their_endpoints_again() {
    let mut pilot = Pilot::start(anybody()).await;
    pilot.publish(&Fixture::read(&[BOOKINFO]));
    let mut proxy = pilot.connect().await;
    let held = proxy.start(node()).await;
    drop(proxy);
    pilot.eventually("disconnection noted", |pilot| pilot.registry.all().iter().all(|status| !status.connected)).await;
    let limit = "kind: DestinationRule\nmetadata: {name: r, namespace: bookinfo}\nspec: {host: reviews, trafficPolicy: {connectionPool: {tcp: {maxConnections: 7}}}}\n";
    pilot.publish(&Fixture::read(&[BOOKINFO, limit]));

    let mut proxy = pilot.connect().await;
    let versions =
        |kind: Type| held[&kind].iter().map(|(name, version)| (name.as_str(), version.as_str())).collect::<Vec<_>>();
    proxy.subscribe(Type::Cds, Some(node()), &[], &versions(Type::Cds)).await;
    let clusters = proxy.expect(Type::Cds).await;
    let eds: Vec<&str> = held[&Type::Eds].keys().map(String::as_str).collect();
    proxy.subscribe(Type::Eds, None, &eds, &versions(Type::Eds)).await;
    let endpoints = proxy.expect(Type::Eds).await;
    assert_eq!(names(&clusters), BTreeSet::from(["outbound|9080||reviews.bookinfo.svc.cluster.local".to_owned()]));
    assert_eq!(names(&endpoints), names(&clusters));
}

#[tokio::test]
async fn a_proxy_with_the_identity_of_another_is_refused() {
    let caller = "spiffe://cluster.local/ns/other/sa/default";
    let somebody: Authenticate = Arc::new(move |_, _| Box::pin(async move { Ok(Some(caller.parse().unwrap())) }));
    let mut pilot = Pilot::start(somebody).await;
    pilot.publish(&Fixture::read(&[BOOKINFO]));
    let mut proxy = pilot.connect().await;
    proxy.subscribe(Type::Cds, Some(node()), &[], &[]).await;
    let status = proxy.responses.message().await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::PermissionDenied);
    let nobody: Authenticate = Arc::new(|_, _| Box::pin(async { Err(Status::unauthenticated("who are you")) }));
    let pilot = Pilot::start(nobody).await;
    let (_, stream) = mpsc::channel(1);
    let refused = AggregatedDiscoveryServiceClient::new(pilot.channel.clone())
        .delta_aggregated_resources(ReceiverStream::new(stream))
        .await;
    assert_eq!(refused.unwrap_err().code(), tonic::Code::Unauthenticated);
}
