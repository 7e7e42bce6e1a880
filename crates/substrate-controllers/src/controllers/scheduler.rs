//! Binds pods to nodes: the least loaded Ready node that fits. Knows node selectors, taints and cordons;
//! does not know resources, affinity or topology spread, which mean little where all nodes are one machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition, PodStatus, Taint, Toleration};

use crate::objects::{Key, is_deleting, time};
use crate::plan::{Action, Kind, Plan};
use crate::world::Caches;

/// What the scheduler looks at.
pub(crate) struct Inputs {
    pub(crate) pod: Arc<Pod>,
    pub(crate) nodes: Vec<Arc<Node>>,
    /// Pods per node that are not finished.
    pub(crate) load: BTreeMap<String, usize>,
}

/// Whether the pod is ours to schedule and not yet bound.
pub(crate) fn awaits_a_node(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let ours = spec.scheduler_name.as_deref().is_none_or(|name| name == "default-scheduler");
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    ours && !gated && spec.node_name.as_deref().unwrap_or_default().is_empty() && !is_deleting(pod)
}

pub(crate) fn gather(caches: &Caches, key: &Key) -> Option<Inputs> {
    let pod = caches.pods.get(key)?;
    let mut load = BTreeMap::new();
    for pod in caches.pods.all() {
        let finished =
            matches!(pod.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"));
        if let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).filter(|_| !finished) {
            *load.entry(node).or_default() += 1;
        }
    }
    Some(Inputs { pod, nodes: caches.nodes.all(), load })
}

pub(crate) fn reconcile(inputs: &Inputs, now: Timestamp) -> Plan {
    let pod = &*inputs.pod;
    if !awaits_a_node(pod) {
        return Plan::default();
    }
    let mut misfits = BTreeMap::<&'static str, usize>::new();
    let mut fitting = Vec::new();
    for node in &inputs.nodes {
        match misfit(pod, node) {
            Some(reason) => *misfits.entry(reason).or_default() += 1,
            None => fitting.push(node.metadata.name.clone().unwrap_or_default()),
        }
    }
    let least_loaded =
        fitting.into_iter().min_by_key(|name| (inputs.load.get(name).copied().unwrap_or(0), name.clone()));
    Plan::of(match least_loaded {
        Some(node) => bind(pod, node),
        None => unschedulable(pod, &explain(inputs.nodes.len(), &misfits), now),
    })
}

fn bind(pod: &Pod, node: String) -> Vec<Action> {
    let key = Key::of(pod);
    let event = Action::normal(pod, "Scheduled", format!("Successfully assigned {key} to {node}"));
    vec![Action::Bind { pod: key, uid: pod.metadata.uid.clone().unwrap_or_default(), node }, event]
}

fn unschedulable(pod: &Pod, message: &str, now: Timestamp) -> Vec<Action> {
    let known =
        pod.status.iter().flat_map(|status| status.conditions.iter().flatten()).find(|c| c.type_ == "PodScheduled");
    if known.is_some_and(|c| c.status == "False" && c.message.as_deref() == Some(message)) {
        return Vec::new();
    }
    let condition = PodCondition {
        type_: "PodScheduled".into(),
        status: "False".into(),
        reason: Some("Unschedulable".into()),
        message: Some(message.into()),
        last_transition_time: Some(time(now)),
        ..PodCondition::default()
    };
    let mut status: PodStatus = pod.status.clone().unwrap_or_default();
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|c| c.type_ != "PodScheduled");
    conditions.push(condition);
    let event = Action::warning(pod, "FailedScheduling", message.to_owned());
    Action::status(Kind::Pod, &Key::of(pod), &pod.status, &status).into_iter().chain([event]).collect()
}

/// Why the pod cannot run on the node; `None` if it can.
fn misfit(pod: &Pod, node: &Node) -> Option<&'static str> {
    let spec = pod.spec.as_ref()?;
    let node_spec = node.spec.as_ref();
    let ready = node
        .status
        .iter()
        .flat_map(|s| s.conditions.iter().flatten())
        .any(|c| c.type_ == "Ready" && c.status == "True");
    if !ready {
        return Some("node(s) were not ready");
    }
    if node_spec.and_then(|spec| spec.unschedulable) == Some(true) {
        return Some("node(s) were unschedulable");
    }
    let labels = node.metadata.labels.as_ref();
    let selected = spec.node_selector.iter().flatten().all(|(k, v)| labels.and_then(|labels| labels.get(k)) == Some(v));
    if !selected {
        return Some("node(s) didn't match Pod's node affinity/selector");
    }
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let tainted = node_spec
        .and_then(|spec| spec.taints.as_ref())
        .into_iter()
        .flatten()
        .any(|taint| taint.effect != "PreferNoSchedule" && !tolerations.iter().any(|t| tolerates(t, taint)));
    tainted.then_some("node(s) had untolerated taint")
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    let exists = toleration.operator.as_deref() == Some("Exists");
    (effect.is_empty() || effect == taint.effect)
        && ((key.is_empty() && exists) || key == taint.key)
        && (exists || toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default())
}

fn explain(nodes: usize, misfits: &BTreeMap<&'static str, usize>) -> String {
    if nodes == 0 {
        return "no nodes available to schedule pods".into();
    }
    let reasons: Vec<_> = misfits.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    format!("0/{nodes} nodes are available: {}.", reasons.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{from_json, now};
    use serde_json::json;

    fn node(name: &str, extra: serde_json::Value) -> Arc<Node> {
        let mut node = json!({
            "metadata": {"name": name, "labels": {"disk": "fast"}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        });
        json_patch_merge(&mut node, extra);
        from_json(node)
    }

    fn json_patch_merge(target: &mut serde_json::Value, extra: serde_json::Value) {
        for (key, value) in extra.as_object().into_iter().flatten() {
            target[key] = value.clone();
        }
    }

    fn pod(spec: serde_json::Value) -> Arc<Pod> {
        from_json(json!({"metadata": {"name": "web", "namespace": "shop", "uid": "u1"}, "spec": spec}))
    }

    fn plan(pod: Arc<Pod>, nodes: Vec<Arc<Node>>, load: &[(&str, usize)]) -> Plan {
        let load = load.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        reconcile(&Inputs { pod, nodes, load }, now())
    }

    #[test]
    fn the_least_loaded_fitting_node_is_taken() {
        let nodes =
            vec![node("a", json!({})), node("b", json!({})), node("c", json!({"spec": {"unschedulable": true}}))];
        let plan = plan(pod(json!({"containers": []})), nodes, &[("a", 3), ("b", 2)]);
        assert!(matches!(&plan.actions[0], Action::Bind { node, .. } if node == "b"));
    }

    #[test]
    fn what_fits_nowhere_is_pending_with_the_reasons() {
        let nodes = vec![
            node("a", json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}})),
            node("b", json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}})),
            node("c", json!({"metadata": {"name": "c", "labels": {"disk": "slow"}}})),
        ];
        let plan = plan(pod(json!({"containers": [], "nodeSelector": {"disk": "fast"}})), nodes, &[]);
        insta::assert_yaml_snapshot!(plan);
    }

    #[test]
    fn the_same_reason_is_not_written_twice() {
        let first = plan(pod(json!({"containers": []})), vec![], &[]);
        let Action::PatchStatus { patch, .. } = &first.actions[0] else { panic!("expected a status patch") };
        let known = from_json(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u1"}, "spec": {"containers": []}, "status": patch["status"],
        }));
        assert_eq!(plan(known, vec![], &[]), Plan::default());
    }

    #[test]
    fn a_toleration_admits_a_tainted_node() {
        let tainted = node("b", json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}}));
        let tolerations = json!([{"key": "k", "operator": "Exists"}]);
        let plan = plan(pod(json!({"containers": [], "tolerations": tolerations})), vec![tainted], &[]);
        assert!(matches!(&plan.actions[0], Action::Bind { .. }));
    }

    #[test]
    fn a_bound_or_gated_pod_is_left_alone() {
        assert!(!awaits_a_node(&pod(json!({"containers": [], "nodeName": "a"}))));
        assert!(!awaits_a_node(&pod(json!({"containers": [], "schedulingGates": [{"name": "g"}]}))));
    }
}
