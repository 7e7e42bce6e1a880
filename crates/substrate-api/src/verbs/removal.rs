//! The last step of a deletion: out of the store, and what the object held is free again.

use std::sync::Arc;

use super::service_addresses;
use crate::registry::Resource;
use crate::server::ApiServer;
use crate::store::{Key, StoreError, Stored};

/// Removes an object in exactly this revision; the answer is its last state.
pub(crate) fn remove(server: &ApiServer, resource: &Resource, current: &Stored) -> Result<Arc<Stored>, StoreError> {
    let removed = server.store.remove(&resource.table, &Key::of(&current.value), current.revision)?;
    if resource.table == "services" {
        service_addresses::release(server, &removed.value);
    }
    Ok(removed)
}
