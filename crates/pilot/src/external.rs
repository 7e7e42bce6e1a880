//! What the control plane does in a cluster that has none of its own and names this one, by the annotation
//! `topology.istio.io/controlPlaneClusters` of the namespace of the mesh there: it hands out the mesh's root, and keeps the
//! webhook for injection trusting it. Configuration is read in the own cluster only.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Namespace;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use kube_support::bundle::keep;
use kube_support::error::describe;
use mesh_types::names::ANNOTATION_CONTROL_PLANE_CLUSTERS;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::ca::{Authority, SigningKeys, publish};
use crate::webhook::MUTATING;

/// Serves other clusters.
#[derive(Clone)]
pub struct External {
    /// Id of the own cluster.
    pub cluster: String,
    /// Namespace of the mesh, in every cluster.
    pub namespace: String,
    /// The mesh's authority.
    pub authority: Arc<Authority>,
}

impl External {
    /// Does what there is to do in a cluster, whenever it names this control plane, for as long as the future is polled.
    pub async fn serve(self, id: String, client: Client) {
        let only = watcher::Config::default().fields(&format!("metadata.name={}", self.namespace));
        let mut events = watcher(Api::<Namespace>::all(client.clone()), only).default_backoff().boxed();
        let mut work: Option<BoxFuture<'static, ()>> = None;
        loop {
            let doing = async {
                match &mut work {
                    Some(work) => work.await,
                    None => std::future::pending().await,
                }
            };
            let named = tokio::select! {
                Some(event) = events.next() => match event {
                    Ok(watcher::Event::Apply(namespace) | watcher::Event::InitApply(namespace)) => {
                        namespace.name_any() == self.namespace && names(&namespace, &self.cluster)
                    }
                    Ok(watcher::Event::Delete(_)) => false,
                    Ok(watcher::Event::Init | watcher::Event::InitDone) => continue,
                    Err(error) => {
                        tracing::warn!(cluster = id, error = %describe(&error), "its namespace cannot be watched at the moment");
                        continue;
                    }
                },
                () = doing => false,
            };
            if named && work.is_none() {
                tracing::info!(cluster = id, "this is the control plane of the cluster");
                work = Some(Box::pin(in_charge(client.clone(), Arc::clone(&self.authority))));
            } else if !named {
                work = None;
            }
        }
    }
}

/// Hands out the root, and keeps the webhook in step with it.
async fn in_charge(client: Client, authority: Arc<Authority>) {
    let root = |keys: &Arc<SigningKeys>| keys.root_pem.clone();
    let (in_step, _) = watch::channel(false);
    let webhook =
        keep::<MutatingWebhookConfiguration, _>(client.clone(), MUTATING, authority.subscribe(), root, None, in_step);
    // Both end with the future.
    tokio::join!(publish::run(client, Arc::clone(&authority), CancellationToken::new()), webhook);
}

/// Whether a namespace names a cluster as that of its control plane; `*` names all.
fn names(namespace: &Namespace, cluster: &str) -> bool {
    let named = namespace.annotations().get(ANNOTATION_CONTROL_PLANE_CLUSTERS);
    named.is_some_and(|list| list.split(',').map(str::trim).any(|name| name == "*" || name == cluster))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_names_its_control_planes() {
        let annotated = |list: Option<&str>| {
            let mut namespace = Namespace::default();
            if let Some(list) = list {
                namespace.annotations_mut().insert(ANNOTATION_CONTROL_PLANE_CLUSTERS.to_owned(), list.to_owned());
            }
            names(&namespace, "cluster1")
        };
        assert!(annotated(Some("cluster1")) && annotated(Some("other, cluster1")) && annotated(Some("*")));
        assert!(!annotated(None) && !annotated(Some("cluster10")) && !annotated(Some("")));
    }
}
