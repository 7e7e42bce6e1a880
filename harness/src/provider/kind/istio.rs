//! Istio on the clusters of a topology: what is installed with which values, in the order in which it needs each other, by Istio's charts
//! or by its own command line. Pure.

mod operator;

use camino::{Utf8Path, Utf8PathBuf};
use clap::ValueEnum;

use super::commands::{Chart, Charts, CommandLine, helm, istioctl};
use super::lock::{Lock, Minor, Release};
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

/// Istio's charts that are installed.
pub const CHARTS: [&str; 3] = ["base", "istiod", "gateway"];
/// Istio's images that clusters pull.
pub const IMAGES: [&str; 2] = ["pilot", "proxyv2"];

/// What installs Istio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Installer {
    /// Helm, from Istio's charts.
    Helm,
    /// Istio's own command line, from the charts that it has in it.
    Istioctl,
}

impl Installer {
    /// The one that is there: Helm, which has any release, before the other, which has that of its own minor version.
    #[must_use]
    pub fn found(helm: bool, istioctl: Option<Minor>, release: &str) -> Self {
        let fits = istioctl.is_some() && istioctl == release.parse().ok();
        if !helm && fits { Self::Istioctl } else { Self::Helm }
    }
}

/// How Istio is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The release, such as `1.30.3`.
    pub version: String,
    /// Registry and path of its images.
    pub hub: String,
    /// What installs it.
    pub installer: Installer,
    /// Where Helm finds the charts.
    pub charts: Charts,
}

impl Way {
    /// A release, with charts from Istio's own repository.
    #[must_use]
    pub fn new(lock: &Lock, release: &Release, installer: Installer) -> Self {
        Self {
            version: release.version.clone(),
            hub: lock.istio.hub.clone(),
            installer,
            charts: Charts::Repository(lock.istio.charts.clone()),
        }
    }
}

/// What is installed on one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Files with values: name and content.
    pub files: Vec<(Utf8PathBuf, String)>,
    /// Installs definitions and the control plane, or what a cluster has in place of one.
    pub control_plane: Vec<CommandLine>,
    /// Installs the gateways.
    pub gateways: Vec<CommandLine>,
    /// Helm's releases among the gateways: they can be uninstalled one by one.
    pub releases: Vec<&'static str>,
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
    way: &Way,
) -> Result<Installation, manifest::Error> {
    let mut placeholders = mesh::placeholders_of(cluster, topology);
    let exposed = topology.remotes(&cluster.name).next().is_some();
    placeholders.insert("EXTERNAL_ISTIOD", exposed.to_string());
    placeholders.insert("CONTROL_PLANE_ADDRESS", control_plane.to_owned());
    placeholders.insert("ISTIO_HUB", way.hub.clone());
    placeholders.insert("ISTIO_VERSION", way.version.clone());
    let chosen = match &cluster.control_plane {
        Some(_) => vec![REMOTE],
        None if topology.discovery == Discovery::Hub => vec![CONTROL_PLANE, HUB],
        None => vec![CONTROL_PLANE],
    };
    let fill = |chosen: Vec<(&'static str, &str)>| {
        let filled = chosen.into_iter().map(|(name, text)| {
            let text = manifest::substitute(&format!("manifests/istio/values/{name}"), text, &placeholders)?;
            Ok(Values { name, text })
        });
        filled.collect::<Result<Vec<Values>, manifest::Error>>()
    };
    let gateways = topology.mesh.gateways.iter().map(|gateway| {
        let values = match gateway {
            GatewayKind::Eastwest => EAST_WEST,
            GatewayKind::Ingress => INGRESS,
        };
        Ok((gateway.deployment(), fill(vec![values])?.remove(0)))
    });
    let parts = Parts { control_plane: fill(chosen)?, gateways: gateways.collect::<Result<_, manifest::Error>>()? };
    match way.installer {
        Installer::Helm => Ok(by_helm(&parts, folder, way)),
        Installer::Istioctl => by_istioctl(&parts, folder, way, &placeholders),
    }
}

/// A file of values, filled in.
struct Values {
    name: &'static str,
    text: String,
}

/// What a cluster gets.
struct Parts {
    /// The later ones before the earlier ones.
    control_plane: Vec<Values>,
    /// Name of the release, and its values.
    gateways: Vec<(&'static str, Values)>,
}

fn by_helm(parts: &Parts, folder: &Utf8Path, way: &Way) -> Installation {
    let path = |values: &Values| folder.join("values").join(values.name);
    let kubeconfig = folder.join("kubeconfig");
    let install =
        |release, chart, values| helm(&Chart { release, chart, values }, &way.charts, &way.version, &kubeconfig);
    let [base, istiod, gateway] = CHARTS;
    let control_plane = parts.control_plane.iter().map(path).collect();
    let gateways = parts.gateways.iter().map(|(release, values)| install(*release, gateway, vec![path(values)]));
    let files = parts.control_plane.iter().chain(parts.gateways.iter().map(|(_, values)| values));
    Installation {
        control_plane: vec![install("istio-base", base, Vec::new()), install("istiod", istiod, control_plane)],
        gateways: gateways.collect(),
        releases: parts.gateways.iter().map(|(release, _)| *release).collect(),
        files: files.map(|values| (path(values), values.text.clone())).collect(),
    }
}

fn by_istioctl(
    parts: &Parts,
    folder: &Utf8Path,
    way: &Way,
    placeholders: &Placeholders,
) -> Result<Installation, manifest::Error> {
    let kubeconfig = folder.join("kubeconfig");
    let path = |name: &str| folder.join("istioctl").join(format!("{name}.yaml"));
    let mut files = vec![(path("istiod"), operator::control_plane(&parts.control_plane, way)?)];
    for (name, values) in &parts.gateways {
        files.push((path(name), operator::gateway(values, way, placeholders)?));
    }
    let mut commands = files.iter().map(|(operator, _)| istioctl(operator, &kubeconfig));
    let control_plane = commands.next().into_iter().collect();
    Ok(Installation { control_plane, gateways: commands.collect(), releases: Vec::new(), files })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn istioctl_is_taken_where_there_is_no_helm_and_it_has_the_release() {
        let found = |helm, minor| Installer::found(helm, minor, "1.30.3");
        assert_eq!(found(true, Some(Minor::new(1, 30))), Installer::Helm);
        assert_eq!(found(false, Some(Minor::new(1, 30))), Installer::Istioctl);
        assert_eq!(found(false, Some(Minor::new(1, 29))), Installer::Helm, "whose absence is then what is told");
        assert_eq!(found(false, None), Installer::Helm);
    }
}
