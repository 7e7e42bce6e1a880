//! The watchable store: every object of the cluster in memory, one global revision, and a window of changes per table.
//!
//! A *table* holds all objects of one kind across namespaces, under a name such as `pods` or `deployments.apps`.
//! The store knows nothing of kinds, HTTP or admission; it stamps `metadata.resourceVersion` and nothing else.

mod snapshot;
mod table;
mod watch;

use std::collections::HashMap;
use std::sync::Arc;

use parking::{Read, Write};
use serde_json::Value;

pub(crate) use table::{Change, ChangeKind, Key, Stored};
pub(crate) use watch::{Batch, Cursor};

use table::Table;

/// Why a write did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("an object of that name exists")]
    AlreadyExists,
    #[error("no object of that name")]
    NotFound,
    #[error("the object has another revision")]
    Conflict,
}

/// The revision asked for is no longer in the window of changes that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: {wanted} ({oldest})")]
pub(crate) struct Expired {
    pub(crate) wanted: u64,
    pub(crate) oldest: u64,
}

/// All objects of one API server. Cheap to share behind an `Arc`.
pub(crate) struct Store {
    state: std::sync::RwLock<State>,
    window: usize,
}

struct State {
    revision: u64,
    tables: HashMap<String, Table>,
}

/// Changes kept per table for watchers and for snapshots of paged lists.
const WINDOW: usize = 4096;

impl Store {
    pub(crate) fn new() -> Store {
        Store::with_window(WINDOW)
    }

    /// A store that keeps only `window` changes a table; for tests of expiry.
    pub(crate) fn with_window(window: usize) -> Store {
        Store { state: std::sync::RwLock::new(State { revision: 1, tables: HashMap::new() }), window }
    }

    fn read(&self) -> Read<'_, State> {
        parking::read(&self.state)
    }

    fn write(&self) -> Write<'_, State> {
        parking::write(&self.state)
    }

    /// The newest revision of anything.
    pub(crate) fn revision(&self) -> u64 {
        self.read().revision
    }

    /// The revision of the last change in a table; 0 where there was none.
    pub(crate) fn table_revision(&self, table: &str) -> u64 {
        self.read().tables.get(table).map_or(0, Table::last_revision)
    }

    pub(crate) fn get(&self, table: &str, key: &Key) -> Option<Arc<Stored>> {
        self.read().tables.get(table)?.get(key)
    }

    /// Objects of a table (of one namespace, or of all), in order of namespace and name, and the revision they show.
    pub(crate) fn list(&self, table: &str, namespace: Option<&str>) -> (Vec<Arc<Stored>>, u64) {
        let state = self.read();
        let objects = state.tables.get(table).map(|table| table.list(namespace)).unwrap_or_default();
        (objects, state.revision)
    }

    /// As [`Store::list`], as it was at an earlier revision.
    pub(crate) fn list_at(
        &self,
        table: &str,
        namespace: Option<&str>,
        revision: u64,
    ) -> Result<Vec<Arc<Stored>>, Expired> {
        match self.read().tables.get(table) {
            Some(table) => snapshot::list_at(table, namespace, revision),
            None => Ok(Vec::new()),
        }
    }

    pub(crate) fn create(&self, table: &str, key: Key, object: Value) -> Result<Arc<Stored>, StoreError> {
        let mut guard = self.write();
        let state = &mut *guard;
        let table = state.tables.entry(table.to_owned()).or_insert_with(|| Table::new(self.window));
        if table.get(&key).is_some() {
            return Err(StoreError::AlreadyExists);
        }
        state.revision += 1;
        Ok(table.put(key, object, state.revision))
    }

    /// Replaces an object whose revision is `expected`.
    pub(crate) fn update(
        &self,
        table: &str,
        key: &Key,
        expected: u64,
        object: Value,
    ) -> Result<Arc<Stored>, StoreError> {
        let mut guard = self.write();
        let state = &mut *guard;
        let table = state.tables.get_mut(table).ok_or(StoreError::NotFound)?;
        let current = table.get(key).ok_or(StoreError::NotFound)?;
        if current.revision != expected {
            return Err(StoreError::Conflict);
        }
        state.revision += 1;
        Ok(table.put(key.clone(), object, state.revision))
    }

    /// Removes an object whose revision is `expected`; the answer carries the revision of the removal.
    pub(crate) fn remove(&self, table: &str, key: &Key, expected: u64) -> Result<Arc<Stored>, StoreError> {
        let mut guard = self.write();
        let state = &mut *guard;
        let table = state.tables.get_mut(table).ok_or(StoreError::NotFound)?;
        let current = table.get(key).ok_or(StoreError::NotFound)?;
        if current.revision != expected {
            return Err(StoreError::Conflict);
        }
        state.revision += 1;
        table.remove(key, state.revision).ok_or(StoreError::NotFound)
    }

    /// A cursor that yields every change of the table after `revision`.
    pub(crate) fn watch(self: &Arc<Self>, table: &str, revision: u64) -> Result<Cursor, Expired> {
        let mut state = self.write();
        let entry = state.tables.entry(table.to_owned()).or_insert_with(|| Table::new(self.window));
        entry.check_window(revision)?;
        Ok(Cursor::new(Arc::clone(self), table.to_owned(), revision, entry.subscribe()))
    }

    /// The present objects, and a cursor that continues exactly after them.
    pub(crate) fn list_and_watch(
        self: &Arc<Self>,
        table: &str,
        namespace: Option<&str>,
    ) -> (Vec<Arc<Stored>>, u64, Cursor) {
        let mut state = self.write();
        let revision = state.revision;
        let entry = state.tables.entry(table.to_owned()).or_insert_with(|| Table::new(self.window));
        let cursor = Cursor::new(Arc::clone(self), table.to_owned(), revision, entry.subscribe());
        (entry.list(namespace), revision, cursor)
    }

    /// The changes of a table after `revision`, and the revision up to which they are complete.
    fn changes_after(&self, table: &str, revision: u64) -> Result<Batch, Expired> {
        let state = self.read();
        match state.tables.get(table) {
            Some(table) => Ok(Batch { changes: table.changes_after(revision)?, revision: state.revision }),
            None => Ok(Batch { changes: Vec::new(), revision: state.revision }),
        }
    }
}

/// Lock access that survives a panic of another holder: every write leaves the state consistent before it can panic.
mod parking {
    use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

    pub(super) type Read<'a, T> = RwLockReadGuard<'a, T>;
    pub(super) type Write<'a, T> = RwLockWriteGuard<'a, T>;

    pub(super) fn read<T>(lock: &RwLock<T>) -> Read<'_, T> {
        lock.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write<T>(lock: &RwLock<T>) -> Write<'_, T> {
        lock.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
