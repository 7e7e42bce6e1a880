//! Records Kubernetes `Event` objects for the controllers and the node agent of the embedded Kubernetes.
//!
//! Recording never waits and never fails: an event is a courtesy to the reader, so the caller hands it over and
//! goes on. One background task writes them in order; repeats of the same event raise the `count` of the first.
//! This crate does not decide what is worth an event, and it does not expire events.

mod series;

use std::fmt;

use k8s_openapi::api::core::v1::{Event, ObjectReference};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use series::{SeriesTable, Write};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The two types of event that Kubernetes knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// Something that is expected to happen.
    Normal,
    /// Something that a user may have to act on.
    Warning,
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        })
    }
}

/// One occurrence, before it becomes an `Event` object.
#[derive(Clone, Debug, PartialEq)]
pub struct Occurrence {
    /// The object that the event is about; `name`, `kind` and, where there is one, `namespace` must be set.
    pub about: ObjectReference,
    /// Normal or Warning.
    pub type_: EventType,
    /// One CamelCase word, such as `FailedCreate`.
    pub reason: String,
    /// One sentence for a person.
    pub message: String,
}

/// A cheap handle to the task that writes events.
#[derive(Clone, Debug)]
pub struct EventRecorder {
    sender: mpsc::UnboundedSender<Occurrence>,
}

impl EventRecorder {
    /// Starts the writing task. `component` becomes `source.component`, `host` becomes `source.host`.
    /// The task ends when `cancel` fires or when the last handle is dropped.
    #[must_use]
    pub fn start(client: Client, component: &str, host: Option<&str>, cancel: CancellationToken) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let table = SeriesTable::new(component, host);
        tokio::spawn(async move {
            cancel.run_until_cancelled(write_all(client, table, receiver)).await;
        });
        Self { sender }
    }

    /// Hands one occurrence over to the writing task.
    pub fn record(&self, occurrence: Occurrence) {
        if self.sender.send(occurrence).is_err() {
            tracing::debug!("an event was dropped because its recorder has ended");
        }
    }

    /// Records a `Normal` event.
    pub fn normal(&self, about: ObjectReference, reason: &str, message: impl Into<String>) {
        self.record(Occurrence { about, type_: EventType::Normal, reason: reason.into(), message: message.into() });
    }

    /// Records a `Warning` event.
    pub fn warning(&self, about: ObjectReference, reason: &str, message: impl Into<String>) {
        self.record(Occurrence { about, type_: EventType::Warning, reason: reason.into(), message: message.into() });
    }
}

/// The reference that `involvedObject` of an event about `object` carries.
#[must_use]
pub fn reference_to<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: object.meta().name.clone(),
        namespace: object.meta().namespace.clone(),
        uid: object.uid(),
        resource_version: object.resource_version(),
        field_path: None,
    }
}

async fn write_all(client: Client, mut table: SeriesTable, mut receiver: mpsc::UnboundedReceiver<Occurrence>) {
    while let Some(occurrence) = receiver.recv().await {
        let write = table.record(occurrence, jiff::Timestamp::now());
        if let Err(error) = perform(&client, &mut table, write).await {
            tracing::debug!(%error, "an event could not be written");
        }
    }
}

async fn perform(client: &Client, table: &mut SeriesTable, write: Write) -> Result<(), kube::Error> {
    match write {
        Write::Create(event) => create(client, &event).await,
        Write::Repeat { namespace, name, patch, first } => {
            let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
            match api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await {
                // The first event of the series was deleted by somebody: the repeat starts a new one.
                Err(kube::Error::Api(status)) if status.is_not_found() => create(client, &table.restart(*first)).await,
                other => other.map(drop),
            }
        }
    }
}

async fn create(client: &Client, event: &Event) -> Result<(), kube::Error> {
    let namespace = event.metadata.namespace.clone().unwrap_or_else(|| "default".into());
    Api::<Event>::namespaced(client.clone(), &namespace).create(&PostParams::default(), event).await.map(drop)
}
