//! A table as it was at an earlier revision, made by undoing the changes since. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Expired;
use super::table::{Change, Key, Stored, Table};

/// The objects at `revision`, in key order.
///
/// # Errors
/// [`Expired`] where changes after `revision` are no longer in the log.
pub(super) fn list_at(table: &Table, namespace: Option<&str>, revision: u64) -> Result<Vec<Arc<Stored>>, Expired> {
    let wanted = |key: &Key| namespace.is_none_or(|namespace| key.namespace == namespace);
    let changes = table.changes_after(revision)?;
    if changes.is_empty() {
        return Ok(table.list(namespace));
    }
    let mut objects: BTreeMap<Key, Arc<Stored>> = table
        .objects()
        .iter()
        .filter(|(key, _)| wanted(key))
        .map(|(key, object)| (key.clone(), object.clone()))
        .collect();
    for change in changes.iter().rev().filter(|change| wanted(&change.key)) {
        undo(&mut objects, change);
    }
    Ok(objects.into_values().collect())
}

fn undo(objects: &mut BTreeMap<Key, Arc<Stored>>, change: &Change) {
    match &change.previous {
        Some(previous) => objects.insert(change.key.clone(), Arc::clone(previous)),
        None => objects.remove(&change.key),
    };
}
