//! Writes statuses into the management cluster: only those that differ from what is there, the latest of each object.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use kube::Client;
use kube::api::{Patch, PatchParams};
use kube_support::error::describe;
use mesh_types::hub::names::FIELD_MANAGER;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::kinds::Key;
use crate::metrics::Metrics;
use crate::retries::Retries;

const AT_A_TIME: usize = 16;
const RETRY_AFTER: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(10);

enum Command {
    Want(Key, Value),
    Seen(Key, Seen),
    Gone(Key),
}

/// A status as it was seen.
#[derive(Clone, Debug, Default)]
struct Seen {
    status: Value,
    version: u64,
}

/// A running writer of statuses.
#[derive(Clone)]
pub struct StatusWriter {
    commands: mpsc::UnboundedSender<Command>,
}

impl StatusWriter {
    /// Starts a writer; it ends when all its handles are gone.
    pub fn start(client: Client, metrics: Arc<Metrics>) -> Self {
        let (commands, receiver) = mpsc::unbounded_channel();
        tokio::spawn(run(client, metrics, receiver));
        Self { commands }
    }

    /// From now on the object has this status; when conditions changed is filled in.
    pub fn want(&self, key: Key, status: Value) {
        let _stopping = self.commands.send(Command::Want(key, status));
    }

    /// An object was seen, with its status.
    pub fn seen(&self, key: Key, object: &Value) {
        let version = object["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse().ok());
        let seen =
            Seen { status: object.get("status").cloned().unwrap_or_default(), version: version.unwrap_or_default() };
        let _stopping = self.commands.send(Command::Seen(key, seen));
    }

    /// An object is gone.
    pub fn gone(&self, key: Key) {
        let _stopping = self.commands.send(Command::Gone(key));
    }
}

type Done = (Key, Result<Option<Seen>, String>);

struct Desk {
    client: Client,
    metrics: Arc<Metrics>,
    wanted: BTreeMap<Key, Value>,
    seen: BTreeMap<Key, Seen>,
    dirty: BTreeSet<Key>,
    writing: BTreeSet<Key>,
    running: FuturesUnordered<BoxFuture<'static, Done>>,
    retries: Retries<Key>,
}

async fn run(client: Client, metrics: Arc<Metrics>, mut commands: mpsc::UnboundedReceiver<Command>) {
    let mut desk = Desk {
        client,
        metrics,
        wanted: BTreeMap::new(),
        seen: BTreeMap::new(),
        dirty: BTreeSet::new(),
        writing: BTreeSet::new(),
        running: FuturesUnordered::new(),
        retries: Retries::default(),
    };
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            count = commands.recv_many(&mut batch, 4_096) => {
                if count == 0 {
                    return;
                }
                batch.drain(..).for_each(|command| desk.take(command));
            }
            Some((key, result)) = desk.running.next() => desk.finished(key, result),
            Some(due) = desk.retries.next() => drop(desk.dirty.insert(due)),
        }
        desk.start();
    }
}

impl Desk {
    fn take(&mut self, command: Command) {
        match command {
            Command::Want(key, status) => {
                self.wanted.insert(key.clone(), status);
                self.dirty.insert(key);
            }
            Command::Seen(key, seen) => {
                if self.seen.get(&key).is_none_or(|known| seen.version >= known.version) {
                    self.seen.insert(key.clone(), seen);
                }
                self.dirty.insert(key);
            }
            Command::Gone(key) => {
                self.wanted.remove(&key);
                self.seen.remove(&key);
            }
        }
    }

    fn start(&mut self) {
        while self.writing.len() < AT_A_TIME {
            let Some(key) = self.dirty.iter().find(|key| !self.writing.contains(*key)).cloned() else { return };
            self.dirty.remove(&key);
            let (Some(wanted), Some(seen)) = (self.wanted.get(&key), self.seen.get(&key)) else { continue };
            let Some(status) = due(wanted, &seen.status, &Timestamp::now()) else { continue };
            self.writing.insert(key.clone());
            let client = self.client.clone();
            let request = async move {
                let written = tokio::time::timeout(PATIENCE, write(client, &key, status)).await;
                let late = |_| format!("no answer within {PATIENCE:?}");
                (key, written.map_err(late).and_then(|result| result))
            };
            self.running.push(request.boxed());
        }
    }

    fn finished(&mut self, key: Key, result: Result<Option<Seen>, String>) {
        self.writing.remove(&key);
        match result {
            Ok(Some(seen)) => {
                self.metrics.status();
                self.retries.cancel(&key);
                // The object may be gone meanwhile; or it stayed as it was, for what differs are others' fields.
                if let Some(known) = self.seen.get_mut(&key)
                    && seen.version > known.version
                {
                    *known = seen;
                    self.dirty.insert(key);
                }
            }
            Ok(None) => drop(self.seen.remove(&key)),
            Err(error) => {
                tracing::warn!(object = %key, error, "the status is not written");
                self.retries.set(&key, RETRY_AFTER);
            }
        }
    }
}

async fn write(client: Client, key: &Key, status: Value) -> Result<Option<Seen>, String> {
    let api = key.kind.in_namespace(client, &key.namespace);
    let patch = json!({ "apiVersion": format!("{}/{}", key.kind.group, key.kind.version), "kind": key.kind.name,
        "metadata": { "name": key.name, "namespace": key.namespace }, "status": status });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    match api.patch_status(&key.name, &params, &Patch::Apply(&patch)).await {
        Ok(object) => {
            let version = object.metadata.resource_version.as_deref().and_then(|version| version.parse().ok());
            let status = object.data.get("status").cloned().unwrap_or_default();
            Ok(Some(Seen { status, version: version.unwrap_or_default() }))
        }
        Err(kube::Error::Api(refusal)) if refusal.code == 404 => Ok(None),
        Err(error) => Err(describe(&error)),
    }
}

/// The status that has to be written, with the times at which conditions changed; `None` where it is there already.
fn due(wanted: &Value, seen: &Value, now: &Timestamp) -> Option<Value> {
    const TIME: &str = "lastTransitionTime";
    let timeless = |status: &Value| {
        let mut status = status.clone();
        for condition in status["conditions"].as_array_mut().into_iter().flatten() {
            if let Some(fields) = condition.as_object_mut() {
                fields.remove(TIME);
            }
        }
        if status["conditions"].is_null()
            && let Some(fields) = status.as_object_mut()
        {
            fields.remove("conditions");
        }
        status
    };
    let mut status = timeless(wanted);
    if status == timeless(seen) {
        return None;
    }
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let before = seen["conditions"].as_array().cloned().unwrap_or_default();
    if let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut) {
        for condition in conditions {
            let same = |other: &&Value| other["type"] == condition["type"] && other["status"] == condition["status"];
            let time = before.iter().find(same).map(|other| other[TIME].clone()).filter(Value::is_string);
            condition[TIME] = time.unwrap_or_else(|| now.clone().into());
        }
    }
    Some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: &str, acknowledged: &str, time: Option<&str>) -> Value {
        let mut condition = json!({ "type": "Acknowledged", "status": acknowledged, "reason": "R" });
        if let Some(time) = time {
            condition["lastTransitionTime"] = time.into();
        }
        json!({ "state": state, "conditions": [condition] })
    }

    #[test]
    fn what_is_there_is_not_written_again() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(due(&status("ACTIVE", "True", None), &status("ACTIVE", "True", Some("2026")), &now), None);
        assert_eq!(due(&json!({ "state": "ACTIVE" }), &json!({ "state": "ACTIVE" }), &now), None);
    }

    #[test]
    fn the_time_of_a_condition_is_that_of_its_last_change() {
        let now = Timestamp::UNIX_EPOCH;
        let changed = due(&status("ACTIVE", "True", None), &status("ACCEPTED", "False", Some("2026")), &now).unwrap();
        assert_eq!(changed, status("ACTIVE", "True", Some("1970-01-01T00:00:00Z")));
        let same = due(&status("FAILED", "True", None), &status("ACTIVE", "True", Some("2026")), &now).unwrap();
        assert_eq!(same, status("FAILED", "True", Some("2026")));
        assert_eq!(due(&json!({ "state": "ACTIVE" }), &Value::Null, &now), Some(json!({ "state": "ACTIVE" })));
    }
}
