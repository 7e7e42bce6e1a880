//! De-registration: what the hub wrote is deleted before the client is dropped, in the cluster that leaves and about it in the
//! management cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use hub::state::Unit;
use kube::Client;
use kube::api::{Patch, PatchParams};
use kube_support::error::describe;
use kube_support::pause;
use mesh_types::hub::names::{FIELD_MANAGER, FINALIZER};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

use super::{Shared, registration_kind};
use crate::event::Event;
use crate::write::{Command, Writer};

/// How long a cluster that answers is given until everything of the hub is gone from it.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long is waited for a cluster that does not answer.
const SHORT_PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait after a request that did not succeed.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A cluster that leaves.
pub(super) struct Leaving {
    pub(super) shared: Shared,
    pub(super) cluster: String,
    pub(super) writer: Writer<Unit>,
    pub(super) client: watch::Receiver<Option<Client>>,
}

impl Leaving {
    /// Deletes, and lets the registration go.
    pub(super) async fn run(mut self) {
        let Self { shared, cluster, writer, .. } = &self;
        let (sender, receiver) = oneshot::channel();
        let _stopping = shared.events.send(Event::Left(cluster.clone(), sender));
        let _stopping = receiver.await;
        // Nobody wants anything of the cluster any more.
        shared.discovered.tell(Command::WantAll(cluster.clone(), BTreeMap::new()));
        writer.tell(Command::WantAll(String::new(), BTreeMap::new()));
        let (cluster, writer, shared) = (cluster.clone(), writer.clone(), shared.clone());
        let connected = self.client.wait_for(Option::is_some);
        let answers = matches!(tokio::time::timeout(SHORT_PATIENCE, connected).await, Ok(Ok(_)));
        let deleted = answers && tokio::time::timeout(PATIENCE, writer.done()).await.is_ok();
        if !deleted {
            let left = writer.inspect().await;
            tracing::warn!(cluster, answers, ?left, "the cluster leaves; what the hub wrote may still be there");
        }
        if tokio::time::timeout(PATIENCE, shared.discovered.done()).await.is_err() {
            tracing::warn!(cluster, "what was discovered in the cluster is not all gone yet");
        }
        release(&shared, &cluster).await;
        shared.agents.set(&cluster, None);
        shared.directory.forget(&cluster);
        shared.metrics.forget(&cluster);
        tracing::info!(cluster, deleted, "a cluster has left");
    }
}

/// Keeps a registration until the cluster has been left. Tries until it succeeds, or the registration is on its way out.
pub(super) async fn hold(shared: Shared, cluster: String) {
    let held = |value: &Value| {
        let mut finalizers = finalizers(value);
        if !value["metadata"]["deletionTimestamp"].is_null() || finalizers.iter().any(|one| one == FINALIZER) {
            return None;
        }
        finalizers.push(FINALIZER.into());
        Some(finalizers)
    };
    change(&shared, &cluster, held).await;
}

async fn release(shared: &Shared, cluster: &str) {
    let rest = |value: &Value| {
        let mut finalizers = finalizers(value);
        let count = finalizers.len();
        finalizers.retain(|finalizer| finalizer != FINALIZER);
        (finalizers.len() < count).then_some(finalizers)
    };
    change(shared, cluster, rest).await;
}

fn finalizers(value: &Value) -> Vec<Value> {
    value["metadata"]["finalizers"].as_array().cloned().unwrap_or_default()
}

/// Gives a registration other finalizers, if it shall have others and as long as it is there.
async fn change(shared: &Shared, cluster: &str, others: impl Fn(&Value) -> Option<Vec<Value>>) {
    let api = registration_kind().in_namespace(shared.management.clone(), &shared.plane.namespace);
    loop {
        let result = match api.get_opt(cluster).await {
            Ok(None) => return,
            Ok(Some(object)) => {
                let value = serde_json::to_value(&object).unwrap_or_default();
                let Some(finalizers) = others(&value) else { return };
                finalize(shared, cluster, &value, finalizers).await
            }
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(cluster, error = %describe(&error), "the registration's finalizers are not changed yet");
            }
        }
        pause::for_a(RETRY_AFTER).await;
    }
}

async fn finalize(shared: &Shared, cluster: &str, value: &Value, finalizers: Vec<Value>) -> Result<(), kube::Error> {
    let api = registration_kind().in_namespace(shared.management.clone(), &shared.plane.namespace);
    let metadata = json!({ "resourceVersion": value["metadata"]["resourceVersion"], "finalizers": finalizers });
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(cluster, &params, &Patch::Merge(json!({ "metadata": metadata }))).await.map(drop)
}
