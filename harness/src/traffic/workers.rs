//! The Job whose pods send in place of a workload's own: made from what the workload makes its pods of. Pure.
//!
//! To the mesh they are the same client: image, account, and what decides about their proxy. To everything else they are
//! nobody: they have none of the labels by which a Service, a policy or a Deployment selects the workload's pods.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Affinity, Container, PodSpec, PodTemplateSpec, ResourceRequirements, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

/// Label of workers: its value is the name of their Job.
pub(crate) const LABEL: &str = "meshproof.dev/workers";
/// Annotation of a Job: the workload that its pods send for.
const ANNOTATION_SOURCE: &str = "meshproof.dev/sends-for";
/// Waits until it is told to end, with nothing to do but what is started in it.
const COMMAND: [&str; 3] = ["bookinfo", "probe", "serve"];
/// What a worker needs at least: by it the scheduler knows a full node.
const REQUESTS: [(&str, &str); 2] = [("cpu", "100m"), ("memory", "64Mi")];
/// How long a worker may take to end: it waits for nothing, its proxy for connections that end.
const GRACE_SECONDS: i64 = 5;
/// How long a Job that ended by itself stays, for somebody to look at.
const KEPT_SECONDS: i32 = 60;

/// Workers of one workload.
#[derive(Clone, Debug)]
pub(crate) struct Workers<'run> {
    /// Name of their Job.
    pub(crate) name: &'run str,
    /// Their namespace, that of the workload.
    pub(crate) namespace: &'run str,
    /// The workload that they send for.
    pub(crate) source: &'run str,
    /// Its container that holds the program `bookinfo`.
    pub(crate) container: &'run str,
    /// How many.
    pub(crate) count: u32,
    /// After this time they end, whoever has forgotten them.
    pub(crate) lifetime: Duration,
}

impl Workers<'_> {
    /// Their Job, from the workload's template of pods; `None` where that lacks the container.
    pub(crate) fn job(&self, template: &PodTemplateSpec) -> Option<Job> {
        let spec = template.spec.as_ref()?;
        let container = spec.containers.iter().find(|container| container.name == self.container)?;
        let count = i32::try_from(self.count).unwrap_or(i32::MAX);
        let metadata = template.metadata.clone().unwrap_or_default();
        let mut labels = of_mesh(metadata.labels);
        labels.insert(LABEL.to_owned(), self.name.to_owned());
        let pod = PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: Some(labels),
                annotations: Some(of_mesh(metadata.annotations)),
                ..ObjectMeta::default()
            }),
            spec: Some(self.pod(spec, container)),
        };
        Some(Job {
            metadata: ObjectMeta {
                name: Some(self.name.to_owned()),
                namespace: Some(self.namespace.to_owned()),
                labels: Some(self.label()),
                annotations: Some(BTreeMap::from([(ANNOTATION_SOURCE.to_owned(), self.source.to_owned())])),
                ..ObjectMeta::default()
            },
            spec: Some(JobSpec {
                parallelism: Some(count),
                completions: Some(count),
                completion_mode: Some("NonIndexed".to_owned()),
                backoff_limit: Some(0),
                active_deadline_seconds: Some(i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX)),
                ttl_seconds_after_finished: Some(KEPT_SECONDS),
                template: pod,
                ..JobSpec::default()
            }),
            status: None,
        })
    }

    fn pod(&self, of: &PodSpec, container: &Container) -> PodSpec {
        PodSpec {
            containers: vec![worker(container)],
            init_containers: None,
            restart_policy: Some("Never".to_owned()),
            termination_grace_period_seconds: Some(GRACE_SECONDS),
            active_deadline_seconds: None,
            // Where its pods may run, workers may. Which others they keep away from is not for so many of them.
            affinity: of
                .affinity
                .as_ref()
                .and_then(|affinity| affinity.node_affinity.clone())
                .map(|node| Affinity { node_affinity: Some(node), ..Affinity::default() }),
            topology_spread_constraints: Some(
                ["kubernetes.io/hostname", "topology.kubernetes.io/zone"].map(|key| self.spread(key)).into(),
            ),
            ..of.clone()
        }
    }

    fn spread(&self, key: &str) -> TopologySpreadConstraint {
        TopologySpreadConstraint {
            max_skew: 1,
            topology_key: key.to_owned(),
            // Fewer nodes than workers are no reason to send nothing.
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(LabelSelector { match_labels: Some(self.label()), ..LabelSelector::default() }),
            ..TopologySpreadConstraint::default()
        }
    }

    fn label(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(LABEL.to_owned(), self.name.to_owned())])
    }
}

/// The container of a client that only waits: what it needs to be the same client, and nothing that asks whether it serves.
fn worker(of: &Container) -> Container {
    let requests = REQUESTS.map(|(resource, least)| (resource.to_owned(), Quantity(least.to_owned())));
    Container {
        command: Some(COMMAND.map(str::to_owned).into()),
        args: None,
        ports: None,
        liveness_probe: None,
        readiness_probe: None,
        startup_probe: None,
        lifecycle: None,
        resources: Some(ResourceRequirements { requests: Some(requests.into()), ..ResourceRequirements::default() }),
        ..of.clone()
    }
}

/// What decides about a proxy: whether there is one, of which revision and network, and what passes through it.
fn of_mesh(entries: Option<BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let is_of_mesh = |key: &String| {
        key.split_once('/').is_some_and(|(domain, _)| domain == "istio.io" || domain.ends_with(".istio.io"))
    };
    entries.unwrap_or_default().into_iter().filter(|(key, _)| is_of_mesh(key)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn template() -> PodTemplateSpec {
        let template = json!({
            "metadata": {
                "labels": {
                    "app": "shop", "version": "v1", "istio.io/rev": "canary", "topology.istio.io/network": "network1",
                    "sidecar.istio.io/inject": "true", "notistio.io/x": "y",
                },
                "annotations": {
                    "traffic.sidecar.istio.io/excludeOutboundPorts": "9443", "kubectl.kubernetes.io/restartedAt": "now",
                },
            },
            "spec": {
                "serviceAccountName": "shop",
                "imagePullSecrets": [{ "name": "ours" }],
                "tolerations": [{ "key": "spot", "operator": "Exists" }],
                "affinity": {
                    "nodeAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [] },
                    "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [] },
                },
                "initContainers": [{ "name": "migrate", "image": "m" }],
                "volumes": [{ "name": "authority", "configMap": { "name": "authority" } }],
                "containers": [
                    { "name": "beside", "image": "b" },
                    {
                        "name": "shop", "image": "registry/shop:1", "imagePullPolicy": "Always",
                        "command": ["bookinfo", "shop"], "args": ["--port=80"], "ports": [{ "containerPort": 80 }],
                        "env": [{ "name": "CLUSTER_NAME", "value": "cluster1" }],
                        "readinessProbe": { "httpGet": { "path": "/", "port": 80 } },
                        "resources": { "limits": { "cpu": "50m" } },
                        "volumeMounts": [{ "name": "authority", "mountPath": "/etc/shop" }],
                    },
                ],
            },
        });
        serde_json::from_value(template).expect("a template")
    }

    fn workers(container: &'static str) -> Workers<'static> {
        let lifetime = Duration::from_secs(305);
        Workers { name: "load-1a2b-0", namespace: "shops", source: "shop-v1", container, count: 3, lifetime }
    }

    #[test]
    fn to_the_mesh_they_are_the_same_client_and_to_services_nobody() {
        let job = workers("shop").job(&template()).expect("it has the container");
        let value = serde_json::to_value(&job).expect("JSON");
        let labels: Value = value.pointer("/spec/template/metadata/labels").cloned().unwrap_or_default();
        assert_eq!((labels.get("app"), labels.get("version")), (None, None), "{labels}");
        insta::assert_json_snapshot!(value);
    }

    #[test]
    fn a_template_without_the_container_makes_no_workers() {
        assert!(workers("elsewhere").job(&template()).is_none());
        assert!(workers("shop").job(&PodTemplateSpec::default()).is_none());
    }
}
