//! The roles and bindings that every cluster starts with.
//!
//! Names and rules are Kubernetes'. Roles of add-ons and of controllers that do not exist here are left out.

use serde_json::{Value, json};

const READ: &str = "get list watch";
const WRITE: &str = "create delete deletecollection patch update";
const ALL_VERBS: &str = "create delete deletecollection get list patch update watch";
const EVENT_GROUPS: &str = "core events.k8s.io";
const EVENT_VERBS: &str = "create patch update";
const LABEL_PREFIX: &str = "rbac.authorization.k8s.io/aggregate-to-";

/// `(API groups, resources, resource names, verbs)`, each separated by spaces; `core` is the group without a name.
type Rule = (&'static str, &'static str, &'static str, &'static str);

/// ClusterRoles and ClusterRoleBindings, ready to be created.
pub fn bootstrap_objects() -> Vec<Value> {
    let mut objects = user_roles();
    objects.extend(system_roles());
    objects.extend(bindings());
    objects
}

fn user_roles() -> Vec<Value> {
    let everything = json!([
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        {"nonResourceURLs": ["*"], "verbs": ["*"]},
    ]);
    vec![
        cluster_role("cluster-admin", &[], everything),
        aggregating("admin", &[]),
        aggregating("edit", &["admin"]),
        aggregating("view", &["edit"]),
        cluster_role("system:aggregate-to-admin", &["admin"], rules(AGGREGATE_TO_ADMIN)),
        cluster_role("system:aggregate-to-edit", &["edit"], rules(AGGREGATE_TO_EDIT)),
        cluster_role("system:aggregate-to-view", &["view"], rules(AGGREGATE_TO_VIEW)),
    ]
}

fn system_roles() -> Vec<Value> {
    const DISCOVERY: &str = "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/";
    const PUBLIC: &str = "/healthz /livez /readyz /version /version/";
    const MONITORING: &str = "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*";
    const ISSUER: &str = "/.well-known/openid-configuration /openid/v1/jwks";
    let paths =
        |paths: &str| json!([{"nonResourceURLs": paths.split_whitespace().collect::<Vec<_>>(), "verbs": ["get"]}]);
    vec![
        cluster_role("system:discovery", &[], paths(DISCOVERY)),
        cluster_role("system:public-info-viewer", &[], paths(PUBLIC)),
        cluster_role("system:monitoring", &[], paths(MONITORING)),
        cluster_role("system:service-account-issuer-discovery", &[], paths(ISSUER)),
        cluster_role("system:basic-user", &[], rules(BASIC_USER)),
        cluster_role("system:auth-delegator", &[], rules(AUTH_DELEGATOR)),
        cluster_role("system:kube-controller-manager", &[], rules(CONTROLLER_MANAGER)),
        cluster_role("system:kube-dns", &[], rules(KUBE_DNS)),
        cluster_role("system:kube-scheduler", &[], rules(SCHEDULER)),
        cluster_role("system:kubelet-api-admin", &[], rules(KUBELET_API_ADMIN)),
        cluster_role("system:node", &[], rules(NODE)),
        cluster_role("system:node-proxier", &[], rules(NODE_PROXIER)),
    ]
}

fn bindings() -> Vec<Value> {
    const AUTHENTICATED: (&str, &str) = ("Group", "system:authenticated");
    const UNAUTHENTICATED: (&str, &str) = ("Group", "system:unauthenticated");
    vec![
        binding("cluster-admin", &[("Group", "system:masters")]),
        binding("system:basic-user", &[AUTHENTICATED]),
        binding("system:discovery", &[AUTHENTICATED]),
        binding("system:monitoring", &[("Group", "system:monitoring")]),
        binding("system:public-info-viewer", &[AUTHENTICATED, UNAUTHENTICATED]),
        binding("system:service-account-issuer-discovery", &[("Group", "system:serviceaccounts")]),
        binding("system:kube-controller-manager", &[("User", "system:kube-controller-manager")]),
        binding("system:kube-scheduler", &[("User", "system:kube-scheduler")]),
        binding("system:kube-dns", &[("User", "system:kube-dns")]),
        binding("system:node-proxier", &[("User", "system:kube-proxy")]),
        // Kubernetes leaves this binding empty because its node authorizer decides; there is none here.
        binding("system:node", &[("Group", "system:nodes")]),
    ]
}

fn metadata(name: &str, aggregates_to: &[&str]) -> Value {
    let mut labels = json!({"kubernetes.io/bootstrapping": "rbac-defaults"});
    for target in aggregates_to {
        labels[format!("{LABEL_PREFIX}{target}")] = "true".into();
    }
    json!({"name": name, "labels": labels, "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"}})
}

fn cluster_role(name: &str, aggregates_to: &[&str], rules: Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": metadata(name, aggregates_to),
        "rules": rules,
    })
}

fn aggregating(name: &str, aggregates_to: &[&str]) -> Value {
    let mut labels = json!({});
    labels[format!("{LABEL_PREFIX}{name}")] = "true".into();
    let mut role = cluster_role(name, aggregates_to, json!([]));
    role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": labels}]});
    role
}

fn binding(role: &str, subjects: &[(&str, &str)]) -> Value {
    let subject =
        |(kind, name): &(&str, &str)| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name});
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": metadata(role, &[]),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": subjects.iter().map(subject).collect::<Vec<_>>(),
    })
}

fn rules(rows: &[Rule]) -> Value {
    let words = |text: &'static str| text.split_whitespace().collect::<Vec<&str>>();
    let rule = |(groups, resources, names, verbs): &Rule| {
        let groups: Vec<&str> =
            words(groups).into_iter().map(|group| if group == "core" { "" } else { group }).collect();
        let mut rule = json!({"apiGroups": groups, "resources": words(resources), "verbs": words(verbs)});
        if !names.is_empty() {
            rule["resourceNames"] = json!(words(names));
        }
        rule
    };
    rows.iter().map(rule).collect()
}

const AGGREGATE_TO_ADMIN: &[Rule] = &[
    ("authorization.k8s.io", "localsubjectaccessreviews", "", "create"),
    ("rbac.authorization.k8s.io", "rolebindings roles", "", ALL_VERBS),
];

const AGGREGATE_TO_EDIT: &[Rule] = &[
    ("core", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy", "", READ),
    ("core", "serviceaccounts", "", "impersonate"),
    ("core", "pods pods/attach pods/exec pods/portforward pods/proxy", "", WRITE),
    ("core", "pods/eviction", "", "create"),
    (
        "core",
        "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale \
         secrets serviceaccounts services services/proxy",
        "",
        WRITE,
    ),
    ("core", "serviceaccounts/token", "", "create"),
    (
        "apps",
        "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale \
         statefulsets statefulsets/scale",
        "",
        WRITE,
    ),
    ("autoscaling", "horizontalpodautoscalers", "", WRITE),
    ("batch", "cronjobs jobs", "", WRITE),
    ("policy", "poddisruptionbudgets", "", WRITE),
    ("networking.k8s.io", "ingresses networkpolicies", "", WRITE),
    ("coordination.k8s.io", "leases", "", ALL_VERBS),
];

const AGGREGATE_TO_VIEW: &[Rule] = &[
    (
        "core",
        "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods \
         replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status",
        "",
        READ,
    ),
    (
        "core",
        "bindings events limitranges namespaces/status pods/log pods/status \
         replicationcontrollers/status resourcequotas resourcequotas/status",
        "",
        READ,
    ),
    ("core", "namespaces", "", READ),
    ("discovery.k8s.io", "endpointslices", "", READ),
    (
        "apps",
        "controllerrevisions daemonsets daemonsets/status deployments deployments/scale \
         deployments/status replicasets replicasets/scale replicasets/status statefulsets \
         statefulsets/scale statefulsets/status",
        "",
        READ,
    ),
    ("autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status", "", READ),
    ("batch", "cronjobs cronjobs/status jobs jobs/status", "", READ),
    ("policy", "poddisruptionbudgets poddisruptionbudgets/status", "", READ),
    ("networking.k8s.io", "ingresses ingresses/status networkpolicies", "", READ),
];

const BASIC_USER: &[Rule] = &[
    ("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", "", "create"),
    ("authentication.k8s.io", "selfsubjectreviews", "", "create"),
];

const AUTH_DELEGATOR: &[Rule] = &[
    ("authentication.k8s.io", "tokenreviews", "", "create"),
    ("authorization.k8s.io", "subjectaccessreviews", "", "create"),
];

const CONTROLLER_MANAGER: &[Rule] = &[
    (EVENT_GROUPS, "events", "", EVENT_VERBS),
    ("coordination.k8s.io", "leases", "", "create"),
    ("coordination.k8s.io", "leases", "kube-controller-manager", "get update"),
    ("core", "secrets serviceaccounts", "", "create"),
    ("core", "secrets", "", "delete"),
    ("core", "configmaps namespaces secrets serviceaccounts", "", "get"),
    ("core", "secrets serviceaccounts", "", "update"),
    ("authentication.k8s.io", "tokenreviews", "", "create"),
    ("authorization.k8s.io", "subjectaccessreviews", "", "create"),
    ("*", "*", "", "list watch"),
    ("core", "serviceaccounts/token", "", "create"),
];

const KUBE_DNS: &[Rule] =
    &[("core", "endpoints services", "", "list watch"), ("discovery.k8s.io", "endpointslices", "", "list watch")];

const SCHEDULER: &[Rule] = &[
    (EVENT_GROUPS, "events", "", EVENT_VERBS),
    ("coordination.k8s.io", "leases", "", "create"),
    ("coordination.k8s.io", "leases", "kube-scheduler", "get update"),
    ("core", "nodes", "", READ),
    ("core", "pods", "", "delete get list watch"),
    ("core", "bindings pods/binding", "", "create"),
    ("core", "pods/status", "", "patch update"),
    ("core", "namespaces persistentvolumeclaims persistentvolumes replicationcontrollers services", "", READ),
    ("apps", "replicasets statefulsets", "", READ),
    ("policy", "poddisruptionbudgets", "", READ),
    ("authentication.k8s.io", "tokenreviews", "", "create"),
    ("authorization.k8s.io", "subjectaccessreviews", "", "create"),
    ("storage.k8s.io", "csidrivers csinodes csistoragecapacities", "", READ),
];

const KUBELET_API_ADMIN: &[Rule] = &[
    ("core", "nodes", "", READ),
    ("core", "nodes", "", "proxy"),
    ("core", "nodes/log nodes/metrics nodes/proxy nodes/stats", "", "*"),
];

const NODE: &[Rule] = &[
    ("authentication.k8s.io", "tokenreviews", "", "create"),
    ("authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews", "", "create"),
    ("core", "services", "", READ),
    ("core", "nodes", "", "create get list watch"),
    ("core", "nodes nodes/status", "", "patch update"),
    ("core", "events", "", EVENT_VERBS),
    ("core", "pods", "", READ),
    ("core", "pods", "", "create delete"),
    ("core", "pods/status", "", "patch update"),
    ("core", "pods/eviction", "", "create"),
    ("core", "configmaps secrets", "", READ),
    ("core", "persistentvolumeclaims persistentvolumes", "", "get"),
    ("core", "endpoints", "", "get"),
    ("certificates.k8s.io", "certificatesigningrequests", "", "create get list watch"),
    ("coordination.k8s.io", "leases", "", "create delete get patch update"),
    ("core", "serviceaccounts/token", "", "create"),
    ("core", "persistentvolumeclaims/status", "", "get patch update"),
    ("storage.k8s.io", "csidrivers", "", READ),
    ("storage.k8s.io", "csinodes", "", "create delete get patch update"),
    ("storage.k8s.io", "volumeattachments", "", "get"),
    ("node.k8s.io", "runtimeclasses", "", READ),
];

const NODE_PROXIER: &[Rule] = &[
    ("core", "endpoints services", "", "list watch"),
    ("core", "nodes", "", READ),
    (EVENT_GROUPS, "events", "", EVENT_VERBS),
    ("discovery.k8s.io", "endpointslices", "", "list watch"),
];
