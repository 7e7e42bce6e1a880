//! List types, map types, merge keys and patch strategies of the built-in types.
//!
//! They are tags of Kubernetes' Go types that the generated schemas do not carry; fields that are not named here
//! are atomic lists, granular maps and plain values.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::{Map, Value, json};

/// `(definition, field, list type or map type, list map keys, patch strategy, patch merge key)`.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

const ROWS: &[Row] = &[
    ("admissionregistration.v1.MutatingAdmissionPolicySpec", "matchConditions", "map", "name", "merge", "name"),
    ("admissionregistration.v1.MutatingWebhook", "matchConditions", "map", "name", "merge", "name"),
    ("admissionregistration.v1.MutatingWebhookConfiguration", "webhooks", "map", "name", "merge", "name"),
    ("admissionregistration.v1.ValidatingAdmissionPolicyBindingSpec", "validationActions", "set", "", "", ""),
    ("admissionregistration.v1.ValidatingAdmissionPolicySpec", "matchConditions", "map", "name", "merge", "name"),
    ("admissionregistration.v1.ValidatingAdmissionPolicySpec", "variables", "map", "name", "merge", "name"),
    ("admissionregistration.v1.ValidatingAdmissionPolicyStatus", "conditions", "map", "type", "", ""),
    ("admissionregistration.v1.ValidatingWebhook", "matchConditions", "map", "name", "merge", "name"),
    ("admissionregistration.v1.ValidatingWebhookConfiguration", "webhooks", "map", "name", "merge", "name"),
    ("apiextensions.v1.CustomResourceDefinitionStatus", "conditions", "map", "type", "", ""),
    ("apiextensions.v1.JSONSchemaProps", "x-kubernetes-validations", "map", "rule", "merge", "rule"),
    ("apiregistration.v1.APIServiceStatus", "conditions", "map", "type", "merge", "type"),
    ("apps.v1.DaemonSetStatus", "conditions", "map", "type", "merge", "type"),
    ("apps.v1.DeploymentSpec", "strategy", "", "", "retainKeys", ""),
    ("apps.v1.DeploymentStatus", "conditions", "map", "type", "merge", "type"),
    ("apps.v1.ReplicaSetStatus", "conditions", "map", "type", "merge", "type"),
    ("apps.v1.StatefulSetStatus", "conditions", "map", "type", "merge", "type"),
    ("autoscaling.v2.HorizontalPodAutoscalerStatus", "conditions", "map", "type", "merge", "type"),
    ("batch.v1.JobSchedulingConfiguration", "resourceClaims", "map", "name", "merge", "name"),
    ("batch.v1.JobStatus", "conditions", "atomic", "", "merge", "type"),
    ("batch.v1.PodFailurePolicyOnExitCodesRequirement", "values", "set", "", "", ""),
    ("batch.v1.UncountedTerminatedPods", "failed", "set", "", "", ""),
    ("batch.v1.UncountedTerminatedPods", "succeeded", "set", "", "", ""),
    ("certificates.v1.CertificateSigningRequestStatus", "conditions", "map", "type", "", ""),
    ("core.v1.ComponentStatus", "conditions", "map", "type", "merge", "type"),
    ("core.v1.Container", "env", "map", "name", "merge", "name"),
    ("core.v1.Container", "ports", "map", "containerPort,protocol", "merge", "containerPort"),
    ("core.v1.Container", "volumeDevices", "map", "devicePath", "merge", "devicePath"),
    ("core.v1.Container", "volumeMounts", "map", "mountPath", "merge", "mountPath"),
    ("core.v1.ContainerRestartRuleOnExitCodes", "values", "set", "", "", ""),
    ("core.v1.ContainerStatus", "allocatedResourcesStatus", "map", "name", "merge", "name"),
    ("core.v1.ContainerStatus", "volumeMounts", "map", "mountPath", "merge", "mountPath"),
    ("core.v1.EphemeralContainer", "env", "map", "name", "merge", "name"),
    ("core.v1.EphemeralContainer", "ports", "map", "containerPort,protocol", "merge", "containerPort"),
    ("core.v1.EphemeralContainer", "volumeDevices", "map", "devicePath", "merge", "devicePath"),
    ("core.v1.EphemeralContainer", "volumeMounts", "map", "mountPath", "merge", "mountPath"),
    ("core.v1.NamespaceStatus", "conditions", "map", "type", "merge", "type"),
    ("core.v1.NodeAllocatableResourceClaimStatus", "containers", "set", "", "", ""),
    ("core.v1.NodeAllocatableResourceClaimStatus", "mapping", "map", "name", "merge", "name"),
    ("core.v1.NodeAllocatableResourceClaimStatus", "overhead", "map", "name", "merge", "name"),
    ("core.v1.NodePodPreemptionPolicy", "disableResizePreemption", "set", "", "", ""),
    ("core.v1.NodeSpec", "podCIDRs", "set", "", "merge", ""),
    ("core.v1.NodeStatus", "addresses", "map", "type", "merge", "type"),
    ("core.v1.NodeStatus", "conditions", "map", "type", "merge", "type"),
    ("core.v1.PersistentVolumeClaimStatus", "conditions", "map", "type", "merge", "type"),
    ("core.v1.PodSpec", "containers", "map", "name", "merge", "name"),
    ("core.v1.PodSpec", "ephemeralContainers", "map", "name", "merge", "name"),
    ("core.v1.PodSpec", "evictionResponders", "map", "name", "merge", "name"),
    ("core.v1.PodSpec", "hostAliases", "map", "ip", "merge", "ip"),
    ("core.v1.PodSpec", "imagePullSecrets", "map", "name", "merge", "name"),
    ("core.v1.PodSpec", "initContainers", "map", "name", "merge", "name"),
    ("core.v1.PodSpec", "nodeSelector", "atomic-map", "", "", ""),
    ("core.v1.PodSpec", "resourceClaims", "map", "name", "merge,retainKeys", "name"),
    ("core.v1.PodSpec", "schedulingGates", "map", "name", "merge", "name"),
    ("core.v1.PodSpec", "topologySpreadConstraints", "map", "topologyKey,whenUnsatisfiable", "merge", "topologyKey"),
    ("core.v1.PodSpec", "volumes", "map", "name", "merge,retainKeys", "name"),
    ("core.v1.PodStatus", "conditions", "map", "type", "merge", "type"),
    ("core.v1.PodStatus", "hostIPs", "atomic", "", "merge", "ip"),
    (
        "core.v1.PodStatus",
        "nodeAllocatableResourceClaimStatuses",
        "map",
        "resourceClaimName",
        "merge",
        "resourceClaimName",
    ),
    ("core.v1.PodStatus", "podIPs", "map", "ip", "merge", "ip"),
    ("core.v1.PodStatus", "resourceClaimStatuses", "map", "name", "merge,retainKeys", "name"),
    ("core.v1.PodStatus", "volumeHealth", "map", "name", "", ""),
    ("core.v1.PodVolumeHealth", "healthConditions", "map", "status,reason", "merge", "status"),
    ("core.v1.ReplicationControllerSpec", "selector", "atomic-map", "", "", ""),
    ("core.v1.ReplicationControllerStatus", "conditions", "map", "type", "merge", "type"),
    ("core.v1.ResourceRequirements", "claims", "map", "name", "", ""),
    ("core.v1.ResourceStatus", "resources", "map", "resourceID", "", ""),
    ("core.v1.ServiceAccount", "secrets", "map", "name", "merge", "name"),
    ("core.v1.ServiceSpec", "ports", "map", "port,protocol", "merge", "port"),
    ("core.v1.ServiceSpec", "selector", "atomic-map", "", "", ""),
    ("core.v1.ServiceStatus", "conditions", "map", "type", "merge", "type"),
    ("core.v1.VolumeHealthStatus", "healthConditions", "map", "status,reason", "merge", "status"),
    ("core.v1.VolumeMount", "bindMountOptions", "set", "", "", ""),
    ("discovery.v1.Endpoint", "addresses", "set", "", "", ""),
    ("meta.v1.ObjectMeta", "finalizers", "set", "", "merge", ""),
    ("meta.v1.ObjectMeta", "ownerReferences", "map", "uid", "merge", "uid"),
    ("networking.v1.ServiceCIDRStatus", "conditions", "map", "type", "merge", "type"),
    ("node.v1.Scheduling", "nodeSelector", "atomic-map", "", "", ""),
    ("policy.v1.PodDisruptionBudgetSpec", "selector", "", "", "replace", ""),
    ("policy.v1.PodDisruptionBudgetStatus", "conditions", "map", "type", "merge", "type"),
    ("storage.v1.CSIDriverSpec", "volumeLifecycleModes", "set", "", "", ""),
    ("storage.v1.CSINodeSpec", "drivers", "map", "name", "merge", "name"),
    ("storage.v1.CSINodeStatus", "storageHealth", "map", "name", "merge", "name"),
];

/// Objects that have one owner as a whole wherever they appear.
const ATOMIC_OBJECTS: &[&str] = &[
    "admissionregistration.v1.MatchResources",
    "admissionregistration.v1.NamedRuleWithOperations",
    "admissionregistration.v1.ParamKind",
    "admissionregistration.v1.ParamRef",
    "admissionregistration.v1.Variable",
    "autoscaling.v1.CrossVersionObjectReference",
    "core.v1.ConfigMapKeySelector",
    "core.v1.EndpointAddress",
    "core.v1.EndpointPort",
    "core.v1.EvictionResponder",
    "core.v1.FileKeySelector",
    "core.v1.LocalObjectReference",
    "core.v1.NodeSelector",
    "core.v1.NodeSelectorTerm",
    "core.v1.ObjectFieldSelector",
    "core.v1.ObjectReference",
    "core.v1.ResourceFieldSelector",
    "core.v1.ScopeSelector",
    "core.v1.SecretKeySelector",
    "core.v1.SecretReference",
    "core.v1.TopologySelectorTerm",
    "core.v1.TypedLocalObjectReference",
    "discovery.v1.EndpointPort",
    "meta.v1.LabelSelector",
    "meta.v1.OwnerReference",
    "networking.v1.ServiceBackendPort",
    "rbac.v1.RoleRef",
    "rbac.v1.Subject",
];

/// Key fields of list maps whose default takes part in the key.
const KEY_DEFAULTS: &[(&str, &str, &str)] =
    &[("core.v1.ContainerPort", "protocol", "TCP"), ("core.v1.ServicePort", "protocol", "TCP")];

fn rows_by_definition() -> &'static HashMap<&'static str, Vec<&'static Row>> {
    static INDEX: OnceLock<HashMap<&'static str, Vec<&'static Row>>> = OnceLock::new();
    INDEX.get_or_init(|| {
        let mut index: HashMap<&str, Vec<&Row>> = HashMap::new();
        for row in ROWS {
            index.entry(row.0).or_default().push(row);
        }
        index
    })
}

/// Writes the `x-kubernetes-*` extensions of one definition into its schema. `name` is the definition's full name,
/// such as `io.k8s.api.core.v1.Container`.
pub(super) fn enrich(name: &str, definition: &mut Value) {
    let short = short_name(name);
    if ATOMIC_OBJECTS.contains(&short.as_str()) {
        definition["x-kubernetes-map-type"] = json!("atomic");
    }
    let Some(properties) = definition.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (_, field, kind, keys, strategy, merge_key) in rows_by_definition().get(short.as_str()).into_iter().flatten() {
        if let Some(property) = properties.get_mut(*field).and_then(Value::as_object_mut) {
            write_extensions(property, kind, keys, strategy, merge_key);
        }
    }
    for (_, field, value) in KEY_DEFAULTS.iter().filter(|(definition, _, _)| *definition == short) {
        if let Some(property) = properties.get_mut(*field).and_then(Value::as_object_mut) {
            property.insert("default".to_owned(), json!(value));
        }
    }
    for property in properties.values_mut().filter(|p| p.get("type").is_some_and(|t| t == "array")) {
        if property.get("x-kubernetes-list-type").is_none() {
            property["x-kubernetes-list-type"] = json!("atomic");
        }
    }
}

fn write_extensions(property: &mut Map<String, Value>, kind: &str, keys: &str, strategy: &str, merge_key: &str) {
    match kind {
        "" => {}
        "atomic-map" => drop(property.insert("x-kubernetes-map-type".to_owned(), json!("atomic"))),
        list => drop(property.insert("x-kubernetes-list-type".to_owned(), json!(list))),
    }
    if !keys.is_empty() {
        let keys: Vec<&str> = keys.split(',').collect();
        property.insert("x-kubernetes-list-map-keys".to_owned(), json!(keys));
    }
    if !strategy.is_empty() {
        property.insert("x-kubernetes-patch-strategy".to_owned(), json!(strategy));
    }
    if !merge_key.is_empty() {
        property.insert("x-kubernetes-patch-merge-key".to_owned(), json!(merge_key));
    }
}

/// `io.k8s.api.core.v1.Container` -> `core.v1.Container`: the last three segments.
fn short_name(name: &str) -> String {
    let segments: Vec<&str> = name.rsplit('.').take(3).collect();
    segments.into_iter().rev().collect::<Vec<_>>().join(".")
}
