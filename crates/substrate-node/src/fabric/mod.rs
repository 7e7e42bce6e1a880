//! The layer-3 world: one router per network, a backbone that joins them, one node namespace per cluster, pods behind it.
//!
//! ```text
//!   pod --veth-- node --veth-- router (network) --veth-- backbone --veth-- router --veth-- node --veth-- pod
//! ```
//!
//! Routers know pod addresses of their own network only; between networks only node subnets (node and LoadBalancer
//! addresses) are routed. Links are unnumbered: every route goes to a link or through one link-local gateway address
//! with a permanent neighbour entry, so that nothing waits for ARP. Nothing is made in the host's network namespace.

mod cidr;
mod cluster;
mod config;
mod links;
mod machine;
mod namespace;
mod netlink;
mod pod;
mod pool;
mod trial;

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use futures::future::{try_join, try_join_all};

pub use cidr::{Cidr, InvalidCidr};
pub use cluster::ClusterNetwork;
pub use config::{ClusterNetworkConfig, FabricConfig, MachineNetworkConfig, NetworkConfig};
pub use links::{Effect, Ended, LinkError, LinkFault, LinkTap, Links};
pub use machine::MachineNetwork;
pub(crate) use machine::{Cable, CableSocket, plug};
pub use pod::PodNetwork;
pub(crate) use trial::{try_forwarding, try_veth};

use namespace::Namespace;
use netlink::{LOOPBACK, LinkEnd, Mac};

/// The fabric could not be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot work; every reason.
    #[error("the networks cannot be built: {}", .0.join("; "))]
    Config(Vec<String>),
    /// The kernel refused a part.
    #[error("{what}: {source}")]
    Kernel {
        /// What was being made or changed.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Every pod address of the cluster is in use.
    #[error("cluster {cluster:?} has no free address left in its podSubnet {subnet}")]
    NoFreeAddress {
        /// The cluster.
        cluster: String,
        /// Its range.
        subnet: Cidr,
    },
    /// `nft` refused the rules or is missing.
    #[error("cannot install the service rules: {0}")]
    Rules(String),
    /// The links between networks.
    #[error(transparent)]
    Links(#[from] LinkError),
}

impl Error {
    fn kernel(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Kernel { what, source }
    }
}

/// All networks of one world. Dropping it ends its threads; links go when the last user of a namespace is gone.
pub struct Fabric {
    clusters: BTreeMap<String, Arc<ClusterNetwork>>,
    machines: BTreeMap<String, Arc<MachineNetwork>>,
    links: Arc<Links>,
}

struct NetworkRouter {
    namespace: Arc<Namespace>,
    backbone_link: u32,
}

/// Index of the link towards the backbone or, on a node, towards its router.
const UPLINK: u32 = 2;
/// Name of that link.
const UPLINK_NAME: &str = "uplink";
/// First index of the links on the other side.
const FIRST_DOWNLINK: u32 = 16;
/// Routers need an address of their own for the ICMP errors they send; from the range reserved for benchmarks.
const ROUTER_ADDRESSES: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

impl Fabric {
    /// Makes every namespace, link and route, and the initial rules of every node.
    ///
    /// # Errors
    /// [`Error::Config`] before anything is made, otherwise the part that the kernel or `nft` refused.
    pub async fn create(config: &FabricConfig) -> Result<Self, Error> {
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(Error::Config(problems));
        }
        let backbone = router("backbone", 0);
        let routers =
            try_join_all(config.networks.iter().zip(1..).map(|(network, number)| router(&network.name, number)));
        let nodes = try_join_all(config.clusters.iter().map(|cluster| node(&cluster.name)));
        let (backbone, (routers, nodes)) = try_join(backbone, try_join(routers, nodes)).await?;

        let backbone = Arc::new(backbone);
        let mut networks = BTreeMap::new();
        let mut ports = Vec::new();
        for ((network, namespace), number) in config.networks.iter().zip(routers).zip(0..) {
            let backbone_link = FIRST_DOWNLINK + number;
            let interface = format!("net{number}");
            connect((&backbone, backbone_link, &interface), (&namespace, UPLINK)).await?;
            let namespace = Arc::new(namespace);
            ports.push(port(config, &network.name, backbone_link, interface));
            networks.insert(network.name.clone(), NetworkRouter { namespace, backbone_link });
        }
        for ((cluster, node), number) in config.clusters.iter().zip(&nodes).zip(0..) {
            let router = &networks[&cluster.network];
            connect((&router.namespace, FIRST_DOWNLINK + number, &format!("node{number}")), (node, UPLINK)).await?;
        }
        install_routes(config, &backbone, &networks).await?;
        let machines = machines(config, &networks);
        let routers = networks.into_iter().map(|(name, router)| (name, router.namespace)).collect();
        let links = Links::new(backbone, routers, ports);
        let clusters = try_join_all(
            config.clusters.iter().zip(nodes).map(|(cluster, node)| ClusterNetwork::create(config, cluster, node)),
        );
        let counting = async { links.count().await.map_err(Error::from) };
        let (clusters, ()) = try_join(clusters, counting).await?;
        let clusters = clusters.into_iter().map(|cluster| (cluster.name().to_owned(), Arc::new(cluster))).collect();
        Ok(Self { clusters, machines, links: Arc::new(links) })
    }

    /// Where a host outside the clusters is plugged in.
    pub fn machine(&self, name: &str) -> Option<Arc<MachineNetwork>> {
        self.machines.get(name).cloned()
    }

    /// The network of one cluster.
    pub fn cluster(&self, name: &str) -> Option<Arc<ClusterNetwork>> {
        self.clusters.get(name).cloned()
    }

    /// The links between networks.
    pub fn links(&self) -> Arc<Links> {
        self.links.clone()
    }
}

/// The first link of hosts on their router, after those of the clusters.
fn first_machine_link(config: &FabricConfig) -> u32 {
    FIRST_DOWNLINK + u32::try_from(config.clusters.len()).unwrap_or_default()
}

fn router_address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(ROUTER_ADDRESSES) + number)
}

fn machines(
    config: &FabricConfig,
    networks: &BTreeMap<String, NetworkRouter>,
) -> BTreeMap<String, Arc<MachineNetwork>> {
    let numbers: BTreeMap<_, _> = config.networks.iter().map(|network| &network.name).zip(1..).collect();
    let links = first_machine_link(config)..;
    let place = |(machine, link): (&MachineNetworkConfig, u32)| {
        let router = (networks[&machine.network].namespace.clone(), router_address(numbers[&machine.network]));
        (machine.name.clone(), Arc::new(MachineNetwork::new(&machine.name, machine.address, link, router)))
    };
    config.machines.iter().zip(links).map(place).collect()
}

fn port(config: &FabricConfig, network: &str, index: u32, interface: String) -> links::Port {
    let (near, far) = (router_mac(index, 0), router_mac(index, 1));
    links::Port { network: network.to_owned(), index, interface, near, far, subnets: links::subnets(config, network) }
}

/// A namespace that forwards, with an address for its ICMP errors.
async fn router(name: &str, number: u32) -> Result<Namespace, Error> {
    let namespace = node(name).await?;
    let address = router_address(number);
    namespace
        .run(move |inside| inside.netlink.apply(vec![netlink::address(LOOPBACK, address)]))
        .await
        .map_err(Error::kernel(format!("set up the router {name:?}")))?;
    Ok(namespace)
}

async fn node(name: &str) -> Result<Namespace, Error> {
    Namespace::create(name).await.map_err(Error::kernel(format!("make the network namespace of {name:?}")))
}

/// Joins two forwarding namespaces by a link. On the `far` side it is the uplink.
async fn connect(near: (&Namespace, u32, &str), far: (&Namespace, u32)) -> Result<(), Error> {
    let ((near, near_index, near_name), (far, far_index)) = (near, far);
    let (near_mac, far_mac) = (router_mac(near_index, 0), router_mac(near_index, 1));
    let what = format!("make the link {near_name}");
    let (name, far_namespace) = (near_name.to_owned(), far.shared_descriptor());
    near.run(move |inside| {
        let near_end = LinkEnd { index: near_index, name: &name, mac: near_mac };
        let far_end = LinkEnd { index: far_index, name: UPLINK_NAME, mac: far_mac };
        let mut changes = vec![netlink::veth(&near_end, &far_end, std::os::fd::AsFd::as_fd(&*far_namespace))];
        changes.extend(forwarding_link(near_index, far_mac));
        inside.netlink.apply(changes)
    })
    .await
    .map_err(Error::kernel(what.clone()))?;
    far.run(move |inside| inside.netlink.apply(forwarding_link(far_index, near_mac).into()))
        .await
        .map_err(Error::kernel(what))
}

fn forwarding_link(index: u32, neighbour: Mac) -> [netlink::Change; 3] {
    [
        netlink::set_up(index, true),
        netlink::set_forwarding(index, true),
        netlink::neighbour(index, netlink::GATEWAY, neighbour),
    ]
}

/// Locally administered, unique on its link.
fn router_mac(link: u32, side: u8) -> Mac {
    let [.., high, low] = link.to_be_bytes();
    [0x02, 0x01, side, 0, high, low]
}

async fn install_routes(
    config: &FabricConfig,
    backbone: &Namespace,
    networks: &BTreeMap<String, NetworkRouter>,
) -> Result<(), Error> {
    let nodes = config.clusters.iter().map(|cluster| (&cluster.network, cluster.node_subnet));
    let machines = config.machines.iter().map(|machine| (&machine.network, Cidr::host(machine.address)));
    let routes = nodes.chain(machines.clone()).map(|(network, to)| (networks[network].backbone_link, to)).collect();
    apply_routes(backbone, "backbone", routes).await?;
    for (name, router) in networks {
        let mut routes = Vec::new();
        for (cluster, number) in config.clusters.iter().zip(0..) {
            if cluster.network == *name {
                routes.push((FIRST_DOWNLINK + number, cluster.node_subnet));
                routes.push((FIRST_DOWNLINK + number, cluster.pod_subnet));
            } else {
                routes.push((UPLINK, cluster.node_subnet));
            }
        }
        // The way to a host of the own network is there while it is plugged in.
        routes.extend(machines.clone().filter(|(network, _)| *network != name).map(|(_, to)| (UPLINK, to)));
        apply_routes(&router.namespace, name, routes).await?;
    }
    Ok(())
}

async fn apply_routes(router: &Namespace, name: &str, routes: Vec<(u32, Cidr)>) -> Result<(), Error> {
    router
        .run(move |inside| {
            inside.netlink.apply(routes.into_iter().map(|(link, to)| netlink::gateway_route(link, to, None)).collect())
        })
        .await
        .map_err(Error::kernel(format!("set up the routes of {name:?}")))
}
