//! Which roots a mesh trusts, where they have arrived, and which pods still run with older ones. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use mesh_types::hub::names;

/// The roots that a mesh trusts, as fingerprints; the one that it signs under comes first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust(pub Vec<String>);

impl Trust {
    /// The root that the mesh signs under.
    pub fn root(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// Name of this set of roots, for annotations.
    pub fn digest(&self) -> String {
        format!("{:016x}", names::digest(self.0.join(",").as_bytes()))
    }

    /// Whether what runs with these roots may go on where the others are wanted: its certificates lead to the same root, and it
    /// trusts all of them.
    pub fn serves(&self, wanted: &Self) -> bool {
        !self.0.is_empty() && self.root() == wanted.root() && wanted.0.iter().all(|root| self.0.contains(root))
    }
}

/// A pod with a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// When it was created, in whole seconds.
    pub created: SystemTime,
    /// [`Trust::digest`] that it was restarted for.
    pub restarted_for: Option<String>,
}

/// The roots that each namespace hands to its pods, as fingerprints in their order.
pub type Published = BTreeMap<String, Vec<String>>;

/// The namespaces of pods that do not have these roots yet.
pub fn lacking<'a>(pods: &'a [ProxyPod], published: &Published, trust: &Trust) -> BTreeSet<&'a str> {
    let has = |namespace: &str| published.get(namespace).is_some_and(|roots| *roots == trust.0);
    pods.iter().map(|pod| pod.namespace.as_str()).filter(|namespace| !has(namespace)).collect()
}

/// Whether a pod may run with older roots than those that have been everywhere since then. Times of pods are whole seconds, so one
/// of the same second counts as older.
pub fn is_older(pod: &ProxyPod, trust: &Trust, since: SystemTime) -> bool {
    pod.created <= since && pod.restarted_for.as_ref() != Some(&trust.digest())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust(roots: &[&str]) -> Trust {
        Trust(roots.iter().map(|root| (*root).to_owned()).collect())
    }

    #[test]
    fn the_steps_of_a_rotation_that_need_a_restart() {
        let steady = trust(&["old"]);
        let introduced = trust(&["old", "new"]);
        let switched = trust(&["new", "old"]);
        let done = trust(&["new"]);
        assert!(!steady.serves(&introduced), "the new root has to be trusted");
        assert!(!introduced.serves(&switched), "certificates have to lead to the new root");
        assert!(switched.serves(&done), "who trusts more than needed goes on");
        assert!(steady.serves(&steady));
        assert!(!Trust::default().serves(&Trust::default()));
    }
}
