//! The thread that owns the hub's state: changes in, all together that have come; writes and statuses out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hub::output::Clusters;
use hub::progress::{Progress, Report};
use hub::state::{Action, Change, Effects, InputKey, Outcome, State, Subject, Unit, Write};
use hub::status::Status;
use hub::world::Foreign;
use mesh_types::hub::{Kind, ObjectRef};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::event::Event;
use crate::kinds::Key;
use crate::metrics::Metrics;
use crate::status::StatusWriter;
use crate::write::{Command, Manifest, Wanted, Writer};

/// Kinds of the management cluster that have to be listed before anything is worked out.
pub const KINDS: [Kind; 8] = [
    Kind::KubernetesCluster,
    Kind::Mesh,
    Kind::Workload,
    Kind::Destination,
    Kind::VirtualMesh,
    Kind::TrafficPolicy,
    Kind::VirtualDestination,
    Kind::AccessPolicy,
];

/// Events that are taken together.
const BATCH: usize = 65_536;

/// What the core's thread works with.
pub struct Core {
    state: State,
    events: mpsc::WeakUnboundedSender<Event>,
    statuses: StatusWriter,
    metrics: Arc<Metrics>,
    writers: BTreeMap<String, Writer<Unit>>,
    /// Changes that came before everything was there; nothing once the work has begun.
    before: Option<Before>,
    /// Resources whose status waits until it is known how things are; nothing once that is so.
    unsettled: Option<BTreeSet<Subject>>,
}

#[derive(Default)]
struct Before {
    changes: Vec<Change>,
    listed: BTreeSet<Kind>,
    awaited: Option<BTreeSet<String>>,
    read: BTreeSet<String>,
    impatient: bool,
}

impl Before {
    fn is_complete(&self) -> bool {
        let read = self.awaited.as_ref().is_some_and(|awaited| awaited.is_subset(&self.read) || self.impatient);
        read && KINDS.iter().all(|kind| self.listed.contains(kind))
    }
}

impl Core {
    /// A core that knows nothing yet.
    pub fn new(
        state: State,
        events: mpsc::WeakUnboundedSender<Event>,
        statuses: StatusWriter,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (before, unsettled) = (Some(Before::default()), Some(BTreeSet::new()));
        Self { state, events, statuses, metrics, writers: BTreeMap::new(), before, unsettled }
    }

    /// Works until nobody is left who could tell something. `settle` is called once the work has begun, with all writers.
    pub fn run(mut self, mut events: mpsc::UnboundedReceiver<Event>, settle: impl Fn(Vec<Writer<Unit>>)) {
        let mut batch = Vec::new();
        while events.blocking_recv_many(&mut batch, BATCH) > 0 {
            let mut changes = Vec::new();
            let mut since = None;
            for event in batch.drain(..) {
                if let Event::Changes(more, seen) = event {
                    since = Some(since.map_or(seen, |since: Instant| since.min(seen)));
                    changes.extend(more);
                    continue;
                }
                // What comes later may count on what came before.
                self.take_over(std::mem::take(&mut changes), since.take());
                self.take(event);
            }
            self.take_over(changes, since);
            if self.before.as_ref().is_some_and(Before::is_complete) {
                self.begin();
                settle(self.writers.values().cloned().collect());
            }
        }
    }

    fn take(&mut self, event: Event) {
        match (event, &mut self.before) {
            (Event::Changes(changes, since), _) => self.take_over(changes, Some(since)),
            (Event::Listed(kind), Some(before)) => drop(before.listed.insert(kind)),
            (Event::Registered(clusters), Some(before)) => before.awaited = Some(clusters),
            (Event::Read(cluster), Some(before)) => drop(before.read.insert(cluster)),
            (Event::Impatient, Some(before)) => before.impatient = true,
            (Event::Listed(_) | Event::Registered(_) | Event::Read(_) | Event::Impatient, None) => {}
            (Event::Joined(cluster, writer), before) => {
                if before.is_none() {
                    self.want_all(&cluster, &writer);
                    self.forget_failures(&cluster);
                }
                self.writers.insert(cluster, writer);
            }
            (Event::Left(cluster, answer), _) => {
                self.writers.remove(&cluster);
                self.forget_foreign(&cluster);
                let _gone = answer.send(());
            }
            (Event::Settled, _) => {
                let statuses = self.unsettled.take().unwrap_or_default();
                statuses.into_iter().for_each(|subject| self.tell_status(&subject));
            }
            (Event::Ask(question), _) => question(&self.state),
        }
    }

    /// What could not be written because the cluster was not registered is written now, or told by its writer.
    fn forget_failures(&mut self, cluster: &str) {
        let wanted = self.state.desired(cluster).map(|(unit, object)| Outcome {
            unit: unit.clone(),
            cluster: cluster.to_owned(),
            key: object.key.clone(),
            error: None,
        });
        let changes = wanted.map(Change::Written).collect();
        self.take_over(changes, None);
    }

    /// Nobody looks at a cluster that left, and what is in it may have gone when it comes back.
    fn forget_foreign(&mut self, cluster: &str) {
        let all = self.state.world().inputs.foreign.iter().filter(|(_, clusters)| clusters.contains_key(cluster));
        let foreign = all.map(|(key, _)| Foreign { cluster: cluster.to_owned(), key: key.clone() });
        let changes = foreign.map(|foreign| Change::Remove(InputKey::Foreign(foreign))).collect();
        self.take_over(changes, None);
    }

    fn take_over(&mut self, changes: Vec<Change>, since: Option<Instant>) {
        if changes.is_empty() {
            return;
        }
        if let Some(before) = &mut self.before {
            before.changes.extend(changes);
            return;
        }
        let (count, started) = (changes.len(), Instant::now());
        let effects = self.state.apply(changes);
        self.metrics.batch(count, started.elapsed());
        self.carry_out(effects, since.unwrap_or(started));
    }

    /// Everything is there that is to be known at a start.
    fn begin(&mut self) {
        let before = self.before.take().unwrap_or_default();
        let started = Instant::now();
        let unread = before.awaited.unwrap_or_default().difference(&before.read).cloned().collect::<Vec<_>>();
        let count = before.changes.len();
        let effects = self.state.apply(before.changes);
        self.metrics.batch(count, started.elapsed());
        tracing::info!(inputs = count, writes = effects.writes.len(), ?unread, "everything is read; the work begins");
        // Writers are told all of it, which is what tells them what is garbage.
        let (known, unknown): (Vec<_>, Vec<_>) =
            effects.writes.into_iter().partition(|write| self.all_registered(&write.clusters));
        drop(known);
        for (cluster, writer) in &self.writers {
            self.want_all(cluster, writer);
        }
        self.carry_out(Effects { writes: unknown, ..effects }, started);
    }

    fn all_registered(&self, clusters: &Clusters) -> bool {
        clusters.iter().all(|cluster| self.writers.contains_key(cluster))
    }

    fn want_all(&self, cluster: &str, writer: &Writer<Unit>) {
        let since = Instant::now();
        let wanted = self.state.desired(cluster).map(|(unit, object)| {
            let manifest = Some(Manifest::Output(Arc::clone(object)));
            (Key::from(&object.key), Wanted { manifest, owner: unit.clone(), revision: self.state.revision(), since })
        });
        writer.tell(Command::WantAll(String::new(), wanted.collect()));
    }

    fn carry_out(&mut self, effects: Effects, since: Instant) {
        let mut by_cluster: BTreeMap<&str, Vec<(Key, Wanted<Unit>)>> = BTreeMap::new();
        let mut nowhere = Vec::new();
        for write in &effects.writes {
            let (key, manifest) = match &write.action {
                Action::Apply(object) => (&object.key, Some(Manifest::Output(Arc::clone(object)))),
                Action::Delete(key) => (key, None),
            };
            for cluster in write.clusters.iter() {
                let wanted =
                    Wanted { manifest: manifest.clone(), owner: write.unit.clone(), revision: effects.revision, since };
                if self.writers.contains_key(cluster) {
                    by_cluster.entry(cluster).or_default().push((Key::from(key), wanted));
                } else {
                    nowhere.push(unwritable(write, cluster, effects.revision));
                }
            }
        }
        for (cluster, wanted) in by_cluster {
            if let Some(writer) = self.writers.get(cluster) {
                writer.tell(Command::Want(wanted));
            }
        }
        if !nowhere.is_empty() {
            // Nobody is left to tell where the manager stops.
            let _stopping = self.events.upgrade().map(|events| events.send(Event::Changes(nowhere, since)));
        }
        for subject in effects.statuses {
            match &mut self.unsettled {
                Some(unsettled) => drop(unsettled.insert(subject)),
                None => self.tell_status(&subject),
            }
        }
    }

    fn tell_status(&self, subject: &Subject) {
        let Some((kind, reference)) = object_of(&self.state, subject) else { return };
        let value = match self.state.status(subject) {
            Some(Status::Mesh(status)) => serde_json::to_value(status),
            Some(Status::Destination(status)) => serde_json::to_value(status),
            Some(Status::VirtualMesh(status)) => serde_json::to_value(status),
            Some(Status::Policy(status)) => serde_json::to_value(status),
            Some(Status::VirtualDestination(status)) => serde_json::to_value(status),
            None => return,
        };
        match value {
            Ok(status) => self.statuses.want(Key::new(kind, &reference.namespace, &reference.name), status),
            Err(error) => tracing::error!(?subject, %error, "a status is no JSON"),
        }
    }
}

/// What came of a write into a cluster that nobody writes.
fn unwritable(write: &Write, cluster: &str, revision: u64) -> Change {
    match &write.action {
        Action::Apply(object) => Change::Written(Outcome {
            unit: write.unit.clone(),
            cluster: cluster.to_owned(),
            key: object.key.clone(),
            error: Some("the cluster is not registered".to_owned()),
        }),
        Action::Delete(_) => Change::Progress(Report {
            unit: write.unit.clone(),
            cluster: cluster.to_owned(),
            revision,
            progress: Progress::Acknowledged,
        }),
    }
}

/// The object of the management cluster whose status a subject has.
fn object_of(state: &State, subject: &Subject) -> Option<(Kind, ObjectRef)> {
    Some(match subject {
        Subject::Mesh(reference) => (Kind::Mesh, reference.clone()),
        Subject::VirtualMesh(reference) => (Kind::VirtualMesh, reference.clone()),
        Subject::TrafficPolicy(reference) => (Kind::TrafficPolicy, reference.clone()),
        Subject::VirtualDestination(reference) => (Kind::VirtualDestination, reference.clone()),
        Subject::AccessPolicy(reference) => (Kind::AccessPolicy, reference.clone()),
        Subject::Destination(service) => {
            (Kind::Destination, state.world().inputs.destinations.get(service)?.reference())
        }
    })
}
