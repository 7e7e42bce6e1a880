//! Ends an environment: the embedded world as a whole; on clusters of somebody else exactly what was made there.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Preconditions};
use mesh_types::hub::names;
use serde_json::Value;

use super::authorities;
use super::bring_up::Error;
use super::directory;
use super::layers::progress::Progress;
use super::layers::{arrangement, record};
use crate::cluster::ledger::{Entry, is_of};
use crate::cluster::{Cluster, chain};
use crate::install::mesh;
use crate::management::target::Target;
use crate::management::{deregistration, resources};
use crate::provider::existing::Existing;
use crate::provider::fleet::Fleet;
use crate::provider::kind::Kind;
use crate::report::stream::EventSender;

/// How long what was deleted may take to be gone: namespaces wait for all that is in them.
const GONE: Duration = Duration::from_secs(120);
/// How often one looks.
const LOOK: Duration = Duration::from_millis(100);
/// How long the management plane may take to remove what it wrote.
const WITHDRAWN: Duration = Duration::from_secs(30);
/// What a control plane hands to every namespace.
const ROOT_CERTIFICATE: &str = "istio-ca-root-cert";

/// Something could not be removed from clusters of somebody else.
#[derive(Debug, thiserror::Error)]
#[error("not removed: {}", .0.join("; "))]
pub struct Left(pub Vec<String>);

/// Ends an environment and waits until it is gone.
///
/// # Errors
/// Where something is left.
pub async fn take_down(fleet: Fleet) -> Result<(), Error> {
    match fleet {
        Fleet::Embedded(world) => Ok((*world).stop().await.map_err(crate::provider::fleet::Error::from)?),
        Fleet::Existing(existing) => remove(&existing).await,
        Fleet::Kind(kind) => Ok(super::kind::take_down(&kind).await?),
        Fleet::Mixed(kind, existing) => {
            // The management plane may be on Docker; what it wrote elsewhere only it knows.
            leave_the_plane(&kind, &existing).await?;
            let unanswered = planes_that_do_not_answer(&kind, &existing).await?;
            remove(&existing).await?;
            super::kind::take_down(&kind).await?;
            if unanswered.is_empty() { Ok(()) } else { Err(Left(unanswered).into()) }
        }
    }
}

/// Removes what was made of an environment that did not come up. Why it did not is what the user wants to know; `down` can be tried
/// again.
pub(super) async fn undo(fleet: Fleet, failure: Error, events: &EventSender) -> Error {
    if let Err(error) = take_down(fleet).await {
        let cure = error.cure().unwrap_or_else(|| "`meshproof down` tries again".to_owned());
        events.warn(chain(&error), Some(cure));
    }
    failure
}

/// Lets management planes on Docker take back what they wrote into clusters that stay.
///
/// # Errors
/// [`Left`], where one answers and that does not work: it is needed to try again, so nothing of it must go.
async fn leave_the_plane(kind: &Kind, existing: &Existing) -> Result<(), Error> {
    let clusters = existing.bare_clusters().await.map_err(crate::provider::fleet::Error::from)?;
    let planes = kind.answering_clusters().await;
    let mut left = Vec::new();
    for (plane, cluster) in planes.iter().flat_map(|plane| clusters.iter().map(move |cluster| (plane, cluster))) {
        match plane.get(&resources::registered(cluster.name())).await {
            Ok(Some(_)) => left.extend(leave(plane, Some(cluster), cluster.name()).await.err()),
            Ok(None) | Err(crate::cluster::Error::UnknownKind { .. }) => {}
            Err(error) => left.push(chain(&error)),
        }
    }
    if left.is_empty() { Ok(()) } else { Err(Left(left).into()) }
}

/// What those that are gone may have left, as sentences: nobody can ask them any more.
async fn planes_that_do_not_answer(kind: &Kind, existing: &Existing) -> Result<Vec<String>, Error> {
    let mut left = Vec::new();
    if kind.answering_clusters().await.len() < kind.kubeconfigs().len() {
        let made = existing.made().map_err(crate::provider::fleet::Error::from)?;
        let agents = made.iter().filter(|entry| entry.kind == "Deployment" && entry.name == names::AGENT);
        left.extend(agents.map(|agent| {
            format!(
                "what the management plane wrote into {}, if it did: it does not answer; the label {} is on it",
                agent.cluster,
                names::LABEL_OWNER
            )
        }));
    }
    Ok(left)
}

async fn remove(existing: &Existing) -> Result<(), Error> {
    let made = existing.made().map_err(crate::provider::fleet::Error::from)?;
    let clusters = existing.bare_clusters().await.map_err(crate::provider::fleet::Error::from)?;
    // From here on nothing of it can be relied on, whether or not all of it goes.
    directory::is_incomplete(existing.directory())?;
    record::forget(existing.directory())?;
    let mut left = deregister(&clusters, &made).await;
    let removals = clusters.iter().map(|cluster| {
        let of_cluster: Vec<&Entry> = made.iter().filter(|entry| entry.cluster == cluster.name()).collect();
        remove_from(cluster, of_cluster, existing.run_id())
    });
    left.extend(futures::future::join_all(removals).await.into_iter().flatten());
    if !left.is_empty() {
        return Err(Left(left).into());
    }
    forget(existing)
}

/// Forgets clusters on which nothing is left.
pub(super) fn forget(existing: &Existing) -> Result<(), Error> {
    record::forget(existing.directory())?;
    arrangement::forget(existing.directory())?;
    authorities::forget(existing.directory())?;
    Ok(existing.forget().map_err(crate::provider::fleet::Error::from)?)
}

/// Lets the management plane take back what it wrote, as long as it runs.
async fn deregister(clusters: &[Cluster], made: &[Entry]) -> Vec<String> {
    let mut left = Vec::new();
    for entry in made.iter().filter(|entry| entry.kind == "KubernetesCluster") {
        let Some(management) = clusters.iter().find(|cluster| cluster.name() == entry.cluster) else { continue };
        let target = clusters.iter().find(|cluster| cluster.name() == entry.name);
        left.extend(leave(management, target, &entry.name).await.err());
    }
    left
}

/// Takes a cluster from a management plane.
async fn leave(management: &Cluster, cluster: Option<&Cluster>, name: &str) -> Result<(), String> {
    let done = async {
        let target = cluster.map(Target::of_environment).transpose()?;
        deregistration::deregister(management, target.as_ref(), name, true, WITHDRAWN).await
    };
    done.await.map(drop).map_err(|error| chain(&error))
}

/// Removes the objects of one cluster, the last that was made first: what is in namespaces, the namespaces, and the kinds, which
/// stay where somebody else uses them. Returns what is left, as sentences.
pub(super) async fn remove_from(cluster: &Cluster, made: Vec<&Entry>, run_id: &str) -> Vec<String> {
    let mut left = Vec::new();
    let of_kind = |kind: &str| made.iter().rev().copied().filter(|entry| entry.kind == kind).collect::<Vec<_>>();
    let rest = made.iter().rev().copied().filter(|entry| !is_scaffold(entry)).collect::<Vec<_>>();
    for (round, definitions) in
        [(rest, false), (of_kind("Namespace"), false), (of_kind("CustomResourceDefinition"), true)]
    {
        let mut deleted = Vec::new();
        for entry in round {
            match delete(cluster, entry, run_id, definitions).await {
                Ok(true) => deleted.push(entry),
                Ok(false) => {}
                Err(sentence) => left.push(sentence),
            }
        }
        left.extend(wait_until_gone(cluster, &deleted).await);
    }
    if made.iter().any(|entry| entry.kind == "Deployment" && entry.name == "istiod") {
        left.extend(remove_root_certificates(cluster).await.err().map(|error| chain(&error)));
    }
    left
}

/// Whether other objects need it to be there.
fn is_scaffold(entry: &Entry) -> bool {
    matches!(entry.kind.as_str(), "Namespace" | "CustomResourceDefinition")
}

/// Deletes an object of the run. What is not there, or somebody else has made in its place, is none of our business. Returns
/// whether it was deleted.
async fn delete(cluster: &Cluster, entry: &Entry, run_id: &str, definition: bool) -> Result<bool, String> {
    let manifest = entry.manifest();
    let there = match cluster.get(&manifest).await {
        Err(crate::cluster::Error::UnknownKind { .. }) => None,
        there => there.map_err(|error| chain(&error))?,
    };
    let Some(there) = there.filter(|there| is_of(there, run_id)) else { return Ok(false) };
    if definition && let Some(user) = used_by(cluster, &there).await? {
        return Err(format!("{}: {} stays: it defines {user}, which is not ours", cluster.name(), entry.named()));
    }
    let (api, _) = cluster.api_of(&manifest).await.map_err(|error| chain(&error))?;
    let preconditions = Preconditions { uid: there.metadata.uid, resource_version: None };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
    match api.delete(&entry.name, &parameters).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(false),
        Err(error) => Err(format!("{}: cannot delete {}: {}", cluster.name(), entry.named(), chain(&error))),
    }
}

/// An object of a kind that would go with its definition.
async fn used_by(cluster: &Cluster, definition: &DynamicObject) -> Result<Option<String>, String> {
    let text = |pointer: &str| definition.data.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (group, version) = (text("/spec/group"), text("/spec/versions/0/name"));
    let resource = kube::core::ApiResource {
        api_version: format!("{group}/{version}"),
        group,
        version,
        kind: text("/spec/names/kind"),
        plural: text("/spec/names/plural"),
    };
    let all: Api<DynamicObject> = Api::all_with(cluster.client(), &resource);
    match all.list(&ListParams::default().limit(1)).await {
        Ok(list) => Ok(list.items.first().map(|one| {
            let namespace = one.namespace().map_or(String::new(), |namespace| format!("{namespace}/"));
            format!("{} {namespace}{}", resource.kind, one.name_any())
        })),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(error) => Err(format!("{}: cannot list {}: {}", cluster.name(), resource.plural, chain(&error))),
    }
}

/// Waits until nothing that is about to be applied is still being deleted: what is applied to that goes with it.
pub(super) async fn wait_for_the_end(clusters: &[Cluster], layers: &Progress) -> Result<(), Error> {
    let waits = clusters
        .iter()
        .map(async |cluster| wait_until_gone(cluster, &layers.ending(cluster.name()).collect::<Vec<_>>()).await);
    let left: Vec<String> = futures::future::join_all(waits).await.into_iter().flatten().collect();
    if left.is_empty() { Ok(()) } else { Err(Left(left).into()) }
}

async fn wait_until_gone(cluster: &Cluster, deleted: &[&Entry]) -> Vec<String> {
    let mut left = Vec::new();
    for entry in deleted {
        let manifest = entry.manifest();
        let gone = eventually::poll(format!("{} to be gone", entry.named()), GONE, LOOK, async || {
            match cluster.get(&manifest).await {
                Ok(None) | Err(crate::cluster::Error::UnknownKind { .. }) => Ok(()),
                Ok(Some(there)) => Err(match there.metadata.finalizers {
                    Some(finalizers) if !finalizers.is_empty() => {
                        format!("its finalizers are {}", finalizers.join(", "))
                    }
                    _ => "it is still there".to_owned(),
                }),
                Err(error) => Err(chain(&error)),
            }
        });
        left.extend(gone.await.err().map(|error| format!("{}: {error}", cluster.name())));
    }
    left
}

/// What the control plane handed to namespaces that are not ours.
async fn remove_root_certificates(cluster: &Cluster) -> Result<(), mesh::Error> {
    let failed = |source| cluster.api_error(format!("remove ConfigMaps {ROOT_CERTIFICATE}"), source);
    let all: Api<ConfigMap> = Api::all(cluster.client());
    let written = all.list(&ListParams::default().labels("istio.io/config=true")).await.map_err(failed)?;
    for one in written.items.iter().filter(|one| one.name_any() == ROOT_CERTIFICATE) {
        let namespace = one.namespace().unwrap_or_default();
        let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), &namespace);
        match maps.delete(ROOT_CERTIFICATE, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => return Err(failed(error).into()),
        }
    }
    Ok(())
}
