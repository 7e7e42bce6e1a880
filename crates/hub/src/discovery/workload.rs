//! Controllers of pods, and virtual machines.

use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use mesh_types::hub::{ClusterObjectRef, Object, Workload};

use super::{ClusterObjects, Labels, Place, meaningful};

const INJECT: &str = "sidecar.istio.io/inject";
const TEMPLATES: &str = "inject.istio.io/templates";
const PROXY: &str = "istio-proxy";

/// What a controller makes its pods of, or what a WorkloadEntry says of a machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Template {
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) namespace: String,
    /// Without those that differ from pod to pod.
    pub(super) labels: Labels,
    pub(super) service_account: String,
    /// Whether its pods have a proxy of the mesh.
    pub(super) has_proxy: bool,
    /// Whether that proxy is all they have.
    pub(super) is_gateway: bool,
}

pub(super) fn templates(objects: &ClusterObjects) -> Vec<Template> {
    let deployments = objects.deployments.iter();
    let deployments = deployments.map(|one| of_template(objects, "Deployment", &one.metadata, &one.spec.template));
    let daemon_sets = objects.daemon_sets.iter();
    let daemon_sets = daemon_sets.map(|one| of_template(objects, "DaemonSet", &one.metadata, &one.spec.template));
    let stateful_sets = objects.stateful_sets.iter();
    let stateful_sets = stateful_sets.map(|one| of_template(objects, "StatefulSet", &one.metadata, &one.spec.template));
    let machines = objects.workload_entries.iter().map(|entry| Template {
        kind: "WorkloadEntry",
        name: entry.metadata.name.clone(),
        namespace: entry.metadata.namespace.clone(),
        labels: meaningful(&entry.spec.labels),
        service_account: entry.spec.service_account.clone(),
        has_proxy: entry.spec.mutual_tls(),
        is_gateway: false,
    });
    deployments.chain(daemon_sets).chain(stateful_sets).chain(machines).collect()
}

fn of_template(
    objects: &ClusterObjects,
    kind: &'static str,
    metadata: &ObjectMeta,
    template: &PodTemplateSpec,
) -> Template {
    let namespace = metadata.namespace.clone().unwrap_or_default();
    let own = template.metadata.clone().unwrap_or_default();
    let labels = own.labels.unwrap_or_default();
    let annotations = own.annotations.unwrap_or_default();
    let spec = template.spec.clone().unwrap_or_default();
    let account = spec.service_account_name.clone().filter(|name| !name.is_empty());
    let is_proxy = |container: &Container| container.name == PROXY;
    let written = spec.containers.iter().chain(spec.init_containers.iter().flatten()).any(is_proxy);
    let said = labels.get(INJECT).or_else(|| annotations.get(INJECT)).map(String::as_str);
    let injected = match said {
        Some(value) => value == "true",
        None => is_injected(objects, &namespace),
    };
    Template {
        kind,
        name: metadata.name.clone().unwrap_or_default(),
        is_gateway: annotations.get(TEMPLATES).is_some_and(|names| names.contains("gateway"))
            || spec.containers.iter().any(|container| is_proxy(container) && is_router(container)),
        has_proxy: written || injected,
        labels: meaningful(&labels),
        service_account: account.unwrap_or_else(|| "default".to_owned()),
        namespace,
    }
}

fn is_router(container: &Container) -> bool {
    container.args.iter().flatten().any(|word| word == "router")
}

fn is_injected(objects: &ClusterObjects, namespace: &str) -> bool {
    let found = objects.namespaces.iter().find(|one| one.metadata.name.as_deref() == Some(namespace));
    let labels = found.and_then(|one| one.metadata.labels.clone()).unwrap_or_default();
    match labels.get("istio-injection").map(String::as_str) {
        Some(value) => value == "enabled",
        None => labels.contains_key("istio.io/rev"),
    }
}

pub(super) fn all(place: &Place<'_>, templates: &[&Template]) -> Vec<Object<Workload>> {
    let workload = |template: &&Template| {
        let spec = Workload {
            controller: ClusterObjectRef::new(&template.name, &template.namespace, place.cluster),
            controller_kind: template.kind.to_owned(),
            pod_labels: template.labels.clone(),
            service_account_name: template.service_account.clone(),
            mesh: place.mesh.clone(),
        };
        let kind = template.kind.to_lowercase();
        place.object(&[&template.name, &template.namespace, place.cluster, &kind], spec)
    };
    templates.iter().map(workload).collect()
}
