//! The workload a pod belongs to, as its manifest or its owner names it.

use serde_json::Value;

/// Kind and name of what created a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl Workload {
    /// The workload of a manifest with a pod template, or of a bare pod.
    #[must_use]
    pub fn of_manifest(object: &Value) -> Self {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut name = text("/metadata/name");
        if name.is_empty() {
            name = text("/metadata/generateName").trim_end_matches('-').to_owned();
        }
        Self { api_version: text("/apiVersion"), kind: text("/kind"), name }
    }

    /// The workload of a pod that a controller creates: the Deployment of its ReplicaSet, the CronJob of its Job, else
    /// the owner itself, else the pod.
    #[must_use]
    pub fn of_pod(pod: &Value) -> Self {
        let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        let owner = owners
            .and_then(|owners| owners.iter().find(|owner| owner["controller"] == Value::Bool(true)).or(owners.first()));
        let Some(owner) = owner else {
            return Self { api_version: "v1".to_owned(), kind: "Pod".to_owned(), ..Self::of_manifest(pod) };
        };
        let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default();
        let (kind, name) = (text("kind"), text("name"));
        let hash = pod.pointer("/metadata/labels/pod-template-hash").and_then(Value::as_str);
        if kind == "ReplicaSet"
            && let Some(deployment) = hash.and_then(|hash| name.strip_suffix(hash)?.strip_suffix('-'))
        {
            return Self {
                api_version: "apps/v1".to_owned(),
                kind: "Deployment".to_owned(),
                name: deployment.to_owned(),
            };
        }
        if kind == "Job"
            && let Some((cron_job, time)) = name.rsplit_once('-')
            && time.len() >= 8
            && time.bytes().all(|byte| byte.is_ascii_digit())
        {
            return Self { api_version: "batch/v1".to_owned(), kind: "CronJob".to_owned(), name: cron_job.to_owned() };
        }
        Self { api_version: text("apiVersion").to_owned(), kind: kind.to_owned(), name: name.to_owned() }
    }

    /// `kubernetes://apis/<group>/<version>/namespaces/<namespace>/<plural>/<name>`.
    #[must_use]
    pub fn owner(&self, namespace: &str) -> String {
        let api = if self.api_version.contains('/') { "apis" } else { "api" };
        let plural = format!("{}s", self.kind.to_lowercase());
        format!("kubernetes://{api}/{}/namespaces/{namespace}/{plural}/{}", self.api_version, self.name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn owned(kind: &str, name: &str) -> Value {
        json!({"metadata": {"labels": {"pod-template-hash": "5d8f9c"}, "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": kind, "name": name, "controller": true}]}})
    }

    #[test]
    fn a_deployment_is_seen_through_its_replica_set() {
        let workload = Workload::of_pod(&owned("ReplicaSet", "reviews-v1-5d8f9c"));
        assert_eq!(workload.owner("bookinfo"), "kubernetes://apis/apps/v1/namespaces/bookinfo/deployments/reviews-v1");
        assert_eq!(Workload::of_pod(&owned("ReplicaSet", "lone")).kind, "ReplicaSet");
        assert_eq!(Workload::of_pod(&owned("Job", "backup-28512345")).name, "backup");
        assert_eq!(Workload::of_pod(&owned("StatefulSet", "db")).kind, "StatefulSet");
    }

    #[test]
    fn a_bare_pod_is_its_own_workload() {
        let workload = Workload::of_pod(&json!({"metadata": {"generateName": "probe-"}}));
        assert_eq!(workload.owner("ns"), "kubernetes://api/v1/namespaces/ns/pods/probe");
    }
}
