//! The quality-of-service class of a pod. Pure; nothing is enforced by it here.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub(in crate::kubelet) fn qos_class(pod: &Pod) -> &'static str {
    let Some(spec) = &pod.spec else { return "BestEffort" };
    let containers: Vec<&Container> = spec.containers.iter().chain(spec.init_containers.iter().flatten()).collect();
    let amounts = |of: &Option<BTreeMap<String, Quantity>>| -> BTreeMap<String, String> {
        let relevant = of.iter().flatten().filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory"));
        relevant.map(|(name, amount)| (name.clone(), amount.0.clone())).collect()
    };
    let mut any = false;
    let mut guaranteed = true;
    for container in containers {
        let resources = container.resources.clone().unwrap_or_default();
        let (limits, requests) = (amounts(&resources.limits), amounts(&resources.requests));
        any |= !limits.is_empty() || !requests.is_empty();
        let requested = |name: &str| requests.get(name).or(limits.get(name));
        guaranteed &=
            ["cpu", "memory"].iter().all(|name| limits.contains_key(*name) && requested(name) == limits.get(*name));
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn class(resources: Value) -> &'static str {
        let pod = json!({"metadata": {}, "spec": {"containers": [{"name": "c", "resources": resources}]}});
        qos_class(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn classes_follow_requests_and_limits() {
        assert_eq!(class(json!({})), "BestEffort");
        assert_eq!(class(json!({"requests": {"cpu": "1"}})), "Burstable");
        assert_eq!(class(json!({"limits": {"cpu": "1", "memory": "1Gi"}})), "Guaranteed");
        assert_eq!(class(json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}})), "Burstable");
    }
}
