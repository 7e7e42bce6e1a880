//! Writes the WorkloadEntries of workloads that connect, and what they say of their health.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::response::Status as ApiStatus;
use kube::{Api, Client};
use mesh_types::{Kind, SpiffeId, names};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tonic::Status;
use tracing::{info, warn};

use super::applicant::{Applicant, Group};
use super::health::{self, Health};
use crate::model::cluster::api_resource;
use crate::model::objects::Key;

/// How often an entry is read anew because somebody else has written it meanwhile.
const ROUNDS: usize = 8;
/// Pause before a report that could not be written is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Registers workloads in the own cluster.
#[derive(Clone)]
pub struct Registrar {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    instance: String,
    /// The latest connection of each workload that is connected here.
    connected: Mutex<BTreeMap<Key, u64>>,
    connections: AtomicU64,
}

/// An entry as far as it is read here.
struct Entry {
    resource_version: String,
    object: Value,
}

impl Entry {
    fn read(object: DynamicObject) -> Self {
        let resource_version = object.metadata.resource_version.clone().unwrap_or_default();
        Self { resource_version, object: serde_json::to_value(object).unwrap_or_default() }
    }

    fn annotation(&self, name: &str) -> Option<&str> {
        self.object["metadata"]["annotations"][name].as_str()
    }
}

impl Registrar {
    /// Writes to the cluster of `client`, as the instance of the control plane with this name.
    pub fn new(client: Client, instance: impl Into<String>) -> Self {
        let inner =
            Inner { client, instance: instance.into(), connected: Mutex::default(), connections: AtomicU64::new(0) };
        Self { inner: Arc::new(inner) }
    }

    /// Name of this instance of the control plane.
    pub fn instance(&self) -> &str {
        &self.inner.instance
    }

    /// Whether the workload of an entry is connected to this instance.
    pub fn is_connected(&self, key: &Key) -> bool {
        self.connected().contains_key(key)
    }

    fn connected(&self) -> MutexGuard<'_, BTreeMap<Key, u64>> {
        // A plain map, whole after every statement.
        self.inner.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// WorkloadEntries of a namespace.
    pub(super) fn entries(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.inner.client.clone(), namespace, &api_resource(Kind::WorkloadEntry))
    }

    /// Registers a workload for as long as it is a member, if its identity is the group's.
    ///
    /// # Errors
    /// `FailedPrecondition` without the group, `PermissionDenied` for another identity, `Unavailable` where the API
    /// server does not take the entry.
    pub async fn register(&self, applicant: &Applicant, identity: Option<&SpiffeId>) -> Result<Membership, Status> {
        let group = self.group(applicant).await?;
        applicant.authorize(identity, group.service_account())?;
        let key = (applicant.namespace.clone(), applicant.entry_name());
        let connection = self.inner.connections.fetch_add(1, Ordering::Relaxed);
        let connected_at = Timestamp::now().to_string();
        // Said before it is written, so that nobody takes the entry for one without a workload.
        self.connected().insert(key.clone(), connection);
        if let Err(status) = self.written(applicant, &group, &key, &connected_at).await {
            self.disconnected(&key, connection);
            return Err(status);
        }
        info!(proxy = applicant.proxy, namespace = key.0, entry = key.1, group = group.name, "workload registered");
        let (health, reports) = watch::channel(None);
        let task = tokio::spawn(self.clone().write_reports(key.clone(), reports)).abort_handle();
        Ok(Membership { registrar: self.clone(), key, connection, connected_at, health, task })
    }

    async fn group(&self, applicant: &Applicant) -> Result<Group, Status> {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.inner.client.clone(), &applicant.namespace, &api_resource(Kind::WorkloadGroup));
        let found = api.get_opt(&applicant.group).await.map_err(|error| unavailable("WorkloadGroup", &error))?;
        let object = found.ok_or_else(|| applicant.without_group())?;
        let spec = serde_json::from_value(object.data["spec"].clone()).map_err(|error| {
            Status::failed_precondition(format!("WorkloadGroup {}/{}: {error}", applicant.namespace, applicant.group))
        })?;
        Ok(Group { name: applicant.group.clone(), uid: object.metadata.uid.unwrap_or_default(), spec })
    }

    /// Creates the entry, or says on the one that is there that its workload is back.
    async fn written(
        &self,
        applicant: &Applicant,
        group: &Group,
        (namespace, name): &Key,
        connected_at: &str,
    ) -> Result<(), Status> {
        let api = self.entries(namespace);
        for _ in 0..ROUNDS {
            let result = match self.read(&api, name).await? {
                Some(entry) => {
                    let account = entry.object["spec"]["serviceAccount"].as_str().unwrap_or_default();
                    if !account.is_empty() && account != group.service_account() {
                        return Err(Status::permission_denied(format!(
                            "WorkloadEntry {namespace}/{name} is of the service account {account}, and not of {}",
                            group.service_account()
                        )));
                    }
                    let annotations = json!({
                        names::ANNOTATION_WORKLOAD_CONTROLLER: self.inner.instance,
                        names::ANNOTATION_CONNECTED_AT: connected_at,
                        names::ANNOTATION_DISCONNECTED_AT: null,
                    });
                    self.annotate(&api, name, &entry, annotations).await
                }
                None => {
                    let entry = applicant.entry(group, &self.inner.instance, connected_at);
                    let object = serde_json::from_value(entry).map_err(|error| Status::internal(error.to_string()))?;
                    api.create(&PostParams::default(), &object).await.map(drop)
                }
            };
            match result {
                Ok(()) => return Ok(()),
                Err(error) if is_outdated(&error) => {}
                Err(error) => return Err(unavailable("WorkloadEntry", &error)),
            }
        }
        Err(Status::unavailable(format!("WorkloadEntry {namespace}/{name} is written by somebody else all the time")))
    }

    async fn read(&self, api: &Api<DynamicObject>, name: &str) -> Result<Option<Entry>, Status> {
        let found = api.get_opt(name).await.map_err(|error| unavailable("WorkloadEntry", &error))?;
        Ok(found.map(Entry::read))
    }

    /// Changes annotations, if the entry is still as it was read.
    async fn annotate(
        &self,
        api: &Api<DynamicObject>,
        name: &str,
        entry: &Entry,
        annotations: Value,
    ) -> Result<(), kube::Error> {
        let change = json!({"metadata": {"resourceVersion": entry.resource_version, "annotations": annotations}});
        api.patch(name, &PatchParams::default(), &Patch::Merge(change)).await.map(drop)
    }

    /// Notes the end of a connection; false where a newer one of the same workload has taken its place.
    fn disconnected(&self, key: &Key, connection: u64) -> bool {
        let mut connected = self.connected();
        let latest = connected.get(key) == Some(&connection);
        if latest {
            connected.remove(key);
        }
        latest
    }

    /// Says on the entry that its workload is away, unless it has come back elsewhere.
    async fn left(&self, (namespace, name): &Key, connected_at: &str) -> Result<(), Status> {
        let api = self.entries(namespace);
        for _ in 0..ROUNDS {
            let Some(entry) = self.read(&api, name).await? else { return Ok(()) };
            let own = entry.annotation(names::ANNOTATION_WORKLOAD_CONTROLLER) == Some(self.instance())
                && entry.annotation(names::ANNOTATION_CONNECTED_AT) == Some(connected_at);
            if !own {
                return Ok(());
            }
            let annotations = json!({
                names::ANNOTATION_CONNECTED_AT: null,
                names::ANNOTATION_DISCONNECTED_AT: Timestamp::now().to_string(),
            });
            match self.annotate(&api, name, &entry, annotations).await {
                Ok(()) => return Ok(()),
                Err(error) if is_outdated(&error) => {}
                Err(error) => return Err(unavailable("WorkloadEntry", &error)),
            }
        }
        Err(Status::unavailable("it is written by somebody else all the time"))
    }

    /// Writes the latest report whenever there is a new one, for as long as the workload is a member.
    async fn write_reports(self, key: Key, mut reports: watch::Receiver<Option<Health>>) {
        while reports.changed().await.is_ok() {
            loop {
                let Some(health) = reports.borrow_and_update().clone() else { break };
                let Err(status) = self.write_report(&key, &health).await else { break };
                warn!(namespace = key.0, entry = key.1, message = status.message(), "health is not written");
                // The next report is as good a reason to try again as the end of the pause.
                let _either = tokio::time::timeout(RETRY_AFTER, reports.changed()).await;
            }
        }
    }

    async fn write_report(&self, (namespace, name): &Key, health: &Health) -> Result<(), Status> {
        let api = self.entries(namespace);
        let Some(entry) = self.read(&api, name).await? else {
            // Somebody has removed it; it comes back with the next connection.
            return Ok(());
        };
        let before = entry.object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let Some(conditions) = health::conditions(&before, health, &Timestamp::now().to_string()) else {
            return Ok(());
        };
        let change =
            json!({"metadata": {"resourceVersion": entry.resource_version}, "status": {"conditions": conditions}});
        let written = api.patch_status(name, &PatchParams::default(), &Patch::Merge(change)).await;
        written.map_err(|error| unavailable("WorkloadEntry", &error))?;
        info!(namespace, entry = name, ?health, "health of a workload");
        Ok(())
    }
}

/// A registered workload, for as long as its stream lasts.
pub struct Membership {
    registrar: Registrar,
    key: Key,
    connection: u64,
    connected_at: String,
    health: watch::Sender<Option<Health>>,
    task: AbortHandle,
}

impl Membership {
    /// Name of its WorkloadEntry.
    pub fn entry(&self) -> &str {
        &self.key.1
    }

    /// Takes a report on its health, which is written soon.
    pub fn report(&self, health: Health) {
        self.health.send_replace(Some(health));
    }

    /// Ends it: the entry says so, and is removed when the workload does not come back.
    pub async fn leave(self) {
        if !self.registrar.disconnected(&self.key, self.connection) {
            return;
        }
        if let Err(status) = self.registrar.left(&self.key, &self.connected_at).await {
            let (namespace, entry) = &self.key;
            warn!(namespace, entry, message = status.message(), "the end of a connection is not written");
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn unavailable(kind: &str, error: &kube::Error) -> Status {
    Status::unavailable(format!("the {kind} is not to be had from the API server: {error}"))
}

/// Whether somebody has changed, created or removed the entry since it was read.
fn is_outdated(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if is_gone_or_changed(status))
}

fn is_gone_or_changed(status: &ApiStatus) -> bool {
    matches!(status.code, 404 | 409)
}
