//! Clusters that are there, beside those that kind makes: a mesh in a cloud, say, and its management plane here.

use std::collections::BTreeMap;

use crate::cluster::Cluster;
use crate::environment::bring_up::Error;
use crate::environment::existing::{self, Found, Given, MeshSource, Refused};
use crate::environment::layers::progress::Progress;
use crate::environment::layers::{Key, Part};
use crate::provider::existing::Existing;
use crate::provider::existing::contexts::Refusal;
use crate::provider::fleet;
use crate::provider::kind::Kind;
use crate::topology::{Provider, Topology};

/// They, and what was found on them.
pub(super) struct Beside {
    pub(super) existing: Existing,
    pub(super) found: Found,
}

/// Where the mesh of all clusters comes from.
///
/// # Errors
/// [`Refused`], where it is to be there on clusters that are yet to be made.
pub(super) fn mesh_source(topology: &Topology, given: &Given) -> Result<MeshSource, Refused> {
    let made = topology.clusters_of(Provider::Kind).any(|cluster| cluster.mesh);
    let only_made = !topology.has_clusters_of(Provider::Existing);
    match given.mesh {
        Some(MeshSource::Present) if made || only_made => {
            Err(Refusal::new("new clusters have no mesh", "say `--mesh istio` or `--mesh embedded`").into())
        }
        Some(mesh) => Ok(mesh),
        None if made || only_made => Ok(MeshSource::Istio),
        None => Ok(MeshSource::Present),
    }
}

/// Looks at them, where the topology has any, and refuses what stands in the way. Adds to `parts` what only the look tells.
pub(super) async fn look(
    kind: &Kind,
    topology: &Topology,
    given: &Given,
    mesh: MeshSource,
    parts: &mut BTreeMap<Key, Part>,
) -> Result<Option<Beside>, Error> {
    if !topology.has_clusters_of(Provider::Existing) {
        return Ok(None);
    }
    let mut existing = existing::begin(topology, given, kind.directory(), kind.run_id())?;
    let found = existing::look_at(&mut existing, topology, given, mesh, parts).await?;
    let problems = found.problems();
    if problems.is_empty() { Ok(Some(Beside { existing, found })) } else { Err(Refused(problems).into()) }
}

impl Beside {
    /// What will happen on them, as lines for people.
    pub(super) fn text(&self, layers: &Progress) -> String {
        self.found.text(layers)
    }

    /// Handles for an installation: what is there already stays as it is.
    pub(super) async fn clusters_to_install_on(&self) -> Result<Vec<Cluster>, Error> {
        Ok(self.existing.clusters_to_install_on().await.map_err(fleet::Error::from)?)
    }

    /// Handles for scenarios.
    pub(super) async fn clusters(&self) -> Result<Vec<Cluster>, Error> {
        Ok(self.existing.clusters().await.map_err(fleet::Error::from)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(management: Provider, others: Provider, mesh: Option<MeshSource>) -> Result<MeshSource, Refused> {
        let text = include_str!("../../../../scenarios/topologies/management-three-clusters.yaml");
        let mut topology = crate::topology::validate::read("t.yaml", text).expect("a topology");
        topology.let_all_come_from(others);
        for cluster in topology.clusters.iter_mut().filter(|cluster| !cluster.mesh) {
            cluster.provider = Some(management);
        }
        mesh_source(&topology, &Given { mesh, ..Given::default() })
    }

    #[test]
    fn a_mesh_is_there_only_where_no_meshed_cluster_is_made() {
        use MeshSource::{Embedded, Istio, Present};
        use Provider::{Existing, Kind};
        assert_eq!(source(Kind, Existing, None).expect("it is there"), Present);
        assert_eq!(source(Kind, Existing, Some(Embedded)).expect("as it is said"), Embedded);
        assert_eq!(source(Kind, Kind, None).expect("it is installed"), Istio);
        assert_eq!(source(Existing, Kind, None).expect("it is installed"), Istio);
        for management in [Kind, Existing] {
            let refused = source(management, Kind, Some(Present)).expect_err("refused");
            assert_eq!(refused.to_string(), "new clusters have no mesh");
        }
    }
}
