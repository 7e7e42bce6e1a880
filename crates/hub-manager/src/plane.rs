//! Which plane a manager is of: one namespace of one management cluster.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use kube_support::error::describe;
use kube_support::pause;
use mesh_types::hub::names;
use serde_json::Value;

/// How long a request may take, and how long to wait after one that did not succeed.
const PATIENCE: Duration = Duration::from_secs(10);
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plane {
    /// Namespace of the hub in the management cluster.
    pub namespace: String,
    /// What marks everything that it writes, and nothing that another plane does.
    pub identity: String,
}

impl Plane {
    /// The plane of a namespace; asks until the namespace can be read, for nothing may be written without it.
    pub async fn of(client: &Client, namespace: &str) -> Self {
        loop {
            match identity(client, namespace).await {
                Ok(identity) => return Self { namespace: namespace.to_owned(), identity },
                Err(reason) => {
                    tracing::warn!(namespace, reason, "which plane this is cannot be read of the namespace yet");
                }
            }
            pause::for_a(RETRY_AFTER).await;
        }
    }
}

async fn identity(client: &Client, namespace: &str) -> Result<String, String> {
    let api: Api<Namespace> = Api::all(client.clone());
    let asked = tokio::time::timeout(PATIENCE, api.get(namespace)).await;
    let found = asked.map_err(|_| format!("no answer within {PATIENCE:?}"))?.map_err(|error| describe(&error))?;
    let found: Value = serde_json::to_value(found).map_err(|error| error.to_string())?;
    names::identity(&found).map(str::to_owned).ok_or_else(|| "the namespace has no uid".to_owned())
}
