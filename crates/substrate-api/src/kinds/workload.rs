//! Kinds that own pods: Deployment, ReplicaSet, StatefulSet, DaemonSet, Job, CronJob and their like.

use serde_json::{Map, Value, json};

use super::pod_defaults::default_pod_spec;
use super::pod_validation::validate_pod_spec;
use super::{Behaviour, PLAIN, WITH_GENERATION};
use crate::object::{self, as_map, child, default_to};
use crate::selectors::LabelSelector;
use crate::validation::{Errors, check_labels};

const WORKLOAD: Behaviour = Behaviour { create: reset_status, ..WITH_GENERATION };

pub(super) static DEPLOYMENT: Behaviour = Behaviour {
    default: default_deployment,
    validate: validate_workload,
    validate_update: validate_selector_update,
    ..WORKLOAD
};
pub(super) static REPLICA_SET: Behaviour = Behaviour {
    default: default_replicas,
    create: create_replica_set,
    validate: validate_workload,
    validate_update: validate_selector_update,
    ..WORKLOAD
};
pub(super) static STATEFUL_SET: Behaviour = Behaviour {
    default: default_stateful_set,
    create: create_replica_set,
    validate: validate_workload,
    validate_update: validate_selector_update,
    ..WORKLOAD
};
pub(super) static DAEMON_SET: Behaviour = Behaviour {
    default: default_daemon_set,
    validate: validate_workload,
    validate_update: validate_selector_update,
    ..WORKLOAD
};
pub(super) static REPLICATION_CONTROLLER: Behaviour =
    Behaviour { default: default_replication_controller, create: create_replica_set, ..WORKLOAD };
pub(super) static JOB: Behaviour = Behaviour {
    default: default_job,
    create: create_job,
    validate: validate_job,
    validate_update: validate_job_update,
    ..WORKLOAD
};
pub(super) static CRON_JOB: Behaviour = Behaviour { default: default_cron_job, ..WORKLOAD };
pub(super) static POD_TEMPLATE: Behaviour = Behaviour { default: default_pod_template, ..PLAIN };

fn reset_status(object: &mut Value) {
    object["status"] = json!({});
}

fn create_replica_set(object: &mut Value) {
    object["status"] = json!({"replicas": 0});
}

fn spec_of(object: &mut Value) -> &mut Map<String, Value> {
    child(object, "spec")
}

fn default_template(owner_spec: &mut Map<String, Value>) {
    if let Some(template) = owner_spec.get_mut("template").filter(|template| template.is_object()) {
        child(template, "spec");
        default_pod_spec(&mut template["spec"]);
    }
}

fn default_deployment(object: &mut Value) {
    let spec = spec_of(object);
    default_to(spec, "replicas", 1);
    default_to(spec, "revisionHistoryLimit", 10);
    default_to(spec, "progressDeadlineSeconds", 600);
    let strategy = as_map(spec.entry("strategy").or_insert(Value::Null));
    default_to(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        let rolling = as_map(strategy.entry("rollingUpdate").or_insert(Value::Null));
        default_to(rolling, "maxUnavailable", "25%");
        default_to(rolling, "maxSurge", "25%");
    }
    default_template(spec);
}

fn default_replicas(object: &mut Value) {
    let spec = spec_of(object);
    default_to(spec, "replicas", 1);
    default_template(spec);
}

fn default_replication_controller(object: &mut Value) {
    default_replicas(object);
    let labels = object["spec"]["template"]["metadata"]["labels"].clone();
    default_to(spec_of(object), "selector", labels);
}

fn default_stateful_set(object: &mut Value) {
    default_replicas(object);
    let spec = spec_of(object);
    default_to(spec, "podManagementPolicy", "OrderedReady");
    default_to(spec, "revisionHistoryLimit", 10);
    let kept = json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
    default_to(spec, "persistentVolumeClaimRetentionPolicy", kept);
    let strategy = as_map(spec.entry("updateStrategy").or_insert(Value::Null));
    default_to(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        default_to(as_map(strategy.entry("rollingUpdate").or_insert(Value::Null)), "partition", 0);
    }
}

fn default_daemon_set(object: &mut Value) {
    let spec = spec_of(object);
    default_to(spec, "revisionHistoryLimit", 10);
    let strategy = as_map(spec.entry("updateStrategy").or_insert(Value::Null));
    default_to(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        let rolling = as_map(strategy.entry("rollingUpdate").or_insert(Value::Null));
        default_to(rolling, "maxUnavailable", 1);
        default_to(rolling, "maxSurge", 0);
    }
    default_template(spec);
}

fn default_job_spec(spec: &mut Map<String, Value>) {
    let open_ended =
        spec.get("completions").is_none_or(Value::is_null) && spec.get("parallelism").is_none_or(Value::is_null);
    if open_ended {
        default_to(spec, "completions", 1);
    }
    default_to(spec, "parallelism", 1);
    default_to(spec, "backoffLimit", 6);
    default_to(spec, "completionMode", "NonIndexed");
    default_to(spec, "suspend", false);
    default_to(spec, "podReplacementPolicy", "TerminatingOrFailed");
    default_template(spec);
}

fn default_job(object: &mut Value) {
    default_job_spec(spec_of(object));
}

/// Gives the job the selector and labels that tie its pods to it.
fn create_job(object: &mut Value) {
    reset_status(object);
    if object["spec"]["manualSelector"] == true {
        return;
    }
    let (uid, name) = (object::uid(object).to_owned(), object::name(object).to_owned());
    let template = child(object, "spec").entry("template").or_insert(Value::Null);
    let labels = as_map(child(template, "metadata").entry("labels").or_insert(Value::Null));
    for prefix in ["batch.kubernetes.io/", ""] {
        labels.insert(format!("{prefix}controller-uid"), Value::from(uid.clone()));
        labels.insert(format!("{prefix}job-name"), Value::from(name.clone()));
    }
    object["spec"]["selector"] = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
}

fn default_cron_job(object: &mut Value) {
    let spec = spec_of(object);
    default_to(spec, "concurrencyPolicy", "Allow");
    default_to(spec, "suspend", false);
    default_to(spec, "successfulJobsHistoryLimit", 3);
    default_to(spec, "failedJobsHistoryLimit", 1);
    if let Some(template) = spec.get_mut("jobTemplate").filter(|template| template.is_object()) {
        let job = as_map(as_map(template).entry("spec").or_insert(Value::Null));
        if let Some(pods) = job.get_mut("template").filter(|pods| pods.is_object()) {
            child(pods, "spec");
            default_pod_spec(&mut pods["spec"]);
        }
    }
}

fn default_pod_template(object: &mut Value) {
    default_template(as_map(object));
}

fn validate_template(spec: &Value, errors: &mut Errors) {
    check_labels(&spec["template"]["metadata"]["labels"], "spec.template.metadata.labels", errors);
    validate_pod_spec(&spec["template"]["spec"], "spec.template.spec", errors);
}

fn validate_workload(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    if spec["replicas"].as_i64().is_some_and(|replicas| replicas < 0) {
        errors.invalid("spec.replicas", &spec["replicas"], "must be greater than or equal to 0");
    }
    match LabelSelector::from_object(&spec["selector"]) {
        _ if spec["selector"].is_null() => errors.required("spec.selector", ""),
        Err(problem) => errors.invalid("spec.selector", &spec["selector"], &problem.to_string()),
        Ok(None) => errors.required("spec.selector", ""),
        Ok(Some(selector)) if selector.is_empty() => {
            errors.invalid("spec.selector", &spec["selector"], "empty selector is invalid for this kind");
        }
        Ok(Some(selector)) => {
            let labels = &spec["template"]["metadata"]["labels"];
            if !selector.matches_labels(labels.as_object()) {
                let detail = "`selector` does not match template `labels`";
                errors.invalid("spec.template.metadata.labels", labels, detail);
            }
        }
    }
    validate_template(spec, errors);
    let policy = &spec["template"]["spec"]["restartPolicy"];
    if matches!(policy.as_str(), Some("OnFailure" | "Never")) {
        errors.not_supported("spec.template.spec.restartPolicy", policy, &["Always"]);
    }
}

fn validate_selector_update(new: &Value, old: &Value, errors: &mut Errors) {
    errors.immutable("spec.selector", &new["spec"]["selector"], &old["spec"]["selector"]);
}

fn validate_job(object: &Value, errors: &mut Errors) {
    validate_template(&object["spec"], errors);
    let policy = &object["spec"]["template"]["spec"]["restartPolicy"];
    if *policy == "Always" {
        let detail = "valid values: \"OnFailure\", \"Never\"";
        errors.required("spec.template.spec.restartPolicy", detail);
    }
}

fn validate_job_update(new: &Value, old: &Value, errors: &mut Errors) {
    for key in ["selector", "template", "completions", "completionMode"] {
        errors.immutable(&format!("spec.{key}"), &new["spec"][key], &old["spec"][key]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_gets_kubernetes_defaults() {
        let mut object = json!({"spec": {"template": {"spec": {"containers": []}}}});
        default_deployment(&mut object);
        let spec = &object["spec"];
        assert_eq!(spec["replicas"], 1);
        assert_eq!(
            spec["strategy"],
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}})
        );
        assert_eq!(spec["template"]["spec"]["dnsPolicy"], "ClusterFirst");
    }

    #[test]
    fn the_selector_must_match_the_template() {
        let object = json!({"spec": {"selector": {"matchLabels": {"app": "a"}}, "template": {
            "metadata": {"labels": {"app": "b"}},
            "spec": {"restartPolicy": "Always", "dnsPolicy": "Default",
                "containers": [{"name": "c", "image": "i", "imagePullPolicy": "Always"}]}}}});
        let mut errors = Errors::default();
        validate_workload(&object, &mut errors);
        let texts: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        let expected = "spec.template.metadata.labels: Invalid value: {\"app\":\"b\"}: `selector` does not match template `labels`";
        assert_eq!(texts, [expected]);
    }
}
