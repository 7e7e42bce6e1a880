//! The registered clusters: from KubernetesClusters and Secrets of the management cluster to one session each.

pub mod foreign;
pub mod found;
mod leave;
pub mod objects;
pub mod report;
pub mod session;
mod streams;
pub mod token;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt as _, pin_mut};
use hub::output::OutputKind;
use hub::state::Unit;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher;
use kube::{Api, Client};
use kube_support::error::describe;
use kube_support::pause;
use kube_support::watch::{Change, follow};
use mesh_types::hub::names::{FINALIZER, KUBECONFIG_KEY, KUBECONFIG_SECRET_TYPE};
use mesh_types::hub::{Kind, KubernetesCluster, Object};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::agent;
use crate::event::{Event, Events, ToCore};
use crate::kinds::ResourceKind;
use crate::management::Registration as Sight;
use crate::metrics::Metrics;
use crate::plane::Plane;
use crate::status::StatusWriter;
use crate::write::{Command, Settings, Writer};
use report::{Directory, Reports};
use session::{Registration, Session};

/// How long the start waits for clusters that answer and are not read.
const START: Duration = Duration::from_secs(15);

/// What the sessions share.
#[derive(Clone)]
pub struct Shared {
    /// The management cluster.
    pub management: Client,
    /// Which plane this is.
    pub plane: Plane,
    /// The core.
    pub events: Events,
    /// Who writes what is discovered.
    pub discovered: Writer<()>,
    /// Who writes statuses.
    pub statuses: StatusWriter,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What is told about clusters.
    pub directory: Directory,
    /// Clients and agents of the connected clusters, for whoever asks agents.
    pub agents: Agents,
}

/// Where the agents of the registered clusters are at the moment.
#[derive(Clone, Default)]
pub struct Agents {
    changed: Arc<watch::Sender<()>>,
    places: Arc<Mutex<BTreeMap<String, watch::Receiver<session::AgentPlace>>>>,
}

impl Agents {
    /// Every registered cluster, with where its agent is. A receiver tells changes, and ends when the cluster is no longer
    /// registered.
    pub fn all(&self) -> BTreeMap<String, watch::Receiver<session::AgentPlace>> {
        self.places.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Announces that a cluster is registered, or no longer is.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn set(&self, cluster: &str, place: Option<watch::Receiver<session::AgentPlace>>) {
        {
            let mut places = self.places.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match place {
                Some(place) => places.insert(cluster.to_owned(), place),
                None => places.remove(cluster),
            };
        }
        self.changed.send_replace(());
    }
}

/// A cluster with a session.
struct Running {
    registration: watch::Sender<Registration>,
    writer: Writer<Unit>,
    client: watch::Receiver<Option<Client>>,
    tasks: Vec<AbortHandle>,
    leaving: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

struct Registry {
    shared: Shared,
    clusters: Option<BTreeMap<String, Value>>,
    secrets: Option<BTreeMap<String, String>>,
    running: BTreeMap<String, Running>,
    told: bool,
    left: mpsc::UnboundedSender<String>,
    /// Registrations that were let go, by their uid: what is seen of them after that is old.
    released: BTreeMap<String, String>,
    /// Registrations that are being given a finalizer.
    holding: BTreeMap<String, AbortHandle>,
    /// What is done beside the sessions; it ends with them.
    tasks: JoinSet<()>,
}

/// Keeps a session for each registered cluster, for as long as it is polled.
pub async fn run(shared: Shared, mut sights: mpsc::UnboundedReceiver<Sight>) {
    let api: Api<Secret> = Api::namespaced(shared.management.clone(), &shared.plane.namespace);
    let changes = follow(api, watcher::Config::default(), kubeconfig);
    pin_mut!(changes);
    let (left, mut gone) = mpsc::unbounded_channel();
    let mut registry = Registry {
        shared,
        clusters: None,
        secrets: None,
        running: BTreeMap::new(),
        told: false,
        left,
        released: BTreeMap::new(),
        holding: BTreeMap::new(),
        tasks: JoinSet::new(),
    };
    loop {
        tokio::select! {
            Some(sight) = sights.recv() => registry.sight(sight),
            Some(change) = changes.next() => registry.secret(change),
            Some(cluster) = gone.recv() => registry.gone(cluster),
            // Nothing is registered by it that was not before.
            Some(_) = registry.tasks.join_next() => continue,
        }
        registry.reconcile();
    }
}

fn kubeconfig(secret: Secret) -> Option<String> {
    if secret.type_.as_deref() != Some(KUBECONFIG_SECRET_TYPE) {
        return None;
    }
    let value = secret.data?.remove(KUBECONFIG_KEY)?;
    Some(String::from_utf8_lossy(&value.0).into_owned())
}

impl Registry {
    fn sight(&mut self, sight: Sight) {
        let clusters = self.clusters.get_or_insert_default();
        match sight {
            Sight::All(all) => *clusters = all,
            Sight::Set(name, value) => drop(clusters.insert(name, value)),
            Sight::Gone(name) => {
                clusters.remove(&name);
                self.released.remove(&name);
            }
        }
    }

    fn secret(&mut self, change: Change<String>) {
        if let Change::Failed(error) = &change {
            // What was not read is not known to be missing.
            tracing::warn!(error = %describe(error), "the Secrets with kubeconfigs cannot be watched at the moment");
            return;
        }
        let secrets = self.secrets.get_or_insert_default();
        match change {
            Change::All(all) => *secrets = all.into_iter().map(|((_, name), text)| (name, text)).collect(),
            Change::Set((_, name), Some(text)) => drop(secrets.insert(name, text)),
            Change::Set((_, name), None) | Change::Gone((_, name)) => drop(secrets.remove(&name)),
            Change::Failed(_) => {}
        }
    }

    /// A cluster has been left. Its registration may still be seen as it was before it was let go.
    fn gone(&mut self, cluster: String) {
        self.running.remove(&cluster);
        self.holding.remove(&cluster);
        if let Some(value) = self.clusters.as_ref().and_then(|clusters| clusters.get(&cluster)) {
            self.released.insert(cluster, uid(value));
        }
    }

    /// Makes the running sessions those that are registered.
    fn reconcile(&mut self) {
        let (Some(clusters), Some(secrets)) = (&self.clusters, &self.secrets) else { return };
        let wanted: Vec<(String, Registration, Value)> = clusters
            .iter()
            .map(|(name, value)| {
                let object: Object<KubernetesCluster> = Object::from_value(value.clone()).unwrap_or_default();
                let secret =
                    if object.spec.secret_name.is_empty() { name.clone() } else { object.spec.secret_name.clone() };
                let registration = Registration {
                    kubeconfig: secrets.get(&secret).cloned(),
                    domain: object.spec.domain().to_owned(),
                    generation: value["metadata"]["generation"].as_i64().unwrap_or_default(),
                    leaving: !value["metadata"]["deletionTimestamp"].is_null(),
                    secret,
                };
                (name.clone(), registration, value.clone())
            })
            .collect();
        let known: BTreeSet<String> = clusters.keys().cloned().collect();
        for (name, registration, value) in wanted {
            self.register(&name, registration, &value);
        }
        let gone: Vec<String> = self.running.keys().filter(|name| !known.contains(*name)).cloned().collect();
        for name in gone {
            self.leave(&name);
        }
        if !std::mem::replace(&mut self.told, true) {
            self.begin(&known);
        }
    }

    /// Says once which clusters there are, and what is left of others.
    fn begin(&mut self, known: &BTreeSet<String>) {
        let events = self.shared.events.clone();
        let _stopping = events.send(Event::Registered(known.clone()));
        self.tasks.spawn(async move {
            pause::for_a(START).await;
            let _stopping = events.send(Event::Impatient);
        });
        // Others left while nobody looked.
        self.shared.discovered.tell(Command::ForgetOthers(known.clone()));
    }

    fn register(&mut self, name: &str, mut registration: Registration, value: &Value) {
        let finalizers = value["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        let held = finalizers.iter().any(|finalizer| finalizer == FINALIZER);
        if registration.leaving {
            if self.released.get(name) == Some(&uid(value)) {
                return;
            }
            if !self.running.contains_key(name) && held {
                self.start(name, registration);
            }
            if held {
                self.leave(name);
            }
            return;
        }
        if !held && self.holding.get(name).is_none_or(AbortHandle::is_finished) {
            let hold = self.tasks.spawn(leave::hold(self.shared.clone(), name.to_owned()));
            self.holding.insert(name.to_owned(), hold);
        }
        match self.running.get(name) {
            None => self.start(name, registration),
            Some(running) => {
                running.registration.send_if_modified(|now| {
                    // A Secret that is taken away takes no cluster away.
                    registration.kubeconfig = registration.kubeconfig.take().or_else(|| now.kubeconfig.clone());
                    let same = *now == registration;
                    *now = registration;
                    !same
                });
            }
        }
    }

    fn start(&mut self, name: &str, registration: Registration) {
        tracing::info!(cluster = name, "a cluster is registered");
        let shared = &self.shared;
        let writer = Writer::start(settings(shared, name));
        let (registration, registrations) = watch::channel(registration);
        let (place, places) = watch::channel(None);
        let (client, clients) = watch::channel(None);
        let reports = Reports {
            cluster: name.to_owned(),
            namespace: shared.plane.namespace.clone(),
            registration: registrations.clone(),
            directory: shared.directory.clone(),
            statuses: shared.statuses.clone(),
            metrics: Arc::clone(&shared.metrics),
            last: Mutex::default(),
        };
        let session = Session {
            cluster: name.to_owned(),
            plane: shared.plane.clone(),
            registration: registrations.clone(),
            events: shared.events.clone(),
            writer: writer.clone(),
            discovered: shared.discovered.clone(),
            reports,
            agent: place,
            client,
        };
        shared.agents.set(name, Some(places.clone()));
        let follow = agent::follow(name.to_owned(), shared.plane.namespace.clone(), places, writer.clone());
        let renewal = token::keep(shared.clone(), name.to_owned(), registrations, clients.clone());
        let tasks = vec![
            tokio::spawn(session.run()).abort_handle(),
            tokio::spawn(follow).abort_handle(),
            tokio::spawn(renewal).abort_handle(),
        ];
        let _stopping = shared.events.send(Event::Joined(name.to_owned(), writer.clone()));
        let running = Running { registration, writer, client: clients, tasks, leaving: false };
        self.running.insert(name.to_owned(), running);
    }

    fn leave(&mut self, name: &str) {
        let Some(running) = self.running.get_mut(name) else { return };
        if std::mem::replace(&mut running.leaving, true) {
            return;
        }
        tracing::info!(cluster = name, "a cluster is de-registered");
        running.registration.send_modify(|now| now.leaving = true);
        let leaving = leave::Leaving {
            shared: self.shared.clone(),
            cluster: name.to_owned(),
            writer: running.writer.clone(),
            client: running.client.clone(),
        };
        let left = self.left.clone();
        let name = name.to_owned();
        self.tasks.spawn(async move {
            leaving.run().await;
            let _stopping = left.send(name);
        });
    }
}

fn uid(value: &Value) -> String {
    value["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}

fn settings(shared: &Shared, cluster: &str) -> Settings<Unit> {
    let unheard = [OutputKind::IssuedCertificate, OutputKind::WorkloadRestart].map(ResourceKind::from);
    Settings {
        cluster: cluster.to_owned(),
        owner: shared.plane.identity.clone(),
        part: |_| "",
        unheard: unheard.into_iter().collect(),
        kinds: OutputKind::ALL.into_iter().map(ResourceKind::from).collect(),
        outcomes: Arc::new(ToCore { cluster: cluster.to_owned(), events: shared.events.downgrade() }),
        metrics: Arc::clone(&shared.metrics),
    }
}

/// The kind of a registration.
pub fn registration_kind() -> ResourceKind {
    Kind::KubernetesCluster.into()
}
