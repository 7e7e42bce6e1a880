//! What each layer of a topology's clusters is made of: all that an installation applies there.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Key, Layer, Part, hash};
use crate::environment::Error;
use crate::environment::authorities::Authorities;
use crate::environment::existing::MeshSource;
use crate::install::remote_secret::ISTIO_SYSTEM;
use crate::install::{apps, hub, mesh, remote};
use crate::topology::{Cluster, Topology};

/// What stands for the address of a gateway that may not run yet.
const LATER: &str = "address-of-the-eastwest-gateway";

/// The layers that the Kubernetes API is enough for, with a mesh from this source. What charts bring is known to who installs them.
///
/// # Errors
/// Where a manifest of ours is broken.
pub(crate) fn parts(
    topology: &Topology,
    source: MeshSource,
    authorities: &Authorities,
) -> Result<BTreeMap<Key, Part>, Error> {
    let mut parts = BTreeMap::new();
    // Remotes stand on their primaries.
    let (remotes, others): (Vec<&Cluster>, Vec<&Cluster>) =
        topology.clusters.iter().partition(|cluster| cluster.control_plane.is_some());
    for cluster in others.into_iter().chain(remotes) {
        let mut of_cluster = vec![(Layer::Applications, applications(topology, cluster, authorities)?)];
        of_cluster.extend(management_parts(topology, cluster)?);
        if cluster.mesh {
            of_cluster.extend(mesh_parts(topology, cluster, source, authorities, &parts)?);
        }
        of_cluster.retain(|(_, part)| *part != Part::default());
        parts.extend(of_cluster.into_iter().map(|(layer, part)| ((layer, cluster.name.clone()), part)));
    }
    Ok(parts)
}

fn of_objects(objects: Vec<Value>) -> Part {
    Part { objects, settings: Vec::new() }
}

fn applications(topology: &Topology, cluster: &Cluster, authorities: &Authorities) -> Result<Part, Error> {
    let placeholders = mesh::placeholders_of(cluster, topology);
    Ok(of_objects(apps::objects(topology, &cluster.name, &placeholders, authorities.echo.as_ref())?))
}

fn management_parts(topology: &Topology, cluster: &Cluster) -> Result<Vec<(Layer, Part)>, Error> {
    let Some(management) = &topology.management else { return Ok(Vec::new()) };
    let mut parts = Vec::new();
    if management.cluster == cluster.name {
        parts.push((Layer::Management, of_objects(hub::objects().map_err(mesh::Error::from)?)));
    }
    if topology.primaries().any(|primary| primary.name == cluster.name) {
        let objects = hub::registered(&cluster.name, ISTIO_SYSTEM).map_err(mesh::Error::from)?;
        parts.push((Layer::Registration, of_objects(objects)));
    }
    Ok(parts)
}

fn mesh_parts(
    topology: &Topology,
    cluster: &Cluster,
    source: MeshSource,
    authorities: &Authorities,
    parts: &BTreeMap<Key, Part>,
) -> Result<Vec<(Layer, Part)>, Error> {
    let placeholders = mesh::placeholders_of(cluster, topology);
    let authority = || of_objects(mesh::authority_objects(&cluster.network, authorities.meshes.get(&cluster.name)));
    let gateways = || Ok::<_, Error>(of_objects(mesh::gateway_objects(&cluster.name, topology, &placeholders)?));
    let exposed = || Ok::<_, Error>(of_objects(mesh::exposed_objects(&cluster.name, topology, &placeholders)?));
    Ok(match (source, cluster.control_plane.as_deref()) {
        (MeshSource::Present, _) => Vec::new(),
        (MeshSource::Istio, None) => vec![(Layer::Authority, authority()), (Layer::Gateways, exposed()?)],
        (MeshSource::Istio, Some(_)) => Vec::new(),
        (MeshSource::Embedded, None) => vec![
            (Layer::Authority, authority()),
            (Layer::Mesh, of_objects(mesh::control_plane_objects(&placeholders)?)),
            (Layer::Gateways, gateways()?),
        ],
        (MeshSource::Embedded, Some(primary)) => {
            let of_primary = |layer: Layer| parts.get(&(layer, primary.to_owned()));
            let stands_on = [Layer::Authority, Layer::Mesh, Layer::Gateways].map(of_primary);
            let stands_on = stands_on.map(|part| part.map(|part| (&part.settings, &part.objects)));
            let objects = remote::objects(&cluster.network, primary, &placeholders, LATER)?;
            vec![(Layer::Mesh, Part { objects, settings: vec![hash(&stands_on)] }), (Layer::Gateways, gateways()?)]
        }
    })
}
