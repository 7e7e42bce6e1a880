//! What discovery found in a cluster, as objects to be written into the management cluster. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use hub::discovery::Discovered;
use mesh_types::hub::{Object, Resource};
use tokio::time::Instant;

use crate::kinds::Key;
use crate::write::{Manifest, Wanted};

/// What was found last.
#[derive(Debug)]
pub struct Found {
    cluster: String,
    last: Option<Discovered>,
    leaving: bool,
}

impl Found {
    /// Nothing yet.
    pub fn new(cluster: &str) -> Self {
        Self { cluster: cluster.to_owned(), last: None, leaving: false }
    }

    /// The cluster is being de-registered: nothing more is found in it.
    pub fn leave(&mut self) {
        self.leaving = true;
    }

    /// Name of the mesh.
    pub fn mesh(&self) -> Option<String> {
        self.last.as_ref()?.mesh.as_ref().map(|mesh| mesh.metadata.name.clone())
    }

    /// Everything that is to be written from now on; `None` where nothing is to be done. A control plane that is missing is
    /// not gone: what was found with it stays.
    pub fn take(&mut self, discovered: Discovered) -> Option<BTreeMap<Key, Wanted<()>>> {
        if self.leaving {
            return None;
        }
        if discovered.mesh.is_none() {
            tracing::warn!(cluster = self.cluster, "no control plane is found; what was known stays");
            return None;
        }
        if self.last.as_ref() == Some(&discovered) {
            return None;
        }
        let mut wanted = BTreeMap::new();
        discovered.mesh.iter().for_each(|object| add(object, &mut wanted));
        discovered.workloads.iter().for_each(|object| add(object, &mut wanted));
        discovered.destinations.iter().for_each(|object| add(object, &mut wanted));
        self.last = Some(discovered);
        Some(wanted)
    }
}

fn add<R: Resource>(object: &Object<R>, wanted: &mut BTreeMap<Key, Wanted<()>>) {
    let key = Key::new(R::KIND, &object.metadata.namespace, &object.metadata.name);
    match object.manifest() {
        Ok(manifest) => {
            let manifest = Some(Manifest::Own(Arc::new(manifest)));
            wanted.insert(key, Wanted { manifest, owner: (), revision: 0, since: Instant::now() });
        }
        Err(error) => tracing::error!(object = %key, %error, "what was found is no JSON"),
    }
}

#[cfg(test)]
mod tests {
    use mesh_types::hub::{Mesh, Workload};

    use super::*;

    #[test]
    fn a_control_plane_that_is_missing_takes_nothing_away() {
        let mut found = Found::new("c1");
        assert!(found.take(Discovered::default()).is_none());
        let there = Discovered {
            mesh: Some(Object::new("mesh", "hub", Mesh::default())),
            workloads: vec![Object::new("workload", "hub", Workload::default())],
            ..Discovered::default()
        };
        assert_eq!(found.take(there.clone()).unwrap().len(), 2);
        assert!(found.take(there.clone()).is_none(), "nothing new");
        assert!(found.take(Discovered::default()).is_none());
        let less = Discovered { workloads: Vec::new(), ..there.clone() };
        assert_eq!(found.take(less).unwrap().len(), 1, "with its control plane there, what is missing is gone");
        found.leave();
        assert!(found.take(there).is_none());
    }
}
