//! What an owner of pods tells about those that it has created and deleted, in Kubernetes' words. Pure.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use substrate_events::{EventType, Occurrence};

use crate::objects::controller_of;

/// What its controller did to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Created,
    Deleted,
}

/// The event about the owner of a pod; `None` for a pod that has none.
pub(crate) fn about_owner(change: Change, pod: &ObjectMeta) -> Option<Occurrence> {
    let owner = controller_of(pod)?;
    let name = pod.name.as_deref().unwrap_or_default();
    let (reason, verb, participle) = match change {
        Change::Created => ("SuccessfulCreate", "create", "Created"),
        Change::Deleted => ("SuccessfulDelete", "delete", "Deleted"),
    };
    let message = if owner.kind == "StatefulSet" {
        format!("{verb} Pod {name} in StatefulSet {} successful", owner.name)
    } else {
        format!("{participle} pod: {name}")
    };
    let about = ObjectReference {
        api_version: Some(owner.api_version.clone()),
        kind: Some(owner.kind.clone()),
        name: Some(owner.name.clone()),
        namespace: pod.namespace.clone(),
        uid: Some(owner.uid.clone()),
        ..ObjectReference::default()
    };
    Some(Occurrence { about, type_: EventType::Normal, reason: reason.to_owned(), message })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;
    use crate::fixtures::from_json;

    fn pod(owner: &str) -> Arc<Pod> {
        let owner = json!({"apiVersion": "apps/v1", "kind": owner, "name": "web", "uid": "u", "controller": true});
        from_json(json!({"metadata": {"name": "web-0", "namespace": "shop", "ownerReferences": [owner]}}))
    }

    #[test]
    fn the_words_are_those_of_kubernetes() {
        let told = |change, owner| about_owner(change, &pod(owner).metadata).unwrap();
        let created = told(Change::Created, "ReplicaSet");
        assert_eq!((created.reason.as_str(), created.message.as_str()), ("SuccessfulCreate", "Created pod: web-0"));
        let about = created.about;
        assert_eq!((about.kind.as_deref(), about.namespace.as_deref()), (Some("ReplicaSet"), Some("shop")));
        assert_eq!(told(Change::Deleted, "Job").message, "Deleted pod: web-0");
        assert_eq!(told(Change::Deleted, "StatefulSet").message, "delete Pod web-0 in StatefulSet web successful");
    }

    #[test]
    fn a_pod_of_nobody_is_nobodys_event() {
        let pod: Arc<Pod> = from_json(json!({"metadata": {"name": "web-0"}}));
        assert_eq!(about_owner(Change::Created, &pod.metadata), None);
    }
}
