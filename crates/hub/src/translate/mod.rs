//! From the tables of a [`crate::world::World`] to objects of clusters. Every translator is a pure function.
//!
//! One unit at a time: what follows from a destination ([`destination`]), from a mesh ([`mesh`]) and from a virtual
//! destination ([`virtual_destination`]). No two units write the same object.

pub mod access_policy;
pub mod destination;
pub mod destination_rule;
pub mod federation;
pub mod gateway;
pub mod membership;
pub mod mesh;
pub mod port;
pub mod route;
pub mod subset;
pub mod traffic_policy;
pub mod trust;
pub mod virtual_destination;
pub mod virtual_service;

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_types::hub::ObjectRef;

use crate::output::{Clusters, Desired, Emitted, ObjectKey};

/// What follows from a unit, and what keeps something from following.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Translation {
    /// Objects and their clusters.
    pub objects: Vec<Emitted>,
    /// What does not follow, and why.
    pub problems: Vec<String>,
    /// What is worth a look.
    pub warnings: Vec<String>,
}

impl Translation {
    /// Joins the clusters of objects that are the same, so that each object is there once.
    #[must_use]
    fn merged(mut self) -> Self {
        type Alike = Vec<(Arc<Desired>, Vec<Clusters>)>;
        let mut groups: BTreeMap<ObjectKey, Alike> = BTreeMap::new();
        for Emitted { object, clusters } in self.objects {
            let alike = groups.entry(object.key.clone()).or_default();
            match alike.iter_mut().find(|(other, _)| *other == object) {
                Some((_, sets)) => sets.push(clusters),
                None => alike.push((object, vec![clusters])),
            }
        }
        let joined = |mut sets: Vec<Clusters>| match sets.len() {
            1 => sets.remove(0),
            _ => sets.iter().flat_map(Clusters::iter).map(str::to_owned).collect(),
        };
        let objects = groups.into_values().flatten();
        self.objects = objects.map(|(object, sets)| Emitted { object, clusters: joined(sets) }).collect();
        self
    }
}

/// `TrafficPolicy/bookinfo/shift`: how an object names what it follows from.
pub(crate) fn parent(kind: mesh_types::hub::Kind, reference: &ObjectRef) -> String {
    format!("{}/{}/{}", kind.name(), reference.namespace, reference.name)
}
