//! Istio on kind clusters, layer by layer, by the command lines that the plan has.

use serde_json::Value;

use super::Error;
use super::releases::is_release;
use super::run::{run, write};
use crate::cluster::Cluster;
use crate::environment::bring_up::{Error as BringUpError, hand_out_authority, phase};
use crate::environment::layers::Layer;
use crate::environment::layers::progress::Progress;
use crate::install::{mesh, remote};
use crate::provider::kind::istio::{self, Installation, Way};
use crate::provider::kind::plan::Plan;
use crate::report::stream::EventSender;
use crate::topology::Topology;

/// Installs Istio: first where a control plane is, then where that of another cluster serves.
pub(super) async fn install(
    plan: &Plan,
    way: &Way,
    topology: &Topology,
    clusters: &[Cluster],
    layers: &Progress,
    events: &EventSender,
) -> Result<(), BringUpError> {
    let known = |name: &str| clusters.iter().find(|cluster| cluster.name() == name);
    let primaries = topology.primaries().filter_map(|primary| known(&primary.name));
    let installs = primaries.map(async |cluster| {
        let name = cluster.name();
        hand_out_authority(cluster, layers, events).await?;
        phase(events, format!("istio/{name}"), format!("install Istio on {name}"), async {
            let installation = installation(plan, way, topology, name, None)?;
            let work = async {
                carry(name, &installation, Part::ControlPlane).await?;
                Ok(format!("Istio {} is installed", way.version))
            };
            let told = layers.perform(Layer::Mesh, name, work).await?;
            let work = async {
                carry(name, &installation, Part::Gateways).await?;
                let objects = layers.objects(Layer::Gateways, name).iter().filter(|object| !is_release(object));
                let objects: Vec<Value> = objects.cloned().collect();
                cluster.apply_all(&objects).await.map_err(mesh::Error::from)?;
                Ok("installed".to_owned())
            };
            let gateways = layers.perform(Layer::Gateways, name, work).await?;
            Ok(((), format!("{told}; gateways {gateways}")))
        })
        .await
    });
    futures::future::try_join_all(installs).await?;
    for remote in topology.meshed().filter(|cluster| cluster.control_plane.is_some()) {
        let primary = remote.control_plane.as_deref().and_then(known);
        let (Some(cluster), Some(primary)) = (known(&remote.name), primary) else { continue };
        let name = remote.name.as_str();
        phase(events, format!("istio/{name}"), format!("install Istio on {name}"), async {
            let address = remote::gateway_address(primary).await?;
            let installation = installation(plan, way, topology, name, Some(&address))?;
            let work = async {
                remote::namespace(cluster, primary).await?;
                carry(name, &installation, Part::ControlPlane).await?;
                // Its gateways get their configuration from the other cluster, which has to know them first.
                remote::admit(cluster, primary).await?;
                Ok(format!("served by the control plane of {}", primary.name()))
            };
            let told = layers.perform(Layer::Mesh, name, work).await?;
            let work = async {
                carry(name, &installation, Part::Gateways).await?;
                Ok("installed".to_owned())
            };
            let gateways = layers.perform(Layer::Gateways, name, work).await?;
            Ok(((), format!("{told}; gateways {gateways}")))
        })
        .await?;
    }
    Ok(())
}

/// What the plan has for a cluster, with the address of the control plane where that is elsewhere.
fn installation(
    plan: &Plan,
    way: &Way,
    topology: &Topology,
    name: &str,
    control_plane: Option<&str>,
) -> Result<Installation, Error> {
    let planned = plan.clusters.iter().find(|planned| planned.name == name);
    let planned = planned.expect("invariant: the plan has every cluster of its topology");
    let folder = planned.kubeconfig.parent().unwrap_or(&planned.kubeconfig);
    let cluster = topology.cluster(name).expect("invariant: the plan has the clusters of its topology alone");
    Ok(istio::installation(topology, cluster, folder, control_plane.unwrap_or_default(), way)?)
}

/// Which part of Istio.
#[derive(Clone, Copy)]
enum Part {
    /// Definitions and the control plane, or what a cluster has in place of one.
    ControlPlane,
    /// The gateways.
    Gateways,
}

async fn carry(cluster: &str, installation: &Installation, part: Part) -> Result<(), Error> {
    for (path, text) in &installation.files {
        write(path, text)?;
    }
    let commands = match part {
        Part::ControlPlane => &installation.control_plane,
        Part::Gateways => &installation.gateways,
    };
    for command in commands {
        run(cluster, command).await?;
    }
    Ok(())
}
