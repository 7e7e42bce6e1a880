//! A position in the changes of one table that can be waited on.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Change, Expired, Store};

/// Some changes in order, and the revision up to which the watcher now knows everything.
pub(crate) struct Batch {
    pub(crate) changes: Vec<Arc<Change>>,
    pub(crate) revision: u64,
}

/// Yields the changes of one table, each exactly once, in order.
pub(crate) struct Cursor {
    store: Arc<Store>,
    table: String,
    revision: u64,
    notify: watch::Receiver<u64>,
}

impl Cursor {
    pub(super) fn new(store: Arc<Store>, table: String, revision: u64, notify: watch::Receiver<u64>) -> Cursor {
        Cursor { store, table, revision, notify }
    }

    /// The changes that are there already, without waiting; possibly none.
    ///
    /// # Errors
    /// [`Expired`] where the watcher was so slow that changes it has not seen are gone.
    pub(crate) fn poll(&mut self) -> Result<Batch, Expired> {
        // Marking as seen comes first: a write between the two lines is then found by the next wait.
        self.notify.borrow_and_update();
        let batch = self.store.changes_after(&self.table, self.revision)?;
        self.revision = batch.revision.max(self.revision);
        Ok(batch)
    }

    /// Waits until the table changes. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        if self.notify.changed().await.is_err() {
            // The sender lives in the store, which this cursor holds; only removal of a table could end it.
            std::future::pending::<()>().await;
        }
    }
}
