//! Keeps the numbered pods of a StatefulSet: created in order, removed and updated in reverse order. Pure.
//!
//! There are no volume claims in this cluster, so a set with `volumeClaimTemplates` is refused with an event; and
//! there are no ControllerRevisions, so `kubectl rollout undo` does not work for StatefulSets.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::daemon_set::REVISION_HASH;
use super::{pods, template};
use crate::objects::{Key, controller_reference, is_deleting};
use crate::plan::{Action, Kind, Plan};
use crate::world::Caches;

/// What the controller looks at.
pub(crate) struct Inputs {
    pub(crate) set: Arc<StatefulSet>,
    /// All pods of the namespace.
    pub(crate) pods: Vec<Arc<Pod>>,
}

pub(crate) fn gather(caches: &Caches, key: &Key) -> Option<Inputs> {
    Some(Inputs { set: caches.stateful_sets.get(key)?, pods: caches.pods.in_namespace(&key.namespace) })
}

/// A set with what follows from its specification.
struct View<'a> {
    set: &'a StatefulSet,
    spec: &'a StatefulSetSpec,
    first: i64,
    replicas: i64,
    revision: String,
    by_ordinal: BTreeMap<i64, &'a Pod>,
}

pub(crate) fn reconcile(inputs: &Inputs, now: Timestamp) -> Plan {
    let set = &*inputs.set;
    let spec = &set.spec;
    if spec.volume_claim_templates.as_ref().is_some_and(|claims| !claims.is_empty()) {
        let message =
            "this cluster has no persistent volumes; use an emptyDir volume instead of volumeClaimTemplates".to_owned();
        return Plan::of(vec![Action::warning(set, "FailedCreate", message)]);
    }
    let (owned, adoptions) = pods::claim(set, &spec.selector, &inputs.pods, |pod| ordinal(set, pod).is_some());
    if !adoptions.is_empty() {
        return Plan::of(adoptions);
    }
    let view = View {
        set,
        spec,
        first: spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0).into(),
        replicas: spec.replicas.unwrap_or(1).into(),
        revision: format!("{}-{}", set.name_any(), template::hash(&spec.template, 0)),
        by_ordinal: owned.into_iter().filter_map(|pod| Some((ordinal(set, pod)?, pod))).collect(),
    };
    let mut plan = Plan::default();
    if !is_deleting(set) {
        plan.actions = view.next();
    }
    plan.actions.extend(Action::status(Kind::StatefulSet, &Key::of(set), &set.status, &view.status(now)));
    for pod in view.by_ordinal.values() {
        plan.check_after(
            pods::until_available(pod, pods::min_ready(spec.min_ready_seconds), now).filter(|d| !d.is_zero()),
        );
    }
    plan
}

fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i64> {
    pod.name_any().strip_prefix(&format!("{}-", set.name_any()))?.parse().ok()
}

impl View<'_> {
    fn in_parallel(&self) -> bool {
        self.spec.pod_management_policy.as_deref() == Some("Parallel")
    }

    /// The next step; in order there is only one at a time, and it waits until the pods before it are Ready.
    fn next(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        for ordinal in self.first..self.first + self.replicas {
            match self.by_ordinal.get(&ordinal) {
                None => actions.push(pods::create(&self.pod(ordinal))),
                Some(pod) if pods::is_finished(pod) && !is_deleting(*pod) => actions.push(pods::delete(pod)),
                Some(pod) if pods::is_ready(pod) && !is_deleting(*pod) => continue,
                Some(_) => {}
            }
            if !self.in_parallel() {
                return actions;
            }
        }
        for (_, pod) in self.by_ordinal.range(self.first + self.replicas..).rev() {
            if !is_deleting(*pod) {
                actions.push(pods::delete(pod));
            }
            if !self.in_parallel() {
                return actions;
            }
        }
        if actions.is_empty() {
            actions.extend(self.update());
        }
        actions
    }

    /// Deletes the highest pod of an older template, down to the partition, if all above it are Ready.
    fn update(&self) -> Option<Action> {
        let strategy = self.spec.update_strategy.as_ref();
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
            return None;
        }
        let partition = strategy.and_then(|strategy| strategy.rolling_update.as_ref()?.partition).unwrap_or(0).into();
        for (_, pod) in self.by_ordinal.range(self.first.max(partition)..).rev() {
            if is_deleting(*pod) {
                return None;
            }
            if pod.labels().get(REVISION_HASH) != Some(&self.revision) {
                return Some(pods::delete(pod));
            }
            if !pods::is_ready(pod) {
                return None;
            }
        }
        None
    }

    fn pod(&self, ordinal: i64) -> Pod {
        let name = format!("{}-{ordinal}", self.set.name_any());
        let namespace = self.set.namespace().unwrap_or_default();
        let mut pod = pods::from_template(&self.spec.template, &namespace, &name, controller_reference(self.set));
        let labels = pod.metadata.labels.get_or_insert_default();
        labels.insert("statefulset.kubernetes.io/pod-name".into(), name.clone());
        labels.insert("apps.kubernetes.io/pod-index".into(), ordinal.to_string());
        labels.insert(REVISION_HASH.into(), self.revision.clone());
        let spec = pod.spec.get_or_insert_default();
        spec.hostname = Some(name);
        spec.subdomain = self.spec.service_name.clone().filter(|service| !service.is_empty());
        pod
    }

    fn status(&self, now: Timestamp) -> StatefulSetStatus {
        let min_ready = pods::min_ready(self.spec.min_ready_seconds);
        let live: Vec<_> = self.by_ordinal.values().filter(|pod| pods::is_active(pod)).collect();
        let updated = pods::count(live.iter().filter(|pod| pod.labels().get(REVISION_HASH) == Some(&self.revision)));
        let available =
            live.iter().filter(|pod| pods::until_available(pod, min_ready, now).is_some_and(|d| d.is_zero()));
        let replicas = pods::count(&live);
        let is_rolled_out = updated == replicas && i64::from(replicas) == self.replicas;
        let previous = self.set.status.as_ref().and_then(|status| status.current_revision.clone());
        let current =
            if is_rolled_out { self.revision.clone() } else { previous.unwrap_or_else(|| self.revision.clone()) };
        let of_current = pods::count(live.iter().filter(|pod| pod.labels().get(REVISION_HASH) == Some(&current)));
        let nonzero = |count: i32| (count > 0).then_some(count);
        StatefulSetStatus {
            replicas,
            ready_replicas: nonzero(pods::count(live.iter().filter(|pod| pods::is_ready(pod)))),
            available_replicas: Some(pods::count(available)),
            current_replicas: nonzero(of_current),
            updated_replicas: nonzero(updated),
            current_revision: Some(current),
            update_revision: Some(self.revision.clone()),
            observed_generation: self.set.metadata.generation,
            collision_count: Some(0),
            ..StatefulSetStatus::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{from_json, now};
    use serde_json::{Value, json};

    fn set(spec: Value) -> Arc<StatefulSet> {
        let mut set = json!({
            "metadata": {"name": "db", "namespace": "shop", "uid": "s"},
            "spec": {"replicas": 3, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
                     "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": []}}},
        });
        for (key, value) in spec.as_object().unwrap() {
            set["spec"][key] = value.clone();
        }
        from_json(set)
    }

    fn revision() -> String {
        format!("db-{}", template::hash(&set(json!({})).spec.template, 0))
    }

    fn pod(ordinal: usize, ready: bool, revision: &str) -> Arc<Pod> {
        from_json(json!({
            "metadata": {"name": format!("db-{ordinal}"), "namespace": "shop", "uid": ordinal.to_string(), "labels": {REVISION_HASH: revision, "app": "db"},
                         "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "s", "controller": true}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        }))
    }

    fn steps(set: Arc<StatefulSet>, pods: Vec<Arc<Pod>>) -> Vec<String> {
        let plan = reconcile(&Inputs { set, pods }, now());
        plan.actions
            .iter()
            .filter_map(|action| match action {
                Action::Create { object, .. } => Some(format!("+{}", object["metadata"]["name"].as_str().unwrap())),
                Action::Delete { key, .. } => Some(format!("-{}", key.name)),
                Action::Event { occurrence } => Some(occurrence.message.clone()),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn pods_come_one_after_the_other_unless_in_parallel() {
        let revision = revision();
        assert_eq!(steps(set(json!({})), vec![]), ["+db-0"]);
        assert!(steps(set(json!({})), vec![pod(0, false, &revision)]).is_empty());
        assert_eq!(steps(set(json!({})), vec![pod(0, true, &revision)]), ["+db-1"]);
        assert_eq!(steps(set(json!({"podManagementPolicy": "Parallel"})), vec![]), ["+db-0", "+db-1", "+db-2"]);
    }

    #[test]
    fn the_highest_goes_first_when_scaled_down() {
        let revision = revision();
        let pods = (0..3).map(|ordinal| pod(ordinal, true, &revision)).collect();
        assert_eq!(steps(set(json!({"replicas": 1})), pods), ["-db-2"]);
    }

    #[test]
    fn an_update_runs_from_the_highest_down_to_the_partition() {
        let revision = revision();
        let pods = |states: [(&str, bool); 3]| {
            states.iter().enumerate().map(|(i, (hash, ready))| pod(i, *ready, hash)).collect()
        };
        let old = "old";
        assert_eq!(steps(set(json!({})), pods([(old, true), (old, true), (old, true)])), ["-db-2"]);
        assert_eq!(steps(set(json!({})), pods([(old, true), (old, true), (&revision, true)])), ["-db-1"]);
        let partitioned = set(json!({"updateStrategy": {"rollingUpdate": {"partition": 2}}}));
        assert!(steps(partitioned, pods([(old, true), (old, true), (&revision, true)])).is_empty());
    }

    #[test]
    fn orphans_with_its_names_are_adopted() {
        let mut orphan = (*pod(0, true, &revision())).clone();
        orphan.metadata.owner_references = None;
        let plan = reconcile(&Inputs { set: set(json!({})), pods: vec![Arc::new(orphan)] }, now());
        assert!(matches!(plan.actions.as_slice(), [Action::Patch { .. }]));
    }

    #[test]
    fn volume_claims_are_refused_with_the_cure() {
        let claims = json!({"volumeClaimTemplates": [{"metadata": {"name": "data"}}]});
        assert!(steps(set(claims), vec![])[0].contains("emptyDir"));
    }
}
