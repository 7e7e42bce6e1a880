//! What a writer is told to make true.

use std::collections::{BTreeMap, BTreeSet};

use super::{Desk, Key, Wanted};

impl<T: Clone + Ord + Send + Sync + 'static> Desk<T> {
    pub(super) fn want(&mut self, key: Key, wanted: Wanted<T>) {
        let before = self.wanted.get(&key);
        let same = before.is_some_and(|before| match (&before.manifest, &wanted.manifest) {
            (Some(before), Some(wanted)) => before.is(wanted),
            (None, None) => true,
            _ => false,
        });
        if let Some(before) = before.filter(|before| before.owner != wanted.owner) {
            let owner = before.owner.clone();
            self.owners.remove(&owner, &key);
        }
        if !same {
            self.current.remove(&key);
            self.attempts.remove(&key);
        }
        self.owners.add(&wanted.owner, &key, wanted.revision);
        self.wanted.insert(key.clone(), wanted);
        self.enqueue(key);
    }

    pub(super) fn want_all(&mut self, part: String, all: BTreeMap<Key, Wanted<T>>) {
        let before = self.parts.insert(part.clone(), all.keys().cloned().collect()).unwrap_or_default();
        // What is not there yet and was wanted by itself is of no named part.
        let known = |key: &&Key| self.there.get(*key).map_or("", |there| (self.settings.part)(there)) == part;
        let here: BTreeSet<Key> = self.wanted.keys().filter(known).cloned().chain(before).collect();
        let gone: Vec<_> = here.into_iter().filter(|key| !all.contains_key(key)).collect();
        for key in gone {
            if let Some(wanted) = self.wanted.get(&key).cloned() {
                self.want(key, Wanted { manifest: None, ..wanted });
            }
        }
        for (key, wanted) in all {
            self.want(key, wanted);
        }
        self.enqueue_all(|_| true);
    }
}
