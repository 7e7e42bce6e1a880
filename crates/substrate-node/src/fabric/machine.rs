//! The network of a host outside every cluster: plugged into the router of its network for as long as it runs.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::Error;
use super::namespace::Namespace;
use super::pod::{PodNetwork, PodPlan};

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
}
