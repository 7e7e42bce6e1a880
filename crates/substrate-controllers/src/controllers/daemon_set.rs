//! Keeps one pod of a DaemonSet on every Ready node that its template selects. Pure.
//!
//! An update replaces one pod at a time (or waits for the user with `OnDelete`); there is no surge and there are
//! no ControllerRevisions, so `kubectl rollout undo` does not work for DaemonSets.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;

use super::{pods, template};
use crate::objects::{Key, controller_reference, is_deleting};
use crate::plan::{Action, Kind, Plan};
use crate::world::Caches;

/// The label that names the template a pod was made from.
pub(crate) const REVISION_HASH: &str = "controller-revision-hash";

/// What the controller looks at.
pub(crate) struct Inputs {
    pub(crate) set: Arc<DaemonSet>,
    /// All pods of the namespace.
    pub(crate) pods: Vec<Arc<Pod>>,
    pub(crate) nodes: Vec<Arc<Node>>,
}

pub(crate) fn gather(caches: &Caches, key: &Key) -> Option<Inputs> {
    let pods = caches.pods.in_namespace(&key.namespace);
    Some(Inputs { set: caches.daemon_sets.get(key)?, pods, nodes: caches.nodes.all() })
}

pub(crate) fn reconcile(inputs: &Inputs, now: Timestamp) -> Plan {
    let set = &*inputs.set;
    let spec = &set.spec;
    let hash = template::hash(&spec.template, 0);
    let wanted: Vec<String> =
        inputs.nodes.iter().filter(|node| selects(spec, node)).map(|node| node.name_any()).collect();
    let mut by_node = BTreeMap::<String, Vec<&Pod>>::new();
    let (owned, adoptions) = pods::claim(set, &spec.selector, &inputs.pods, |_| true);
    if !adoptions.is_empty() {
        return Plan::of(adoptions);
    }
    for pod in owned.into_iter().filter(|pod| !is_deleting(*pod)) {
        by_node
            .entry(pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default())
            .or_default()
            .push(pod);
    }
    let mut plan = Plan::default();
    if !is_deleting(set) {
        plan.actions = placements(set, spec, &wanted, &by_node, &hash);
        if plan.actions.is_empty() {
            plan.actions.extend(update(spec, &by_node, &hash));
        }
    }
    let status = status(set, spec, &wanted, &by_node, &hash, now);
    plan.actions.extend(Action::status(Kind::DaemonSet, &Key::of(set), &set.status, &status));
    for pod in by_node.values().flatten() {
        plan.check_after(
            pods::until_available(pod, pods::min_ready(spec.min_ready_seconds), now).filter(|d| !d.is_zero()),
        );
    }
    plan
}

fn selects(spec: &DaemonSetSpec, node: &Node) -> bool {
    let ready = node
        .status
        .iter()
        .flat_map(|s| s.conditions.iter().flatten())
        .any(|c| c.type_ == "Ready" && c.status == "True");
    let selector = spec.template.spec.iter().flat_map(|spec| spec.node_selector.iter().flatten());
    ready && selector.into_iter().all(|(key, value)| node.labels().get(key) == Some(value))
}

/// Pods for nodes that lack one; deletions of finished pods, duplicates and pods on nodes that are not selected.
fn placements(
    set: &DaemonSet,
    spec: &DaemonSetSpec,
    wanted: &[String],
    by_node: &BTreeMap<String, Vec<&Pod>>,
    hash: &str,
) -> Vec<Action> {
    let mut actions = Vec::new();
    for (node, found) in by_node {
        let keep = usize::from(wanted.contains(node));
        let (finished, live): (Vec<&Pod>, Vec<&Pod>) = found.iter().copied().partition(|pod| pods::is_finished(pod));
        actions.extend(finished.into_iter().chain(live.into_iter().skip(keep)).map(pods::delete));
    }
    for node in wanted.iter().filter(|node| !by_node.contains_key(*node)) {
        let namespace = set.namespace().unwrap_or_default();
        let mut pod =
            pods::from_template(&spec.template, &namespace, &format!("{}-", set.name_any()), controller_reference(set));
        pod.metadata.labels.get_or_insert_default().insert(REVISION_HASH.into(), hash.to_owned());
        // A DaemonSet chooses the node itself; a cordon or a taint of the embedded node does not keep it away.
        pod.spec.get_or_insert_default().node_name = Some(node.clone());
        actions.push(pods::create(&pod));
    }
    actions
}

/// Deletes one pod of an older template, once all others are available.
fn update(spec: &DaemonSetSpec, by_node: &BTreeMap<String, Vec<&Pod>>, hash: &str) -> Option<Action> {
    if spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
        return None;
    }
    let is_old = |pod: &&&Pod| pod.labels().get(REVISION_HASH).map(String::as_str) != Some(hash);
    let unready_old = by_node.values().flatten().filter(is_old).find(|pod| !pods::is_ready(pod));
    let all_ready = by_node.values().flatten().all(|pod| pods::is_ready(pod));
    let victim = unready_old.or_else(|| by_node.values().flatten().filter(is_old).find(|_| all_ready))?;
    Some(pods::delete(victim))
}

fn status(
    set: &DaemonSet,
    spec: &DaemonSetSpec,
    wanted: &[String],
    by_node: &BTreeMap<String, Vec<&Pod>>,
    hash: &str,
    now: Timestamp,
) -> DaemonSetStatus {
    let min_ready = pods::min_ready(spec.min_ready_seconds);
    let placed: Vec<_> = wanted.iter().filter_map(|node| by_node.get(node)?.first().copied()).collect();
    let is_available = |pod: &&&Pod| pods::until_available(pod, min_ready, now).is_some_and(|delay| delay.is_zero());
    let updated = placed.iter().filter(|pod| pod.labels().get(REVISION_HASH).map(String::as_str) == Some(hash));
    let available = pods::count(placed.iter().filter(is_available));
    let desired = pods::count(wanted);
    let nonzero = |count: i32| (count > 0).then_some(count);
    DaemonSetStatus {
        current_number_scheduled: pods::count(&placed),
        desired_number_scheduled: desired,
        number_available: nonzero(available),
        number_misscheduled: pods::count(by_node.keys().filter(|node| !wanted.contains(node))),
        number_ready: pods::count(placed.iter().filter(|pod| pods::is_ready(pod))),
        number_unavailable: nonzero(desired - available),
        observed_generation: set.metadata.generation,
        updated_number_scheduled: nonzero(pods::count(updated)),
        ..DaemonSetStatus::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{from_json, now};
    use serde_json::json;

    fn set() -> Arc<DaemonSet> {
        from_json(json!({
            "metadata": {"name": "agent", "namespace": "shop", "uid": "d"},
            "spec": {"selector": {"matchLabels": {"app": "agent"}},
                     "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {"nodeSelector": {"os": "linux"}, "containers": []}}},
        }))
    }

    fn node(name: &str, os: &str) -> Arc<Node> {
        let status = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        from_json(json!({"metadata": {"name": name, "labels": {"os": os}}, "status": status}))
    }

    fn pod(name: &str, node: &str, hash: &str, ready: bool) -> Arc<Pod> {
        from_json(json!({
            "metadata": {"name": name, "namespace": "shop", "uid": name, "labels": {REVISION_HASH: hash, "app": "agent"},
                         "ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": "d", "controller": true}]},
            "spec": {"nodeName": node, "containers": []},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        }))
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
    fn each_selected_node_gets_one_pod() {
        let nodes = vec![node("a", "linux"), node("b", "plan9"), node("c", "linux")];
        let plan = reconcile(&Inputs { set: set(), pods: vec![], nodes }, now());
        let placed: Vec<_> = plan
            .actions
            .iter()
            .filter_map(|action| match action {
                Action::Create { object, .. } => object["spec"]["nodeName"].as_str(),
                _ => None,
            })
            .collect();
        assert_eq!(placed, ["a", "c"]);
    }

    #[test]
    fn an_update_takes_one_pod_at_a_time() {
        let hash = template::hash(&set().spec.template, 0);
        let nodes = vec![node("a", "linux"), node("b", "linux")];
        let plan = |pods| reconcile(&Inputs { set: set(), pods, nodes: nodes.clone() }, now());
        assert_eq!(deleted(&plan(vec![pod("1", "a", "old", true), pod("2", "b", "old", true)])), ["1"]);
        assert!(deleted(&plan(vec![pod("1", "a", &hash, false), pod("2", "b", "old", true)])).is_empty());
        assert_eq!(deleted(&plan(vec![pod("1", "a", &hash, true), pod("2", "b", "old", true)])), ["2"]);
    }

    #[test]
    fn pods_on_nodes_that_are_not_selected_go() {
        let plan = reconcile(&Inputs { set: set(), pods: vec![pod("1", "gone", "x", true)], nodes: vec![] }, now());
        assert_eq!(deleted(&plan), ["1"]);
    }
}
