//! The network of a host outside every cluster: plugged into the router of its network for as long as it runs.
//!
//! A host in a namespace of the world is plugged in by the world. One in a namespace of somebody else is plugged in by a
//! process that has rights over both, which is told by a [`Cable`] and [`plug`]s it in; the world keeps its own side.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::sched::{CloneFlags, setns};
use serde::{Deserialize, Serialize};

use super::Error;
use super::namespace::Namespace;
use super::netlink::{self, Netlink};
use super::pod::{self, Lease, PodNetwork, PodPlan};

/// Name of the link in a namespace of somebody else, who may have given it an `eth0`.
const LINK_ELSEWHERE: &str = "mesh0";

/// Where a host is plugged in.
pub struct MachineNetwork {
    name: String,
    plan: PodPlan,
    router: Arc<Namespace>,
}

impl MachineNetwork {
    pub(super) fn new(name: &str, address: Ipv4Addr, link: u32, router: (Arc<Namespace>, Ipv4Addr)) -> Self {
        let (router, router_address) = router;
        Self { name: name.to_owned(), plan: PodPlan { address, link, node_address: router_address }, router }
    }

    /// Address of the host.
    pub fn address(&self) -> Ipv4Addr {
        self.plan.address
    }

    /// Makes a namespace for the host and plugs it in. It is unplugged at once by its release, whatever runs in it.
    ///
    /// # Errors
    /// The kernel's refusal; also where it is plugged in already.
    pub async fn plug_in(&self) -> Result<PodNetwork, Error> {
        PodNetwork::create(self.plan, self.router.clone(), None)
            .await
            .map_err(Error::kernel(format!("plug in the machine {:?}", self.name)))
    }

    /// What somebody needs who plugs it in from outside, beside the host's own namespace: numbers, and the router's namespace.
    pub(crate) fn cable(&self) -> (Cable, BorrowedFd<'_>) {
        (Cable(self.plan), self.router.descriptor())
    }

    /// The router's side of a cable, whether it is plugged in yet or not.
    pub(crate) fn socket(&self) -> CableSocket {
        let PodPlan { address, link, .. } = self.plan;
        CableSocket(Lease { address, link, node: self.router.clone(), addresses: None })
    }
}

/// The numbers by which a host is plugged in.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Cable(PodPlan);

/// See [`MachineNetwork::socket`].
pub(crate) struct CableSocket(Lease);

impl CableSocket {
    /// Pulls the cable; one that is not plugged in counts as pulled.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(crate) async fn unplug(&self) -> Result<(), Error> {
        self.0.unplug().await
    }
}

/// Plugs a host into a router, both named by their namespaces. The caller needs rights over both.
///
/// # Errors
/// What the kernel refused; no link is left then.
pub(crate) fn plug(cable: &Cable, router: OwnedFd, host: OwnedFd) -> io::Result<()> {
    let Cable(plan) = *cable;
    // A thread of its own: it is of no use afterwards.
    let thread = std::thread::Builder::new().name("plug".to_owned()).spawn(move || {
        let enter = |namespace: &OwnedFd| -> io::Result<Netlink> {
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
            Netlink::open()
        };
        let near = enter(&router)?;
        near.apply(pod::near(&plan, host.as_fd(), LINK_ELSEWHERE))?;
        let far = enter(&host).and_then(|far| far.apply(pod::far(&plan)));
        if far.is_err() {
            near.apply(vec![netlink::delete_link(plan.link)])?;
        }
        far
    })?;
    thread.join().map_err(|_| io::Error::other("the thread that plugs a host in has panicked"))?
}
