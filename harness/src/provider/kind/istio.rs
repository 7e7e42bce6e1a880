//! Istio on the clusters of a topology: which charts with which values, in the order in which they need each other. Pure.

use camino::{Utf8Path, Utf8PathBuf};

use super::commands::{Chart, CommandLine, helm};
use super::lock::Lock;
use crate::install::manifest::{self, Placeholders};
use crate::install::mesh;
use crate::topology::{Cluster, Discovery, GatewayKind, Topology};

macro_rules! values {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../../manifests/istio/values/", $name)))
    };
}

const CONTROL_PLANE: (&str, &str) = values!("istiod.yaml");
const HUB: (&str, &str) = values!("istiod-hub.yaml");
const REMOTE: (&str, &str) = values!("istiod-remote.yaml");
const EAST_WEST: (&str, &str) = values!("eastwestgateway.yaml");
const INGRESS: (&str, &str) = values!("ingressgateway.yaml");

/// What is installed on one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Files with values: name and content.
    pub files: Vec<(Utf8PathBuf, String)>,
    /// Installs definitions and the control plane, or what a cluster has in place of one.
    pub control_plane: Vec<CommandLine>,
    /// Installs the gateways.
    pub gateways: Vec<CommandLine>,
}

/// Istio on a cluster whose files are in `folder`. The address of the control plane is that of the primary's gateway, which is
/// known once that runs; the plan shows a word in its place.
///
/// # Errors
/// Where a file of values has a placeholder that nobody fills in.
pub fn installation(
    topology: &Topology,
    cluster: &Cluster,
    folder: &Utf8Path,
    control_plane: &str,
    lock: &Lock,
) -> Result<Installation, manifest::Error> {
    let mut placeholders = mesh::placeholders_of(cluster, topology);
    let exposed = topology.remotes(&cluster.name).next().is_some();
    placeholders.insert("EXTERNAL_ISTIOD", exposed.to_string());
    placeholders.insert("CONTROL_PLANE_ADDRESS", control_plane.to_owned());
    let mut files = Files { folder, placeholders, written: Vec::new() };
    let istiod = match &cluster.control_plane {
        Some(_) => vec![files.write(REMOTE)?],
        None if topology.discovery == Discovery::Hub => vec![files.write(CONTROL_PLANE)?, files.write(HUB)?],
        None => vec![files.write(CONTROL_PLANE)?],
    };
    let control_plane = [
        Chart { release: "istio-base", chart: "base", values: Vec::new() },
        Chart { release: "istiod", chart: "istiod", values: istiod },
    ];
    let mut gateways = Vec::with_capacity(topology.mesh.gateways.len());
    for gateway in &topology.mesh.gateways {
        let values = match gateway {
            GatewayKind::Eastwest => EAST_WEST,
            GatewayKind::Ingress => INGRESS,
        };
        gateways.push(Chart { release: gateway.deployment(), chart: "gateway", values: vec![files.write(values)?] });
    }
    let kubeconfig = folder.join("kubeconfig");
    let install = |chart: &Chart| helm(chart, &lock.istio.charts, &lock.istio.version, &kubeconfig);
    Ok(Installation {
        control_plane: control_plane.iter().map(install).collect(),
        gateways: gateways.iter().map(install).collect(),
        files: files.written,
    })
}

struct Files<'plan> {
    folder: &'plan Utf8Path,
    placeholders: Placeholders,
    written: Vec<(Utf8PathBuf, String)>,
}

impl Files<'_> {
    fn write(&mut self, (name, text): (&str, &str)) -> Result<Utf8PathBuf, manifest::Error> {
        let path = self.folder.join("values").join(name);
        let text = manifest::substitute(&format!("manifests/istio/values/{name}"), text, &self.placeholders)?;
        self.written.push((path.clone(), text));
        Ok(path)
    }
}
