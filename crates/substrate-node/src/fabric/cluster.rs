//! The network of one cluster: its node's namespace, the addresses on it, its pods' links and its service rules.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::namespace::Namespace;
use super::netlink::{self, LOOPBACK};
use super::pod::{PodNetwork, PodPlan};
use super::pool::AddressPool;
use super::{Cidr, ClusterNetworkConfig, Error, FIRST_DOWNLINK, FabricConfig, UPLINK, UPLINK_NAME};
use crate::services::{NodeRules, ServiceTable, datagram_endpoints, forget, install_rules, render_rules};

/// The network of one cluster. Cheap to share behind an `Arc`.
pub struct ClusterNetwork {
    config: ClusterNetworkConfig,
    node_address: Ipv4Addr,
    rules: NodeRules,
    node: Arc<Namespace>,
    addresses: Arc<std::sync::Mutex<AddressPool>>,
    next_link: AtomicU32,
    /// Endpoints of datagrams in the rules that are in force. Held while rules are being replaced, so that an older table
    /// never overtakes a newer one.
    datagram_endpoints: tokio::sync::Mutex<BTreeSet<SocketAddrV4>>,
}

impl ClusterNetwork {
    pub(super) async fn create(
        all: &FabricConfig,
        config: &ClusterNetworkConfig,
        node: Namespace,
    ) -> Result<Self, Error> {
        let node_address =
            config.node_subnet.nth(1).ok_or_else(|| Error::Config(vec!["nodeSubnet is too small".into()]))?;
        let pods = config.pod_subnet;
        node.run(move |inside| {
            inside.netlink.apply(vec![
                netlink::address(LOOPBACK, node_address),
                netlink::gateway_route(UPLINK, Cidr::ALL, Some(node_address)),
                netlink::unreachable_route(pods),
            ])
        })
        .await
        .map_err(Error::kernel(format!("set up the node of cluster {:?}", config.name)))?;
        let cluster = Self {
            rules: node_rules(all, config, node_address),
            addresses: Arc::new(std::sync::Mutex::new(AddressPool::new(config.pod_subnet))),
            config: config.clone(),
            node_address,
            node: Arc::new(node),
            next_link: AtomicU32::new(FIRST_DOWNLINK),
            datagram_endpoints: tokio::sync::Mutex::default(),
        };
        cluster.apply_services(&ServiceTable::default()).await?;
        Ok(cluster)
    }

    /// Name of the cluster.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The addresses it was made with.
    pub fn config(&self) -> &ClusterNetworkConfig {
        &self.config
    }

    /// The node's address: first of the node subnet, reachable from every network.
    pub fn node_address(&self) -> Ipv4Addr {
        self.node_address
    }

    /// The node's network namespace.
    pub fn namespace(&self) -> BorrowedFd<'_> {
        self.node.descriptor()
    }

    /// Listens in the node's namespace.
    ///
    /// # Errors
    /// Those of bind and listen.
    pub async fn listen(&self, address: SocketAddr) -> io::Result<TcpListener> {
        self.node.listen(address).await
    }

    /// A UDP socket in the node's namespace.
    ///
    /// # Errors
    /// Those of bind.
    pub async fn bind_udp(&self, address: SocketAddr) -> io::Result<UdpSocket> {
        self.node.bind_udp(address).await
    }

    /// Connects from the node's namespace: to pods, ClusterIPs, and other clusters' node and LoadBalancer addresses.
    ///
    /// # Errors
    /// Those of connect. There is no timeout but the kernel's.
    pub async fn dial(&self, address: SocketAddr) -> io::Result<TcpStream> {
        self.node.dial(address).await
    }

    /// Gives the node one more address (`/32` on loopback), for the listeners of node-local Services.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn add_node_address(&self, address: Ipv4Addr) -> Result<(), Error> {
        self.node
            .run(move |inside| inside.netlink.apply(vec![netlink::address(LOOPBACK, address)]))
            .await
            .map_err(Error::kernel(format!("give the node of cluster {:?} an address", self.config.name)))
    }

    /// Makes the network of one pod: a namespace with loopback and `eth0`, an address, a route. `pod` names it in
    /// error messages.
    ///
    /// # Errors
    /// [`Error::NoFreeAddress`], or the kernel's refusal.
    pub async fn create_pod_network(&self, pod: &str) -> Result<PodNetwork, Error> {
        let address = self.addresses.lock().expect("invariant: no panic while the pool is locked").take();
        let address = address.ok_or_else(|| Error::NoFreeAddress {
            cluster: self.config.name.clone(),
            subnet: self.config.pod_subnet,
        })?;
        let plan =
            PodPlan { address, link: self.next_link.fetch_add(1, Ordering::Relaxed), node_address: self.node_address };
        PodNetwork::create(plan, self.node.clone(), Some(self.addresses.clone()))
            .await
            .map_err(Error::kernel(format!("make the network of pod {pod:?}")))
    }

    /// Replaces the node's service rules, atomically, and forgets conversations of datagrams with endpoints that have
    /// left. Concurrent calls take effect in the order in which they were
    /// made.
    ///
    /// # Errors
    /// [`Error::Rules`] if `nft` is missing or refuses; the rules before stay in force.
    pub async fn apply_services(&self, services: &ServiceTable) -> Result<(), Error> {
        let rules = render_rules(&self.rules, services);
        let mut known = self.datagram_endpoints.lock().await;
        let child = self.node.run(|_| install_rules()).await.map_err(|error| Error::Rules(error.to_string()))?;
        child.finish(rules).await.map_err(Error::Rules)?;
        let now = datagram_endpoints(services);
        let gone: BTreeSet<_> = known.difference(&now).copied().collect();
        *known = now;
        if gone.is_empty() {
            return Ok(());
        }
        self.node
            .run(move |_| forget(&gone))
            .await
            .map(drop)
            .map_err(Error::kernel(format!("forget datagrams to endpoints that left cluster {:?}", self.config.name)))
    }
}

fn node_rules(all: &FabricConfig, config: &ClusterNetworkConfig, node_address: Ipv4Addr) -> NodeRules {
    let same_network = all.clusters.iter().filter(|cluster| cluster.network == config.network);
    let machines = all.machines.iter().filter(|machine| machine.network == config.network);
    let machines = machines.map(|machine| Cidr::host(machine.address));
    NodeRules {
        node_address,
        uplink: UPLINK_NAME.to_owned(),
        pod_subnet: config.pod_subnet,
        service_subnet: config.service_subnet,
        node_subnet: config.node_subnet,
        routed: same_network.flat_map(|cluster| [cluster.pod_subnet, cluster.node_subnet]).chain(machines).collect(),
    }
}
