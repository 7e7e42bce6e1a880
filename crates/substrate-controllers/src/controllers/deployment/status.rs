//! The status of a Deployment: counts, and the conditions that `kubectl rollout status` waits for. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentSpec, DeploymentStatus, ReplicaSet};
use kube::ResourceExt;

use super::{Sets, rollout};
use crate::objects::time;

/// The status, and after what time it may change without any event (the progress deadline).
pub(super) fn compute(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    sets: &Sets<'_>,
    now: Timestamp,
) -> (DeploymentStatus, Option<Duration>) {
    let before = deployment.status.clone().unwrap_or_default();
    let mut status = counts(deployment, sets, &before);
    let mut conditions = Conditions { list: before.conditions.clone().unwrap_or_default(), now };
    availability(spec, &status, &mut conditions);
    replica_failure(sets, &mut conditions);
    let check_again = progress(spec, sets, &before, &status, &mut conditions);
    status.conditions = Some(conditions.list).filter(|list| !list.is_empty());
    (status, check_again)
}

fn counts(deployment: &Deployment, sets: &Sets<'_>, before: &DeploymentStatus) -> DeploymentStatus {
    let sum = |of: &dyn Fn(&ReplicaSet) -> i32| sets.all().map(of).sum::<i32>();
    let status_of = |set: &ReplicaSet| set.status.clone().unwrap_or_default();
    let available = sum(&|set| status_of(set).available_replicas.unwrap_or(0));
    let nonzero = |count: i32| (count > 0).then_some(count);
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: nonzero(sum(&|set| status_of(set).replicas)),
        updated_replicas: nonzero(sets.new.map_or(0, |set| status_of(set).replicas)),
        ready_replicas: nonzero(sum(&|set| status_of(set).ready_replicas.unwrap_or(0))),
        available_replicas: nonzero(available),
        unavailable_replicas: nonzero(sum(&rollout::replicas) - available),
        collision_count: before.collision_count,
        ..DeploymentStatus::default()
    }
}

struct Conditions {
    list: Vec<DeploymentCondition>,
    now: Timestamp,
}

impl Conditions {
    fn get(&self, type_: &str) -> Option<&DeploymentCondition> {
        self.list.iter().find(|condition| condition.type_.as_deref() == Some(type_))
    }

    /// Sets a condition; its times move only as far as its content does.
    fn set(&mut self, type_: &str, status: &str, reason: &str, message: String) {
        let now = Some(time(self.now));
        let fresh = DeploymentCondition {
            type_: Some(type_.into()),
            status: Some(status.into()),
            reason: Some(reason.into()),
            message: Some(message),
            last_update_time: now.clone(),
            last_transition_time: now,
        };
        let Some(known) = self.list.iter_mut().find(|condition| condition.type_.as_deref() == Some(type_)) else {
            self.list.push(fresh);
            return;
        };
        if known.status == fresh.status && known.reason == fresh.reason && known.message == fresh.message {
            return;
        }
        let transition = if known.status == fresh.status { known.last_transition_time.clone() } else { None };
        let last_transition_time = transition.or_else(|| fresh.last_transition_time.clone());
        *known = DeploymentCondition { last_transition_time, ..fresh };
    }

    fn touch(&mut self, type_: &str) {
        if let Some(known) = self.list.iter_mut().find(|condition| condition.type_.as_deref() == Some(type_)) {
            known.last_update_time = Some(time(self.now));
        }
    }
}

fn availability(spec: &DeploymentSpec, status: &DeploymentStatus, conditions: &mut Conditions) {
    let least = rollout::wanted(spec) - rollout::fences(spec).1;
    if status.available_replicas.unwrap_or(0) >= least {
        let message = "Deployment has minimum availability.".to_owned();
        conditions.set("Available", "True", "MinimumReplicasAvailable", message);
    } else {
        let message = "Deployment does not have minimum availability.".to_owned();
        conditions.set("Available", "False", "MinimumReplicasUnavailable", message);
    }
}

fn replica_failure(sets: &Sets<'_>, conditions: &mut Conditions) {
    let failure = sets
        .all()
        .flat_map(|set| set.status.iter().flat_map(|s| s.conditions.iter().flatten()))
        .find(|c| c.type_.as_deref() == Some("ReplicaFailure"));
    match failure {
        Some(failure) => conditions.set(
            "ReplicaFailure",
            failure.status.as_deref().unwrap_or("True"),
            failure.reason.as_deref().unwrap_or_default(),
            failure.message.clone().unwrap_or_default(),
        ),
        None => conditions.list.retain(|condition| condition.type_.as_deref() != Some("ReplicaFailure")),
    }
}

/// The `Progressing` condition: what the rollout does, whether it is done, whether it takes too long.
fn progress(
    spec: &DeploymentSpec,
    sets: &Sets<'_>,
    before: &DeploymentStatus,
    status: &DeploymentStatus,
    conditions: &mut Conditions,
) -> Option<Duration> {
    let reason = conditions.get("Progressing").and_then(|c| c.reason.clone()).unwrap_or_default();
    if spec.paused == Some(true) {
        conditions.set("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused".into());
        return None;
    }
    if reason == "DeploymentPaused" {
        conditions.set("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed".into());
    }
    let new = sets.new?.name_any();
    if rollout::is_complete(spec, sets) {
        let message = format!("ReplicaSet \"{new}\" has successfully progressed.");
        conditions.set("Progressing", "True", "NewReplicaSetAvailable", message);
        return None;
    }
    let names_new =
        conditions.get("Progressing").and_then(|c| c.message.as_ref()).is_some_and(|message| message.contains(&new));
    // A set that has been available once may lose pods without the Deployment being "in progress" again.
    if reason == "NewReplicaSetAvailable" && names_new {
        return None;
    }
    if !names_new {
        conditions.set("Progressing", "True", "NewReplicaSetCreated", format!("Created new replica set \"{new}\""));
    } else if has_progressed(before, status) {
        conditions.set("Progressing", "True", "ReplicaSetUpdated", format!("ReplicaSet \"{new}\" is progressing."));
        conditions.touch("Progressing");
    }
    deadline(spec, &new, conditions)
}

fn has_progressed(before: &DeploymentStatus, after: &DeploymentStatus) -> bool {
    let old = |status: &DeploymentStatus| status.replicas.unwrap_or(0) - status.updated_replicas.unwrap_or(0);
    after.updated_replicas > before.updated_replicas
        || old(after) < old(before)
        || after.ready_replicas > before.ready_replicas
        || after.available_replicas > before.available_replicas
}

fn deadline(spec: &DeploymentSpec, new: &str, conditions: &mut Conditions) -> Option<Duration> {
    let limit =
        SignedDuration::from_secs(i64::from(spec.progress_deadline_seconds.filter(|seconds| *seconds < i32::MAX)?));
    let progressing = conditions.get("Progressing")?;
    if progressing.reason.as_deref() == Some("ProgressDeadlineExceeded") {
        return None;
    }
    let since = progressing.last_update_time.as_ref()?.0;
    let left = limit - conditions.now.duration_since(since);
    if left.is_positive() {
        return Some(left.unsigned_abs());
    }
    let message = format!("ReplicaSet \"{new}\" has timed out progressing.");
    conditions.set("Progressing", "False", "ProgressDeadlineExceeded", message);
    None
}
