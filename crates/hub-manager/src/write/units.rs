//! How far the objects of each owner got in one cluster. Pure.

use std::collections::{BTreeMap, BTreeSet};

use hub::progress::Progress;

use crate::kinds::Key;

/// Objects by owner, and what was told about each owner last.
#[derive(Debug)]
pub(super) struct Owners<T> {
    owners: BTreeMap<T, Owner>,
    dirty: BTreeSet<T>,
}

#[derive(Debug, Default)]
struct Owner {
    /// With those that shall go away and are still there.
    keys: BTreeSet<Key>,
    revision: u64,
    told: Option<(u64, Progress)>,
}

impl<T: Clone + Ord> Owners<T> {
    pub(super) fn new() -> Self {
        Self { owners: BTreeMap::new(), dirty: BTreeSet::new() }
    }

    /// Something is wanted of an object of an owner.
    pub(super) fn add(&mut self, owner: &T, key: &Key, revision: u64) {
        let entry = self.owners.entry(owner.clone()).or_default();
        entry.keys.insert(key.clone());
        entry.revision = entry.revision.max(revision);
        self.dirty.insert(owner.clone());
    }

    /// An object is another owner's, or is gone as it should.
    pub(super) fn remove(&mut self, owner: &T, key: &Key) {
        if let Some(entry) = self.owners.get_mut(owner) {
            entry.keys.remove(key);
            self.dirty.insert(owner.clone());
        }
    }

    /// Something about an owner's objects may be another.
    pub(super) fn mark(&mut self, owner: &T) {
        self.dirty.insert(owner.clone());
    }

    /// Owners that got elsewhere than was told, each with what is to be told.
    pub(super) fn news(&mut self, progress: impl Fn(&Key) -> Progress) -> Vec<(T, u64, Progress)> {
        let mut news = Vec::new();
        for owner in std::mem::take(&mut self.dirty) {
            let Some(entry) = self.owners.get_mut(&owner) else { continue };
            let worst = entry.keys.iter().map(&progress).max().unwrap_or(Progress::Acknowledged);
            let now = (entry.revision, worst);
            if entry.told.as_ref() != Some(&now) {
                entry.told = Some(now.clone());
                news.push((owner.clone(), now.0, now.1));
            }
            if entry.keys.is_empty() {
                self.owners.remove(&owner);
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use hub::output::OutputKind;

    use super::*;

    fn key(name: &str) -> Key {
        Key::new(OutputKind::VirtualService, "ns", name)
    }

    #[test]
    fn an_owner_is_as_far_as_the_last_of_its_objects() {
        let mut owners = Owners::new();
        owners.add(&"o", &key("a"), 1);
        owners.add(&"o", &key("b"), 2);
        let half = |key: &Key| if key.name == "a" { Progress::Acknowledged } else { Progress::Pending };
        assert_eq!(owners.news(half), [("o", 2, Progress::Pending)]);
        assert_eq!(owners.news(half), [], "told once");
        owners.mark(&"o");
        assert_eq!(owners.news(|_| Progress::Acknowledged), [("o", 2, Progress::Acknowledged)]);
        owners.add(&"o", &key("b"), 3);
        assert_eq!(owners.news(|_| Progress::Acknowledged), [("o", 3, Progress::Acknowledged)], "the call is another");
        owners.remove(&"o", &key("a"));
        owners.remove(&"o", &key("b"));
        owners.add(&"o", &key("c"), 4);
        owners.remove(&"o", &key("c"));
        assert_eq!(
            owners.news(|_| Progress::Pending),
            [("o", 4, Progress::Acknowledged)],
            "nothing is left to be written"
        );
    }
}
