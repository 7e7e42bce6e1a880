//! Takes a cluster from the management plane: the manager removes what it wrote there, then everything goes that registration
//! made, and nothing else. Where the manager is down, `force` removes in its place what it would have removed.

use std::time::Duration;

use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use mesh_types::hub::{Kind, names};
use serde_json::json;

use super::registration::{LOOK, secret_name};
use super::resources::{self, text};
use super::{Error, target::Target};
use crate::cluster::{Cluster, chain};
use crate::install::hub;

/// How long the manager may take to remove what it wrote.
pub const REMOVED: Duration = Duration::from_secs(60);

/// Kinds that the manager writes into registered clusters: group, version, kind, plural.
pub const WRITTEN: [(&str, &str, &str, &str); 7] = [
    ("networking.istio.io", "v1", "VirtualService", "virtualservices"),
    ("networking.istio.io", "v1", "DestinationRule", "destinationrules"),
    ("networking.istio.io", "v1", "Gateway", "gateways"),
    ("networking.istio.io", "v1", "ServiceEntry", "serviceentries"),
    ("security.istio.io", "v1", "AuthorizationPolicy", "authorizationpolicies"),
    ("certificates.meshproof.dev", "v1", "IssuedCertificate", "issuedcertificates"),
    ("certificates.meshproof.dev", "v1", "WorkloadRestart", "workloadrestarts"),
];
/// Kinds that the manager finds and keeps in the management cluster.
const FOUND: [Kind; 3] = [Kind::Mesh, Kind::Workload, Kind::Destination];

/// What a de-registration did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Objects of the registration that were deleted.
    pub objects: usize,
    /// What somebody should know.
    pub notes: Vec<String>,
}

/// Takes a cluster from the plane, and waits until nothing of it is left. Without a `target` (it is unreachable for good) only
/// the management cluster is cleaned, which needs `force`.
///
/// # Errors
/// [`Error::Refused`] where there is no such cluster; [`Error::Late`] where the manager does not remove what it wrote and
/// `force` is not set.
pub async fn deregister(
    management: &Cluster,
    target: Option<&Target>,
    name: &str,
    force: bool,
    deadline: Duration,
) -> Result<Removed, Error> {
    let registered = resources::registered(name);
    resources::list(management, Kind::KubernetesCluster).await?;
    let known = management.get(&registered).await?.is_some();
    let leaving = Leaving { management, target, name, owner: resources::identity(management).await? };
    let mut removed = Removed::default();
    if !known && !force {
        return Err(Error::refused(
            format!("no cluster is registered as {name}"),
            "`meshproof mesh list` shows those that are; --force removes what is left of one",
        ));
    }
    management.delete(&registered).await?;
    if let Err(late) = leaving.withdrawn(deadline).await {
        if !force {
            return Err(late);
        }
        removed.notes.push(format!("{late}; so it was removed without the management plane"));
        leaving.withdraw().await?;
    }
    management.delete(&secret_name(name)).await?;
    removed.objects += 2;
    match target {
        Some(target) => removed.objects += take_away(&target.cluster, name).await?,
        None => removed.notes.push(format!(
            "what the management plane wrote into {name}, and its agent there, were left: the cluster was not named"
        )),
    }
    Ok(removed)
}

/// A cluster that leaves a plane.
struct Leaving<'clusters> {
    management: &'clusters Cluster,
    target: Option<&'clusters Target>,
    name: &'clusters str,
    /// What marks everything that the plane wrote.
    owner: String,
}

impl Leaving<'_> {
    /// Waits until nothing is left of what the manager wrote and found.
    async fn withdrawn(&self, deadline: Duration) -> Result<(), Error> {
        let what = format!("the management plane to remove what it wrote for cluster {}", self.name);
        let look = async || {
            let left = self.left().await.map_err(|error| chain(&error))?;
            match left.first() {
                None => Ok(()),
                Some(first) => Err(format!("{} objects are left, such as {first}", left.len())),
            }
        };
        eventually::poll(what, deadline, LOOK, look).await.map_err(|source| Error::Late {
            source,
            cure: "see by `meshproof mesh check` whether the manager runs; --force removes the objects in its place"
                .to_owned(),
        })
    }

    /// What is left of what the manager wrote and found, in words.
    async fn left(&self) -> Result<Vec<String>, Error> {
        let Self { management, name, .. } = self;
        let mut left = Vec::new();
        if management.get(&resources::registered(name)).await?.is_some() {
            left.push(format!("KubernetesCluster {name}"));
        }
        for kind in FOUND {
            let found = list(management, &resources::resource(kind), &self.labels_here()).await?;
            left.extend(found.iter().map(|object| format!("{} {}", kind.name(), object.name_any())));
        }
        let Some(target) = self.target else { return Ok(left) };
        for resource in written() {
            let found = list(&target.cluster, &resource, &self.labels_there()).await?;
            let shown = |object: &DynamicObject| {
                let namespace = object.namespace().unwrap_or_default();
                format!("{} {namespace}/{} of {name}", resource.kind, object.name_any())
            };
            left.extend(found.iter().map(shown));
        }
        Ok(left)
    }

    /// Does the manager's part.
    async fn withdraw(&self) -> Result<(), Error> {
        let Self { management, name, .. } = self;
        let clusters = resources::api_in(management, Kind::KubernetesCluster, names::NAMESPACE);
        let released = json!({ "metadata": { "finalizers": null } });
        match clusters.patch(name, &PatchParams::default(), &Patch::Merge(&released)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(source) => {
                return Err(management.api_error(format!("release KubernetesCluster {name}"), source).into());
            }
        }
        if let Some(target) = self.target {
            for resource in written() {
                remove(&target.cluster, &resource, &self.labels_there()).await?;
            }
        }
        for kind in FOUND {
            remove(management, &resources::resource(kind), &self.labels_here()).await?;
        }
        Ok(())
    }

    /// Labels of what the plane wrote into the cluster.
    fn labels_there(&self) -> String {
        format!("{}={}", names::LABEL_OWNER, self.owner)
    }

    /// Labels of what it found in the cluster, in its own.
    fn labels_here(&self) -> String {
        format!("{},{}={}", self.labels_there(), names::LABEL_CLUSTER, self.name)
    }
}

/// Deletes what registration made in the cluster, the last first, and waits until its namespace is gone.
async fn take_away(cluster: &Cluster, name: &str) -> Result<usize, Error> {
    let mut gone = 0;
    let mut slow = Vec::new();
    // The roles of the agent stand where its mesh is, which may be gone by now.
    let namespaces = mesh_namespaces(cluster, name).await?;
    let mesh_namespace = namespaces.first().map_or(crate::install::remote_secret::ISTIO_SYSTEM, String::as_str);
    for object in hub::registered(name, mesh_namespace)?.iter().rev() {
        let there = match cluster.get(object).await {
            Ok(there) => there,
            // An object of a kind that is gone is gone.
            Err(crate::cluster::Error::Api { source, .. }) if is_unknown(&source) => None,
            Err(error) => return Err(error.into()),
        };
        let Some(there) = there else { continue };
        if there.labels().get(names::LABEL_REGISTRATION).is_some_and(|label| label == name) {
            cluster.delete(object).await?;
            gone += 1;
            if matches!(object["kind"].as_str(), Some("Namespace" | "CustomResourceDefinition")) {
                slow.push(object.clone());
            }
        }
    }
    for object in slow {
        let what = format!("{} {} of {name} to be gone", text(&object, "/kind"), text(&object, "/metadata/name"));
        let look = async || match cluster.get(&object).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err("it is still there".to_owned()),
            Err(error) => Err(chain(&error)),
        };
        let cure = "something in it has a finalizer that nobody takes away".to_owned();
        eventually::poll(what, REMOVED, LOOK, look).await.map_err(|source| Error::Late { source, cure })?;
    }
    Ok(gone)
}

/// Namespaces that the agent has a role in, but for its own.
async fn mesh_namespaces(cluster: &Cluster, name: &str) -> Result<Vec<String>, Error> {
    let gvk = GroupVersionKind::gvk("rbac.authorization.k8s.io", "v1", "Role");
    let resource = ApiResource::from_gvk_with_plural(&gvk, "roles");
    let roles = list(cluster, &resource, &format!("{}={name}", names::LABEL_REGISTRATION)).await?;
    let all = roles.iter().filter_map(kube::ResourceExt::namespace);
    Ok(all.filter(|namespace| namespace != names::NAMESPACE).collect())
}

fn written() -> impl Iterator<Item = ApiResource> {
    WRITTEN.into_iter().map(|(group, version, kind, plural)| {
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    })
}

/// What has the labels; of a kind that is unknown there is nothing.
async fn list(cluster: &Cluster, resource: &ApiResource, labels: &str) -> Result<Vec<DynamicObject>, Error> {
    let api: Api<DynamicObject> = Api::all_with(cluster.client(), resource);
    match api.list(&ListParams::default().labels(labels)).await {
        Ok(listed) => Ok(listed.items),
        Err(error) if is_unknown(&error) => Ok(Vec::new()),
        Err(source) => Err(cluster.api_error(format!("list {} with {labels}", resource.plural), source).into()),
    }
}

async fn remove(cluster: &Cluster, resource: &ApiResource, labels: &str) -> Result<(), Error> {
    for object in list(cluster, resource, labels).await? {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let api: Api<DynamicObject> = Api::namespaced_with(cluster.client(), &namespace, resource);
        match api.delete(&name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(error) if is_unknown(&error) => {}
            Err(source) => {
                let action = format!("delete {} {namespace}/{name}", resource.kind);
                return Err(cluster.api_error(action, source).into());
            }
        }
    }
    Ok(())
}

fn is_unknown(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.is_not_found(),
        kube::Error::Discovery(_) => true,
        _ => false,
    }
}
