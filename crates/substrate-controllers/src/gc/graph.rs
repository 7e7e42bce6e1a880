//! Who owns whom, over all kinds, and what has to go because of it. Pure: events in, steps out.
//!
//! The rules are those of Kubernetes' garbage collector: an object whose owners are all gone is deleted; an owner
//! that is deleted in the foreground waits for the dependents that block it; an owner that is deleted as an orphaner
//! is first taken out of its dependents. The contents of a namespace that is being deleted go as well.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde::Serialize;

use crate::objects::Key;

/// Finalizer of an owner that waits for its dependents.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of an owner that is to be taken out of its dependents.
pub(super) const ORPHAN: &str = "orphan";

/// Which kind of object: API group and plural name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(super) struct ResourceId {
    pub(super) group: String,
    pub(super) plural: String,
}

/// One object, as far as the collector cares.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Object {
    pub(super) resource: ResourceId,
    pub(super) key: Key,
    pub(super) uid: String,
    #[serde(skip)]
    pub(super) owners: Vec<OwnerReference>,
    #[serde(skip)]
    pub(super) finalizers: Vec<String>,
    #[serde(skip)]
    pub(super) deleting: bool,
}

impl Object {
    pub(super) fn new(resource: ResourceId, meta: &ObjectMeta) -> Option<Self> {
        Some(Self {
            resource,
            key: Key::of_meta(meta),
            uid: meta.uid.clone()?,
            owners: meta.owner_references.clone().unwrap_or_default(),
            finalizers: meta.finalizers.clone().unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
        })
    }

    fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers.iter().any(|finalizer| finalizer == name)
    }
}

/// What has to be done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) enum Step {
    /// Ask the API server whether this owner exists.
    Verify { dependent: String, owner: OwnerReference },
    /// Delete the object, with the policy that its finalizers or its place in a deletion ask for.
    Delete { uid: String, policy: Policy },
    /// Take these owners out of the object.
    RemoveOwners { uid: String, owners: Vec<String> },
    /// Take the finalizer off the object.
    RemoveFinalizer { uid: String, finalizer: &'static str },
    /// The namespace is empty as far as is known: confirm that, and let it go.
    Finalize { namespace: String },
}

/// Propagation policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Policy {
    Background,
    Foreground,
    Orphan,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Graph {
    objects: BTreeMap<String, Object>,
    dependents: BTreeMap<String, BTreeSet<String>>,
    contents: BTreeMap<String, BTreeSet<String>>,
    terminating: BTreeSet<String>,
    absent: BTreeSet<String>,
}

impl Graph {
    pub(super) fn get(&self, uid: &str) -> Option<&Object> {
        self.objects.get(uid)
    }

    /// All objects of one kind.
    pub(super) fn of_resource(&self, resource: &ResourceId) -> Vec<String> {
        self.objects.values().filter(|object| object.resource == *resource).map(|object| object.uid.clone()).collect()
    }

    /// Books the current state of an object.
    pub(super) fn observe(&mut self, object: Object) -> Vec<Step> {
        let uid = object.uid.clone();
        self.absent.remove(&uid);
        self.unlink(&uid);
        for owner in &object.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(uid.clone());
        }
        if !object.key.namespace.is_empty() {
            self.contents.entry(object.key.namespace.clone()).or_default().insert(uid.clone());
        }
        let is_namespace = object.resource.group.is_empty() && object.resource.plural == "namespaces";
        let newly_terminating = is_namespace && object.deleting && self.terminating.insert(object.key.name.clone());
        let (namespace, name) = (object.key.namespace.clone(), object.key.name.clone());
        let owners: Vec<_> = object.owners.iter().map(|owner| owner.uid.clone()).collect();
        self.objects.insert(uid.clone(), object);

        let mut steps = self.judge(&uid);
        // A dependent that begins to go, or that lost an owner, may be what an owner waits for.
        steps.extend(owners.iter().flat_map(|owner| self.judge_deleting(owner)));
        if newly_terminating {
            steps.extend(self.empty(&name));
        } else if self.terminating.contains(&namespace) {
            steps.extend(self.delete_content(&uid));
        }
        steps
    }

    /// Books that an object is gone.
    pub(super) fn forget(&mut self, uid: &str) -> Vec<Step> {
        self.unlink(uid);
        let Some(object) = self.objects.remove(uid) else { return Vec::new() };
        self.absent.insert(uid.to_owned());
        if object.key.namespace.is_empty() && object.resource.plural == "namespaces" {
            self.terminating.remove(&object.key.name);
        }
        let mut steps: Vec<_> = self.dependents_of(uid).iter().flat_map(|dependent| self.judge(dependent)).collect();
        steps.extend(object.owners.iter().flat_map(|owner| self.judge_deleting(&owner.uid)));
        if self.terminating.contains(&object.key.namespace) && self.is_empty(&object.key.namespace) {
            steps.push(Step::Finalize { namespace: object.key.namespace });
        }
        steps
    }

    /// Books the answer that an owner does not exist.
    pub(super) fn owner_is_absent(&mut self, owner: &str) -> Vec<Step> {
        if self.objects.contains_key(owner) {
            return Vec::new();
        }
        self.absent.insert(owner.to_owned());
        self.dependents_of(owner).iter().flat_map(|dependent| self.judge(dependent)).collect()
    }

    /// What is due for one object; asked again after a step for it has failed.
    pub(super) fn judge(&self, uid: &str) -> Vec<Step> {
        let Some(object) = self.objects.get(uid) else { return Vec::new() };
        if object.deleting {
            return self.judge_deleting(uid);
        }
        let (mut solid, mut waiting, mut dangling, mut unknown) = (0, Vec::new(), Vec::new(), Vec::new());
        for owner in &object.owners {
            match self.objects.get(&owner.uid) {
                Some(known) if known.deleting && known.has_finalizer(FOREGROUND) => waiting.push(owner.uid.clone()),
                Some(_) => solid += 1,
                None if self.absent.contains(&owner.uid) => dangling.push(owner.uid.clone()),
                None => unknown.push(owner.clone()),
            }
        }
        if !unknown.is_empty() {
            return unknown.into_iter().map(|owner| Step::Verify { dependent: uid.to_owned(), owner }).collect();
        }
        if dangling.is_empty() && waiting.is_empty() {
            return Vec::new();
        }
        if solid > 0 {
            let owners = dangling.into_iter().chain(waiting).collect();
            return vec![Step::RemoveOwners { uid: uid.to_owned(), owners }];
        }
        let policy = if !waiting.is_empty() && !self.dependents_of(uid).is_empty() {
            Policy::Foreground
        } else {
            policy_of(object)
        };
        vec![Step::Delete { uid: uid.to_owned(), policy }]
    }

    /// What is due for an owner whose deletion has begun.
    fn judge_deleting(&self, uid: &str) -> Vec<Step> {
        let Some(owner) = self.objects.get(uid).filter(|owner| owner.deleting) else { return Vec::new() };
        let dependents = self.dependents_of(uid);
        if owner.has_finalizer(ORPHAN) {
            if dependents.is_empty() {
                return vec![Step::RemoveFinalizer { uid: uid.to_owned(), finalizer: ORPHAN }];
            }
            let owners = vec![uid.to_owned()];
            return dependents.into_iter().map(|uid| Step::RemoveOwners { uid, owners: owners.clone() }).collect();
        }
        if !owner.has_finalizer(FOREGROUND) {
            return Vec::new();
        }
        let blocks = |dependent: &&String| {
            self.objects.get(*dependent).is_some_and(|dependent| {
                dependent.owners.iter().any(|owner| owner.uid == uid && owner.block_owner_deletion == Some(true))
            })
        };
        if dependents.iter().filter(blocks).count() == 0 {
            return vec![Step::RemoveFinalizer { uid: uid.to_owned(), finalizer: FOREGROUND }];
        }
        let is_live = |uid: &&String| self.objects.get(*uid).is_some_and(|object| !object.deleting);
        dependents.iter().filter(is_live).flat_map(|dependent| self.judge(dependent)).collect()
    }

    /// What is due for a namespace that is being deleted.
    pub(super) fn empty(&self, namespace: &str) -> Vec<Step> {
        if self.is_empty(namespace) {
            return vec![Step::Finalize { namespace: namespace.to_owned() }];
        }
        self.contents.get(namespace).into_iter().flatten().flat_map(|uid| self.delete_content(uid)).collect()
    }

    /// What is still there in a namespace: how many objects of each kind, and how many wait for each finalizer.
    pub(super) fn remaining(&self, namespace: &str) -> (BTreeMap<String, usize>, BTreeMap<String, usize>) {
        let (mut kinds, mut finalizers) = (BTreeMap::new(), BTreeMap::new());
        for object in self.contents.get(namespace).into_iter().flatten().filter_map(|uid| self.objects.get(uid)) {
            let dot = if object.resource.group.is_empty() { "" } else { "." };
            *kinds.entry(format!("{}{dot}{}", object.resource.plural, object.resource.group)).or_default() += 1;
            for finalizer in &object.finalizers {
                *finalizers.entry(finalizer.clone()).or_default() += 1;
            }
        }
        (kinds, finalizers)
    }

    fn delete_content(&self, uid: &str) -> Option<Step> {
        self.objects.get(uid).filter(|object| !object.deleting)?;
        Some(Step::Delete { uid: uid.to_owned(), policy: Policy::Background })
    }

    fn is_empty(&self, namespace: &str) -> bool {
        self.contents.get(namespace).is_none_or(BTreeSet::is_empty)
    }

    fn dependents_of(&self, uid: &str) -> Vec<String> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    fn unlink(&mut self, uid: &str) {
        let Some(object) = self.objects.get(uid) else { return };
        for owner in &object.owners {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(uid);
            }
        }
        if let Some(contents) = self.contents.get_mut(&object.key.namespace) {
            contents.remove(uid);
        }
        let is_gone = |set: &BTreeSet<String>| set.is_empty();
        self.dependents.retain(|_, dependents| !is_gone(dependents));
        self.contents.retain(|_, contents| !is_gone(contents));
    }
}

/// An object that already carries a finalizer of the collector is deleted in that way.
fn policy_of(object: &Object) -> Policy {
    if object.has_finalizer(ORPHAN) {
        Policy::Orphan
    } else if object.has_finalizer(FOREGROUND) {
        Policy::Foreground
    } else {
        Policy::Background
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(plural: &str, name: &str, owners: &[(&str, bool)]) -> Object {
        let owner = |(uid, blocks): &(&str, bool)| OwnerReference {
            uid: (*uid).into(),
            name: (*uid).into(),
            kind: "Owner".into(),
            api_version: "v1".into(),
            block_owner_deletion: Some(*blocks),
            controller: None,
        };
        Object {
            resource: ResourceId { group: String::new(), plural: plural.into() },
            key: Key::new("shop", name),
            uid: name.into(),
            owners: owners.iter().map(owner).collect(),
            finalizers: Vec::new(),
            deleting: false,
        }
    }

    fn deleting(mut object: Object, finalizer: &str) -> Object {
        object.deleting = true;
        object.finalizers = vec![finalizer.into()];
        object
    }

    fn delete(uid: &str, policy: Policy) -> Step {
        Step::Delete { uid: uid.into(), policy }
    }

    #[test]
    fn what_loses_its_last_owner_goes() {
        let mut graph = Graph::default();
        graph.observe(object("sets", "set", &[]));
        graph.observe(object("pods", "pod", &[("set", true)]));
        assert_eq!(graph.forget("set"), [delete("pod", Policy::Background)]);
    }

    #[test]
    fn what_keeps_an_owner_only_loses_the_reference() {
        let mut graph = Graph::default();
        for owner in ["a", "b"] {
            graph.observe(object("sets", owner, &[]));
        }
        graph.observe(object("pods", "pod", &[("a", false), ("b", false)]));
        assert_eq!(graph.forget("a"), [Step::RemoveOwners { uid: "pod".into(), owners: vec!["a".into()] }]);
    }

    #[test]
    fn an_owner_that_was_never_seen_is_asked_for_first() {
        let mut graph = Graph::default();
        let steps = graph.observe(object("pods", "pod", &[("ghost", false)]));
        assert!(matches!(steps.as_slice(), [Step::Verify { owner, .. }] if owner.uid == "ghost"));
        assert_eq!(graph.owner_is_absent("ghost"), [delete("pod", Policy::Background)]);
    }

    #[test]
    fn foreground_deletion_waits_for_blocking_dependents_all_the_way_down() {
        let mut graph = Graph::default();
        graph.observe(object("deployments", "web", &[]));
        graph.observe(object("sets", "set", &[("web", true)]));
        graph.observe(object("pods", "pod", &[("set", true)]));
        let steps = graph.observe(deleting(object("deployments", "web", &[]), FOREGROUND));
        assert_eq!(steps, [delete("set", Policy::Foreground)]);
        let steps = graph.observe(deleting(object("sets", "set", &[("web", true)]), FOREGROUND));
        assert_eq!(steps, [delete("pod", Policy::Background)]);
        let steps = graph.forget("pod");
        assert_eq!(steps, [Step::RemoveFinalizer { uid: "set".into(), finalizer: FOREGROUND }]);
        let steps = graph.forget("set");
        assert_eq!(steps, [Step::RemoveFinalizer { uid: "web".into(), finalizer: FOREGROUND }]);
    }

    #[test]
    fn orphaning_takes_the_owner_out_before_it_goes() {
        let mut graph = Graph::default();
        graph.observe(object("sets", "set", &[]));
        graph.observe(object("pods", "pod", &[("set", true)]));
        let steps = graph.observe(deleting(object("sets", "set", &[]), ORPHAN));
        assert_eq!(steps, [Step::RemoveOwners { uid: "pod".into(), owners: vec!["set".into()] }]);
        graph.observe(object("pods", "pod", &[]));
        assert_eq!(graph.judge("set"), [Step::RemoveFinalizer { uid: "set".into(), finalizer: ORPHAN }]);
        assert_eq!(graph.forget("set"), []);
    }

    #[test]
    fn a_namespace_is_finalized_when_the_last_object_is_gone() {
        let mut graph = Graph::default();
        graph.observe(object("pods", "a", &[]));
        let mut namespace = object("namespaces", "shop", &[]);
        namespace.key = Key::cluster("shop");
        namespace.deleting = true;
        assert_eq!(graph.observe(namespace), [delete("a", Policy::Background)]);
        assert_eq!(graph.observe(object("pods", "late", &[])), [delete("late", Policy::Background)]);
        assert_eq!(graph.forget("a"), []);
        assert_eq!(graph.forget("late"), [Step::Finalize { namespace: "shop".into() }]);
    }

    #[test]
    fn an_empty_namespace_is_finalized_at_once() {
        let mut graph = Graph::default();
        let mut namespace = object("namespaces", "shop", &[]);
        namespace.key = Key::cluster("shop");
        namespace.deleting = true;
        assert_eq!(graph.observe(namespace), [Step::Finalize { namespace: "shop".into() }]);
    }
}
