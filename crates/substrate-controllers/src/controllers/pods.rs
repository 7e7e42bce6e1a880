//! What all controllers that own pods share: counting, making a pod from a template, reporting refusals. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::core::SelectorExt as _;
use kube::{Resource, ResourceExt};

use crate::objects::{Key, compile, controller_of, controller_reference, is_deleting, json};
use crate::plan::{Action, Kind, Plan, Refusal};

/// Whether the pod is finished: its phase will not change any more.
pub(crate) fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether the pod counts as a replica: neither finished nor being deleted.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && !is_deleting(pod)
}

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Since when the pod is Ready; `None` if it is not.
pub(crate) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let condition = pod
        .status
        .iter()
        .flat_map(|s| s.conditions.iter().flatten())
        .find(|c| c.type_ == "Ready" && c.status == "True")?;
    Some(condition.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0))
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    ready_since(pod).is_some()
}

/// How long until the pod has been Ready for `minimum`; zero if it has, `None` if it is not Ready.
pub(crate) fn until_available(pod: &Pod, minimum: Duration, now: Timestamp) -> Option<Duration> {
    let ready_for = now.duration_since(ready_since(pod)?).max(SignedDuration::ZERO).unsigned_abs();
    Some(minimum.saturating_sub(ready_for))
}

/// The `minReadySeconds` of a workload as a duration.
pub(crate) fn min_ready(seconds: Option<i32>) -> Duration {
    Duration::from_secs(seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0))
}

/// A count as Kubernetes writes it.
pub(crate) fn count<T>(items: impl IntoIterator<Item = T>) -> i32 {
    i32::try_from(items.into_iter().count()).unwrap_or(i32::MAX)
}

/// A new pod of a template. A name that ends in `-` is completed by the API server.
pub(crate) fn from_template(template: &PodTemplateSpec, namespace: &str, name: &str, owner: OwnerReference) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    let mut metadata = ObjectMeta {
        namespace: Some(namespace.to_owned()),
        labels: meta.labels,
        annotations: meta.annotations,
        finalizers: meta.finalizers,
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    };
    if name.ends_with('-') {
        metadata.generate_name = Some(name.to_owned());
    } else {
        metadata.name = Some(name.to_owned());
    }
    Pod { metadata, spec: template.spec.clone(), status: None }
}

/// The pods that belong to an owner, and the patches that adopt matching orphans and release strays. `may_adopt`
/// narrows down which orphans are taken.
pub(crate) fn claim<'a, K: Resource<DynamicType = ()>>(
    owner: &K,
    selector: &LabelSelector,
    all: &'a [Arc<Pod>],
    may_adopt: impl Fn(&Pod) -> bool,
) -> (Vec<&'a Pod>, Vec<Action>) {
    let uid = owner.meta().uid.clone().unwrap_or_default();
    let owner_goes = is_deleting(owner);
    let (mut owned, mut actions) = (Vec::new(), Vec::new());
    let selector = compile(selector);
    let no_labels = BTreeMap::new();
    for pod in all.iter().map(|pod| &**pod) {
        let labels = pod.metadata.labels.as_ref().unwrap_or(&no_labels);
        let matches = selector.as_ref().is_some_and(|selector| selector.matches(labels));
        match controller_of(&pod.metadata) {
            Some(known) if known.uid == uid && (matches || owner_goes || !is_active(pod)) => owned.push(pod),
            Some(known) if known.uid == uid => actions.push(release(pod, &uid)),
            None if matches && !owner_goes && is_active(pod) && may_adopt(pod) => actions.push(adopt(pod, owner)),
            _ => {}
        }
    }
    (owned, actions)
}

fn adopt<K: Resource<DynamicType = ()>>(pod: &Pod, owner: &K) -> Action {
    let mut owners = pod.metadata.owner_references.clone().unwrap_or_default();
    owners.push(controller_reference(owner));
    set_owners(pod, &owners)
}

fn release(pod: &Pod, uid: &str) -> Action {
    let owners = pod.metadata.owner_references.iter().flatten().filter(|owner| owner.uid != uid);
    set_owners(pod, &owners.cloned().collect::<Vec<_>>())
}

fn set_owners(pod: &Pod, owners: &[OwnerReference]) -> Action {
    let patch = serde_json::json!({"metadata": {"uid": pod.metadata.uid, "ownerReferences": owners}});
    Action::Patch { kind: Kind::Pod, key: Key::of(pod), patch }
}

/// The action that creates `pod`.
pub(crate) fn create(pod: &Pod) -> Action {
    Action::Create { kind: Kind::Pod, namespace: pod.namespace().unwrap_or_default(), object: json(pod) }
}

/// The action that deletes `pod`.
pub(crate) fn delete(pod: &Pod) -> Action {
    let uid = pod.uid().unwrap_or_default();
    Action::Delete { kind: Kind::Pod, key: Key::of(pod), uid, propagation: None }
}

/// Tells about refused creations and deletions of pods.
pub(crate) fn refused<K: Resource<DynamicType = ()>>(owner: &K, refusals: &[Refusal]) -> Plan {
    let events = refusals.iter().filter(|refusal| !refusal.is_final()).filter_map(|refusal| match &refusal.action {
        Action::Create { kind: Kind::Pod, .. } => {
            Some(Action::warning(owner, "FailedCreate", format!("Error creating: {}", refusal.message)))
        }
        Action::Delete { kind: Kind::Pod, .. } => {
            Some(Action::warning(owner, "FailedDelete", format!("Error deleting: {}", refusal.message)))
        }
        _ => None,
    });
    // A hundred refused pods share one message.
    Plan::of(events.fold(Vec::new(), |mut known, event| {
        if !known.contains(&event) {
            known.push(event);
        }
        known
    }))
}
