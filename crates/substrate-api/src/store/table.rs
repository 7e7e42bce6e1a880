//! One table of the store: objects in key order and the ring of its last changes. No locking, no I/O.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::watch;

use super::Expired;
use crate::object;

/// Namespace (empty for cluster-wide objects) and name; orders lists as Kubernetes does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Key {
        Key { namespace: namespace.into(), name: name.into() }
    }

    /// The key of an object by its own metadata.
    pub(crate) fn of(object: &Value) -> Key {
        Key::new(object::namespace(object), object::name(object))
    }
}

/// An object as stored; its JSON text is made once, when first asked for.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) revision: u64,
    pub(crate) value: Value,
    json: OnceLock<Bytes>,
}

impl Stored {
    pub(crate) fn new(revision: u64, value: Value) -> Stored {
        Stored { revision, value, json: OnceLock::new() }
    }

    pub(crate) fn json(&self) -> Bytes {
        self.json.get_or_init(|| Bytes::from(self.value.to_string())).clone()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    Added,
    Modified,
    Deleted,
}

/// One write to a table.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) kind: ChangeKind,
    pub(crate) key: Key,
    /// The object after the write; for a removal the last state, stamped with the revision of the removal.
    pub(crate) object: Arc<Stored>,
    /// The object before the write.
    pub(crate) previous: Option<Arc<Stored>>,
}

impl Change {
    pub(crate) fn revision(&self) -> u64 {
        self.object.revision
    }
}

pub(super) struct Table {
    objects: BTreeMap<Key, Arc<Stored>>,
    log: VecDeque<Arc<Change>>,
    window: usize,
    /// Revision of the newest change that fell out of the log.
    evicted: u64,
    notify: watch::Sender<u64>,
}

impl Table {
    pub(super) fn new(window: usize) -> Table {
        Table { objects: BTreeMap::new(), log: VecDeque::new(), window, evicted: 0, notify: watch::Sender::new(0) }
    }

    pub(super) fn last_revision(&self) -> u64 {
        self.log.back().map_or(self.evicted, |change| change.revision())
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Stored>> {
        self.objects.get(key).cloned()
    }

    pub(super) fn list(&self, namespace: Option<&str>) -> Vec<Arc<Stored>> {
        match namespace {
            None => self.objects.values().cloned().collect(),
            Some(namespace) => {
                let start = Key::new(namespace, "");
                self.objects
                    .range((Bound::Included(start), Bound::Unbounded))
                    .take_while(|(key, _)| key.namespace == namespace)
                    .map(|(_, object)| Arc::clone(object))
                    .collect()
            }
        }
    }

    pub(super) fn put(&mut self, key: Key, mut object: Value, revision: u64) -> Arc<Stored> {
        object::metadata_mut(&mut object).insert("resourceVersion".to_owned(), Value::from(revision.to_string()));
        let stored = Arc::new(Stored::new(revision, object));
        let previous = self.objects.insert(key.clone(), Arc::clone(&stored));
        let kind = if previous.is_some() { ChangeKind::Modified } else { ChangeKind::Added };
        self.record(Change { kind, key, object: Arc::clone(&stored), previous });
        stored
    }

    pub(super) fn remove(&mut self, key: &Key, revision: u64) -> Option<Arc<Stored>> {
        let previous = self.objects.remove(key)?;
        let mut last = previous.value.clone();
        object::metadata_mut(&mut last).insert("resourceVersion".to_owned(), Value::from(revision.to_string()));
        let last = Arc::new(Stored::new(revision, last));
        let change =
            Change { kind: ChangeKind::Deleted, key: key.clone(), object: Arc::clone(&last), previous: Some(previous) };
        self.record(change);
        Some(last)
    }

    fn record(&mut self, change: Change) {
        let revision = change.revision();
        self.log.push_back(Arc::new(change));
        if self.log.len() > self.window
            && let Some(old) = self.log.pop_front()
        {
            self.evicted = old.revision();
        }
        self.notify.send_replace(revision);
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.notify.subscribe()
    }

    pub(super) fn check_window(&self, revision: u64) -> Result<(), Expired> {
        if revision < self.evicted {
            return Err(Expired { wanted: revision, oldest: self.evicted });
        }
        Ok(())
    }

    pub(super) fn changes_after(&self, revision: u64) -> Result<Vec<Arc<Change>>, Expired> {
        self.check_window(revision)?;
        let start = self.log.partition_point(|change| change.revision() <= revision);
        Ok(self.log.range(start..).cloned().collect())
    }

    pub(super) fn objects(&self) -> &BTreeMap<Key, Arc<Stored>> {
        &self.objects
    }
}
