//! What signing looks at: VirtualMeshes and Secrets of the management cluster, and what agents ask for in theirs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Secret;
use kube::api::DynamicObject;
use kube::runtime::reflector::ObjectRef as Reference;
use kube::runtime::watcher;
use kube::{Api, Client};
use kube_support::table::{Table, follow, follow_dynamic};
use mesh_types::hub::{Kind, Object, ObjectRef, Resource, VirtualMesh, names};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clusters::Agents;
use crate::clusters::session::AgentPlace;
use crate::kinds::ResourceKind;

/// Everything that is watched.
pub(super) struct Tables {
    namespace: String,
    secrets: Table<Secret>,
    virtual_meshes: Table<DynamicObject>,
    clusters: Arc<Mutex<BTreeMap<String, Cluster>>>,
    followed: BTreeMap<String, CancellationToken>,
}

/// What is watched in a registered cluster.
#[derive(Clone)]
pub(super) struct Cluster {
    pub(super) client: Client,
    certificates: Table<DynamicObject>,
    requests: Table<DynamicObject>,
    restarts: Table<DynamicObject>,
}

impl Tables {
    pub(super) fn watch(
        client: &Client,
        namespace: &str,
        changed: &Arc<watch::Sender<()>>,
        cancel: &CancellationToken,
    ) -> Self {
        let resource = ResourceKind::from(Kind::VirtualMesh);
        let virtual_meshes = resource.everywhere(client.clone());
        let own = watcher::Config::default();
        Self {
            namespace: namespace.to_owned(),
            secrets: follow(Api::namespaced(client.clone(), namespace), own, changed, cancel),
            virtual_meshes: follow_dynamic(virtual_meshes, resource.api_resource(), changed, cancel),
            clusters: Arc::default(),
            followed: BTreeMap::new(),
        }
    }

    /// Waits until the management cluster was read: which roots there are is not guessed.
    pub(super) async fn ready(&self) {
        tokio::join!(self.secrets.listed(), self.virtual_meshes.listed());
    }

    /// Watches the registered clusters, and no others.
    pub(super) fn follow_clusters(
        &mut self,
        agents: &Agents,
        changed: &Arc<watch::Sender<()>>,
        cancel: &CancellationToken,
    ) {
        let all = agents.all();
        self.followed.retain(|cluster, follower| {
            let stays = all.contains_key(cluster) && !follower.is_cancelled();
            if !stays {
                follower.cancel();
            }
            stays
        });
        for (cluster, place) in all {
            if self.followed.contains_key(&cluster) {
                continue;
            }
            let follower = cancel.child_token();
            let following = Following {
                cluster: cluster.clone(),
                namespace: self.namespace.clone(),
                clusters: Arc::clone(&self.clusters),
                changed: Arc::clone(changed),
                cancel: follower.clone(),
            };
            tokio::spawn(following.run(place));
            self.followed.insert(cluster, follower);
        }
    }

    /// The VirtualMeshes, as they are. The core may hear of a change later than this does.
    pub(super) fn virtual_meshes(&self) -> Vec<Object<VirtualMesh>> {
        self.virtual_meshes.state().iter().filter_map(|object| read(object)).collect()
    }

    /// A Secret of the hub's namespace.
    pub(super) fn secret(&self, name: &str) -> Option<Arc<Secret>> {
        self.secrets.get(&Reference::new(name).within(&self.namespace))
    }

    pub(super) fn cluster(&self, name: &str) -> Option<Cluster> {
        lock(&self.clusters).get(name).cloned()
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        self.followed.values().for_each(CancellationToken::cancel);
    }
}

fn lock(clusters: &Mutex<BTreeMap<String, Cluster>>) -> MutexGuard<'_, BTreeMap<String, Cluster>> {
    // The table is whole after every statement.
    clusters.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cluster {
    /// A resource that the agent or the hub wrote; nothing before the cluster was read.
    pub(super) fn get<R: Resource>(&self, name: &str, namespace: &str) -> Option<Object<R>> {
        let table = match R::KIND {
            Kind::IssuedCertificate => &self.certificates,
            Kind::WorkloadRestart => &self.restarts,
            _ => &self.requests,
        };
        let reference = Reference::new_with(name, ResourceKind::from(R::KIND).api_resource()).within(namespace);
        read(&*table.get(&reference)?)
    }
}

fn read<R: Resource>(object: &DynamicObject) -> Option<Object<R>> {
    let read = Object::<R>::from_value(serde_json::to_value(object).ok()?);
    let name = object.metadata.name.as_deref();
    read.inspect_err(|error| tracing::warn!(name, %error, "a resource cannot be read")).ok()
}

/// Keeps the tables of one cluster, wherever it is reached.
struct Following {
    cluster: String,
    namespace: String,
    clusters: Arc<Mutex<BTreeMap<String, Cluster>>>,
    changed: Arc<watch::Sender<()>>,
    cancel: CancellationToken,
}

impl Following {
    async fn run(self, mut place: watch::Receiver<AgentPlace>) {
        loop {
            let client = place.borrow_and_update().clone().map(|(client, _)| client);
            let until = self.cancel.child_token();
            match client {
                Some(client) => {
                    let follow = |kind: Kind| {
                        let resource = ResourceKind::from(kind);
                        let api = resource.in_namespace(client.clone(), &self.namespace);
                        follow_dynamic(api, resource.api_resource(), &self.changed, &until)
                    };
                    let (certificates, requests) = (follow(Kind::IssuedCertificate), follow(Kind::CertificateRequest));
                    let restarts = follow(Kind::WorkloadRestart);
                    let cluster = Cluster { client: client.clone(), certificates, requests, restarts };
                    lock(&self.clusters).insert(self.cluster.clone(), cluster);
                }
                None => drop(lock(&self.clusters).remove(&self.cluster)),
            }
            self.changed.send_replace(());
            let moved = self.cancel.run_until_cancelled(place.changed()).await;
            until.cancel();
            if !matches!(moved, Some(Ok(()))) {
                break;
            }
        }
        // Whoever is registered again is followed anew.
        self.cancel.cancel();
        lock(&self.clusters).remove(&self.cluster);
        self.changed.send_replace(());
    }
}

/// Name of the Secret that remembers the root of a VirtualMesh.
pub(super) fn root_name(virtual_mesh: &ObjectRef) -> String {
    names::join(&["root", &virtual_mesh.name, &virtual_mesh.namespace])
}
