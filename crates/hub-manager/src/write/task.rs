//! The task of a writer.

mod tell;
mod want;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::observation::Observation;
use super::plan::{Step, step};
use super::request::{self, Failure};
use super::units::Owners;
use super::{Command, Inspection, Settings, Wanted};
use crate::kinds::{Key, ResourceKind};
use crate::retries::Retries;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use hub::output::OutputKind;
use hub::progress::Proxies;
use kube::Client;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Requests that are under way at a time.
const AT_A_TIME: usize = 32;
/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a write that failed waits for its next try, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Commands that are taken at a time.
const BATCH: usize = 4_096;
/// Objects that refer to others are written after these, and deleted before them, so that no proxy is sent to what is not there.
const RANKS: usize = 3;

type Done = (Key, usize, Instant, Result<Option<Observation>, Failure>);

struct Desk<T> {
    settings: Settings<T>,
    client: Option<Client>,
    /// Why the cluster does not answer; nothing before it was asked.
    unreachable: Option<String>,
    wanted: BTreeMap<Key, Wanted<T>>,
    there: BTreeMap<Key, Observation>,
    /// Kinds that were listed.
    listed: BTreeSet<ResourceKind>,
    /// Kinds that cannot be read, and why.
    blind: BTreeMap<ResourceKind, String>,
    /// Parts of which everything that is wanted is known, with what that was when it was said.
    parts: BTreeMap<String, BTreeSet<Key>>,
    /// Of all parts but these it is known that nothing is wanted, unless something was said of them.
    others_known: Option<BTreeSet<String>>,
    queue: VecDeque<Key>,
    queued: BTreeSet<Key>,
    held: [VecDeque<Key>; RANKS],
    /// Objects that are being written, with what they shall be.
    writing: BTreeMap<Key, Option<Arc<Value>>>,
    by_rank: [usize; RANKS],
    /// Objects whose end was seen while they were written.
    vanished: BTreeSet<Key>,
    attempts: BTreeMap<Key, u32>,
    retries: Retries<Key>,
    failures: BTreeMap<Key, String>,
    /// Objects that are as they shall be, with the version since which they are.
    current: BTreeMap<Key, String>,
    owners: Owners<T>,
    proxies: Option<Proxies>,
    waiting: Vec<oneshot::Sender<()>>,
    settling: Vec<oneshot::Sender<()>>,
    running: FuturesUnordered<BoxFuture<'static, Done>>,
}

/// Runs a writer until all who could tell it something are gone.
pub async fn run<T: Clone + Ord + Send + Sync + 'static>(
    settings: Settings<T>,
    mut commands: mpsc::UnboundedReceiver<Command<T>>,
) {
    let mut desk = Desk::new(settings);
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            count = commands.recv_many(&mut batch, BATCH) => {
                if count == 0 {
                    return;
                }
                batch.drain(..).for_each(|command| desk.take(command));
            }
            Some(done) = desk.running.next() => desk.finished(done),
            Some(due) = desk.retries.next() => desk.enqueue(due),
        }
        desk.start();
        desk.tell();
    }
}

impl<T: Clone + Ord + Send + Sync + 'static> Desk<T> {
    fn new(settings: Settings<T>) -> Self {
        Self {
            settings,
            client: None,
            unreachable: None,
            wanted: BTreeMap::new(),
            there: BTreeMap::new(),
            listed: BTreeSet::new(),
            blind: BTreeMap::new(),
            parts: BTreeMap::new(),
            others_known: None,
            queue: VecDeque::new(),
            queued: BTreeSet::new(),
            held: Default::default(),
            writing: BTreeMap::new(),
            by_rank: [0; RANKS],
            vanished: BTreeSet::new(),
            attempts: BTreeMap::new(),
            retries: Retries::default(),
            failures: BTreeMap::new(),
            current: BTreeMap::new(),
            owners: Owners::new(),
            proxies: None,
            waiting: Vec::new(),
            settling: Vec::new(),
            running: FuturesUnordered::new(),
        }
    }

    fn take(&mut self, command: Command<T>) {
        match command {
            Command::Want(all) => all.into_iter().for_each(|(key, wanted)| self.want(key, wanted)),
            Command::WantAll(part, all) => self.want_all(part, all),
            Command::ForgetOthers(parts) => {
                self.others_known = Some(parts);
                self.enqueue_all(|_| true);
            }
            Command::Listed(kind, all) => self.listed(kind, all),
            Command::Blind(kind, reason) => {
                self.blind.insert(kind, reason);
                self.enqueue_all(|key| key.kind == kind);
            }
            Command::Seen(key, observation) => self.seen(key, observation.map(|observation| *observation)),
            Command::Connected(client) => {
                self.client = Some(client);
                self.unreachable = None;
                self.enqueue_all(|_| true);
            }
            Command::Disconnected(reason) => {
                self.client = None;
                self.unreachable = Some(reason);
                self.enqueue_all(|_| true);
            }
            Command::Proxies(line) => {
                let is_first = !matches!(self.proxies, Some(Proxies::Known(_)));
                let told = self.proxies.get_or_insert_default().tell(line);
                if is_first {
                    // It says something also about what it does not name: nobody has that.
                    self.mark_all();
                }
                for key in told.iter().filter_map(|path| self.key_of(path)).collect::<Vec<_>>() {
                    self.mark(&key);
                }
            }
            Command::NoProxies(reason) => {
                let now = Some(Proxies::Unknown(reason));
                if self.proxies != now {
                    self.proxies = now;
                    self.mark_all();
                }
            }
            Command::WhenDone(answer) => self.waiting.push(answer),
            Command::WhenSettled(answer) => self.settling.push(answer),
            Command::Inspect(answer) => drop(answer.send(self.inspection())),
        }
    }

    fn listed(&mut self, kind: ResourceKind, all: BTreeMap<Key, Observation>) {
        self.listed.insert(kind);
        self.blind.remove(&kind);
        let before: Vec<_> = self.there.keys().filter(|key| key.kind == kind).cloned().collect();
        for key in before {
            if !all.contains_key(&key) {
                self.there.remove(&key);
            }
        }
        for (key, observation) in all {
            self.notice(key, observation);
        }
        self.enqueue_all(|key| key.kind == kind);
    }

    fn seen(&mut self, key: Key, observation: Option<Observation>) {
        match observation {
            Some(observation) => self.notice(key.clone(), observation),
            None => {
                self.there.remove(&key);
                if self.writing.contains_key(&key) {
                    self.vanished.insert(key.clone());
                }
            }
        }
        self.enqueue(key);
    }

    /// What a write has told already is not forgotten for an earlier state that a watch tells later.
    fn notice(&mut self, key: Key, observation: Observation) {
        if self.there.get(&key).is_none_or(|there| observation.is_not_before(there)) {
            self.there.insert(key, observation);
        }
    }

    fn enqueue_all(&mut self, of: impl Fn(&Key) -> bool) {
        let all: BTreeSet<Key> = self.wanted.keys().chain(self.there.keys()).filter(|key| of(key)).cloned().collect();
        all.into_iter().for_each(|key| self.enqueue(key));
    }

    fn enqueue(&mut self, key: Key) {
        if self.queued.insert(key.clone()) {
            self.queue.push_back(key);
        }
    }

    fn mark_all(&mut self) {
        self.wanted.values().for_each(|wanted| self.owners.mark(&wanted.owner));
    }

    fn mark(&mut self, key: &Key) {
        if let Some(wanted) = self.wanted.get(key) {
            self.owners.mark(&wanted.owner);
        }
    }

    fn key_of(&self, path: &str) -> Option<Key> {
        let mut parts = path.splitn(3, '/');
        let (kind, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
        let kind = self.settings.kinds.iter().find(|known| known.name == kind)?;
        Some(Key { kind: *kind, namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// Looks at what is queued, and starts what may be started.
    fn start(&mut self) {
        let mut again = VecDeque::new();
        while self.writing.len() < AT_A_TIME
            && let Some(key) = self.queue.pop_front()
        {
            if self.writing.contains_key(&key) {
                again.push_back(key);
                continue;
            }
            self.queued.remove(&key);
            self.look_at(key);
        }
        self.queue.extend(again);
        for rank in 0..RANKS {
            let earlier =
                self.by_rank[..rank].iter().sum::<usize>() > 0 || self.held[..rank].iter().any(|held| !held.is_empty());
            if earlier {
                break;
            }
            while self.writing.len() < AT_A_TIME
                && let Some(key) = self.held[rank].pop_front()
            {
                if self.writing.contains_key(&key) {
                    self.enqueue(key);
                } else {
                    self.write(key, rank);
                }
            }
        }
        self.settings
            .metrics
            .queue(&self.settings.cluster, self.queue.len() + self.held.iter().map(VecDeque::len).sum::<usize>());
    }

    /// What has to be done about an object, and what it shall be.
    fn step(&self, key: &Key) -> (Step, Option<Arc<Value>>) {
        let wanted = self.wanted.get(key);
        let there = self.there.get(key);
        let manifest = wanted.and_then(|wanted| wanted.manifest.as_ref()).map(super::Manifest::value);
        let is_known = |part: &str| {
            self.parts.contains_key(part) || self.others_known.as_ref().is_some_and(|others| !others.contains(part))
        };
        let collect = wanted.is_some() || there.is_some_and(|there| is_known((self.settings.part)(there)));
        (step(&self.settings.owner, manifest.as_deref(), there, collect), manifest)
    }

    fn look_at(&mut self, key: Key) {
        let is_listed = self.listed.contains(&key.kind);
        let (step, _) = self.step(&key);
        match step {
            Step::Nothing if is_listed => self.settled(&key),
            Step::Nothing => {}
            Step::Refuse(reason) => self.fail(&key, reason),
            Step::Apply { .. } | Step::Delete => {
                self.current.remove(&key);
                self.mark(&key);
                if let Some(reason) = &self.unreachable {
                    let reason = format!("the cluster does not answer: {reason}");
                    self.fail(&key, reason);
                } else if let Some(reason) = self.blind.get(&key.kind).filter(|_| !is_listed) {
                    let reason = format!("objects of this kind cannot be read: {reason}");
                    self.fail(&key, reason);
                } else if is_listed && self.client.is_some() {
                    self.held[rank(&key, &step)].push_back(key);
                }
            }
        }
    }

    fn write(&mut self, key: Key, rank: usize) {
        let (step, manifest) = self.step(&key);
        let Some(client) = self.client.clone() else { return self.enqueue(key) };
        let known = self.there.get(&key).cloned();
        let there = known.clone().unwrap_or_default();
        self.writing.insert(key.clone(), manifest.clone());
        let manifest = manifest.unwrap_or_default();
        let own = key.clone();
        let request = async move {
            match step {
                // Things changed while it waited for others.
                Step::Nothing | Step::Refuse(_) => Err(Failure::Surprised(known.map(Box::new))),
                Step::Delete => request::delete(client, &own, &there).await.map(|()| None),
                Step::Apply { new: true, .. } => request::create(client, &own, &manifest).await.map(Some),
                Step::Apply { force, replace, .. } => {
                    request::update(client, &own, &manifest, &there, force, replace).await.map(Some)
                }
            }
        };
        let since = self.wanted.get(&key).map_or_else(Instant::now, |wanted| wanted.since);
        self.by_rank[rank] += 1;
        let bounded = async move {
            let result = tokio::time::timeout(PATIENCE, request).await;
            let late = |_| Failure::Unreachable(format!("no answer within {PATIENCE:?}"));
            (key, rank, since, result.map_err(late).and_then(|result| result))
        };
        self.running.push(bounded.boxed());
    }

    fn finished(&mut self, (key, rank, since, result): Done) {
        let manifest = self.writing.remove(&key).flatten();
        self.by_rank[rank] -= 1;
        let vanished = self.vanished.remove(&key);
        let metrics = Arc::clone(&self.settings.metrics);
        match result {
            // Its answer comes later than the sight of its end. Was it the end of an earlier object, a look will tell.
            Ok(Some(_)) | Err(Failure::Surprised(Some(_))) if vanished => self.enqueue(key),
            Ok(Some(there)) if manifest.as_ref().is_some_and(|manifest| !there.is_as(manifest)) => {
                metrics.written(&self.settings.cluster, false, since.elapsed());
                self.there.insert(key.clone(), there);
                self.failed(&key, "the API server keeps it in another form than it was written".to_owned());
            }
            Ok(there) => {
                metrics.written(&self.settings.cluster, true, since.elapsed());
                tracing::debug!(cluster = self.settings.cluster, object = %key, deleted = there.is_none(), "written");
                self.attempts.remove(&key);
                self.retries.cancel(&key);
                match there {
                    // A watch may have told a later state already.
                    Some(there) => self.notice(key.clone(), there),
                    None => drop(self.there.remove(&key)),
                }
                self.enqueue(key);
            }
            Err(Failure::Surprised(there)) => {
                match there {
                    Some(there) => self.notice(key.clone(), *there),
                    None => drop(self.there.remove(&key)),
                }
                self.enqueue(key);
            }
            Err(Failure::Refused(reason) | Failure::Unreachable(reason)) => {
                metrics.written(&self.settings.cluster, false, since.elapsed());
                self.failed(&key, reason);
            }
        }
    }

    /// It is tried again later.
    fn failed(&mut self, key: &Key, reason: String) {
        let attempts = self.attempts.entry(key.clone()).or_default();
        let pause = PAUSE.0.saturating_mul(1 << (*attempts).min(6)).min(PAUSE.1);
        *attempts += 1;
        self.retries.set(key, pause);
        self.fail(key, reason);
    }

    fn fail(&mut self, key: &Key, reason: String) {
        if self.failures.get(key) == Some(&reason) {
            return;
        }
        tracing::warn!(cluster = self.settings.cluster, object = %key, reason, "not written");
        self.failures.insert(key.clone(), reason.clone());
        if let Some(wanted) = self.wanted.get(key) {
            self.owners.mark(&wanted.owner);
            self.settings.outcomes.written(&wanted.owner, key, Some(reason));
        }
    }

    /// An object is as it shall be.
    fn settled(&mut self, key: &Key) {
        let healed = self.failures.remove(key).is_some();
        let Some(wanted) = self.wanted.get(key) else { return };
        if healed {
            self.settings.outcomes.written(&wanted.owner, key, None);
        }
        let owner = wanted.owner.clone();
        match (wanted.manifest.is_some(), self.there.get(key)) {
            (true, Some(there)) => {
                self.current.entry(key.clone()).or_insert_with(|| there.resource_version.clone());
                self.owners.mark(&owner);
            }
            _ => {
                self.wanted.remove(key);
                self.owners.remove(&owner, key);
            }
        }
    }
}

fn rank(key: &Key, step: &Step) -> usize {
    let refers =
        [OutputKind::VirtualService, OutputKind::AuthorizationPolicy].map(ResourceKind::from).contains(&key.kind);
    match (step, refers) {
        (Step::Delete, false) => 2,
        (_, true) => 1,
        (_, false) => 0,
    }
}
