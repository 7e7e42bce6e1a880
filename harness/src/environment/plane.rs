//! The management plane of an environment: the manager, the clusters that are registered, the virtual mesh.

use std::time::Duration;

use super::bring_up::{Error, phase};
use super::layers::Layer;
use super::layers::progress::Progress;
use crate::cluster::Cluster;
use crate::install::hub;
use crate::management::target::Target;
use crate::management::{self, join, registration};
use crate::report::stream::EventSender;
use crate::topology::{Federation, Topology, VirtualTrust};

/// How long the plane may take to find the meshes that are there.
const FOUND: Duration = Duration::from_secs(60);
/// How long the plane may take until a virtual mesh is in force; with a shared trust everything is restarted.
const JOINED: Duration = Duration::from_secs(180);

/// The management cluster of an environment.
pub(super) struct Plane<'clusters> {
    pub(super) management: &'clusters Cluster,
}

impl<'clusters> Plane<'clusters> {
    /// The plane that a topology asks for, if it does.
    pub(super) fn of(topology: &Topology, clusters: &'clusters [Cluster]) -> Option<Self> {
        let wanted = topology.management.as_ref()?;
        let management = clusters.iter().find(|cluster| cluster.name() == wanted.cluster)?;
        Some(Self { management })
    }

    pub(super) async fn start(&self, layers: &Progress, events: &EventSender) -> Result<(), Error> {
        let name = self.management.name();
        phase(events, "management", format!("start the management plane on {name}"), async {
            let work = async {
                hub::start_manager(self.management).await?;
                Ok("manager ready, and its webhook judges".to_owned())
            };
            Ok(((), layers.perform(Layer::Management, name, work).await?))
        })
        .await
    }

    /// Registers a cluster that has a control plane. The manager need not run yet. Where the registration is kept, the manager gets
    /// a new token all the same: the old one ends.
    pub(super) async fn register(
        &self,
        cluster: &Cluster,
        layers: &Progress,
        events: &EventSender,
    ) -> Result<(), Error> {
        let name = cluster.name();
        phase(events, format!("register/{name}"), format!("register {name}"), async {
            let target = Target::of_environment(cluster)?;
            if layers.keeps(Layer::Registration, name) {
                registration::renew(self.management, &target, name).await?;
            }
            let work = async {
                registration::register(self.management, &target, name).await?;
                Ok("agent ready".to_owned())
            };
            Ok(((), layers.perform(Layer::Registration, name, work).await?))
        })
        .await
    }

    /// Waits until the plane has found every mesh, and joins them as the topology says.
    pub(super) async fn join(&self, topology: &Topology, events: &EventSender) -> Result<(), Error> {
        let names: Vec<&str> = topology.meshed().map(|cluster| cluster.name.as_str()).collect();
        let meshes = phase(events, "discovery", "let the management plane find the meshes", async {
            let reached = names.iter().map(|name| registration::reached(self.management, name, FOUND));
            futures::future::try_join_all(reached).await?;
            let found = join::meshes(self.management, &names, FOUND).await?;
            let evidence = format!("{} meshes", found.len());
            Ok((found, evidence))
        })
        .await?;
        let Some(joined) = topology.virtual_mesh() else { return Ok(()) };
        let manner = join::Manner {
            permissive: joined.federation == Federation::Permissive,
            flat_network: is_flat(topology),
            shared_trust: joined.trust == VirtualTrust::Shared,
            default_deny: joined.default_deny,
        };
        phase(events, "virtual-mesh", "join the meshes", async {
            let object = join::virtual_mesh(&topology.mesh.id, &meshes, manner).manifest();
            let object = object.expect("invariant: plain data without numbers that JSON has not");
            self.management.apply(&object).await.map_err(management::Error::from)?;
            join::active(self.management, &object, JOINED).await?;
            Ok(((), format!("VirtualMesh {} is ACTIVE", topology.mesh.id)))
        })
        .await
    }
}

/// Whether pods of all meshes reach each other.
fn is_flat(topology: &Topology) -> bool {
    let mut meshed = topology.meshed();
    meshed.next().is_some_and(|first| meshed.all(|cluster| cluster.network == first.network))
}
