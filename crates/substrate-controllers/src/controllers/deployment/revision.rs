//! Names, hashes, annotations and history of a Deployment's ReplicaSets. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use serde_json::json;

use super::{DESIRED_REPLICAS, MAX_REPLICAS, REVISION, Sets, rollout};
use crate::controllers::template::{self, HASH_LABEL};
use crate::objects::{Key, controller_reference, is_deleting};
use crate::plan::{Action, Kind};

/// Annotations of a Deployment that describe the Deployment alone.
const NOT_COPIED: [&str; 5] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    "deployment.kubernetes.io/revision-history",
    DESIRED_REPLICAS,
    MAX_REPLICAS,
];

/// How many sets without replicas are kept for `kubectl rollout undo`, unless the Deployment says otherwise.
const DEFAULT_HISTORY: i32 = 10;

/// Whether the set was made from this template; the hash label that was added to it does not count.
pub(super) fn has_template(set: &ReplicaSet, wanted: &PodTemplateSpec) -> bool {
    set.spec.template.as_ref().is_some_and(|known| template::are_equal(known, wanted))
}

/// The set of the Deployment's template.
pub(super) fn create(deployment: &Deployment, spec: &DeploymentSpec, sets: &Sets<'_>, replicas: i32) -> ReplicaSet {
    let key = Key::of(deployment);
    let hash = template::hash(
        &spec.template,
        deployment.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0),
    );
    let mut template = spec.template.clone();
    template.metadata.get_or_insert_default().labels.get_or_insert_default().insert(HASH_LABEL.into(), hash.clone());
    let mut selector = spec.selector.clone();
    selector.match_labels.get_or_insert_default().insert(HASH_LABEL.into(), hash.clone());
    let mut annotations = copied_annotations(deployment);
    annotations.insert(REVISION.into(), (latest_revision(sets.old.iter().copied()) + 1).to_string());
    annotations.insert(DESIRED_REPLICAS.into(), rollout::wanted(spec).to_string());
    annotations.insert(MAX_REPLICAS.into(), rollout::largest_total(spec).to_string());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", key.name)),
            namespace: Some(key.namespace),
            labels: template.metadata.as_ref().and_then(|meta| meta.labels.clone()),
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: ReplicaSetSpec {
            replicas: Some(replicas),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        },
        status: None,
    }
}

fn copied_annotations(deployment: &Deployment) -> BTreeMap<String, String> {
    let annotations = deployment.annotations().iter().filter(|(key, _)| !NOT_COPIED.contains(&key.as_str()));
    annotations.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The revision that a set carries; 0 if none.
pub(super) fn revision(set: &ReplicaSet) -> i64 {
    set.annotations().get(REVISION).and_then(|revision| revision.parse().ok()).unwrap_or(0)
}

fn latest_revision<'a>(sets: impl Iterator<Item = &'a ReplicaSet>) -> i64 {
    sets.map(revision).max().unwrap_or(0)
}

/// The size of the Deployment when the set was last scaled.
pub(super) fn desired_replicas(set: &ReplicaSet) -> Option<i32> {
    set.annotations().get(DESIRED_REPLICAS)?.parse().ok()
}

/// The annotations of a set that have to change, given that it is to have `replicas` replicas.
pub(super) fn annotations_due(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    set: &ReplicaSet,
    sets: &Sets<'_>,
    is_new: bool,
    replicas: i32,
) -> BTreeMap<String, String> {
    let mut due = BTreeMap::new();
    if is_new {
        due.extend(copied_annotations(deployment));
        let revision_due = latest_revision(sets.old.iter().copied()) + 1;
        if revision(set) < revision_due {
            due.insert(REVISION.into(), revision_due.to_string());
            if let Some(previous) = set.annotations().get(REVISION) {
                let history = set.annotations().get("deployment.kubernetes.io/revision-history");
                let history = history.map_or_else(|| previous.clone(), |history| format!("{history},{previous}"));
                due.insert("deployment.kubernetes.io/revision-history".into(), history);
            }
        }
    }
    if is_new || replicas > 0 {
        due.insert(DESIRED_REPLICAS.into(), rollout::wanted(spec).to_string());
        due.insert(MAX_REPLICAS.into(), rollout::largest_total(spec).to_string());
    }
    due.retain(|key, value| set.annotations().get(key) != Some(value));
    due
}

/// The patch that gives the Deployment the revision of its set, if it lacks it.
pub(super) fn annotate_deployment(deployment: &Deployment, new: &ReplicaSet, sets: &Sets<'_>) -> Option<Action> {
    let revision = revision(new).max(latest_revision(sets.old.iter().copied()) + 1).to_string();
    if deployment.annotations().get(REVISION) == Some(&revision) {
        return None;
    }
    let patch = json!({"metadata": {"annotations": {REVISION: revision}}});
    Some(Action::Patch { kind: Kind::Deployment, key: Key::of(deployment), patch })
}

/// Old sets beyond `revisionHistoryLimit`, the oldest revisions first.
pub(super) fn surplus_history<'a>(spec: &DeploymentSpec, sets: &Sets<'a>) -> impl Iterator<Item = &'a ReplicaSet> {
    let limit = usize::try_from(spec.revision_history_limit.unwrap_or(DEFAULT_HISTORY)).unwrap_or(0);
    let is_spent = |set: &&ReplicaSet| {
        let status = set.status.as_ref().map_or(0, |status| status.replicas);
        status == 0 && rollout::replicas(set) == 0 && !is_deleting(*set)
    };
    let mut spent: Vec<_> = sets.old.iter().copied().filter(is_spent).collect();
    spent.sort_by_key(|set| revision(set));
    let surplus = spent.len().saturating_sub(limit);
    spent.into_iter().take(surplus)
}
