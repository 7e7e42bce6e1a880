//! Keeps as many pods of one template as a ReplicaSet asks for, adopts orphans, and counts. Pure.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::pods;
use crate::objects::{Key, controller_reference, is_deleting, time};
use crate::plan::{Action, Kind, Plan, Refusal};
use crate::world::Caches;

/// How many pods one reconcile creates or deletes at most.
const BURST: usize = 500;

/// What the controller looks at.
pub(crate) struct Inputs {
    pub(crate) set: Arc<ReplicaSet>,
    /// All pods of the namespace.
    pub(crate) pods: Vec<Arc<Pod>>,
}

pub(crate) fn gather(caches: &Caches, key: &Key) -> Option<Inputs> {
    Some(Inputs { set: caches.replica_sets.get(key)?, pods: caches.pods.in_namespace(&key.namespace) })
}

pub(crate) fn reconcile(inputs: &Inputs, now: Timestamp) -> Plan {
    let set = &*inputs.set;
    let spec = &set.spec;
    let (owned, mut actions) = pods::claim(set, &spec.selector, &inputs.pods, |_| true);
    let active: Vec<_> = owned.into_iter().filter(|pod| pods::is_active(pod)).collect();
    if !is_deleting(set) && actions.is_empty() {
        actions = scale(set, &active);
    }
    let min_ready = pods::min_ready(spec.min_ready_seconds);
    let status = status(set, &active, min_ready, now);
    actions.extend(Action::status(Kind::ReplicaSet, &Key::of(set), &set.status, &status));
    let mut plan = Plan::of(actions);
    for pod in &active {
        plan.check_after(pods::until_available(pod, min_ready, now).filter(|delay| !delay.is_zero()));
    }
    plan
}

fn scale(set: &ReplicaSet, active: &[&Pod]) -> Vec<Action> {
    let spec = &set.spec;
    let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
    if active.len() > wanted {
        let mut candidates = active.to_vec();
        candidates.sort_by(|a, b| first_to_go(a, b));
        return candidates.into_iter().take((active.len() - wanted).min(BURST)).map(pods::delete).collect();
    }
    let Some(template) = &spec.template else { return Vec::new() };
    let key = Key::of(set);
    let pod = pods::from_template(template, &key.namespace, &format!("{}-", key.name), controller_reference(set));
    std::iter::repeat_n(pods::create(&pod), (wanted - active.len()).min(BURST)).collect()
}

/// Kubernetes' order in which replicas are given up: the one that is missed least comes first.
fn first_to_go(a: &Pod, b: &Pod) -> Ordering {
    let bound = |pod: &Pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    let progress = |pod: &Pod| match pods::phase(pod) {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    };
    let cost = |pod: &Pod| {
        let cost = pod.annotations().get("controller.kubernetes.io/pod-deletion-cost");
        cost.and_then(|cost| cost.parse::<i32>().ok()).unwrap_or(0)
    };
    let restarts = |pod: &Pod| -> i32 {
        pod.status
            .iter()
            .flat_map(|s| s.container_statuses.iter().flatten())
            .map(|c| c.restart_count)
            .max()
            .unwrap_or(0)
    };
    bound(a)
        .cmp(&bound(b))
        .then_with(|| progress(a).cmp(&progress(b)))
        .then_with(|| pods::is_ready(a).cmp(&pods::is_ready(b)))
        .then_with(|| cost(a).cmp(&cost(b)))
        .then_with(|| pods::ready_since(b).cmp(&pods::ready_since(a)))
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| b.metadata.creation_timestamp.cmp(&a.metadata.creation_timestamp))
        .then_with(|| a.metadata.name.cmp(&b.metadata.name))
}

fn status(set: &ReplicaSet, active: &[&Pod], min_ready: Duration, now: Timestamp) -> ReplicaSetStatus {
    let labels = set.spec.template.iter().filter_map(|t| t.metadata.as_ref()?.labels.as_ref());
    let wanted = labels.flatten().collect::<Vec<_>>();
    let fully_labeled = active.iter().filter(|pod| wanted.iter().all(|(k, v)| pod.labels().get(*k) == Some(*v)));
    let available = |pod: &&&Pod| pods::until_available(pod, min_ready, now).is_some_and(|delay| delay.is_zero());
    let nonzero = |count: i32| (count != 0).then_some(count);
    ReplicaSetStatus {
        replicas: pods::count(active),
        fully_labeled_replicas: nonzero(pods::count(fully_labeled)),
        ready_replicas: nonzero(pods::count(active.iter().filter(|pod| pods::is_ready(pod)))),
        available_replicas: nonzero(pods::count(active.iter().filter(available))),
        observed_generation: set.metadata.generation,
        ..ReplicaSetStatus::default()
    }
}

/// Tells about pods that could not be created: in events, and in a status that counts those that there are and carries
/// the condition that a Deployment passes on.
pub(crate) fn refused(inputs: &Inputs, refusals: &[Refusal], now: Timestamp) -> Plan {
    let set = &*inputs.set;
    let mut plan = pods::refused(set, refusals);
    let failed = refusals.iter().find(|r| !r.is_final() && matches!(r.action, Action::Create { kind: Kind::Pod, .. }));
    let Some(failed) = failed else { return plan };
    let (owned, _) = pods::claim(set, &set.spec.selector, &inputs.pods, |_| true);
    let active: Vec<_> = owned.into_iter().filter(|pod| pods::is_active(pod)).collect();
    let mut status = status(set, &active, pods::min_ready(set.spec.min_ready_seconds), now);
    status.conditions = Some(vec![failure(set, &failed.message, now)]);
    plan.actions.extend(Action::status(Kind::ReplicaSet, &Key::of(set), &set.status, &status));
    plan
}

/// The condition `ReplicaFailure`, with the time since when it holds.
fn failure(set: &ReplicaSet, message: &str, now: Timestamp) -> ReplicaSetCondition {
    let known = set.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut known =
        known.filter(|c| c.type_.as_deref() == Some("ReplicaFailure") && c.status.as_deref() == Some("True"));
    let since = known.next().and_then(|known| known.last_transition_time.clone());
    ReplicaSetCondition {
        type_: Some("ReplicaFailure".into()),
        status: Some("True".into()),
        reason: Some("FailedCreate".into()),
        message: Some(message.to_owned()),
        last_transition_time: Some(since.unwrap_or_else(|| time(now))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{from_json, now};
    use serde_json::{Value, json};

    fn set(replicas: i32) -> Arc<ReplicaSet> {
        from_json(json!({
            "metadata": {"name": "web-1", "namespace": "shop", "uid": "rs", "generation": 3},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
                     "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}},
        }))
    }

    fn pod(name: &str, owner: Option<&str>, status: Value) -> Arc<Pod> {
        let owners: Vec<_> = owner
            .map(|uid| json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": uid, "controller": true}))
            .into_iter()
            .collect();
        from_json(json!({
            "metadata": {"name": name, "namespace": "shop", "uid": name, "labels": {"app": "web"}, "ownerReferences": owners},
            "spec": {"nodeName": "n", "containers": []},
            "status": status,
        }))
    }

    fn ready(since: &str) -> Value {
        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": since}]})
    }

    fn deleted(plan: &Plan) -> Vec<&str> {
        plan.actions
            .iter()
            .filter_map(|action| match action {
                Action::Delete { key, .. } => Some(key.name.as_str()),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn missing_replicas_are_created_from_the_template() {
        let plan =
            reconcile(&Inputs { set: set(2), pods: vec![pod("a", Some("rs"), json!({"phase": "Running"}))] }, now());
        insta::assert_yaml_snapshot!(plan);
    }

    #[test]
    fn the_replica_that_is_missed_least_goes_first() {
        let pods = vec![
            pod("old-ready", Some("rs"), ready("2030-01-01T00:00:00Z")),
            pod("new-ready", Some("rs"), ready("2030-01-01T00:05:00Z")),
            pod("pending", Some("rs"), json!({"phase": "Pending"})),
            pod("unready", Some("rs"), json!({"phase": "Running"})),
        ];
        let order = |replicas| {
            let plan = reconcile(&Inputs { set: set(replicas), pods: pods.clone() }, now());
            deleted(&plan).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(order(0), ["pending", "unready", "new-ready", "old-ready"]);
        assert_eq!(order(3), ["pending"]);
    }

    #[test]
    fn finished_and_terminating_pods_do_not_count() {
        let mut terminating = (*pod("going", Some("rs"), ready("2030-01-01T00:00:00Z"))).clone();
        terminating.metadata.deletion_timestamp = Some(time(now()));
        let pods = vec![Arc::new(terminating), pod("failed", Some("rs"), json!({"phase": "Failed"}))];
        let plan = reconcile(&Inputs { set: set(1), pods }, now());
        assert_eq!(plan.actions.iter().filter(|a| matches!(a, Action::Create { .. })).count(), 1);
    }

    #[test]
    fn orphans_are_adopted_before_anything_is_created() {
        let plan = reconcile(&Inputs { set: set(1), pods: vec![pod("orphan", None, json!({}))] }, now());
        assert!(matches!(&plan.actions[0], Action::Patch { key, .. } if key.name == "orphan"));
        assert!(!plan.actions.iter().any(|action| matches!(action, Action::Create { .. })));
    }

    #[test]
    fn another_sets_pods_are_left_alone() {
        let plan = reconcile(&Inputs { set: set(0), pods: vec![pod("foreign", Some("other"), json!({}))] }, now());
        assert_eq!(deleted(&plan), Vec::<&str>::new());
    }

    #[test]
    fn availability_waits_for_min_ready_seconds() {
        let mut set = (*set(1)).clone();
        set.spec.min_ready_seconds = Some(60);
        let pods = vec![pod("a", Some("rs"), ready("2030-01-01T00:09:20Z"))];
        let plan = reconcile(&Inputs { set: Arc::new(set), pods }, now());
        assert_eq!(plan.check_again, Some(Duration::from_secs(20)));
        let Some(Action::PatchStatus { patch, .. }) = plan.actions.last() else { panic!("expected a status") };
        assert_eq!(patch["status"]["readyReplicas"], 1);
        assert_eq!(patch["status"]["availableReplicas"], Value::Null);
    }

    #[test]
    fn a_refused_pod_shows_as_event_and_condition_once() {
        let inputs = Inputs { set: set(2), pods: vec![] };
        let refusals: Vec<_> = reconcile(&inputs, now())
            .actions
            .into_iter()
            .filter(|action| matches!(action, Action::Create { .. }))
            .map(|action| Refusal { action, reason: "InternalError".into(), message: "webhook did not answer".into() })
            .collect();
        let plan = refused(&inputs, &refusals, now());
        assert_eq!(plan.actions.len(), 2);
        assert!(matches!(&plan.actions[0], Action::Event { occurrence } if occurrence.reason == "FailedCreate"));
        assert!(matches!(&plan.actions[1], Action::PatchStatus { .. }));
    }

    #[test]
    fn the_status_counts_what_there_is_although_pods_are_refused() {
        let mut set = (*set(3)).clone();
        let condition = json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
            "message": "quota", "lastTransitionTime": "2030-01-01T00:00:00Z"});
        set.status = serde_json::from_value(json!({"replicas": 0, "conditions": [condition]})).unwrap();
        let inputs = Inputs { set: Arc::new(set), pods: vec![pod("a", Some("rs"), ready("2030-01-01T00:00:00Z"))] };
        let create = pods::create(&inputs.pods[0]);
        let refusal = Refusal { action: create, reason: "Forbidden".into(), message: "exceeded quota".into() };
        let plan = refused(&inputs, &[refusal], now());
        let Some(Action::PatchStatus { patch, .. }) = plan.actions.last() else { panic!("expected a status") };
        let status = &patch["status"];
        assert_eq!((&status["replicas"], &status["readyReplicas"]), (&json!(1), &json!(1)), "{status}");
        let condition = &status["conditions"][0];
        assert_eq!(condition["message"], "exceeded quota");
        assert_eq!(condition["lastTransitionTime"], "2030-01-01T00:00:00Z", "it holds since then");
    }
}
