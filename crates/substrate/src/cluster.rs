//! One cluster: its API server, controllers, service rules, DNS and node agent.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use camino::Utf8Path;
use substrate_api::{ApiServer, ApiServerConfig};
use substrate_config::{ClusterConfig, ClusterState, WorldConfig};
use substrate_controllers::ControllerConfig;
use substrate_node::dns::{self, DnsSockets, Zone};
use substrate_node::fabric::ClusterNetwork;
use substrate_node::kubelet::{LateBackend, NodeAgent, NodeAgentError};
use substrate_node::services::Synchronizer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::backend::NodeDialer;
use crate::bootstrap::{self, API_PORT, DNS_PORT};
use crate::{loopback, node_config, world};

/// Domain of the cluster's names.
pub(crate) const DOMAIN: &str = "cluster.local";
/// Position of cluster DNS in the service subnet.
const DNS_POSITION: u32 = 10;
/// First and last LoadBalancer address of the node subnet.
const POOL: (u32, u32) = (100, 199);

/// A cluster could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server.
    #[error("the API server did not start")]
    Api(#[from] substrate_api::Error),
    /// An object that every cluster has.
    #[error("an object that every cluster has was refused")]
    Bootstrap(#[from] kube::Error),
    /// A socket.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The node agent.
    #[error("the node agent did not start")]
    Node(#[from] NodeAgentError),
    /// A subnet is too small for the addresses that a cluster needs.
    #[error("the subnet {0} is too small")]
    Subnet(String),
    /// A file.
    #[error(transparent)]
    File(Box<world::Error>),
}

/// A running cluster.
pub struct Cluster {
    /// How to reach it.
    pub state: ClusterState,
    /// Its API server.
    pub api: Arc<ApiServer>,
    _agent: Arc<NodeAgent>,
}

impl Cluster {
    /// Starts everything that belongs to the cluster, and returns when its node is ready for pods.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn start(
        world: &WorldConfig,
        config: &ClusterConfig,
        network: Arc<ClusterNetwork>,
        cancel: &CancellationToken,
    ) -> Result<Self, Error> {
        let directory = world.state_directory.join("clusters").join(&config.name);
        world::private_directory(&directory).map_err(|error| Error::File(Box::new(error)))?;
        let addresses = Addresses::of(&network)?;
        let late_node = Arc::new(LateBackend::default());
        let api = ApiServer::start(ApiServerConfig {
            cluster_name: config.name.clone(),
            service_subnet: config.service_subnet.clone(),
            subject_alt_names: vec![addresses.node.to_string()],
            state_directory: directory.clone().into_std_path_buf(),
            dialer: Arc::new(NodeDialer(network.clone())),
            node: late_node.clone(),
        })
        .await?;
        let state = serve(&api, config, &network, &addresses, &directory, cancel).await?;
        run_network(&api, &network, &addresses, cancel).await?;
        let controllers =
            ControllerConfig { load_balancer_pool: addresses.pool, root_ca_pem: api.ca_certificate_pem() };
        let client = api.client("system:kube-controller-manager", &["system:masters"]);
        tokio::spawn(substrate_controllers::run(client, controllers, cancel.clone()));
        let node = node_config::node_config(world, config, &api, network.clone(), &addresses, &directory);
        let agent = NodeAgent::start(node).await?;
        late_node.set(agent.clone());
        let publisher = loopback::publish(api.client("system:loopback-publisher", &["system:masters"]), network);
        tokio::spawn(cancel.clone().run_until_cancelled_owned(publisher));
        Ok(Self { state, api, _agent: agent })
    }
}

/// Addresses with a fixed place in a cluster's subnets.
pub(crate) struct Addresses {
    pub(crate) node: Ipv4Addr,
    pub(crate) dns: Ipv4Addr,
    pub(crate) pool: (Ipv4Addr, Ipv4Addr),
}

impl Addresses {
    fn of(network: &ClusterNetwork) -> Result<Self, Error> {
        let (services, nodes) = (network.config().service_subnet, network.config().node_subnet);
        let in_nodes = |position| nodes.nth(position).ok_or_else(|| Error::Subnet(nodes.to_string()));
        Ok(Self {
            node: network.node_address(),
            dns: services.nth(DNS_POSITION).ok_or_else(|| Error::Subnet(services.to_string()))?,
            pool: (in_nodes(POOL.0)?, in_nodes(POOL.1)?),
        })
    }
}

/// Listens on the host's loopback and on the node, and writes the administrator's kubeconfig.
async fn serve(
    api: &Arc<ApiServer>,
    config: &ClusterConfig,
    network: &ClusterNetwork,
    addresses: &Addresses,
    directory: &Utf8Path,
    cancel: &CancellationToken,
) -> Result<ClusterState, Error> {
    let on_node = SocketAddr::from((addresses.node, API_PORT));
    let node_listener = network.listen(on_node).await.map_err(listen(on_node))?;
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let host_listener = TcpListener::bind(loopback).await.map_err(listen(loopback))?;
    let host = host_listener.local_addr().map_err(listen(loopback))?;
    for listener in [node_listener, host_listener] {
        let (api, cancel) = (Arc::clone(api), cancel.clone());
        tokio::spawn(async move { api.serve(listener, cancel).await });
    }
    let kubeconfig = directory.join("kubeconfig");
    world::write_private(&kubeconfig, &api.admin_kubeconfig(&format!("https://{host}")))
        .map_err(|error| Error::File(Box::new(error)))?;
    Ok(ClusterState {
        name: config.name.clone(),
        network: config.network.clone(),
        kubeconfig,
        server_for_other_clusters: format!("https://{on_node}"),
        node_address: addresses.node.to_string(),
    })
}

/// Cluster DNS, and the rules that make Services work.
async fn run_network(
    api: &Arc<ApiServer>,
    network: &Arc<ClusterNetwork>,
    addresses: &Addresses,
    cancel: &CancellationToken,
) -> Result<(), Error> {
    let client = api.client("system:kube-proxy", &["system:masters"]);
    bootstrap::create(&client, addresses.node, addresses.dns).await?;
    let at = SocketAddr::from((addresses.node, DNS_PORT));
    let sockets = DnsSockets {
        udp: network.bind_udp(at).await.map_err(listen(at))?,
        tcp: network.listen(at).await.map_err(listen(at))?,
    };
    let (zone, zones) = watch::channel(Arc::new(Zone::default()));
    tokio::spawn(dns::serve(sockets, zones, Vec::new(), cancel.clone()));
    let synchronizer = Synchronizer { client, network: network.clone(), zone, domain: DOMAIN.to_owned() };
    tokio::spawn(synchronizer.run(cancel.clone()));
    Ok(())
}

fn listen(address: SocketAddr) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Listen { address: address.to_string(), source }
}
