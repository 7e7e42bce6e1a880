//! What the decisions about certificates look at, kept up to date by watches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::reflector::ObjectRef as Reference;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt as _};
use kube_support::table::{Table, follow, follow_dynamic};
use mesh_types::hub::certificate::{CertificateRequest, IssuedCertificate, WorkloadRestart};
use mesh_types::hub::{Kind, Object, ObjectRef};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::certificate::{AuthoritySecret, PendingKey};
use crate::pods::Pods;
use crate::restart::{self, Controller, daemon_set, deployment, stateful_set};
use crate::trust::Published;
use crate::view;

/// How long is waited for a list that is neither given nor refused.
const MOMENT: Duration = Duration::from_secs(5);

/// Where an authority is installed.
struct Place {
    /// The Secret that the control plane signs with.
    authority: Table<Secret>,
    /// The Secret in which its key waits.
    key: Table<Secret>,
}

/// A request whose certificate is not wanted any more.
pub struct Orphan {
    /// Its name.
    pub name: String,
    /// Where its authority was to be installed.
    pub place: Option<ObjectRef>,
}

/// Everything that is watched.
pub struct Tables {
    namespace: String,
    certificates: Table<DynamicObject>,
    requests: Table<DynamicObject>,
    restarts: Table<DynamicObject>,
    places: BTreeMap<ObjectRef, Place>,
    roots: Table<ConfigMap>,
    pods: Pods,
    deployments: Table<Deployment>,
    stateful_sets: Table<StatefulSet>,
    daemon_sets: Table<DaemonSet>,
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
        let roots = everything().fields(&format!("metadata.name={}", view::ROOT_CONFIG_MAP));
        Self {
            namespace: namespace.to_owned(),
            certificates: hub(Kind::IssuedCertificate),
            requests: hub(Kind::CertificateRequest),
            restarts: hub(Kind::WorkloadRestart),
            places: BTreeMap::new(),
            roots: follow(Api::all(client.clone()), roots, changed, cancel),
            pods,
            deployments: follow(Api::all(client.clone()), everything(), changed, cancel),
            stateful_sets: follow(Api::all(client.clone()), everything(), changed, cancel),
            daemon_sets: follow(Api::all(client.clone()), everything(), changed, cancel),
        }
    }

    /// Waits until everything has been listed once, or that was refused, but no longer than a moment: whoever looks sees what is
    /// still missing.
    pub async fn asked(&self) {
        let all = async {
            tokio::join!(
                self.certificates.asked(),
                self.requests.asked(),
                self.restarts.asked(),
                self.roots.asked(),
                self.pods.asked(),
                self.deployments.asked(),
                self.stateful_sets.asked(),
                self.daemon_sets.asked(),
            )
        };
        let _late = tokio::time::timeout(MOMENT, all).await;
    }

    /// Why it is not known which certificates are wanted; `None` where it is.
    pub fn unread(&self) -> Option<String> {
        unread([("IssuedCertificates", self.certificates.unread())])
    }

    /// What a certificate depends on and cannot be read, with the reasons; `None` where everything is known.
    pub fn unread_of(&self, certificate: &IssuedCertificate) -> Option<String> {
        let place = &certificate.issued_certificate_secret;
        let secret = |name: &str| format!("Secret {}/{name}", place.namespace);
        let (authority, key) = (secret(&place.name), secret(&view::key_name(place)));
        let tables = self.places.get(place);
        unread([
            ("CertificateRequests", self.requests.unread()),
            ("ConfigMaps with roots", self.roots.unread()),
            ("pods", self.pods.unread()),
            (authority.as_str(), tables.and_then(|tables| tables.authority.unread())),
            (key.as_str(), tables.and_then(|tables| tables.key.unread())),
        ])
    }

    /// What restarts depend on and cannot be read, with the reasons; `None` where everything is known.
    pub fn unread_of_restarts(&self) -> Option<String> {
        unread([
            ("WorkloadRestarts", self.restarts.unread()),
            ("Deployments", self.deployments.unread()),
            ("StatefulSets", self.stateful_sets.unread()),
            ("DaemonSets", self.daemon_sets.unread()),
        ])
    }

    /// Watches the Secrets that certificates are installed in, each once it is named. One that cannot be read holds up no other.
    pub async fn follow_places(
        &mut self,
        client: &Client,
        changed: &Arc<watch::Sender<()>>,
        cancel: &CancellationToken,
    ) {
        let places = self.certificates().into_iter().map(|certificate| certificate.spec.issued_certificate_secret);
        let new: BTreeSet<ObjectRef> =
            places.filter(|place| !place.name.is_empty() && !self.places.contains_key(place)).collect();
        let tables = new.into_iter().map(|place| {
            let only = |name: &str| {
                let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
                follow(Api::namespaced(client.clone(), &place.namespace), config, changed, cancel)
            };
            let (authority, key) = (only(&place.name), only(&view::key_name(&place)));
            (place, Place { authority, key })
        });
        let tables: Vec<(ObjectRef, Place)> = tables.collect();
        let asked = tables.iter().map(async |(_, place)| tokio::join!(place.authority.asked(), place.key.asked()));
        let _late = tokio::time::timeout(MOMENT, futures::future::join_all(asked)).await;
        self.places.extend(tables);
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

    /// Requests whose certificate is not wanted any more.
    pub fn orphaned_requests(&self) -> Vec<Orphan> {
        let wanted = |name: &String| self.certificates.get(&self.dynamic(Kind::IssuedCertificate, name)).is_some();
        let requests = self.requests.state();
        let all = requests.iter().map(|request| Orphan { name: request.name_any(), place: view::place(request) });
        all.filter(|orphan| !wanted(&orphan.name)).collect()
    }

    /// A restart by its name.
    pub fn restart(&self, name: &str) -> Option<Object<WorkloadRestart>> {
        view::resource(&*self.restarts.get(&self.dynamic(Kind::WorkloadRestart, name))?)
    }

    fn dynamic(&self, kind: Kind, name: &str) -> Reference<DynamicObject> {
        Reference::new_with(name, resource_of(kind)).within(&self.namespace)
    }

    /// The key that waits for the certificate of a place.
    pub fn pending_key(&self, place: &ObjectRef) -> Option<PendingKey> {
        let reference = Reference::new(&view::key_name(place)).within(&place.namespace);
        view::pending_key(&*self.places.get(place)?.key.get(&reference)?)
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
        self.places.get(place)?.authority.get(&Reference::new(&place.name).within(&place.namespace))
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

/// Says what cannot be read.
fn unread<const MANY: usize>(all: [(&str, Option<String>); MANY]) -> Option<String> {
    let reasons = all.into_iter().filter_map(|(what, reason)| Some(format!("{what}: {}", reason?)));
    let reasons: Vec<String> = reasons.collect();
    (!reasons.is_empty()).then(|| format!("cannot be read: {}", reasons.join("; ")))
}

/// How a kind of the hub is asked for.
pub(crate) fn resource_of(kind: Kind) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(kind.group(), Kind::VERSION, kind.name()), kind.plural())
}
