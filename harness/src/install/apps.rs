//! The sample applications: which manifests a topology's placements stand for, and their installation.

use serde_json::{Value, json};

use super::echo::Certificate;
use super::manifest::{self, Placeholders};
use super::mesh::{Error, rolled_out};
use crate::cluster::Cluster;
use crate::topology::apps::AppName;
use crate::topology::{App, GatewayKind, Topology};

macro_rules! manifest {
    ($name:literal) => {
        (concat!("manifests/", $name), include_str!(concat!("../../../manifests/", $name)))
    };
}

/// The manifest of each Deployment that a placement can name.
const DEPLOYMENTS: &[(&str, (&str, &str))] = &[
    ("productpage-v1", manifest!("bookinfo/productpage.yaml")),
    ("details-v1", manifest!("bookinfo/details.yaml")),
    ("ratings-v1", manifest!("bookinfo/ratings.yaml")),
    ("reviews-v1", manifest!("bookinfo/reviews-v1.yaml")),
    ("reviews-v2", manifest!("bookinfo/reviews-v2.yaml")),
    ("reviews-v3", manifest!("bookinfo/reviews-v3.yaml")),
    ("probe", manifest!("bookinfo/probe.yaml")),
    ("echo-v1", manifest!("echo/echo-v1.yaml")),
    ("echo-v2", manifest!("echo/echo-v2.yaml")),
    ("sleep", manifest!("sleep/sleep.yaml")),
];
const SERVICES: (&str, &str) = manifest!("bookinfo/services.yaml");
const GATEWAY: (&str, &str) = manifest!("bookinfo/gateway.yaml");
const ECHO_SERVICES: (&str, &str) = manifest!("echo/services.yaml");

/// Everything that a topology puts onto one cluster, in the order in which it is applied.
///
/// # Errors
/// [`Error::Manifest`] where a manifest of ours is broken.
pub fn objects(
    topology: &Topology,
    cluster: &str,
    placeholders: &Placeholders,
    certificate: Option<&Certificate>,
) -> Result<Vec<Value>, Error> {
    let mut objects = Vec::new();
    for app in &topology.apps {
        let workloads = app.placements.iter().find(|placement| placement.cluster == cluster);
        let Some(placement) = workloads else { continue };
        objects.push(namespace(app));
        objects.extend(certificate.and_then(|certificate| certificate.object(app)));
        let mut values = placeholders.clone();
        values.insert("NAMESPACE", app.namespace.clone());
        for (file, text) in manifests(topology, cluster, app, &placement.workloads) {
            objects.extend(manifest::render(file, text, &values)?);
        }
    }
    Ok(objects)
}

fn namespace(app: &App) -> Value {
    let injection = if app.sidecar { "enabled" } else { "disabled" };
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": app.namespace, "labels": { "istio-injection": injection } },
    })
}

fn manifests<'text>(
    topology: &Topology,
    cluster: &str,
    app: &App,
    workloads: &[String],
) -> Vec<(&'text str, &'text str)> {
    let mut chosen = Vec::new();
    // Configuration is read where the control plane is.
    let is_primary = topology.primaries().any(|primary| primary.name == cluster);
    if app.app == AppName::Bookinfo {
        chosen.push(SERVICES);
        if is_primary && topology.mesh.gateways.contains(&GatewayKind::Ingress) {
            chosen.push(GATEWAY);
        }
    }
    if app.app == AppName::Echo {
        chosen.push(ECHO_SERVICES);
    }
    let named = DEPLOYMENTS.iter().filter(|(name, _)| workloads.iter().any(|workload| workload == name));
    chosen.extend(named.map(|(_, manifest)| *manifest));
    chosen
}

/// Waits until every Deployment that a topology puts onto the cluster is available.
///
/// # Errors
/// The first that is not.
pub async fn ready(topology: &Topology, cluster: &Cluster) -> Result<usize, Error> {
    let workloads: Vec<_> =
        topology.workloads().into_iter().filter(|workload| workload.cluster == cluster.name()).collect();
    let waits = workloads.iter().map(|workload| rolled_out(cluster, &workload.namespace, &workload.name));
    futures::future::try_join_all(waits).await?;
    Ok(workloads.len())
}
