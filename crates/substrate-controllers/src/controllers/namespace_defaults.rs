//! What every namespace has: the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`. Pure.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::ResourceExt;
use serde_json::json;

use crate::objects::{Key, is_deleting};
use crate::plan::{Action, Kind, Plan};
use crate::world::Caches;

/// Name of the ConfigMap with the certificate of the API server's authority.
pub(crate) const ROOT_CA: &str = "kube-root-ca.crt";
const ROOT_CA_KEY: &str = "ca.crt";

/// What the controller looks at.
pub(crate) struct Inputs {
    pub(crate) namespace: Arc<Namespace>,
    pub(crate) account: Option<Arc<ServiceAccount>>,
    pub(crate) root_ca: Option<Arc<ConfigMap>>,
}

pub(crate) fn gather(caches: &Caches, key: &Key) -> Option<Inputs> {
    Some(Inputs {
        namespace: caches.namespaces.get(key)?,
        account: caches.service_accounts.get(&Key::new(&key.name, "default")),
        root_ca: caches.config_maps.get(&Key::new(&key.name, ROOT_CA)),
    })
}

pub(crate) fn reconcile(inputs: &Inputs, root_ca_pem: &str) -> Plan {
    let namespace = inputs.namespace.name_any();
    if is_deleting(&*inputs.namespace) {
        return Plan::default();
    }
    let mut actions = Vec::new();
    if inputs.account.is_none() {
        let object = json!({"metadata": {"name": "default", "namespace": namespace}});
        actions.push(Action::Create { kind: Kind::ServiceAccount, namespace: namespace.clone(), object });
    }
    match &inputs.root_ca {
        None => {
            let description = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc.";
            let metadata = json!({"name": ROOT_CA, "namespace": namespace, "annotations": {"kubernetes.io/description": description}});
            let object = json!({"metadata": metadata, "data": {ROOT_CA_KEY: root_ca_pem}});
            actions.push(Action::Create { kind: Kind::ConfigMap, namespace, object });
        }
        Some(map)
            if map.data.as_ref().and_then(|data| data.get(ROOT_CA_KEY)).map(String::as_str) != Some(root_ca_pem) =>
        {
            let patch = json!({"data": {ROOT_CA_KEY: root_ca_pem}});
            actions.push(Action::Patch { kind: Kind::ConfigMap, key: Key::of(&**map), patch });
        }
        Some(_) => {}
    }
    Plan::of(actions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::from_json;

    fn inputs(namespace: serde_json::Value, root_ca: Option<&str>) -> Inputs {
        let root_ca = root_ca.map(|pem| {
            from_json(json!({"metadata": {"name": ROOT_CA, "namespace": "shop"}, "data": {ROOT_CA_KEY: pem}}))
        });
        Inputs {
            namespace: from_json(namespace),
            account: Some(from_json(json!({"metadata": {"name": "default"}}))),
            root_ca,
        }
    }

    #[test]
    fn a_new_namespace_gets_both() {
        let inputs =
            Inputs { namespace: from_json(json!({"metadata": {"name": "shop"}})), account: None, root_ca: None };
        insta::assert_yaml_snapshot!(reconcile(&inputs, "PEM"));
    }

    #[test]
    fn a_changed_authority_is_written_and_an_equal_one_is_not() {
        let namespace = json!({"metadata": {"name": "shop"}});
        assert_eq!(reconcile(&inputs(namespace.clone(), Some("PEM")), "PEM"), Plan::default());
        assert!(matches!(reconcile(&inputs(namespace, Some("OLD")), "PEM").actions.as_slice(), [Action::Patch { .. }]));
    }

    #[test]
    fn a_namespace_that_is_being_deleted_gets_nothing_back() {
        let namespace = json!({"metadata": {"name": "shop", "deletionTimestamp": "2030-01-01T00:00:00Z"}});
        assert_eq!(reconcile(&inputs(namespace, None), "PEM"), Plan::default());
    }
}
