//! Behaviour of kinds: defaults, what a create or update resets, and validation. Pure functions over JSON values.
//! Does not allocate addresses (see `allocation`), call webhooks, or read the store.

mod config;
mod crd;
mod event;
mod meta;
mod pod;
mod pod_defaults;
mod pod_validation;
mod service;
mod webhook;
mod workload;

use serde_json::Value;

use crate::validation::{Errors, NameRule};

pub(crate) use crd::{FINALIZER as CRD_FINALIZER, add_finalizer as add_crd_finalizer};
pub(crate) use event::{from_core as event_from_core, to_core as event_to_core};
pub(crate) use meta::{validate_metadata, validate_metadata_update};

/// What one kind does on its way into the store. Every hook leaves alone what it does not know.
pub(crate) struct Behaviour {
    /// Fills in defaults; runs on every write, before and after admission.
    pub(crate) default: fn(&mut Value),
    /// Resets what a client may not choose at creation.
    pub(crate) create: fn(&mut Value),
    /// Carries over from the old object (second) what an update may not change.
    pub(crate) update: fn(&mut Value, &Value),
    pub(crate) validate: fn(&Value, &mut Errors),
    /// Validates the new object (first) against the old.
    pub(crate) validate_update: fn(&Value, &Value, &mut Errors),
    /// Whether `metadata.generation` counts changes of the specification.
    pub(crate) generation: bool,
    /// Whether `status` belongs to the status subresource alone.
    pub(crate) separate_status: bool,
    pub(crate) name: NameRule,
    /// Whether an update without resourceVersion is accepted.
    pub(crate) unconditional_update: bool,
    /// Whether a finished deletion answers with the object instead of a Status.
    pub(crate) returns_deleted: bool,
}

fn nothing(_: &mut Value) {}
fn nothing_on_update(_: &mut Value, _: &Value) {}
fn valid(_: &Value, _: &mut Errors) {}
fn valid_update(_: &Value, _: &Value, _: &mut Errors) {}

/// A kind that is only stored.
const PLAIN: Behaviour = Behaviour {
    default: nothing,
    create: nothing,
    update: nothing_on_update,
    validate: valid,
    validate_update: valid_update,
    generation: false,
    separate_status: false,
    name: NameRule::Subdomain,
    unconditional_update: true,
    returns_deleted: false,
};

/// A plain kind with a status subresource.
const WITH_STATUS: Behaviour = Behaviour { separate_status: true, ..PLAIN };
/// A kind with a status subresource whose specification is counted.
const WITH_GENERATION: Behaviour = Behaviour { generation: true, ..WITH_STATUS };
static CUSTOM: Behaviour = Behaviour { generation: true, unconditional_update: false, ..PLAIN };

/// The behaviour of every custom resource; its schema is applied elsewhere.
pub(crate) fn custom_behaviour() -> &'static Behaviour {
    &CUSTOM
}

/// The behaviour of a builtin kind.
pub(crate) fn behaviour(group: &str, kind: &str) -> &'static Behaviour {
    static PLAIN_KIND: Behaviour = PLAIN;
    static STATUS_KIND: Behaviour = WITH_STATUS;
    static GENERATION_KIND: Behaviour = WITH_GENERATION;
    match (group, kind) {
        ("", "Pod") => &pod::POD,
        ("", "PodTemplate") => &workload::POD_TEMPLATE,
        ("", "Service") => &service::SERVICE,
        ("", "Endpoints") => &service::ENDPOINTS,
        ("discovery.k8s.io", "EndpointSlice") => &service::ENDPOINT_SLICE,
        ("", "Namespace") => &config::NAMESPACE,
        ("", "Secret") => &config::SECRET,
        ("", "ConfigMap") => &config::CONFIG_MAP,
        ("", "ServiceAccount") => &config::SERVICE_ACCOUNT,
        ("", "PersistentVolumeClaim") => &config::VOLUME_CLAIM,
        ("", "ReplicationController") => &workload::REPLICATION_CONTROLLER,
        ("apps", "Deployment") => &workload::DEPLOYMENT,
        ("apps", "ReplicaSet") => &workload::REPLICA_SET,
        ("apps", "StatefulSet") => &workload::STATEFUL_SET,
        ("apps", "DaemonSet") => &workload::DAEMON_SET,
        ("batch", "Job") => &workload::JOB,
        ("batch", "CronJob") => &workload::CRON_JOB,
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => &config::ROLE,
        ("rbac.authorization.k8s.io", _) => &config::ROLE_BINDING,
        ("admissionregistration.k8s.io", _) => &webhook::WEBHOOK_CONFIGURATION,
        ("apiextensions.k8s.io", _) => &crd::DEFINITION,
        ("networking.k8s.io", "NetworkPolicy") => &config::NETWORK_POLICY,
        ("networking.k8s.io", "Ingress") | ("policy", _) | ("autoscaling", _) => &GENERATION_KIND,
        ("", "Node" | "PersistentVolume" | "ResourceQuota") | ("storage.k8s.io", "VolumeAttachment") => &STATUS_KIND,
        ("storage.k8s.io", "StorageClass") => &config::STORAGE_CLASS,
        _ => &PLAIN_KIND,
    }
}

/// The items of the list at `value`, empty where it is none.
fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The objects of the list at `object[key]`, to change.
fn items_mut<'a>(object: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    object.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten()
}
