//! One registered cluster: connects to it, watches it, discovers what is in it, and says whether it answers. It holds up nobody
//! else, and what it knew stays known while the cluster does not answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use hub::discovery::discover;
use hub::output::{ObjectKey, OutputKind};
use hub::state::{Change, Unit};
use kube::Client;
use kube_support::client::of_kubeconfig;
use kube_support::error::{describe, is_status};
use kube_support::watch;
use mesh_types::hub::names::LABEL_AGENT;
use serde_json::Value;
use tokio::sync::watch as latest;
use tokio::time::Instant;

use super::foreign;
use super::found::Found;
use super::objects::{Slot, Tables};
use super::report::{Health, Reports};
use super::streams::{self, Seen};
use crate::event::{Event, Events};
use crate::kinds::{Key, ResourceKind};
use crate::plane::Plane;
use crate::write::observation::Observation;
use crate::write::{Command, Writer};

/// How often the API server is asked whether it is there. A watch alone would notice a cut line late.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Things seen that are looked at together.
const AT_A_TIME: usize = 1_024;

/// What a session is told by whoever started it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registration {
    /// How the cluster is reached; nothing while the Secret is not there.
    pub kubeconfig: Option<String>,
    /// Name of the Secret.
    pub secret: String,
    /// DNS domain of its Services.
    pub domain: String,
    /// Whether it is being de-registered.
    pub leaving: bool,
    /// Generation of the KubernetesCluster.
    pub generation: i64,
}

/// Where an agent is.
pub type AgentPlace = Option<(Client, String)>;

/// What a session needs.
pub struct Session {
    /// Name of the cluster.
    pub cluster: String,
    /// Which plane this is.
    pub plane: Plane,
    /// The registration as it is at the moment.
    pub registration: latest::Receiver<Registration>,
    /// The core.
    pub events: Events,
    /// Who writes into the cluster.
    pub writer: Writer<Unit>,
    /// Who writes what is discovered.
    pub discovered: Writer<()>,
    /// Where it is told how the cluster is.
    pub reports: Reports,
    /// Where it is told where the agent is.
    pub agent: latest::Sender<AgentPlace>,
    /// Where a client of the cluster is for whoever needs one.
    pub client: latest::Sender<Option<Client>>,
}

/// What a session knows.
struct Known {
    tables: Tables,
    foreign: foreign::Table,
    outputs: BTreeSet<OutputKind>,
    found: Found,
    blind: BTreeMap<String, String>,
    read: bool,
}

impl Session {
    /// Runs for as long as it is polled.
    pub async fn run(mut self) {
        let mut known = Known {
            tables: Tables::default(),
            foreign: foreign::Table::default(),
            outputs: BTreeSet::new(),
            found: Found::new(&self.cluster),
            blind: BTreeMap::new(),
            read: false,
        };
        loop {
            let registration = self.registration.borrow_and_update().clone();
            if registration.leaving {
                // Also where that was so before: a session that begins then finds nothing more.
                known.found.leave();
            }
            let failure = match &registration.kubeconfig {
                None => Health::Unregistered(format!("Secret {} with a kubeconfig is not there", registration.secret)),
                Some(kubeconfig) => match of_kubeconfig(kubeconfig, PATIENCE).await {
                    Ok(client) => {
                        self.connected(&client, &registration, &mut known).await;
                        continue;
                    }
                    Err(error) => Health::Unregistered(describe(&error)),
                },
            };
            self.unreachable(failure, &mut known);
            if self.registration.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Works with a client until the registration is another.
    async fn connected(&mut self, client: &Client, registration: &Registration, known: &mut Known) {
        let mut seen: Option<BoxStream<'static, Vec<Seen>>> = None;
        // Whoever asks the agent has to do so by this client from now on.
        self.agent.send_replace(None);
        let mut beat = tokio::time::interval(HEARTBEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = self.registration.changed() => {
                    let now = self.registration.borrow().clone();
                    if changed.is_err() || now.kubeconfig != registration.kubeconfig || now.domain != registration.domain {
                        return;
                    }
                    if now.leaving {
                        known.found.leave();
                    }
                    self.reports.repeat();
                }
                _ = beat.tick() => match self.beat(client).await {
                    Ok(()) if seen.is_none() => {
                        tracing::info!(cluster = self.cluster, "the cluster answers");
                        self.writer.tell(Command::Connected(client.clone()));
                        self.client.send_replace(Some(client.clone()));
                        // What was watched before may have missed something.
                        seen = Some(streams::all(client).ready_chunks(AT_A_TIME).boxed());
                        self.reports.health(Health::Reading);
                    }
                    Ok(()) => {}
                    Err(reason) => {
                        seen = None;
                        self.unreachable(Health::Unreachable(reason), known);
                    }
                },
                Some(batch) = next(&mut seen) => {
                    let lost = batch.iter().any(Seen::is_refused);
                    self.look_at(batch, client, &registration.domain, known);
                    if lost {
                        // The lists that begin anew tell what may be read.
                        seen = None;
                    }
                }
            }
        }
    }

    async fn beat(&self, client: &Client) -> Result<(), String> {
        match tokio::time::timeout(PATIENCE, client.apiserver_version()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(describe(&error)),
            Err(_) => Err(format!("no answer within {PATIENCE:?}")),
        }
    }

    fn unreachable(&self, health: Health, known: &mut Known) {
        self.writer.tell(Command::Disconnected(health.reason()));
        self.agent.send_replace(None);
        self.client.send_replace(None);
        self.reports.health(health);
        self.tell_read(known);
    }

    /// The core need not wait for this cluster any longer.
    fn tell_read(&self, known: &mut Known) {
        if !std::mem::replace(&mut known.read, true) {
            let _stopping = self.events.send(Event::Read(self.cluster.clone()));
        }
    }

    fn look_at(&self, batch: Vec<Seen>, client: &Client, domain: &str, known: &mut Known) {
        let since = Instant::now();
        let mut changes = Vec::new();
        let mut dirty = false;
        for seen in batch {
            match seen {
                Seen::Object(slot, change) => dirty |= self.object(slot, *change, known),
                Seen::Output(kind, change) => changes.extend(self.output(kind, *change, domain, known)),
            }
        }
        if !changes.is_empty() {
            let _stopping = self.events.send(Event::Changes(changes, since));
        }
        if known.tables.is_complete() {
            if dirty {
                self.discover(known);
            }
            // After a silence the cluster may be as it was, and its agent is to be asked again.
            if dirty || self.agent.borrow().is_none() {
                self.announce_agent(client, known);
            }
        }
        let outputs = OutputKind::ALL.into_iter().map(|kind| (kind.name(), known.outputs.contains(&kind)));
        let objects = Slot::ALL.into_iter().filter(|slot| known.tables.missing().any(|missing| missing == *slot));
        let unread: Vec<String> = objects
            .map(|slot| format!("{slot:?}"))
            .chain(outputs.filter(|(_, read)| !read).map(|(name, _)| name.to_owned()))
            .collect();
        if unread.is_empty() {
            self.reports.health(Health::Answers { blind: known.blind.clone(), mesh: known.found.mesh() });
            self.tell_read(known);
        } else if unread.iter().all(|kind| known.blind.contains_key(kind)) {
            // It will not become better by waiting.
            self.reports.health(Health::Answers { blind: known.blind.clone(), mesh: known.found.mesh() });
            self.writer.tell(Command::NoProxies("the cluster's pods cannot be read".to_owned()));
            self.tell_read(known);
        }
    }

    /// Whether anything that discovery looks at is another than before.
    fn object(&self, slot: Slot, change: watch::Change<super::objects::Row>, known: &mut Known) -> bool {
        let name = format!("{slot:?}");
        if !matches!(change, watch::Change::Failed(_)) {
            known.blind.remove(&name);
        }
        match change {
            watch::Change::All(all) => known.tables.all(slot, all),
            watch::Change::Set(key, row) => known.tables.set(slot, key, row),
            watch::Change::Gone(key) => known.tables.set(slot, key, None),
            // A cluster without the definition has none.
            watch::Change::Failed(error) if slot == Slot::WorkloadEntry && is_status(&error, &[404]) => {
                known.tables.all(slot, BTreeMap::new())
            }
            watch::Change::Failed(error) => {
                self.blind(name, &error, known);
                false
            }
        }
    }

    fn blind(&self, kind: String, error: &kube::runtime::watcher::Error, known: &mut Known) {
        let reason = describe(error);
        tracing::warn!(cluster = self.cluster, kind, reason, "objects of this kind cannot be watched at the moment");
        if is_status(error, &[401, 403, 404]) {
            known.blind.insert(kind, reason);
        }
    }

    fn output(&self, kind: OutputKind, change: watch::Change<Value>, domain: &str, known: &mut Known) -> Vec<Change> {
        let resource = ResourceKind::from(kind);
        let key = |(namespace, name): &watch::Key| ObjectKey::new(kind, namespace, name);
        let mut changes = Vec::new();
        match change {
            watch::Change::All(all) => {
                known.outputs.insert(kind);
                known.blind.remove(kind.name());
                let mut gone = known.foreign.of_kind(kind);
                gone.retain(|key| !all.contains_key(&(key.namespace.clone(), key.name.clone())));
                let mut there = BTreeMap::new();
                for (name, value) in &all {
                    let observation = Observation::of(value);
                    changes.extend(self.foreign(key(name), Some(&observation), domain, known));
                    there.insert(Key::new(kind, &name.0, &name.1), observation);
                }
                for key in gone {
                    changes.extend(self.foreign(key, None, domain, known));
                }
                self.writer.tell(Command::Listed(resource, there));
            }
            watch::Change::Set(name, value) => {
                let observation = value.map(|value| Observation::of(&value));
                changes.extend(self.foreign(key(&name), observation.as_ref(), domain, known));
                self.writer.tell(Command::Seen(Key::new(kind, &name.0, &name.1), observation.map(Box::new)));
            }
            watch::Change::Gone(name) => {
                changes.extend(self.foreign(key(&name), None, domain, known));
                self.writer.tell(Command::Seen(Key::new(kind, &name.0, &name.1), None));
            }
            // A cluster without the definition has none; writing one fails with a reason.
            watch::Change::Failed(error) if is_status(&error, &[404]) => {
                return self.output(kind, watch::Change::All(BTreeMap::new()), domain, known);
            }
            watch::Change::Failed(error) => {
                self.blind(kind.name().to_owned(), &error, known);
                if let Some(reason) = known.blind.get(kind.name()) {
                    self.writer.tell(Command::Blind(resource, reason.clone()));
                }
            }
        }
        changes
    }

    fn foreign(&self, key: ObjectKey, there: Option<&Observation>, domain: &str, known: &mut Known) -> Option<Change> {
        let foreign = there.filter(|there| !there.is_of(&self.plane.identity));
        let hosts = foreign.map(|there| foreign::hosts(key.kind, &key.namespace, domain, &there.spec));
        known.foreign.set(&self.cluster, key, hosts)
    }

    fn discover(&self, known: &mut Known) {
        let objects = known.tables.objects();
        let discovered = discover(&self.cluster, &self.plane.namespace, &self.plane.identity, &objects);
        if let Some(wanted) = known.found.take(discovered) {
            self.discovered.tell(Command::WantAll(self.cluster.clone(), wanted));
        }
    }

    fn announce_agent(&self, client: &Client, known: &Known) {
        let agent = known.tables.ready_pod(&self.plane.namespace, LABEL_AGENT);
        let place = agent.map(|pod| (client.clone(), pod));
        self.agent.send_if_modified(|now| {
            let same = now.as_ref().map(|(_, pod)| pod) == place.as_ref().map(|(_, pod)| pod);
            *now = place;
            !same
        });
        if self.agent.borrow().is_none() {
            let reason = format!("no pod of the hub's agent in namespace {} answers", self.plane.namespace);
            self.writer.tell(Command::NoProxies(reason));
        }
    }
}

async fn next(seen: &mut Option<BoxStream<'static, Vec<Seen>>>) -> Option<Vec<Seen>> {
    match seen {
        Some(seen) => seen.next().await,
        None => std::future::pending().await,
    }
}

/// What a session tells is dropped with it, so that whoever looks knows that nothing is known any more.
impl Drop for Session {
    fn drop(&mut self) {
        self.client.send_replace(None);
        self.agent.send_replace(None);
    }
}
