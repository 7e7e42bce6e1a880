//! The network of one pod: its namespace, its address, and the link to the node.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};

use super::namespace::{self, Inside, Namespace, dial_in, listen_in};
use super::netlink::{self, Change, LinkEnd, Mac};
use super::pool::AddressPool;
use super::{Cidr, UPLINK};

/// The network of one pod. Dropping it frees link and address too, without waiting for it.
pub struct PodNetwork {
    address: Ipv4Addr,
    namespace: Arc<OwnedFd>,
    lease: Option<Lease>,
}

/// What a pod occupies on its node.
pub(super) struct Lease {
    pub(super) address: Ipv4Addr,
    pub(super) link: u32,
    pub(super) node: Arc<Namespace>,
    /// Where its address came from; a host outside the clusters keeps its own.
    pub(super) addresses: Option<Arc<Mutex<AddressPool>>>,
}

/// Numbers chosen for a new pod network.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct PodPlan {
    pub(super) address: Ipv4Addr,
    pub(super) link: u32,
    pub(super) node_address: Ipv4Addr,
}

/// The node's side of every pod link.
const NODE_MAC: Mac = [0x02, 0x02, 0, 0, 0, 1];

impl PodNetwork {
    pub(super) async fn create(
        plan: PodPlan,
        node: Arc<Namespace>,
        addresses: Option<Arc<Mutex<AddressPool>>>,
    ) -> io::Result<Self> {
        let lease = Lease { address: plan.address, link: plan.link, node: node.clone(), addresses };
        match node.run(move |inside| make(inside, &plan)).await {
            Ok(namespace) => Ok(Self { address: plan.address, namespace, lease: Some(lease) }),
            Err(error) => {
                lease.end().await.ok();
                Err(error)
            }
        }
    }

    /// The pod's address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The pod's network namespace.
    pub fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// Connects from inside the pod, for instance to its loopback address (port-forward).
    ///
    /// # Errors
    /// Those of connect.
    pub async fn dial(&self, address: SocketAddr) -> io::Result<TcpStream> {
        dial_in(self.namespace.clone(), address).await
    }

    /// Listens inside the pod.
    ///
    /// # Errors
    /// Those of bind and listen.
    pub async fn listen(&self, address: SocketAddr) -> io::Result<TcpListener> {
        listen_in(self.namespace.clone(), address).await
    }

    /// Deletes the pod's link while the namespace lives on, as if somebody had pulled the plug.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn unplug(&self) -> Result<(), super::Error> {
        match &self.lease {
            Some(lease) => lease.unplug().await,
            None => Ok(()),
        }
    }

    /// Deletes the pod's link and gives its address back. The namespace itself goes with its last process.
    pub async fn release(mut self) {
        if let Some(lease) = self.lease.take()
            && let Err(error) = lease.end().await
        {
            tracing::warn!(address = %self.address, %error, "the link of a pod could not be deleted");
        }
    }
}

impl Drop for PodNetwork {
    fn drop(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        let node = lease.node.clone();
        // A failure means that the node is gone, and with it the link.
        node.post(move |inside| drop(lease.delete(inside))).ok();
    }
}

impl Lease {
    pub(super) async fn unplug(&self) -> Result<(), super::Error> {
        let link = self.link;
        match self.node.run(move |inside| inside.netlink.apply(vec![netlink::delete_link(link)])).await {
            Err(error) if netlink::is_no_such_link(&error) => Ok(()),
            other => other.map_err(super::Error::kernel(format!("unplug {}", self.address))),
        }
    }

    async fn end(self) -> io::Result<()> {
        let node = self.node.clone();
        node.run(move |inside| self.delete(inside)).await
    }

    fn delete(&self, inside: &Inside) -> io::Result<()> {
        let outcome = inside.netlink.apply(vec![netlink::delete_link(self.link)]);
        if let Some(addresses) = &self.addresses {
            addresses.lock().expect("invariant: no panic while the pool is locked").give_back(self.address);
        }
        match outcome {
            // The pod's namespace, and with it the link, can have ended before.
            Err(error) if netlink::is_no_such_link(&error) => Ok(()),
            other => other,
        }
    }
}

/// Runs in the node's namespace.
fn make(node: &Inside, plan: &PodPlan) -> io::Result<Arc<OwnedFd>> {
    let pod = namespace::make_another(node)?;
    node.netlink.apply(near(plan, pod.namespace.as_fd(), "eth0"))?;
    pod.netlink.apply(far(plan))?;
    Ok(pod.namespace)
}

/// The link into the pod's namespace, by its name there, and the way to the pod, for the node's namespace.
pub(super) fn near(plan: &PodPlan, pod: BorrowedFd<'_>, inside: &str) -> Vec<Change> {
    let mac = pod_mac(plan.address);
    let name = format!("pod{}", plan.link);
    let near = LinkEnd { index: plan.link, name: &name, mac: NODE_MAC };
    let far = LinkEnd { index: UPLINK, name: inside, mac };
    vec![
        netlink::veth(&near, &far, pod),
        netlink::set_forwarding(plan.link, true),
        netlink::neighbour(plan.link, plan.address, mac),
        netlink::link_route(plan.link, Cidr::host(plan.address), Some(plan.node_address)),
    ]
}

/// The other side of that link, for the pod's namespace.
pub(super) fn far(plan: &PodPlan) -> Vec<Change> {
    vec![
        netlink::set_up(UPLINK, true),
        netlink::set_forwarding(UPLINK, false),
        netlink::address(UPLINK, plan.address),
        netlink::neighbour(UPLINK, netlink::GATEWAY, NODE_MAC),
        netlink::gateway_route(UPLINK, Cidr::ALL, Some(plan.address)),
    ]
}

/// Locally administered, from the address.
fn pod_mac(address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    [0x02, 0x03, a, b, c, d]
}
