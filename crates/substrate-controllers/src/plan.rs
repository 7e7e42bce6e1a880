//! What a reconcile function answers: a list of writes, as plain data that tests can compare. No I/O.

use std::time::Duration;

use kube::Resource;
use kube::api::PropagationPolicy;
use serde::Serialize;
use serde_json::Value;
use substrate_events::{Occurrence, reference_to};

use crate::objects::{Key, json, merge_patch};

/// The namespaced kinds that controllers write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Kind {
    Pod,
    ReplicaSet,
    Deployment,
    StatefulSet,
    DaemonSet,
    Job,
    Service,
    EndpointSlice,
    Endpoints,
    ServiceAccount,
    ConfigMap,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) enum Action {
    /// Creates an object.
    Create { kind: Kind, namespace: String, object: Value },
    /// Applies a JSON merge patch to an object.
    Patch { kind: Kind, key: Key, patch: Value },
    /// Applies a JSON merge patch to the `status` subresource of an object.
    PatchStatus { kind: Kind, key: Key, patch: Value },
    /// Deletes an object if it still has this uid.
    Delete {
        kind: Kind,
        key: Key,
        uid: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        propagation: Option<PropagationPolicy>,
    },
    /// Binds a pod to a node.
    Bind { pod: Key, uid: String, node: String },
    /// Tells the reader something.
    Event {
        #[serde(serialize_with = "event_line")]
        occurrence: Occurrence,
    },
}

impl Action {
    /// Whether the action changes what the next reconcile decides on, and is seen in the caches at once.
    /// Status and events decide nothing; a binding shows when the watch delivers the pod.
    pub(crate) fn changes_objects(&self) -> bool {
        !matches!(self, Self::PatchStatus { .. } | Self::Event { .. } | Self::Bind { .. })
    }

    /// The status patch from one status to another, or nothing if they are equal.
    pub(crate) fn status<S: Serialize>(kind: Kind, key: &Key, before: &Option<S>, after: &S) -> Option<Self> {
        let before = before.as_ref().map_or_else(|| Value::Object(serde_json::Map::new()), json);
        let patch = merge_patch(&before, &json(after))?;
        Some(Self::PatchStatus { kind, key: key.clone(), patch: serde_json::json!({"status": patch}) })
    }

    /// A `Normal` event about `object`.
    pub(crate) fn normal<K: Resource<DynamicType = ()>>(object: &K, reason: &str, message: String) -> Self {
        let type_ = substrate_events::EventType::Normal;
        Self::Event { occurrence: Occurrence { about: reference_to(object), type_, reason: reason.into(), message } }
    }

    /// A `Warning` event about `object`.
    pub(crate) fn warning<K: Resource<DynamicType = ()>>(object: &K, reason: &str, message: String) -> Self {
        let type_ = substrate_events::EventType::Warning;
        Self::Event { occurrence: Occurrence { about: reference_to(object), type_, reason: reason.into(), message } }
    }
}

fn event_line<S: serde::Serializer>(occurrence: &Occurrence, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{} {}: {}", occurrence.type_, occurrence.reason, occurrence.message))
}

/// The answer of a reconcile function.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Plan {
    /// All but status writes are independent of each other and run at the same time.
    pub(crate) actions: Vec<Action>,
    /// When time alone can change the answer, the time after which to ask again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) check_again: Option<Duration>,
}

impl Plan {
    pub(crate) fn of(actions: Vec<Action>) -> Self {
        Self { actions, check_again: None }
    }

    /// Asks for another reconcile after the shorter of the known delay and this one.
    pub(crate) fn check_after(&mut self, delay: Option<Duration>) {
        self.check_again = match (self.check_again, delay) {
            (Some(known), Some(delay)) => Some(known.min(delay)),
            (known, delay) => known.or(delay),
        };
    }
}

/// A write that the API server refused or that did not reach it.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) action: Action,
    /// The `reason` of the answer, such as `AlreadyExists`; empty if there was no answer.
    pub(crate) reason: String,
    /// The text for a person.
    pub(crate) message: String,
}

impl Refusal {
    /// Whether the object, or its namespace, is on its way out, so that trying again is pointless.
    pub(crate) fn is_final(&self) -> bool {
        self.reason == "NotFound" || self.message.contains("being terminated")
    }
}
