//! Starts and stops the control plane: watchers, certificate authority, xDS, webhooks, monitoring.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kube::{Client, Config};
use kube_support::https::incoming;
use mesh_types::{IstioDuration, Kind, names};
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::ads::server::{Ads, Authenticate};
use crate::ca::{self, Authenticator, Authority, CertificateService, ServingTls};
use crate::debug::{self, Sources};
use crate::external::External;
use crate::inject::MeshSettings;
use crate::model::mesh_config::{self, MeshConfig};
use crate::model::store::Store;
use crate::model::{Mesh, Settings, cluster, remote};
use crate::registration::{self, Registrar};
use crate::webhook;

/// A proxy is asked so often whether it is there, and has as long to answer. One that has lost its power says nothing else.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Settings of the process, from its command line or environment.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Id of the cluster that this control plane runs in.
    #[arg(long, env = "CLUSTER_ID", default_value = "Kubernetes")]
    pub cluster_id: String,
    /// Namespace of the control plane; the root namespace of configuration.
    #[arg(long, env = "POD_NAMESPACE", default_value = "istio-system")]
    pub namespace: String,
    /// Trust domain of workload identities.
    #[arg(long, env = "TRUST_DOMAIN", default_value = "cluster.local")]
    pub trust_domain: String,
    /// Other trust domains whose workloads count as those of the own one, divided by commas.
    #[arg(long, env = "TRUST_DOMAIN_ALIASES", default_value = "")]
    pub trust_domain_aliases: String,
    /// Takes clients of every trust domain that the mesh's roots vouch for, as Istio does by the same variable. Policies tell
    /// domains apart then, which they do not among aliases.
    #[arg(long, env = "PILOT_SKIP_VALIDATE_TRUST_DOMAIN", default_value_t = false, action = clap::ArgAction::Set)]
    pub skip_validate_trust_domain: bool,
    /// DNS domain of Services.
    #[arg(long, env = "DOMAIN_SUFFIX", default_value = "cluster.local")]
    pub domain: String,
    /// Id of the mesh.
    #[arg(long, env = "MESH_ID", default_value = "cluster.local")]
    pub mesh_id: String,
    /// Name of the control plane's Service.
    #[arg(long, env = "ISTIOD_SERVICE", default_value = "istiod")]
    pub service: String,
    /// Image of the proxies that are injected.
    #[arg(long, env = "PROXY_IMAGE", default_value = "meshproof/proxy:dev")]
    pub proxy_image: String,
    /// When that image is pulled.
    #[arg(long, env = "PROXY_IMAGE_PULL_POLICY")]
    pub proxy_image_pull_policy: Option<String>,
    /// Log level of the proxies that are injected.
    #[arg(long, env = "PROXY_LOG_LEVEL", default_value = "warning")]
    pub proxy_log_level: String,
    /// What every proxy starts from: a ProxyConfig object as JSON, such as `{"drainDuration": "45s"}`.
    #[arg(long, env = "DEFAULT_PROXY_CONFIG", default_value = "{}", value_parser = json_object)]
    pub default_proxy_config: Map<String, Value>,
    /// The part of Istio's MeshConfig that is read, as JSON or YAML: `extensionProviders` with `envoyHttpAls` or `envoyTcpAls`,
    /// `defaultProviders.accessLogging`, `serviceSettings`.
    #[arg(long, env = "MESH_CONFIG", default_value = "{}", value_parser = mesh_config::parse)]
    pub mesh_config: MeshConfig,
    /// How often proxies resolve the names of endpoints, where DNS does not say: a duration such as `60s`.
    #[arg(long, env = "DNS_REFRESH_RATE", default_value = "60s", value_parser = positive_duration)]
    pub dns_refresh_rate: Duration,
    /// Name of this instance of the control plane: that of its pod.
    #[arg(long, env = "POD_NAME", default_value = "istiod")]
    pub instance: String,
    /// How long a workload that registered itself may be away before its WorkloadEntry is removed: a duration such as `10s`.
    #[arg(long, env = "PILOT_WORKLOAD_ENTRY_GRACE_PERIOD", default_value = "10s", value_parser = positive_duration)]
    pub workload_entry_grace_period: Duration,
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration = IstioDuration::parse(text).map_err(|error| error.to_string())?.0;
    if duration.is_zero() { Err("must be longer than nothing".to_owned()) } else { Ok(duration) }
}

/// The names of a list that is divided by commas.
fn listed(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn json_object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("not a JSON object: {error}"))
}

impl Options {
    /// What injection takes from the settings; the network is learnt from the cluster.
    pub fn mesh_settings(&self) -> MeshSettings {
        MeshSettings {
            cluster_id: self.cluster_id.clone(),
            mesh_id: self.mesh_id.clone(),
            trust_domain: self.trust_domain.clone(),
            proxy_image: self.proxy_image.clone(),
            image_pull_policy: self.proxy_image_pull_policy.clone(),
            discovery_address: format!("{}.{}.svc:{}", self.service, self.namespace, names::PORT_XDS_TLS),
            proxy_log_level: self.proxy_log_level.clone(),
            default_proxy_config: self.default_proxy_config.clone(),
            ..MeshSettings::default()
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            cluster: self.cluster_id.clone(),
            root_namespace: self.namespace.clone(),
            domain: self.domain.clone(),
            trust_domain: self.trust_domain.clone(),
            trust_domain_aliases: listed(&self.trust_domain_aliases),
            any_trust_domain: self.skip_validate_trust_domain,
            mesh: self.mesh_id.clone(),
            dns_refresh_rate: self.dns_refresh_rate,
            mesh_config: self.mesh_config.clone(),
        }
    }
}

/// Why the control plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// There is no cluster to work in.
    #[error("no cluster configuration: {0}")]
    Configuration(#[from] kube::config::InferConfigError),
    /// No client can be made of the configuration.
    #[error("no client for the cluster: {0}")]
    Client(#[from] kube::Error),
    /// There is no certificate authority.
    #[error("no certificate authority: {0}")]
    Authority(#[from] ca::AuthorityError),
    /// There is no certificate to serve with.
    #[error("no serving certificate: {0}")]
    Serving(#[from] ca::serving::ServingError),
    /// A port is taken.
    #[error("cannot listen on port {port}: {source}")]
    Listen {
        /// The port.
        port: u16,
        /// The cause.
        source: std::io::Error,
    },
    /// No handler for signals.
    #[error("cannot handle signals: {0}")]
    Signal(std::io::Error),
}

/// Runs the control plane until a signal ends it.
pub async fn run(options: Options) -> Result<(), DiscoveryError> {
    // A second provider cannot be there in this program; the first call wins in any case.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = Config::infer().await?;
    config.default_retry = false;
    let client = Client::try_from(config)?;
    let cancel = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let store = Store::new(options.settings());
    watch_clusters(&mut tasks, &store, &client, &cancel);
    let (serving, serves) = watch::channel(false);
    let sources = Sources { snapshots: store.snapshots(), registry: Arc::default(), serves };
    let monitoring = listen(names::PORT_MONITORING).await?;
    let readiness = listen(names::PORT_READY).await?;
    tasks.spawn(http(monitoring, debug::router(sources.clone()), cancel.clone()));
    tasks.spawn(http(readiness, debug::readiness(sources.clone()), cancel.clone()));

    let authority =
        Authority::load_and_watch(client.clone(), &options.namespace, &options.trust_domain, cancel.clone()).await?;
    tasks.spawn(remote::run(Arc::clone(&store), client.clone(), serve_others(&options, &authority)));
    let tls = ServingTls::start(&authority, ca::serving::names(&options.service, &options.namespace), cancel.clone())?;
    tasks.spawn(ca::publish::run(client.clone(), Arc::clone(&authority), cancel.clone()));
    let registrar = Registrar::new(client.clone(), options.instance.clone());
    let authenticator =
        Authenticator::new(Arc::clone(&store) as Arc<dyn ca::ClusterClients>, options.trust_domain.clone());
    let ads = Ads::new(store.snapshots(), sources.registry, authenticated(authenticator.clone()))
        .registering(registrar.clone());
    let certificates = CertificateService::new(Arc::clone(&authority), authenticator);
    let xds = listen(names::PORT_XDS_TLS).await?;
    tasks.spawn(grpc(xds, tls.clone(), ads, certificates, cancel.clone()));
    tasks.spawn(registration::sweep::run(registrar, store.snapshots(), options.workload_entry_grace_period));
    let webhooks = listen(names::PORT_WEBHOOK).await?;
    tasks.spawn(serve_webhooks(webhooks, tls, options, store.snapshots(), client, authority, serving, cancel.clone()));
    until_signalled().await?;
    tracing::info!("stopping");
    cancel.cancel();
    tasks.shutdown().await;
    Ok(())
}

/// What is done in clusters without a control plane of their own.
fn serve_others(options: &Options, authority: &Arc<Authority>) -> remote::Serve {
    let (cluster, namespace) = (options.cluster_id.clone(), options.namespace.clone());
    let external = External { cluster, namespace, authority: Arc::clone(authority) };
    Arc::new(move |id, client| Box::pin(external.clone().serve(id, client)))
}

fn watch_clusters(tasks: &mut JoinSet<()>, store: &Arc<Store>, client: &Client, cancel: &CancellationToken) {
    tasks.spawn(Arc::clone(store).publish(cancel.clone()));
    cluster::workload_entries_are_configuration(store, &store.settings().cluster);
    tasks.spawn(cluster::run(Arc::clone(store), store.settings().cluster.clone(), client.clone()));
    tasks.spawn(cluster::run_credentials(Arc::clone(store), client.clone()));
    store.set_client(&store.settings().cluster, client.clone());
    for kind in Kind::ALL {
        tasks.spawn(cluster::run_config(Arc::clone(store), kind, client.clone()));
    }
}

async fn listen(port: u16) -> Result<TcpListener, DiscoveryError> {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
    TcpListener::bind(address).await.map_err(|source| DiscoveryError::Listen { port, source })
}

async fn http(listener: TcpListener, router: axum::Router, cancel: CancellationToken) {
    if let Err(error) = debug::serve(listener, router, cancel).await {
        tracing::error!(%error, "monitoring ended");
    }
}

async fn grpc(
    listener: TcpListener,
    tls: ServingTls,
    ads: Ads,
    certificates: CertificateService,
    cancel: CancellationToken,
) {
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .add_service(ads.into_service())
        .add_service(certificates)
        .serve_with_incoming_shutdown(incoming(listener, tls.grpc), cancel.cancelled_owned());
    if let Err(error) = server.await {
        tracing::error!(%error, "xDS ended");
    }
}

fn authenticated(authenticator: Authenticator) -> Authenticate {
    Arc::new(move |metadata, certificates| {
        let authenticator = authenticator.clone();
        Box::pin(async move { Ok(Some(authenticator.authenticate(&metadata, certificates).await?.identity)) })
    })
}

/// Webhooks are served once the cluster is known, because injection needs its network.
#[expect(clippy::too_many_arguments, reason = "a task takes what it owns; a struct would only rename the list")]
async fn serve_webhooks(
    listener: TcpListener,
    tls: ServingTls,
    options: Options,
    snapshots: watch::Receiver<Option<Arc<Mesh>>>,
    client: Client,
    authority: Arc<Authority>,
    serving: watch::Sender<bool>,
    cancel: CancellationToken,
) {
    let (settings, current) = watch::channel(Arc::new(options.mesh_settings()));
    let own = options.cluster_id.clone();
    let mut ready = serving.subscribe();
    let serve = async {
        if ready.wait_for(|ready| *ready).await.is_ok() {
            let webhooks = webhook::serve(listener, tls.https, webhook::router(current), cancel.clone());
            tokio::join!(webhooks, webhook::keep_bundles(client, authority, cancel.clone()));
        }
    };
    tokio::join!(follow(snapshots, &own, &settings, &serving), serve);
}

/// Keeps the settings of injection at the network of the cluster called `own`, and says with the first snapshot that
/// the cluster is known. Ends with the snapshots.
async fn follow(
    mut snapshots: watch::Receiver<Option<Arc<Mesh>>>,
    own: &str,
    settings: &watch::Sender<Arc<MeshSettings>>,
    serving: &watch::Sender<bool>,
) {
    // A receiver counts what was published before it subscribed as seen; the first snapshot may be that.
    snapshots.mark_changed();
    while snapshots.changed().await.is_ok() {
        let Some(mesh) = snapshots.borrow_and_update().clone() else { continue };
        let cluster = mesh.state.clusters.iter().find(|cluster| cluster.id == own);
        let network = cluster.map(|cluster| cluster.network.clone()).filter(|network| !network.is_empty());
        settings.send_if_modified(|settings| {
            let changed = settings.network != network;
            *settings = Arc::new(MeshSettings { network, ..(**settings).clone() });
            changed
        });
        serving.send_if_modified(|serving| !std::mem::replace(serving, true));
    }
}

async fn until_signalled() -> Result<(), DiscoveryError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(DiscoveryError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DiscoveryError::Signal)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ClusterStatus, State};

    fn snapshot(network: &str) -> Mesh {
        let own = ClusterStatus { id: "cluster1".to_owned(), synced: true, network: network.to_owned(), error: None };
        let settings = Settings {
            cluster: "cluster1".to_owned(),
            root_namespace: "istio-system".to_owned(),
            domain: "cluster.local".to_owned(),
            trust_domain: "cluster.local".to_owned(),
            trust_domain_aliases: Vec::new(),
            any_trust_domain: false,
            mesh: "mesh1".to_owned(),
            dns_refresh_rate: Duration::from_secs(60),
            mesh_config: MeshConfig::default(),
        };
        let state = State { clusters: Arc::new(vec![own]), ..State::default() };
        Mesh { number: 1, settings: Arc::new(settings), state: Arc::new(state), config_versions: Arc::default() }
    }

    /// What is served once there are no more snapshots: whether webhooks are, and with which network.
    async fn followed(snapshots: watch::Receiver<Option<Arc<Mesh>>>) -> (bool, Option<String>) {
        let (settings, current) = watch::channel(Arc::new(MeshSettings::default()));
        let (serving, serves) = watch::channel(false);
        follow(snapshots, "cluster1", &settings, &serving).await;
        (*serves.borrow(), current.borrow().network.clone())
    }

    #[tokio::test]
    async fn a_snapshot_that_was_published_before_somebody_looked_counts() {
        let (published, _) = watch::channel(None);
        published.send_replace(Some(Arc::new(snapshot("network1"))));
        let late = published.subscribe();
        drop(published);
        assert_eq!(followed(late).await, (true, Some("network1".to_owned())));
    }

    #[tokio::test]
    async fn nothing_is_served_before_the_first_snapshot() {
        let (published, early) = watch::channel(None);
        drop(published);
        assert_eq!(followed(early).await, (false, None));
    }

    #[tokio::test]
    async fn later_snapshots_change_the_network() {
        let (published, early) = watch::channel(Some(Arc::new(snapshot("network1"))));
        let (settings, mut current) = watch::channel(Arc::new(MeshSettings::default()));
        let (serving, _serves) = watch::channel(false);
        let change = async {
            current.wait_for(|settings| settings.network.as_deref() == Some("network1")).await.unwrap();
            published.send_replace(Some(Arc::new(snapshot(""))));
            current.wait_for(|settings| settings.network.is_none()).await.unwrap();
            drop(published);
        };
        let both = async { tokio::join!(follow(early, "cluster1", &settings, &serving), change) };
        tokio::time::timeout(Duration::from_secs(10), both).await.expect("the network changes");
    }
}
