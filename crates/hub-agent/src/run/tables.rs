//! What the decisions about certificates look at, kept up to date by watches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::reflector::{ObjectRef as Reference, Store};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt as _};
use kube_support::table::{follow, follow_dynamic};
use mesh_types::hub::certificate::{CertificateRequest, IssuedCertificate, WorkloadRestart};
use mesh_types::hub::{Kind, Object, ObjectRef, names};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::certificate::{AuthoritySecret, PendingKey};
use crate::pods::Pods;
use crate::restart::{self, Controller, daemon_set, deployment, stateful_set};
use crate::trust::Published;
use crate::view;

/// Everything that is watched.
pub struct Tables {
    namespace: String,
    certificates: Store<DynamicObject>,
    requests: Store<DynamicObject>,
    restarts: Store<DynamicObject>,
    keys: Store<Secret>,
    authorities: BTreeMap<ObjectRef, Store<Secret>>,
    roots: Store<ConfigMap>,
    pods: Pods,
    deployments: Store<Deployment>,
    stateful_sets: Store<StatefulSet>,
    daemon_sets: Store<DaemonSet>,
}

impl Tables {
    /// Starts the watches; `changed` is told of every change.
    pub fn watch(
        client: &Client,
        pods: Pods,
        namespace: &str,
        changed: &Arc<watch::Sender<()>>,
        cancel: &CancellationToken,
    ) -> Self {
        let hub = |kind| {
            let resource = resource_of(kind);
            let api = Api::namespaced_with(client.clone(), namespace, &resource);
            follow_dynamic(api, resource, changed, cancel)
        };
        let everything = watcher::Config::default;
        let keys = everything().fields(&format!("type={}", names::TYPE_KEY));
        let roots = everything().fields(&format!("metadata.name={}", view::ROOT_CONFIG_MAP));
        Self {
            namespace: namespace.to_owned(),
            certificates: hub(Kind::IssuedCertificate),
            requests: hub(Kind::CertificateRequest),
            restarts: hub(Kind::WorkloadRestart),
            keys: follow(Api::namespaced(client.clone(), namespace), keys, changed, cancel),
            authorities: BTreeMap::new(),
            roots: follow(Api::all(client.clone()), roots, changed, cancel),
            pods,
            deployments: follow(Api::all(client.clone()), everything(), changed, cancel),
            stateful_sets: follow(Api::all(client.clone()), everything(), changed, cancel),
            daemon_sets: follow(Api::all(client.clone()), everything(), changed, cancel),
        }
    }

    /// Waits until everything has been listed once. A cluster that refuses a list is asked again, and logged.
    pub async fn ready(&self) {
        // A writer ends only with its watch, and that only with the program.
        let _ = tokio::join!(
            self.certificates.wait_until_ready(),
            self.requests.wait_until_ready(),
            self.restarts.wait_until_ready(),
            self.keys.wait_until_ready(),
            self.roots.wait_until_ready(),
            self.pods.ready(),
            self.deployments.wait_until_ready(),
            self.stateful_sets.wait_until_ready(),
            self.daemon_sets.wait_until_ready(),
        );
    }

    /// Watches the Secrets that certificates are installed in, each once it is named.
    pub async fn follow_places(
        &mut self,
        client: &Client,
        changed: &Arc<watch::Sender<()>>,
        cancel: &CancellationToken,
    ) {
        for certificate in self.certificates() {
            let place = certificate.spec.issued_certificate_secret;
            if place.name.is_empty() || self.authorities.contains_key(&place) {
                continue;
            }
            let only = watcher::Config::default().fields(&format!("metadata.name={}", place.name));
            let table = follow(Api::namespaced(client.clone(), &place.namespace), only, changed, cancel);
            // As in `ready`.
            let _ = table.wait_until_ready().await;
            self.authorities.insert(place, table);
        }
    }

    /// The certificates that are wanted and not being deleted.
    pub fn certificates(&self) -> Vec<Object<IssuedCertificate>> {
        let all = self.certificates.state();
        let kept = all.iter().filter(|object| object.metadata.deletion_timestamp.is_none());
        kept.filter_map(|object| view::resource(object)).collect()
    }

    /// The request of a certificate.
    pub fn request(&self, certificate: &str) -> Option<Object<CertificateRequest>> {
        view::resource(&*self.requests.get(&self.dynamic(Kind::CertificateRequest, certificate))?)
    }

    /// Names of requests whose certificate is not wanted any more.
    pub fn orphaned_requests(&self) -> Vec<String> {
        let wanted = |name: &String| self.certificates.get(&self.dynamic(Kind::IssuedCertificate, name)).is_some();
        self.requests.state().iter().map(|request| request.name_any()).filter(|name| !wanted(name)).collect()
    }

    /// A restart by its name.
    pub fn restart(&self, name: &str) -> Option<Object<WorkloadRestart>> {
        view::resource(&*self.restarts.get(&self.dynamic(Kind::WorkloadRestart, name))?)
    }

    fn dynamic(&self, kind: Kind, name: &str) -> Reference<DynamicObject> {
        Reference::new_with(name, resource_of(kind)).within(&self.namespace)
    }

    /// The key that waits for a certificate.
    pub fn pending_key(&self, certificate: &str) -> Option<PendingKey> {
        let reference = Reference::new(&view::key_name(certificate)).within(&self.namespace);
        view::pending_key(&*self.keys.get(&reference)?)
    }

    /// What a control plane signs with.
    pub fn authority(&self, place: &ObjectRef) -> Option<AuthoritySecret> {
        self.secret(place).map(|secret| view::authority(&secret))
    }

    /// When that was written last.
    pub fn installed(&self, place: &ObjectRef) -> Option<SystemTime> {
        view::installed(&*self.secret(place)?)
    }

    fn secret(&self, place: &ObjectRef) -> Option<Arc<Secret>> {
        self.authorities.get(place)?.get(&Reference::new(&place.name).within(&place.namespace))
    }

    /// The roots that a namespace hands out, PEM.
    pub fn published_pem(&self, namespace: &str) -> Option<String> {
        let map = self.roots.get(&Reference::new(view::ROOT_CONFIG_MAP).within(namespace))?;
        view::published_pem(&map).map(str::to_owned)
    }

    /// The roots that namespaces hand out.
    pub fn published(&self) -> Published {
        let maps = self.roots.state();
        maps.iter().map(|map| (map.metadata.namespace.clone().unwrap_or_default(), view::published(map))).collect()
    }

    /// All pods that run or will run.
    pub fn pods(&self) -> Vec<restart::Pod> {
        self.pods.all()
    }

    /// All controllers of pods.
    pub fn controllers(&self) -> Vec<Controller> {
        let deployments = self.deployments.state();
        let stateful_sets = self.stateful_sets.state();
        let daemon_sets = self.daemon_sets.state();
        let mut all: Vec<Controller> = deployments.iter().map(|one| deployment(one)).collect();
        all.extend(stateful_sets.iter().map(|one| stateful_set(one)));
        all.extend(daemon_sets.iter().map(|one| daemon_set(one)));
        all.sort_by(|left, right| {
            (left.kind, &left.namespace, &left.name).cmp(&(right.kind, &right.namespace, &right.name))
        });
        all
    }
}

/// How a kind of the hub is asked for.
pub(crate) fn resource_of(kind: Kind) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(kind.group(), Kind::VERSION, kind.name()), kind.plural())
}
