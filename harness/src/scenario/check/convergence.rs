//! Remembers what steps changed, so that `converge` knows what to wait for.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::scenario::plan::{ClusterConvergence, Deployment, ObjectRef};
use crate::topology::Topology;

/// Groups whose objects proxies hold; others (a Deployment, a Namespace) reach proxies by other ways.
const MESH_GROUPS: [&str; 3] = ["networking.istio.io", "security.istio.io", "telemetry.istio.io"];

/// The group of what people tell the management plane.
const PLANE_GROUP: &str = "networking.meshproof.dev";

/// Changes that no `converge` waited for yet, by cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    clusters: BTreeMap<String, ClusterConvergence>,
}

impl Pending {
    pub(super) fn applied(&mut self, cluster: &str, object: ObjectRef) {
        let Some(entry) = self.entry_for(cluster, &object) else { return };
        let (present, absent) = if is_managed(&object) {
            (&mut entry.managed, &mut entry.withdrawn)
        } else {
            (&mut entry.present, &mut entry.absent)
        };
        moved(object, absent, present);
    }

    pub(super) fn deleted(&mut self, cluster: &str, object: ObjectRef) {
        let Some(entry) = self.entry_for(cluster, &object) else { return };
        let (present, absent) = if is_managed(&object) {
            (&mut entry.managed, &mut entry.withdrawn)
        } else {
            (&mut entry.present, &mut entry.absent)
        };
        moved(object, present, absent);
    }

    /// Something of the management plane changed that no object says.
    pub(super) fn rearranged(&mut self, cluster: &str) {
        self.entry(cluster).plane = true;
    }

    pub(super) fn linked(&mut self, reader: &str, of: &str, linked: bool) {
        let entry = self.entry(reader);
        let (into, out_of) = if linked {
            (&mut entry.watched, &mut entry.not_watched)
        } else {
            (&mut entry.not_watched, &mut entry.watched)
        };
        out_of.retain(|name| name != of);
        if !into.iter().any(|name| name == of) {
            into.push(of.to_owned());
        }
    }

    /// The pods of a workload are others than before, as the control plane of `cluster` may see it.
    pub(super) fn replaced(&mut self, cluster: &str, workload: &Deployment) {
        let entry = self.entry(cluster);
        if !entry.endpoints.contains(workload) {
            entry.endpoints.push(workload.clone());
        }
    }

    /// Takes over what another list has to wait for.
    pub(super) fn merge(&mut self, other: Self) {
        for (cluster, theirs) in other.clusters {
            if theirs.plane {
                self.rearranged(&cluster);
            }
            for object in theirs.present.into_iter().chain(theirs.managed) {
                self.applied(&cluster, object);
            }
            for object in theirs.absent.into_iter().chain(theirs.withdrawn) {
                self.deleted(&cluster, object);
            }
            theirs.watched.iter().for_each(|of| self.linked(&cluster, of, true));
            theirs.not_watched.iter().for_each(|of| self.linked(&cluster, of, false));
            theirs.endpoints.iter().for_each(|workload| self.replaced(&cluster, workload));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.clusters.is_empty()
    }

    /// What there is to wait for; nothing afterwards.
    pub(super) fn take(&mut self, topology: &Topology) -> Vec<ClusterConvergence> {
        let of = |wanted: ClusterConvergence| {
            let remotes = topology.remotes(&wanted.cluster).map(|cluster| cluster.name.clone()).collect();
            ClusterConvergence { remotes, ..wanted }
        };
        std::mem::take(&mut self.clusters).into_values().map(of).collect()
    }

    fn entry_for(&mut self, cluster: &str, object: &ObjectRef) -> Option<&mut ClusterConvergence> {
        if is_managed(object) {
            self.rearranged(cluster);
        } else if !is_configuration(object) {
            return None;
        }
        Some(self.entry(cluster))
    }

    fn entry(&mut self, cluster: &str) -> &mut ClusterConvergence {
        self.clusters
            .entry(cluster.to_owned())
            .or_insert_with(|| ClusterConvergence { cluster: cluster.to_owned(), ..ClusterConvergence::default() })
    }
}

/// Whether proxies hold what an object says.
pub(super) fn is_configuration(object: &ObjectRef) -> bool {
    MESH_GROUPS.contains(&group(object))
}

/// Whether an object is for the management plane, which makes others of it.
fn is_managed(object: &ObjectRef) -> bool {
    group(object) == PLANE_GROUP
}

fn group(object: &ObjectRef) -> &str {
    object.api_version.split('/').next().unwrap_or("")
}

fn moved(object: ObjectRef, from: &mut Vec<ObjectRef>, to: &mut Vec<ObjectRef>) {
    from.retain(|other| other.key() != object.key());
    if !to.iter().any(|other| other.key() == object.key()) {
        to.push(object);
    }
}

/// The reference to an object, or what it lacks.
pub(super) fn reference(object: &Value) -> Result<ObjectRef, &'static str> {
    let found = ObjectRef::of(object);
    let parts = [("apiVersion", &found.api_version), ("kind", &found.kind), ("metadata.name", &found.name)];
    let missing = parts.into_iter().find(|(_, text)| text.is_empty()).map(|(part, _)| part);
    match missing {
        Some(missing) => Err(missing),
        None => Ok(ObjectRef { namespace: found.namespace.filter(|namespace| !namespace.is_empty()), ..found }),
    }
}
