//! Versions that a run is told to use, for its reports: those that differ between the runs of a matrix.

use std::collections::BTreeMap;

use crate::environment::{Given, MeshSource};
use crate::provider::kind::lock::Lock;
use crate::topology::{Provider, Topology};

/// The node image and Istio where clusters are made of them. What a bundle brings is not known before it is read.
pub(super) fn versions(topology: &Topology, given: &Given) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    if !topology.has_clusters_of(Provider::Kind) || given.bundle.is_some() {
        return versions;
    }
    let lock = Lock::read();
    let image = given.node_image.as_deref().unwrap_or(lock.node_image());
    // Its digest says nothing to people.
    versions.insert("nodes".to_owned(), image.split('@').next().unwrap_or(image).to_owned());
    if given.mesh != Some(MeshSource::Embedded) {
        versions.insert("Istio".to_owned(), given.istio_version.clone().unwrap_or(lock.istio.version));
    }
    versions
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;
    use crate::cli::files;

    fn of(provider: Provider, given: &Given) -> String {
        let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent");
        let topology = files::topology(&root.join(files::DEFAULT_TOPOLOGY)).expect("a topology");
        let versions = versions(&Topology { provider, ..topology }, given);
        versions.iter().map(|(name, version)| format!("{name} {version};")).collect()
    }

    #[test]
    fn what_is_asked_for_is_said_and_what_is_locked_otherwise() {
        let given = Given {
            node_image: Some("kindest/node:v1.34.11@sha256:44e2".to_owned()),
            istio_version: Some("1.29.4".to_owned()),
            ..Given::default()
        };
        assert_eq!(of(Provider::Kind, &given), "Istio 1.29.4;nodes kindest/node:v1.34.11;");
        let embedded = Given { mesh: Some(MeshSource::Embedded), ..given.clone() };
        assert_eq!(of(Provider::Kind, &embedded), "nodes kindest/node:v1.34.11;");
        let lock = Lock::read();
        let locked = of(Provider::Kind, &Given::default());
        assert!(
            locked.starts_with(&format!("Istio {};nodes kindest/node:v{}", lock.istio.version, lock.kubernetes)),
            "{locked}"
        );
        assert_eq!(of(Provider::Embedded, &given), "");
    }
}
