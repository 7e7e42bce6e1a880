//! Whether a pod gets a proxy.

use std::fmt;

use serde_json::Value;

use super::{MeshSettings, NamespaceContext, PROXY_CONTAINER};

const INJECT: &str = "sidecar.istio.io/inject";
const STATUS: &str = "sidecar.istio.io/status";
const REVISION: &str = "istio.io/rev";
const NAMESPACE_INJECTION: &str = "istio-injection";
const SYSTEM_NAMESPACES: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

/// Why a pod gets no proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// It shares the node's network, where capture would reach everything else on it.
    HostNetwork,
    /// It has one.
    AlreadyInjected,
    /// Its own label or annotation declines.
    PodDeclines,
    /// Its namespace declines, or is the system's.
    NamespaceDeclines,
    /// Nobody asked for one.
    NotAsked,
    /// It belongs to another revision of the control plane.
    OtherRevision,
}

impl fmt::Display for Skip {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::HostNetwork => "the pod uses the node's network",
            Self::AlreadyInjected => "the pod has a proxy already",
            Self::PodDeclines => "the pod's sidecar.istio.io/inject is not true",
            Self::NamespaceDeclines => "the namespace does not take part",
            Self::NotAsked => "neither the namespace nor the pod asks for a proxy",
            Self::OtherRevision => "the pod or its namespace asks for another revision",
        })
    }
}

/// The reason to leave a pod as it is, if there is one.
pub(super) fn skip(pod: &Value, namespace: NamespaceContext<'_>, settings: &MeshSettings) -> Option<Skip> {
    let metadata = |kind: &str, key: &str| pod.pointer(&format!("/metadata/{kind}"))?.get(key)?.as_str();
    if pod.pointer("/spec/hostNetwork") == Some(&Value::Bool(true)) {
        return Some(Skip::HostNetwork);
    }
    if SYSTEM_NAMESPACES.contains(&namespace.name) {
        return Some(Skip::NamespaceDeclines);
    }
    if metadata("annotations", STATUS).is_some() && has_proxy(pod) {
        return Some(Skip::AlreadyInjected);
    }
    let own = metadata("labels", INJECT).or_else(|| metadata("annotations", INJECT));
    let revision = metadata("labels", REVISION);
    if revision.is_some_and(|revision| revision != settings.revision) {
        return Some(Skip::OtherRevision);
    }
    if own.is_some_and(|own| !is_true(own)) {
        return Some(Skip::PodDeclines);
    }
    namespace_skip(namespace, settings, own.is_some() || revision.is_some())
}

fn namespace_skip(namespace: NamespaceContext<'_>, settings: &MeshSettings, asked_by_pod: bool) -> Option<Skip> {
    let labels = namespace.labels?;
    match (labels.get(NAMESPACE_INJECTION).map(String::as_str), labels.get(REVISION)) {
        (Some("enabled"), _) => None,
        (Some(_), _) => Some(Skip::NamespaceDeclines),
        (None, Some(revision)) if *revision == settings.revision => None,
        (None, Some(_)) => Some(Skip::OtherRevision),
        (None, None) => (!asked_by_pod).then_some(Skip::NotAsked),
    }
}

fn has_proxy(pod: &Value) -> bool {
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
    containers.into_iter().flatten().any(|container| container["name"] == PROXY_CONTAINER)
}

/// YAML's older words for true are accepted, as Istio does.
fn is_true(text: &str) -> bool {
    ["true", "y", "yes", "on"].contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn decide(namespace: &[(&str, &str)], labels: &Value, annotations: &Value) -> Option<Skip> {
        let pod = json!({"metadata": {"labels": labels, "annotations": annotations}, "spec": {"containers": []}});
        let namespace: BTreeMap<String, String> =
            namespace.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        skip(&pod, NamespaceContext { name: "ns", labels: Some(&namespace) }, &MeshSettings::default())
    }

    #[test]
    fn namespace_and_pod_decide_together() {
        let (on, off) = (json!({INJECT: "true"}), json!({INJECT: "false"}));
        let none = json!({});
        let enabled = [("istio-injection", "enabled")];
        assert_eq!(decide(&[], &none, &none), Some(Skip::NotAsked));
        assert_eq!(decide(&[], &on, &none), None);
        assert_eq!(decide(&[], &none, &on), None);
        assert_eq!(decide(&enabled, &none, &none), None);
        assert_eq!(decide(&enabled, &off, &none), Some(Skip::PodDeclines));
        assert_eq!(decide(&enabled, &on, &off), None, "the label wins over the annotation");
        assert_eq!(decide(&[("istio-injection", "disabled")], &on, &none), Some(Skip::NamespaceDeclines));
        assert_eq!(decide(&[("istio.io/rev", "default")], &none, &none), None);
        assert_eq!(decide(&[("istio.io/rev", "canary")], &none, &none), Some(Skip::OtherRevision));
        assert_eq!(decide(&enabled, &json!({"istio.io/rev": "canary"}), &none), Some(Skip::OtherRevision));
        assert_eq!(decide(&[], &json!({"istio.io/rev": "default"}), &none), None);
    }

    #[test]
    fn some_pods_are_never_injected() {
        let settings = MeshSettings::default();
        let host = json!({"spec": {"hostNetwork": true, "containers": []}});
        assert_eq!(skip(&host, NamespaceContext { name: "ns", labels: None }, &settings), Some(Skip::HostNetwork));
        let pod = json!({"spec": {"containers": []}});
        let system = NamespaceContext { name: "kube-system", labels: None };
        assert_eq!(skip(&pod, system, &settings), Some(Skip::NamespaceDeclines));
    }
}
