//! The table of builtin resources: names, scope and parts, as a real API server announces them.

use super::{ALL_VERBS, PART_VERBS, Resource, ScalePaths, Subresource, group_version, table_name};
use crate::kinds;

/// One line of the table.
struct Row {
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    kind: &'static str,
    short: &'static [&'static str],
    namespaced: bool,
    parts: &'static [Part],
    verbs: &'static [&'static str],
    categories: &'static [&'static str],
}

#[derive(Clone, Copy)]
enum Part {
    Status,
    Scale,
    /// Name, API version and kind of the body, verbs.
    Other(&'static str, (&'static str, &'static str, &'static str), &'static [&'static str]),
}

use Part::{Other, Scale, Status};

const CREATE: &[&str] = &["create"];
const GET: &[&str] = &["get"];
const CONNECT: &[&str] = &["create", "get"];
const ALL: &[&str] = &["all"];
const NONE: &[&str] = &[];

const fn row(
    api: (&'static str, &'static str),
    plural: &'static str,
    kind: &'static str,
    short: &'static [&'static str],
    namespaced: bool,
) -> Row {
    let (group, version) = api;
    Row { group, version, plural, kind, short, namespaced, parts: &[], verbs: ALL_VERBS, categories: NONE }
}

impl Row {
    const fn parts(mut self, parts: &'static [Part]) -> Row {
        self.parts = parts;
        self
    }

    const fn in_all(mut self) -> Row {
        self.categories = ALL;
        self
    }

    const fn in_category(mut self, categories: &'static [&'static str]) -> Row {
        self.categories = categories;
        self
    }

    const fn only(mut self, verbs: &'static [&'static str]) -> Row {
        self.verbs = verbs;
        self
    }
}

const CORE: (&str, &str) = ("", "v1");
const APPS: (&str, &str) = ("apps", "v1");
const BATCH: (&str, &str) = ("batch", "v1");
const RBAC: (&str, &str) = ("rbac.authorization.k8s.io", "v1");
const ADMISSION: (&str, &str) = ("admissionregistration.k8s.io", "v1");
const AUTHENTICATION: (&str, &str) = ("authentication.k8s.io", "v1");
const AUTHORIZATION: (&str, &str) = ("authorization.k8s.io", "v1");
const NETWORKING: (&str, &str) = ("networking.k8s.io", "v1");
const STORAGE: (&str, &str) = ("storage.k8s.io", "v1");

const POD_PARTS: &[Part] = &[
    Other("attach", ("", "v1", "PodAttachOptions"), CONNECT),
    Other("binding", ("", "v1", "Binding"), CREATE),
    Other("ephemeralcontainers", ("", "v1", "Pod"), PART_VERBS),
    Other("eviction", ("policy", "v1", "Eviction"), CREATE),
    Other("exec", ("", "v1", "PodExecOptions"), CONNECT),
    Other("log", ("", "v1", "Pod"), GET),
    Other("portforward", ("", "v1", "PodPortForwardOptions"), CONNECT),
    Other("resize", ("", "v1", "Pod"), PART_VERBS),
    Status,
];

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row(CORE, "bindings", "Binding", NONE, true).only(CREATE),
    row(CORE, "configmaps", "ConfigMap", &["cm"], true),
    row(CORE, "endpoints", "Endpoints", &["ep"], true),
    row(CORE, "events", "Event", &["ev"], true),
    row(CORE, "limitranges", "LimitRange", &["limits"], true),
    row(CORE, "namespaces", "Namespace", &["ns"], false)
        .parts(&[Other("finalize", ("", "v1", "Namespace"), &["update"]), Status])
        .only(&["create", "delete", "get", "list", "patch", "update", "watch"]),
    row(CORE, "nodes", "Node", &["no"], false).parts(&[Status]),
    row(CORE, "persistentvolumeclaims", "PersistentVolumeClaim", &["pvc"], true).parts(&[Status]),
    row(CORE, "persistentvolumes", "PersistentVolume", &["pv"], false).parts(&[Status]),
    row(CORE, "pods", "Pod", &["po"], true).parts(POD_PARTS).in_all(),
    row(CORE, "podtemplates", "PodTemplate", NONE, true),
    row(CORE, "replicationcontrollers", "ReplicationController", &["rc"], true).parts(&[Scale, Status]).in_all(),
    row(CORE, "resourcequotas", "ResourceQuota", &["quota"], true).parts(&[Status]),
    row(CORE, "secrets", "Secret", NONE, true),
    row(CORE, "serviceaccounts", "ServiceAccount", &["sa"], true)
        .parts(&[Other("token", ("authentication.k8s.io", "v1", "TokenRequest"), CREATE)]),
    row(CORE, "services", "Service", &["svc"], true).parts(&[Status]).in_all(),

    row(APPS, "controllerrevisions", "ControllerRevision", NONE, true),
    row(APPS, "daemonsets", "DaemonSet", &["ds"], true).parts(&[Status]).in_all(),
    row(APPS, "deployments", "Deployment", &["deploy"], true).parts(&[Scale, Status]).in_all(),
    row(APPS, "replicasets", "ReplicaSet", &["rs"], true).parts(&[Scale, Status]).in_all(),
    row(APPS, "statefulsets", "StatefulSet", &["sts"], true).parts(&[Scale, Status]).in_all(),

    row(BATCH, "cronjobs", "CronJob", &["cj"], true).parts(&[Status]).in_all(),
    row(BATCH, "jobs", "Job", NONE, true).parts(&[Status]).in_all(),

    row(("autoscaling", "v2"), "horizontalpodautoscalers", "HorizontalPodAutoscaler", &["hpa"], true)
        .parts(&[Status]).in_all(),
    row(("discovery.k8s.io", "v1"), "endpointslices", "EndpointSlice", NONE, true),
    row(("coordination.k8s.io", "v1"), "leases", "Lease", NONE, true),
    row(("events.k8s.io", "v1"), "events", "Event", &["ev"], true),
    row(("policy", "v1"), "poddisruptionbudgets", "PodDisruptionBudget", &["pdb"], true).parts(&[Status]),
    row(("scheduling.k8s.io", "v1"), "priorityclasses", "PriorityClass", &["pc"], false),
    row(("apiextensions.k8s.io", "v1"), "customresourcedefinitions", "CustomResourceDefinition", &["crd", "crds"], false)
        .parts(&[Status]).in_category(&["api-extensions"]),

    row(NETWORKING, "ingressclasses", "IngressClass", NONE, false),
    row(NETWORKING, "ingresses", "Ingress", &["ing"], true).parts(&[Status]),
    row(NETWORKING, "networkpolicies", "NetworkPolicy", &["netpol"], true),

    row(RBAC, "clusterrolebindings", "ClusterRoleBinding", NONE, false),
    row(RBAC, "clusterroles", "ClusterRole", NONE, false),
    row(RBAC, "rolebindings", "RoleBinding", NONE, true),
    row(RBAC, "roles", "Role", NONE, true),

    row(ADMISSION, "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", NONE, false)
        .in_category(&["api-extensions"]),
    row(ADMISSION, "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", NONE, false)
        .in_category(&["api-extensions"]),

    row(AUTHENTICATION, "selfsubjectreviews", "SelfSubjectReview", NONE, false).only(CREATE),
    row(AUTHENTICATION, "tokenreviews", "TokenReview", NONE, false).only(CREATE),
    row(AUTHORIZATION, "localsubjectaccessreviews", "LocalSubjectAccessReview", NONE, true).only(CREATE),
    row(AUTHORIZATION, "selfsubjectaccessreviews", "SelfSubjectAccessReview", NONE, false).only(CREATE),
    row(AUTHORIZATION, "selfsubjectrulesreviews", "SelfSubjectRulesReview", NONE, false).only(CREATE),
    row(AUTHORIZATION, "subjectaccessreviews", "SubjectAccessReview", NONE, false).only(CREATE),

    row(STORAGE, "csidrivers", "CSIDriver", NONE, false),
    row(STORAGE, "csinodes", "CSINode", NONE, false),
    row(STORAGE, "storageclasses", "StorageClass", &["sc"], false),
    row(STORAGE, "volumeattachments", "VolumeAttachment", NONE, false).parts(&[Status]),
];

/// Every builtin resource.
pub(super) fn resources() -> Vec<Resource> {
    ROWS.iter().map(resource).collect()
}

fn resource(row: &Row) -> Resource {
    let (table, storage_version) = storage(row);
    Resource {
        group: row.group.to_owned(),
        version: row.version.to_owned(),
        plural: row.plural.to_owned(),
        singular: row.kind.to_lowercase(),
        kind: row.kind.to_owned(),
        list_kind: format!("{}List", row.kind),
        short_names: owned(row.short),
        categories: owned(row.categories),
        namespaced: row.namespaced,
        verbs: row.verbs,
        subresources: row.parts.iter().map(|part| subresource(row, *part)).collect(),
        scale: row.parts.iter().any(|part| matches!(part, Scale)).then(builtin_scale),
        table,
        storage_version,
        behaviour: kinds::behaviour(row.group, row.kind),
        custom: None,
    }
}

/// Both faces of events share one table; all else is stored as it is served.
fn storage(row: &Row) -> (String, String) {
    if row.group == "events.k8s.io" {
        return ("events".to_owned(), "v1".to_owned());
    }
    (table_name(row.group, row.plural), group_version(row.group, row.version))
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn builtin_scale() -> ScalePaths {
    ScalePaths { spec: ".spec.replicas".to_owned(), status: ".status.replicas".to_owned(), selector: None }
}

fn subresource(row: &Row, part: Part) -> Subresource {
    let (name, (group, version, kind), verbs) = match part {
        Status => ("status", (row.group, row.version, row.kind), PART_VERBS),
        Scale => ("scale", ("autoscaling", "v1", "Scale"), PART_VERBS),
        Other(name, gvk, verbs) => (name, gvk, verbs),
    };
    Subresource {
        name: name.to_owned(),
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        verbs,
    }
}
