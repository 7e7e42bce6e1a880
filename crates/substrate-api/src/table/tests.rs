//! Tables of each printer, as snapshots in the form kubectl prints.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{IncludeObject, PrinterColumn, render};

const NOW: &str = "2026-01-02T03:04:05Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// Columns padded as `kubectl get -o wide` prints them; wide columns have a `+`.
fn wide(group: &str, resource: &str, columns: &[PrinterColumn], items: &[Value]) -> String {
    let table = render(group, resource, columns, items, IncludeObject::None, now());
    let heading = |column: &Value| {
        let mark = if column["priority"] == 0 { "" } else { "+" };
        format!("{mark}{}", column["name"].as_str().unwrap().to_uppercase())
    };
    let mut lines = vec![table["columnDefinitions"].as_array().unwrap().iter().map(heading).collect::<Vec<_>>()];
    for row in table["rows"].as_array().unwrap() {
        let cell = |cell: &Value| match cell {
            Value::String(text) => text.clone(),
            Value::Null => "<null>".to_owned(),
            other => other.to_string(),
        };
        lines.push(row["cells"].as_array().unwrap().iter().map(cell).collect());
    }
    assert!(lines.iter().all(|line| line.len() == lines[0].len()), "each row has a cell per column: {lines:?}");
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let padded = |line: &Vec<String>| {
        let cells = line.iter().enumerate().map(|(index, cell)| format!("{cell:<0$}", width(index)));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(padded).collect::<Vec<_>>().join("\n")
}

fn pod(name: &str, spec: Value, status: Value) -> Value {
    json!({"kind": "Pod", "metadata": {"name": name, "creationTimestamp": "2026-01-02T03:00:00Z"}, "spec": spec, "status": status})
}

fn one(name: &str) -> Value {
    json!({"containers": [{"name": name}]})
}

#[test]
fn pods() {
    let mut terminating = pod(
        "terminating",
        one("a"),
        json!({"phase": "Running", "containerStatuses": [{"name": "a", "ready": true, "restartCount": 0, "state": {"running": {}}}]}),
    );
    terminating["metadata"]["deletionTimestamp"] = NOW.into();
    let with_init = json!({"initContainers": [{"name": "i"}, {"name": "j"}], "containers": [{"name": "a"}]});
    let sidecar =
        json!({"initContainers": [{"name": "proxy", "restartPolicy": "Always"}], "containers": [{"name": "a"}]});
    let items = [
        pod(
            "running",
            json!({"containers": [{"name": "a"}, {"name": "b"}], "nodeName": "n1", "readinessGates": [{"conditionType": "G"}]}),
            json!({
            "phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "conditions": [{"type": "G", "status": "True"}],
            "containerStatuses": [{"name": "a", "ready": true, "restartCount": 2, "state": {"running": {}}, "lastState": {"terminated": {"finishedAt": "2026-01-02T03:04:00Z"}}}, {"name": "b", "ready": false, "restartCount": 0, "state": {"running": {}}}]}),
        ),
        pod("pending", one("a"), json!({"phase": "Pending"})),
        pod(
            "crash",
            one("a"),
            json!({"phase": "Running", "containerStatuses": [{"name": "a", "ready": false, "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"finishedAt": "2026-01-02T03:01:00Z"}}}]}),
        ),
        pod(
            "completed",
            one("a"),
            json!({"phase": "Succeeded", "containerStatuses": [{"name": "a", "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]}),
        ),
        pod(
            "signal",
            one("a"),
            json!({"phase": "Failed", "containerStatuses": [{"name": "a", "restartCount": 0, "state": {"terminated": {"exitCode": 137, "signal": 9}}}]}),
        ),
        pod(
            "exit",
            one("a"),
            json!({"phase": "Failed", "containerStatuses": [{"name": "a", "restartCount": 0, "state": {"terminated": {"exitCode": 3}}}]}),
        ),
        pod("evicted", one("a"), json!({"phase": "Failed", "reason": "Evicted"})),
        pod(
            "init-first",
            with_init.clone(),
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "restartCount": 0, "state": {"running": {}}}, {"name": "j", "restartCount": 0, "state": {"waiting": {"reason": "PodInitializing"}}}], "containerStatuses": [{"name": "a", "restartCount": 0, "state": {"waiting": {"reason": "PodInitializing"}}}]}),
        ),
        pod(
            "init-second",
            with_init.clone(),
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "restartCount": 0, "state": {"terminated": {"exitCode": 0}}}, {"name": "j", "restartCount": 0, "state": {"waiting": {"reason": "PodInitializing"}}}]}),
        ),
        pod(
            "init-error",
            with_init.clone(),
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "restartCount": 1, "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]}),
        ),
        pod(
            "init-backoff",
            with_init,
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
        ),
        pod(
            "sidecar",
            sidecar,
            json!({"phase": "Running", "conditions": [{"type": "Initialized", "status": "True"}], "initContainerStatuses": [{"name": "proxy", "ready": true, "started": true, "restartCount": 1, "state": {"running": {}}}], "containerStatuses": [{"name": "a", "ready": true, "restartCount": 0, "state": {"running": {}}}]}),
        ),
        pod(
            "half-done",
            json!({"containers": [{"name": "a"}, {"name": "b"}]}),
            json!({"phase": "Running", "containerStatuses": [{"name": "a", "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}, {"name": "b", "ready": true, "restartCount": 0, "state": {"running": {}}}]}),
        ),
        terminating,
    ];
    insta::assert_snapshot!(wide("", "pods", &[], &items));
}

fn object(kind: &str, name: &str, fields: Value) -> Value {
    let mut object = json!({"kind": kind, "metadata": {"name": name, "creationTimestamp": "2025-12-31T03:04:05Z"}});
    for (field, value) in fields.as_object().unwrap() {
        object[field] = value.clone();
    }
    object
}

#[test]
fn services_and_endpoints() {
    let services = [
        object(
            "Service",
            "kubernetes",
            json!({"spec": {"type": "ClusterIP", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ports": [{"port": 443, "protocol": "TCP"}]}}),
        ),
        object(
            "Service",
            "headless",
            json!({"spec": {"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"], "selector": {"b": "2", "a": "1"}}}),
        ),
        object(
            "Service",
            "pending",
            json!({"spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.3", "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}}),
        ),
        object(
            "Service",
            "lb",
            json!({"spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.4", "ports": [{"port": 80}]}, "status": {"loadBalancer": {"ingress": [{"ip": "172.30.1.100"}]}}}),
        ),
        object("Service", "external", json!({"spec": {"type": "ExternalName", "externalName": "example.com"}})),
    ];
    let endpoints = [
        object(
            "Endpoints",
            "web",
            json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}], "ports": [{"port": 80}, {"port": 443}]}]}),
        ),
        object("Endpoints", "none", json!({})),
    ];
    let slices = [
        object(
            "EndpointSlice",
            "web",
            json!({"addressType": "IPv4", "ports": [{"port": 80}], "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}]}),
        ),
        object("EndpointSlice", "none", json!({"addressType": "IPv4", "endpoints": []})),
    ];
    let ingresses = [object(
        "Ingress",
        "web",
        json!({"spec": {"ingressClassName": "c", "rules": [{"host": "a.b"}], "tls": [{}]}, "status": {"loadBalancer": {"ingress": [{"hostname": "x"}]}}}),
    )];
    let tables = [
        wide("", "services", &[], &services),
        wide("", "endpoints", &[], &endpoints),
        wide("discovery.k8s.io", "endpointslices", &[], &slices),
        wide("networking.k8s.io", "ingresses", &[], &ingresses),
        wide(
            "networking.k8s.io",
            "networkpolicies",
            &[],
            &[object("NetworkPolicy", "p", json!({"spec": {"podSelector": {}}}))],
        ),
    ];
    insta::assert_snapshot!(tables.join("\n\n"));
}

#[test]
fn workloads() {
    let template = json!({"spec": {"containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "y:2"}]}});
    let selector = json!({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}, {"key": "old", "operator": "DoesNotExist"}]});
    let tables = [
        wide(
            "apps",
            "deployments",
            &[],
            &[object(
                "Deployment",
                "web",
                json!({"spec": {"replicas": 3, "selector": selector, "template": template}, "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1}}),
            )],
        ),
        wide(
            "apps",
            "replicasets",
            &[],
            &[object(
                "ReplicaSet",
                "web-1",
                json!({"spec": {"replicas": 3, "selector": selector, "template": template}, "status": {"replicas": 3, "readyReplicas": 2}}),
            )],
        ),
        wide(
            "apps",
            "daemonsets",
            &[],
            &[object(
                "DaemonSet",
                "d",
                json!({"spec": {"selector": selector, "template": template}, "status": {"desiredNumberScheduled": 1, "currentNumberScheduled": 1, "numberReady": 1, "updatedNumberScheduled": 1, "numberAvailable": 1}}),
            )],
        ),
        wide(
            "apps",
            "statefulsets",
            &[],
            &[object("StatefulSet", "s", json!({"spec": {"replicas": 1, "template": template}}))],
        ),
        wide(
            "batch",
            "jobs",
            &[],
            &[
                object(
                    "Job",
                    "done",
                    json!({"spec": {"completions": 1, "template": template, "selector": selector}, "status": {"succeeded": 1, "startTime": "2026-01-02T03:00:00Z", "completionTime": "2026-01-02T03:00:07Z", "conditions": [{"type": "Complete", "status": "True"}]}}),
                ),
                object(
                    "Job",
                    "busy",
                    json!({"spec": {"parallelism": 2, "template": template}, "status": {"startTime": "2026-01-02T03:00:00Z"}}),
                ),
            ],
        ),
        wide(
            "batch",
            "cronjobs",
            &[],
            &[object("CronJob", "c", json!({"spec": {"schedule": "* * * * *", "suspend": false}}))],
        ),
    ];
    insta::assert_snapshot!(tables.join("\n\n"));
}

#[test]
fn configuration_and_access() {
    let node = object(
        "Node",
        "n1",
        json!({"status": {"conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": "172.30.1.1"}], "nodeInfo": {"kubeletVersion": "v1.37.0"}}, "spec": {"unschedulable": true}}),
    );
    let mut labelled = node.clone();
    labelled["metadata"]["labels"] =
        json!({"node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "worker"});
    let binding = object(
        "RoleBinding",
        "b",
        json!({"roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": [{"kind": "User", "name": "ann"}, {"kind": "Group", "name": "g"}, {"kind": "ServiceAccount", "namespace": "n", "name": "s"}]}),
    );
    let tables = [
        wide("", "nodes", &[], &[node, labelled]),
        wide("", "namespaces", &[], &[object("Namespace", "default", json!({"status": {"phase": "Active"}}))]),
        wide(
            "",
            "configmaps",
            &[],
            &[object("ConfigMap", "c", json!({"data": {"a": "1", "b": "2"}, "binaryData": {"c": ""}}))],
        ),
        wide("", "secrets", &[], &[object("Secret", "s", json!({"type": "Opaque", "data": {"a": ""}}))]),
        wide("", "serviceaccounts", &[], &[object("ServiceAccount", "default", json!({}))]),
        wide("rbac.authorization.k8s.io", "roles", &[], &[object("Role", "r", json!({}))]),
        wide("rbac.authorization.k8s.io", "rolebindings", &[], &[binding]),
        wide(
            "apiextensions.k8s.io",
            "customresourcedefinitions",
            &[],
            &[object("CustomResourceDefinition", "a.b", json!({}))],
        ),
        wide(
            "admissionregistration.k8s.io",
            "mutatingwebhookconfigurations",
            &[],
            &[object("M", "injector", json!({"webhooks": [{}, {}]}))],
        ),
        wide("coordination.k8s.io", "leases", &[], &[object("Lease", "l", json!({"spec": {"holderIdentity": "me"}}))]),
        wide(
            "policy",
            "poddisruptionbudgets",
            &[],
            &[object("PodDisruptionBudget", "p", json!({"spec": {"minAvailable": "50%"}}))],
        ),
        wide("unknown.io", "things", &[], &[object("Thing", "t", json!({}))]),
    ];
    insta::assert_snapshot!(tables.join("\n\n"));
}

#[test]
fn events() {
    let old = object(
        "Event",
        "web.1",
        json!({"firstTimestamp": "2026-01-02T03:00:00Z", "lastTimestamp": "2026-01-02T03:04:00Z", "count": 4, "type": "Warning", "reason": "BackOff", "involvedObject": {"kind": "Pod", "name": "web", "fieldPath": "spec.containers{a}"}, "source": {"component": "kubelet", "host": "n1"}, "message": "Back-off restarting\n"}),
    );
    let new = object(
        "Event",
        "web.2",
        json!({"eventTime": "2026-01-02T03:04:00.000000Z", "type": "Normal", "reason": "Scheduled", "regarding": {"kind": "Pod", "name": "web"}, "reportingController": "scheduler", "reportingInstance": "s-1", "note": "Assigned"}),
    );
    insta::assert_snapshot!(wide("", "events", &[], &[old, new]));
}

#[test]
fn custom_resources_print_their_columns() {
    let columns = PrinterColumn::from_definition(&json!([
        {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas", "description": "How many"},
        {"name": "Hosts", "type": "string", "jsonPath": ".spec.hosts"},
        {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status", "priority": 1},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {"name": "On", "type": "boolean", "jsonPath": ".spec.on"},
    ]));
    let items = [
        object(
            "VirtualService",
            "reviews",
            json!({"spec": {"replicas": 2, "hosts": ["reviews"], "on": true}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
        ),
        object("VirtualService", "bare", json!({"spec": {"replicas": "two"}})),
    ];
    insta::assert_snapshot!(wide("networking.istio.io", "virtualservices", &columns, &items));
    assert_eq!(PrinterColumn::from_definition(&Value::Null)[0].name, "Age");
}

#[test]
fn rows_carry_what_was_asked_for() {
    let item = object("ConfigMap", "c", json!({"data": {"a": "1"}}));
    let table = |include| render("", "configmaps", &[], std::slice::from_ref(&item), include, now());
    assert_eq!(table(IncludeObject::None)["rows"][0]["object"], Value::Null);
    assert_eq!(table(IncludeObject::Object)["rows"][0]["object"], item);
    let metadata = table(IncludeObject::Metadata);
    assert_eq!(
        metadata["rows"][0]["object"],
        json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]})
    );
    assert_eq!(
        metadata["columnDefinitions"][0],
        json!({"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0})
    );
    assert_eq!(IncludeObject::parse(""), Some(IncludeObject::Metadata));
    assert_eq!(IncludeObject::parse("All"), None);
}
