//! Clusters that share the control plane of another one: a primary and its remotes.

use super::Check;
use crate::diagnostic::suggest;
use crate::diagnostic::tree::Path;
use crate::topology::file::{ClusterFile, TopologyFile};
use crate::topology::{Discovery, GatewayKind};

impl Check<'_> {
    pub(super) fn control_planes(&mut self, file: &TopologyFile) {
        for (index, cluster) in file.clusters.iter().enumerate() {
            if let Some(primary) = &cluster.control_plane {
                let path = Path::root().key("clusters").index(index).key("controlPlane");
                self.control_plane(&path, file, cluster, primary);
            }
        }
    }

    fn control_plane(&mut self, path: &Path, file: &TopologyFile, remote: &ClusterFile, name: &str) {
        if name == remote.name {
            self.error(path, "a cluster that serves itself has a control plane of its own")
                .help("leave `controlPlane` out");
            return;
        }
        let Some(primary) = file.clusters.iter().find(|cluster| cluster.name == name) else {
            let others =
                file.clusters.iter().map(|cluster| cluster.name.as_str()).filter(|other| *other != remote.name);
            self.error(path, format!("unknown cluster `{name}`")).help(suggest::help(name, others));
            return;
        };
        if !primary.mesh || primary.control_plane.is_some() {
            self.error(path, format!("cluster `{name}` has no control plane of its own"))
                .help("name a cluster with one: with a mesh, and without `controlPlane`");
        }
        if !remote.mesh {
            self.error(path, "a cluster without a mesh needs no control plane")
                .help("leave out `mesh: false`, or this");
        }
        if !file.mesh.gateways.contains(&GatewayKind::Eastwest) {
            self.error(
                path,
                format!("{} reaches the control plane through the gateway `eastwest` of {name}", remote.name),
            )
            .help("add `eastwest` to `mesh.gateways`");
        }
        if file.discovery == Discovery::Hub {
            self.error(
                path,
                "the management plane does not join clusters of one control plane: they are one mesh already",
            )
            .help("use `discovery: remote-secrets`");
        }
        let domain = |cluster: &ClusterFile| cluster.trust_domain.clone().unwrap_or_else(|| file.trust.domain.clone());
        if domain(remote) != domain(primary) {
            let message =
                format!("{name} signs for {} as it signs for itself: they have one trust domain", remote.name);
            self.error(path, message).help("give both the same `trustDomain`");
        }
    }
}
