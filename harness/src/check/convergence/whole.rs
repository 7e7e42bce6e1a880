//! The whole configuration of a cluster: every object that its API server has is held, nothing else is, and every proxy has
//! acknowledged it. For changes that somebody else makes, so that nobody here knows which objects they come to.

use std::time::Duration;

use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};

use super::{
    Converged, Error, Expectation, HeldEndpoints, Missing, STEP, SyncStatus, drained, judge, meshed_pods, sync_status,
};
use crate::cluster::{Cluster, Error as ClusterError, chain};

/// Kinds that a control plane makes configuration of: group, version, kind, plural.
const KINDS: [(&str, &str, &str, &str); 7] = [
    ("networking.istio.io", "v1", "VirtualService", "virtualservices"),
    ("networking.istio.io", "v1", "DestinationRule", "destinationrules"),
    ("networking.istio.io", "v1", "Gateway", "gateways"),
    ("networking.istio.io", "v1", "ServiceEntry", "serviceentries"),
    ("networking.istio.io", "v1", "WorkloadEntry", "workloadentries"),
    ("security.istio.io", "v1", "AuthorizationPolicy", "authorizationpolicies"),
    ("security.istio.io", "v1", "PeerAuthentication", "peerauthentications"),
];

/// Waits until the proxies of a cluster hold exactly what its API server has, and, unless `may_drain`, no connection is left of
/// what was in force before.
///
/// # Errors
/// [`Error::TimedOut`] with what is missing or the rejection of a proxy; [`Error::Draining`].
pub async fn in_force(cluster: &Cluster, deadline: Duration, may_drain: bool) -> Result<Converged, Error> {
    let begun = tokio::time::Instant::now();
    let what = format!("every proxy of {} to hold all that its API server has", cluster.name());
    let converged = eventually::poll(what, deadline, STEP, async || {
        let expected = expectation(cluster).await.map_err(|error| chain(&error))?;
        let pods = meshed_pods(cluster).await.map_err(|error| chain(&error))?;
        let pods: Vec<String> = pods.iter().map(|(namespace, pod)| format!("{namespace}/{pod}")).collect();
        let status = sync_status(cluster).await.map_err(|error| chain(&error))?;
        if let Some(name) = superfluous(&status, &expected) {
            return Err(format!("the control plane still holds {name}"));
        }
        match judge(&status, &expected, &HeldEndpoints::default(), cluster.name(), &pods) {
            Ok(converged) => Ok(Ok(converged)),
            Err(Missing::Rejected(message)) => Ok(Err(message)),
            Err(Missing::Late(missing)) => Err(missing),
        }
    })
    .await
    .map_err(|source| Error::TimedOut { cluster: cluster.name().to_owned(), source })?
    .map_err(|message| Error::Rejected { cluster: cluster.name().to_owned(), message })?;
    if !may_drain {
        drained(cluster, deadline.saturating_sub(begun.elapsed())).await?;
    }
    Ok(converged)
}

/// Every object that the API server has, at its present version.
async fn expectation(cluster: &Cluster) -> Result<Expectation, ClusterError> {
    // What was deleted is in no list: only the newest snapshot is without it for sure.
    let mut expectation = Expectation { newest: true, ..Expectation::default() };
    for (group, version, kind, plural) in KINDS {
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        let api: Api<DynamicObject> = Api::all_with(cluster.client(), &resource);
        let listed = api.list(&ListParams::default()).await;
        let listed = listed.map_err(|source| cluster.api_error(format!("list {plural}"), source))?;
        for object in listed.items {
            let metadata = object.metadata;
            let name =
                format!("{kind}/{}/{}", metadata.namespace.unwrap_or_default(), metadata.name.unwrap_or_default());
            expectation.resources.insert(name, metadata.resource_version);
        }
    }
    Ok(expectation)
}

/// Something that the control plane holds and the API server does not have.
fn superfluous<'status>(status: &'status SyncStatus, expected: &Expectation) -> Option<&'status String> {
    let is_known = |name: &&String| KINDS.iter().any(|(_, _, kind, _)| name.split('/').next() == Some(*kind));
    status.resources.keys().filter(is_known).find(|name| !expected.resources.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_too_much_is_found() {
        let held = |names: &[&str]| -> SyncStatus {
            let resources: serde_json::Map<String, serde_json::Value> = names
                .iter()
                .map(|name| ((*name).to_owned(), serde_json::json!({ "resourceVersion": "1", "snapshot": 1 })))
                .collect();
            serde_json::from_value(serde_json::json!({ "snapshot": 1, "resources": resources })).expect("a status")
        };
        let mut expected = Expectation::default();
        expected.resources.insert("VirtualService/a/b".to_owned(), Some("1".to_owned()));
        assert_eq!(superfluous(&held(&["VirtualService/a/b", "Secret/a/b"]), &expected), None);
        let found = held(&["VirtualService/a/b", "ServiceEntry/a/c"]);
        assert_eq!(superfluous(&found, &expected).map(String::as_str), Some("ServiceEntry/a/c"));
    }
}
