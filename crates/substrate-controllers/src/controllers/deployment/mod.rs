//! Turns a Deployment into ReplicaSets, one per template, and moves replicas between them. Pure.
//!
//! `revision` knows hashes, names and history; `rollout` knows how many replicas which set may have;
//! `status` knows what to tell. This file puts them together.

mod revision;
mod rollout;
mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::pods;
use crate::objects::{
    Key, controller_of, controller_reference, is_controlled_by, is_deleting, json as json_of, selector_matches,
};
use crate::plan::{Action, Kind, Plan, Refusal};
use crate::world::Caches;

/// Annotations with which `kubectl` and the scaling arithmetic work.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
pub(super) const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";

/// What the controller looks at.
pub(crate) struct Inputs {
    pub(crate) deployment: Arc<Deployment>,
    /// All ReplicaSets of the namespace.
    pub(crate) sets: Vec<Arc<ReplicaSet>>,
    /// All pods of the namespace.
    pub(crate) pods: Vec<Arc<Pod>>,
}

pub(crate) fn gather(caches: &Caches, key: &Key) -> Option<Inputs> {
    Some(Inputs {
        deployment: caches.deployments.get(key)?,
        sets: caches.replica_sets.in_namespace(&key.namespace),
        pods: caches.pods.in_namespace(&key.namespace),
    })
}

/// The ReplicaSets of a Deployment, sorted by age.
pub(super) struct Sets<'a> {
    /// The one whose template is the Deployment's.
    pub(super) new: Option<&'a ReplicaSet>,
    /// All others, the oldest first.
    pub(super) old: Vec<&'a ReplicaSet>,
}

impl<'a> Sets<'a> {
    pub(super) fn all(&self) -> impl Iterator<Item = &'a ReplicaSet> + '_ {
        self.new.iter().copied().chain(self.old.iter().copied())
    }
}

pub(crate) fn reconcile(inputs: &Inputs, now: Timestamp) -> Plan {
    let deployment = &*inputs.deployment;
    let spec = &deployment.spec;
    let (owned, adoptions) = claim(deployment, &inputs.sets);
    if !adoptions.is_empty() {
        return Plan::of(adoptions);
    }
    let sets = sort(owned, spec);
    let mut plan = Plan::default();
    if !is_deleting(deployment) {
        plan.actions = progress(deployment, spec, &sets, &inputs.pods);
    }
    let (status, check_again) = status::compute(deployment, spec, &sets, now);
    plan.actions.extend(Action::status(Kind::Deployment, &Key::of(deployment), &deployment.status, &status));
    plan.check_after(check_again);
    plan
}

/// The writes that bring the ReplicaSets closer to the specification.
fn progress(deployment: &Deployment, spec: &DeploymentSpec, sets: &Sets<'_>, pods: &[Arc<Pod>]) -> Vec<Action> {
    let paused = spec.paused == Some(true);
    let mut actions = Vec::new();
    let Some(new) = sets.new else {
        let old_pods_remain = rollout::is_recreate(spec) && has_live_pods(&sets.old, pods);
        if !paused && !old_pods_remain {
            let replicas = rollout::replicas_of_created_set(spec, sets);
            let set = revision::create(deployment, spec, sets, replicas);
            let namespace = deployment.namespace().unwrap_or_default();
            actions.push(Action::Create { kind: Kind::ReplicaSet, namespace, object: json_of(&set) });
            if replicas > 0 {
                actions.push(scaling_event(deployment, &set.name_any(), 0, replicas));
            }
        }
        let targets = if paused { rollout::scaled(spec, sets) } else { rollout::targets(spec, sets) };
        actions.extend(rescale(deployment, spec, sets, &targets));
        return actions;
    };
    let resized = sets
        .all()
        .any(|set| rollout::replicas(set) > 0 && revision::desired_replicas(set) != Some(rollout::wanted(spec)));
    let mut targets = if paused || resized { rollout::scaled(spec, sets) } else { rollout::targets(spec, sets) };
    if rollout::is_recreate(spec) && has_live_pods(&sets.old, pods) {
        targets.insert(new.name_any(), rollout::replicas(new));
    }
    actions.extend(rescale(deployment, spec, sets, &targets));
    actions.extend(revision::annotate_deployment(deployment, new, sets));
    if !paused && rollout::is_complete(spec, sets) {
        actions.extend(revision::surplus_history(spec, sets).map(delete_set));
    }
    actions
}

/// Patches for every set whose size or bookkeeping differs from what it should be.
fn rescale(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    sets: &Sets<'_>,
    targets: &BTreeMap<String, i32>,
) -> Vec<Action> {
    let mut actions = Vec::new();
    for set in sets.all() {
        let name = set.name_any();
        let (before, after) =
            (rollout::replicas(set), targets.get(&name).copied().unwrap_or_else(|| rollout::replicas(set)));
        let is_new = sets.new.is_some_and(|new| new.name_any() == name);
        let annotations = revision::annotations_due(deployment, spec, set, sets, is_new, after);
        let mut patch = serde_json::Map::new();
        if before != after {
            patch.insert("spec".into(), json!({"replicas": after}));
            actions.push(scaling_event(deployment, &name, before, after));
        }
        if !annotations.is_empty() {
            patch.insert("metadata".into(), json!({"annotations": annotations}));
        }
        if is_new && set.spec.min_ready_seconds != spec.min_ready_seconds {
            patch.entry("spec").or_insert(json!({}))["minReadySeconds"] = json!(spec.min_ready_seconds);
        }
        if !patch.is_empty() {
            actions.push(Action::Patch { kind: Kind::ReplicaSet, key: Key::of(set), patch: Value::Object(patch) });
        }
    }
    actions
}

fn scaling_event(deployment: &Deployment, set: &str, before: i32, after: i32) -> Action {
    let direction = if after > before { "up" } else { "down" };
    Action::normal(
        deployment,
        "ScalingReplicaSet",
        format!("Scaled {direction} replica set {set} from {before} to {after}"),
    )
}

fn delete_set(set: &ReplicaSet) -> Action {
    let uid = set.uid().unwrap_or_default();
    Action::Delete { kind: Kind::ReplicaSet, key: Key::of(set), uid, propagation: None }
}

fn has_live_pods(sets: &[&ReplicaSet], pods: &[Arc<Pod>]) -> bool {
    sets.iter().any(|set| {
        let uid = set.uid().unwrap_or_default();
        pods.iter().any(|pod| is_controlled_by(&**pod, &uid) && !pods::is_finished(pod))
    })
}

/// The Deployment's own sets, and the patches that adopt matching orphans.
fn claim<'a>(deployment: &Deployment, sets: &'a [Arc<ReplicaSet>]) -> (Vec<&'a ReplicaSet>, Vec<Action>) {
    let uid = deployment.uid().unwrap_or_default();
    let selector = Some(&deployment.spec.selector);
    let (mut owned, mut adoptions) = (Vec::new(), Vec::new());
    for set in sets.iter().map(|set| &**set) {
        match controller_of(&set.metadata) {
            Some(owner) if owner.uid == uid => owned.push(set),
            None if selector_matches(selector, set.metadata.labels.as_ref())
                && !is_deleting(set)
                && !is_deleting(deployment) =>
            {
                adoptions.push(adopt(set, deployment));
            }
            _ => {}
        }
    }
    (owned, adoptions)
}

fn adopt(set: &ReplicaSet, deployment: &Deployment) -> Action {
    let mut owners = set.metadata.owner_references.clone().unwrap_or_default();
    owners.push(controller_reference(deployment));
    let patch = json!({"metadata": {"uid": set.metadata.uid, "ownerReferences": owners}});
    Action::Patch { kind: Kind::ReplicaSet, key: Key::of(set), patch }
}

fn sort<'a>(mut owned: Vec<&'a ReplicaSet>, spec: &DeploymentSpec) -> Sets<'a> {
    owned.sort_by_key(|set| (set.metadata.creation_timestamp.clone(), set.metadata.name.clone()));
    let new = owned.iter().copied().find(|set| !is_deleting(*set) && revision::has_template(set, &spec.template));
    let old = owned.into_iter().filter(|set| new.is_none_or(|new| new.metadata.uid != set.metadata.uid)).collect();
    Sets { new, old }
}

/// A set of the wanted name that is not ours: count the collision, so that the next name is another one.
pub(crate) fn refused(inputs: &Inputs, refusals: &[Refusal]) -> Plan {
    let deployment = &*inputs.deployment;
    let mut actions = Vec::new();
    for refusal in refusals.iter().filter(|refusal| matches!(refusal.action, Action::Create { .. })) {
        if refusal.reason == "AlreadyExists" {
            let collisions = deployment.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0) + 1;
            let patch = json!({"status": {"collisionCount": collisions}});
            actions.push(Action::PatchStatus { kind: Kind::Deployment, key: Key::of(deployment), patch });
        } else if !refusal.is_final() {
            let message = format!("Failed to create new replica set: {}", refusal.message);
            actions.push(Action::warning(deployment, "ReplicaSetCreateError", message));
        }
    }
    Plan::of(actions)
}
