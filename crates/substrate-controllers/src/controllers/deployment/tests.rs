//! The Deployment controller on fixtures, and a rollout played through to its end.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use serde_json::{Value, json};

use super::{Inputs, REVISION, reconcile, refused};
use crate::controllers::template::HASH_LABEL;
use crate::fixtures::{from_json, now};
use crate::objects;
use crate::plan::{Action, Kind, Plan, Refusal};

fn deployment(spec: Value) -> Deployment {
    let mut deployment = json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "d", "generation": 1, "annotations": {"team": "a"}},
        "spec": {
            "replicas": 4,
            "selector": {"matchLabels": {"app": "web"}},
            "progressDeadlineSeconds": 600,
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "v1"}]}},
        },
    });
    for (key, value) in spec.as_object().unwrap() {
        deployment["spec"][key] = value.clone();
    }
    serde_json::from_value(deployment).unwrap()
}

/// A small stand-in for the API server and the ReplicaSet controller: applies plans, makes replicas available.
struct Play {
    deployment: Value,
    sets: Vec<Value>,
    now: Timestamp,
}

impl Play {
    fn new(deployment: Deployment) -> Self {
        Self { deployment: objects::json(&deployment), sets: Vec::new(), now: now() }
    }

    fn inputs(&self) -> Inputs {
        let sets = self.sets.iter().map(|set| from_json::<ReplicaSet>(set.clone())).collect();
        Inputs { deployment: from_json(self.deployment.clone()), sets, pods: Vec::new() }
    }

    /// One reconcile; status is written only when nothing else was, as the executor does it.
    fn step(&mut self) -> Plan {
        let plan = reconcile(&self.inputs(), self.now);
        let changes = plan.actions.iter().any(Action::changes_objects);
        for action in &plan.actions {
            match action {
                Action::Create { object, .. } => {
                    let mut object = object.clone();
                    object["metadata"]["uid"] = object["metadata"]["name"].clone();
                    object["metadata"]["creationTimestamp"] =
                        json!(format!("2030-01-01T00:00:{:02}Z", self.sets.len()));
                    object["status"] = json!({"replicas": 0});
                    self.sets.push(object);
                }
                Action::Patch { kind: Kind::ReplicaSet, key, patch } => {
                    let set = self.sets.iter_mut().find(|set| set["metadata"]["name"] == key.name.as_str()).unwrap();
                    merge(set, patch);
                }
                Action::Patch { patch, .. } => merge(&mut self.deployment, patch),
                Action::PatchStatus { patch, .. } if !changes => merge(&mut self.deployment, patch),
                Action::Delete { key, .. } => self.sets.retain(|set| set["metadata"]["name"] != key.name.as_str()),
                _ => {}
            }
        }
        plan
    }

    /// Every set gets the pods it asks for, and at most `batch` more of each become available.
    fn kubelet(&mut self, batch: i64) {
        for set in &mut self.sets {
            let wanted = set["spec"]["replicas"].as_i64().unwrap();
            let ready = set["status"]["availableReplicas"].as_i64().unwrap_or(0);
            let ready = (ready + batch).min(wanted);
            set["status"] = json!({"replicas": wanted, "readyReplicas": ready, "availableReplicas": ready});
        }
    }

    fn settle(&mut self) {
        for _ in 0..200 {
            let changed = self.step().actions.iter().any(|action| !matches!(action, Action::Event { .. }));
            let before = self.sets.clone();
            self.kubelet(1);
            if !changed && before == self.sets {
                return;
            }
        }
        panic!("the rollout does not settle: {:#?}", self.sets);
    }

    fn sum(&self, pointer: &str) -> i64 {
        self.sets.iter().map(|set| set.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)).sum()
    }

    fn condition(&self, type_: &str) -> Value {
        let conditions = self.deployment["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.into_iter().find(|condition| condition["type"] == type_).unwrap_or_default()
    }

    fn set_image(&mut self, image: &str) {
        self.deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        self.deployment["metadata"]["generation"] =
            json!(self.deployment["metadata"]["generation"].as_i64().unwrap() + 1);
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}

#[test]
fn a_new_deployment_creates_its_set() {
    let plan = reconcile(&Play::new(deployment(json!({}))).inputs(), now());
    insta::assert_yaml_snapshot!(plan);
}

#[test]
fn a_finished_rollout_says_so() {
    let mut play = Play::new(deployment(json!({})));
    play.settle();
    let status = &play.deployment["status"];
    for field in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"] {
        assert_eq!(status[field], 4, "{field}");
    }
    assert_eq!(status["observedGeneration"], 1);
    assert_eq!(play.condition("Progressing")["reason"], "NewReplicaSetAvailable");
    assert_eq!(play.condition("Available")["status"], "True");
    assert_eq!(play.deployment["metadata"]["annotations"][REVISION], "1");
    assert_eq!(play.step(), Plan::default(), "a settled Deployment must cause no writes");
}

#[test]
fn a_rolling_update_keeps_within_its_fences_to_the_end() {
    for (surge, unavailable) in
        [(json!(1), json!(0)), (json!(0), json!(1)), (json!("25%"), json!("25%")), (json!("100%"), json!(0))]
    {
        let strategy = json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}});
        let mut play = Play::new(deployment(strategy));
        play.settle();
        play.set_image("v2");
        let count = |value: &Value| value.as_i64().unwrap_or_else(|| if value == "100%" { 4 } else { 1 });
        let (most, least) = (4 + count(&surge), 4 - count(&unavailable));
        for _ in 0..60 {
            play.step();
            assert!(play.sum("/spec/replicas") <= most, "more than {most} with surge {surge}");
            // What is asked to go is the least available anyway, so availability can be judged on the promise.
            let promised: i64 = play
                .sets
                .iter()
                .map(|set| {
                    set["status"]["availableReplicas"]
                        .as_i64()
                        .unwrap_or(0)
                        .min(set["spec"]["replicas"].as_i64().unwrap())
                })
                .sum();
            assert!(promised >= least, "fewer than {least} available with unavailable {unavailable}");
            play.kubelet(1);
        }
        play.settle();
        let sizes: Vec<_> = play.sets.iter().map(|set| set["spec"]["replicas"].as_i64().unwrap()).collect();
        assert_eq!(sizes, [0, 4]);
        assert_eq!(play.condition("Progressing")["reason"], "NewReplicaSetAvailable");
    }
}

#[test]
fn undo_takes_the_old_set_up_again_with_a_new_revision() {
    let mut play = Play::new(deployment(json!({})));
    play.settle();
    play.set_image("v2");
    play.settle();
    play.set_image("v1");
    play.settle();
    assert_eq!(play.sets.len(), 2);
    assert_eq!(play.sets[0]["spec"]["replicas"], 4);
    assert_eq!(play.sets[0]["metadata"]["annotations"][REVISION], "3");
    assert_eq!(play.sets[0]["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"], "1");
    assert_eq!(play.deployment["metadata"]["annotations"][REVISION], "3");
}

#[test]
fn history_beyond_the_limit_is_deleted() {
    let mut play = Play::new(deployment(json!({"revisionHistoryLimit": 1})));
    for image in ["v1", "v2", "v3", "v4"] {
        play.set_image(image);
        play.settle();
    }
    assert_eq!(play.sets.len(), 2);
}

#[test]
fn scaling_touches_only_the_size() {
    let mut play = Play::new(deployment(json!({})));
    play.settle();
    play.deployment["spec"]["replicas"] = json!(7);
    play.settle();
    assert_eq!(play.sets.len(), 1);
    assert_eq!(play.sets[0]["spec"]["replicas"], 7);
    assert_eq!(play.sets[0]["metadata"]["annotations"][REVISION], "1");
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut play = Play::new(deployment(json!({})));
    play.settle();
    play.deployment["spec"]["paused"] = json!(true);
    play.deployment["spec"]["replicas"] = json!(2);
    play.set_image("v2");
    play.settle();
    assert_eq!(play.sets.len(), 1);
    assert_eq!(play.sets[0]["spec"]["replicas"], 2);
}

#[test]
fn recreate_waits_for_the_old_pods() {
    let mut play = Play::new(deployment(json!({"strategy": {"type": "Recreate"}})));
    play.settle();
    play.set_image("v2");
    let old_pod = from_json(json!({
        "metadata": {"name": "p", "namespace": "shop", "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "controller": true, "uid": play.sets[0]["metadata"]["uid"]}]},
        "status": {"phase": "Running"},
    }));
    let mut inputs = play.inputs();
    inputs.pods.push(old_pod);
    let plan = reconcile(&inputs, now());
    assert!(!plan.actions.iter().any(|action| matches!(action, Action::Create { .. })));
    assert!(
        plan.actions
            .iter()
            .any(|action| matches!(action, Action::Patch { patch, .. } if patch["spec"]["replicas"] == 0))
    );
    play.settle();
    assert_eq!(play.sets[1]["spec"]["replicas"], 4);
}

#[test]
fn a_stuck_rollout_exceeds_its_deadline() {
    let mut play = Play::new(deployment(json!({})));
    for _ in 0..5 {
        play.step();
    }
    let waiting = play.step();
    assert_eq!(waiting.check_again, Some(std::time::Duration::from_secs(600)));
    play.now = now() + std::time::Duration::from_secs(601);
    play.step();
    assert_eq!(play.condition("Progressing")["reason"], "ProgressDeadlineExceeded");
    assert_eq!(play.condition("Progressing")["status"], "False");
}

#[test]
fn a_name_that_is_taken_leads_to_another_name() {
    let mut play = Play::new(deployment(json!({})));
    let create = |plan: Plan| plan.actions.into_iter().find(|action| matches!(action, Action::Create { .. })).unwrap();
    let name = |action: &Action| match action {
        Action::Create { object, .. } => object["metadata"]["name"].as_str().unwrap().to_owned(),
        _ => unreachable!("only creations are passed"),
    };
    let first = create(reconcile(&play.inputs(), now()));
    let refusal = Refusal { action: first.clone(), reason: "AlreadyExists".into(), message: "exists".into() };
    let plan = refused(&play.inputs(), &[refusal]);
    let Action::PatchStatus { patch, .. } = &plan.actions[0] else { panic!("expected a status patch") };
    merge(&mut play.deployment, patch);
    let second = create(reconcile(&play.inputs(), now()));
    assert_ne!(name(&first), name(&second));
}

#[test]
fn an_orphaned_set_is_adopted_first() {
    let mut play = Play::new(deployment(json!({})));
    play.settle();
    play.sets[0]["metadata"]["ownerReferences"] = json!([]);
    let plan = reconcile(&play.inputs(), now());
    assert!(matches!(plan.actions.as_slice(), [Action::Patch { kind: Kind::ReplicaSet, .. }]));
}

#[test]
fn the_hash_label_is_in_selector_template_and_labels() {
    let mut play = Play::new(deployment(json!({})));
    play.step();
    let set = &play.sets[0];
    let hash = &set["metadata"]["labels"][HASH_LABEL];
    assert!(hash.is_string());
    assert_eq!(hash, &set["spec"]["selector"]["matchLabels"][HASH_LABEL]);
    assert_eq!(hash, &set["spec"]["template"]["metadata"]["labels"][HASH_LABEL]);
}
