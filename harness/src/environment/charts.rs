//! Istio on clusters of somebody else: the charts are rendered here and applied as everything else is, object by object. So it is known
//! beforehand what will be made, each object is in the ledger, and `down` takes away exactly that.

use std::collections::BTreeMap;

use camino::Utf8Path;
use serde_json::Value;

use super::bring_up::Error;
use super::existing::{Given, Refused};
use super::kind::run::{output, write};
use super::kind::{self};
use super::layers::{Key, Layer, Part};
use crate::install::{manifest, mesh};
use crate::provider::existing::contexts::Refusal;
use crate::provider::kind::commands::CommandLine;
use crate::provider::kind::istio::{self, Installer, Way};
use crate::provider::kind::lock::Lock;
use crate::topology::{Cluster, Provider, Topology};

/// Adds what Istio's charts make to the layers of every cluster with a mesh that is there. `directory` is that of the environment.
///
/// # Errors
/// Where they cannot be rendered.
pub(super) async fn add(
    parts: &mut BTreeMap<Key, Part>,
    topology: &Topology,
    directory: &Utf8Path,
    given: &Given,
) -> Result<(), Error> {
    let way = way(given)?;
    let clusters = topology.clusters_of(Provider::Existing);
    let clusters = clusters.filter(|cluster| topology.primaries().any(|primary| primary.name == cluster.name));
    let rendered = clusters.clone().map(|cluster| rendered(topology, cluster, directory, &way));
    for (cluster, layers) in clusters.zip(futures::future::try_join_all(rendered).await?) {
        for (layer, objects) in layers {
            let part = parts.entry((layer, cluster.name.clone())).or_default();
            // What opens a gateway comes after it.
            part.objects.splice(0..0, objects);
        }
    }
    Ok(())
}

/// The release that is wanted, from its charts: nothing else of Istio's can be rendered.
fn way(given: &Given) -> Result<Way, Error> {
    if given.istio_installer == Some(Installer::Istioctl) {
        let message =
            "on clusters that are there Istio is what helm renders of its charts, and not what istioctl installs";
        let refusal =
            Refusal::new(message, "leave --istio-installer out, or install Istio there and say `--mesh present`");
        return Err(Refused::from(refusal).into());
    }
    let lock = Lock::read();
    let release = lock.istio.release(given.istio_version.as_deref()).map_err(kind::Error::from)?;
    Ok(Way::new(&lock, &release, Installer::Helm))
}

async fn rendered(
    topology: &Topology,
    cluster: &Cluster,
    directory: &Utf8Path,
    way: &Way,
) -> Result<[(Layer, Vec<Value>); 2], Error> {
    let folder = directory.join("clusters").join(&cluster.name);
    let installation = istio::installation(topology, cluster, &folder, "", way).map_err(kind::Error::from)?;
    for (path, text) in &installation.files {
        write(path, text)?;
    }
    let control_plane = objects(&cluster.name, &installation.control_plane).await?;
    Ok([(Layer::Mesh, control_plane), (Layer::Gateways, objects(&cluster.name, &installation.gateways).await?)])
}

async fn objects(cluster: &str, lines: &[CommandLine]) -> Result<Vec<Value>, Error> {
    let mut objects = Vec::new();
    for line in lines {
        let line = line.rendering();
        let text = output(cluster, &line).await.map_err(|error| explained(error, line.program))?;
        objects.extend(manifest::parse(&line.to_string(), &text).map_err(mesh::Error::from)?);
    }
    Ok(objects)
}

/// A program that is not there is the user's to bring.
fn explained(error: kind::Error, program: &str) -> Error {
    match error {
        kind::Error::Command { ended, said, .. } if ended == kind::run::NOT_STARTED => {
            let message = format!("`{program}` renders Istio's charts, and cannot be started: {said}");
            let cure = format!("install {program}, or install Istio there and say `--mesh present`");
            Refused::from(Refusal::new(message, cure)).into()
        }
        error => error.into(),
    }
}
