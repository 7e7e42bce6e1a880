//! A local copy of one kind of object, fed by a watch and by the results of our own writes.
//!
//! Because own writes are booked at once, a controller never decides on a picture that lacks what it has just
//! created; the event that the watch delivers for the same write is then recognised as old by its version.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

use crate::objects::Key;

/// What happened to one object.
#[derive(Debug)]
pub(crate) struct Change<K> {
    pub(crate) before: Option<Arc<K>>,
    pub(crate) after: Option<Arc<K>>,
}

impl<K> Change<K> {
    /// The newest state that is known: the current one, or for a deletion the last one.
    pub(crate) fn latest(&self) -> Option<&Arc<K>> {
        self.after.as_ref().or(self.before.as_ref())
    }

    /// Both states, for questions such as "which owners does this concern".
    pub(crate) fn states(&self) -> impl Iterator<Item = &Arc<K>> {
        self.before.iter().chain(self.after.iter())
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Cache<K> {
    objects: RwLock<BTreeMap<Key, Arc<K>>>,
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self { objects: RwLock::new(BTreeMap::new()) }
    }
}

impl<K: Resource> Cache<K> {
    /// The object under this key.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.read(|objects| objects.get(key).cloned())
    }

    /// All objects of a namespace in order of their names.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let start = Key::new(namespace, "");
        self.read(|objects| {
            objects
                .range(start..)
                .take_while(|(key, _)| key.namespace == namespace)
                .map(|(_, object)| object.clone())
                .collect()
        })
    }

    /// All objects in order of their keys.
    pub(crate) fn all(&self) -> Vec<Arc<K>> {
        self.read(|objects| objects.values().cloned().collect())
    }

    /// Books a state of an object; `None` if a state at least as new is already known.
    pub(crate) fn apply(&self, object: K) -> Option<Change<K>> {
        let key = Key::of(&object);
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let before = objects.get(&key).cloned();
        if before.as_ref().is_some_and(|known| is_at_least_as_new(known.meta(), object.meta())) {
            return None;
        }
        let after = Arc::new(object);
        objects.insert(key, after.clone());
        Some(Change { before, after: Some(after) })
    }

    /// Books a deletion; `None` if the object is unknown or was created anew since.
    pub(crate) fn remove(&self, object: &K) -> Option<Change<K>> {
        let key = Key::of(object);
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let known = objects.get(&key)?;
        if known.meta().uid != object.meta().uid {
            return None;
        }
        Some(Change { before: objects.remove(&key), after: None })
    }

    /// Replaces everything by the result of a list, and tells what that changed.
    pub(crate) fn replace(&self, listed: Vec<K>) -> Vec<Change<K>> {
        let kept: std::collections::BTreeSet<Key> = listed.iter().map(Key::of).collect();
        let gone: Vec<Arc<K>> = self.all().into_iter().filter(|object| !kept.contains(&Key::of(&**object))).collect();
        let removed: Vec<_> = gone.iter().filter_map(|object| self.remove(object)).collect();
        removed.into_iter().chain(listed.into_iter().filter_map(|object| self.apply(object))).collect()
    }

    fn read<R>(&self, f: impl FnOnce(&BTreeMap<Key, Arc<K>>) -> R) -> R {
        f(&self.objects.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Resource versions of one server are comparable numbers; whatever is not a number counts as newer.
fn is_at_least_as_new(known: &ObjectMeta, candidate: &ObjectMeta) -> bool {
    let version = |meta: &ObjectMeta| meta.resource_version.as_deref().and_then(|version| version.parse::<u64>().ok());
    match (version(known), version(candidate)) {
        (Some(known), Some(candidate)) => known >= candidate,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;

    fn object(name: &str, uid: &str, version: u32) -> ConfigMap {
        let metadata = ObjectMeta {
            name: Some(name.into()),
            namespace: Some("shop".into()),
            uid: Some(uid.into()),
            resource_version: Some(version.to_string()),
            ..ObjectMeta::default()
        };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    #[test]
    fn an_older_state_never_replaces_a_newer_one() {
        let cache = Cache::default();
        assert!(cache.apply(object("a", "1", 9)).is_some());
        assert!(cache.apply(object("a", "1", 9)).is_none());
        assert!(cache.apply(object("a", "1", 10)).is_some());
        assert!(cache.apply(object("a", "1", 8)).is_none());
    }

    #[test]
    fn the_deletion_of_a_predecessor_leaves_the_successor() {
        let cache = Cache::default();
        cache.apply(object("a", "2", 12));
        assert!(cache.remove(&object("a", "1", 11)).is_none());
        assert!(cache.get(&Key::new("shop", "a")).is_some());
    }

    #[test]
    fn a_new_list_removes_what_it_lacks() {
        let cache = Cache::default();
        cache.replace(vec![object("a", "1", 1), object("b", "2", 2)]);
        let changes = cache.replace(vec![object("b", "2", 5)]);
        assert_eq!(changes.len(), 2);
        assert!(changes[0].after.is_none());
        assert_eq!(cache.in_namespace("shop").len(), 1);
    }
}
