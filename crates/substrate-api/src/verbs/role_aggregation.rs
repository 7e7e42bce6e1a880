//! Writes the rules of ClusterRoles that aggregate others into those roles, so that they can be read there.
//! Authorization does not wait for it: decisions resolve aggregation by themselves.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use serde_json::Value;

use crate::object;
use crate::rbac;
use crate::server::ApiServer;
use crate::store::{Cursor, Key, StoreError};

const TABLE: &str = "clusterroles.rbac.authorization.k8s.io";

/// Does the work once, and goes on in the background. It ends with the server.
pub(crate) fn spawn_role_aggregation(server: &Arc<ApiServer>) {
    let (_, _, cursor) = server.store.list_and_watch(TABLE, None);
    aggregate(server);
    tokio::spawn(run(Arc::downgrade(server), cursor));
}

async fn run(server: Weak<ApiServer>, mut roles: Cursor) {
    loop {
        roles.changed().await;
        let Some(server) = server.upgrade() else { return };
        // Falling behind is no harm here: every round looks at the present state.
        drop(roles.poll());
        aggregate(&server);
    }
}

/// One round. A round that changes nothing writes nothing, so that the work comes to rest.
fn aggregate(server: &ApiServer) {
    let (roles, _) = server.store.list(TABLE, None);
    let values: Vec<&Value> = roles.iter().map(|role| &role.value).collect();
    let by_name: HashMap<&str, _> = roles.iter().map(|role| (object::name(&role.value), role)).collect();
    for (name, rules) in rbac::aggregated_rules(&values) {
        let Some(role) = by_name.get(name.as_str()) else { continue };
        if role.value["rules"].as_array() == Some(&rules) {
            continue;
        }
        let mut changed = role.value.clone();
        changed["rules"] = Value::from(rules);
        let written = server.store.update(TABLE, &Key::of(&role.value), role.revision, changed);
        // A conflict means that the role was written meanwhile, which starts the next round.
        if let Err(error @ StoreError::AlreadyExists) = written {
            tracing::error!(cluster = %server.cluster_name, %error, "cannot write aggregated rules");
        }
    }
}
