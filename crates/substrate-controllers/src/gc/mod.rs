//! Garbage collection and the deletion of namespaces: the two controllers that look at every kind there is.
//!
//! One watch of metadata per kind feeds one graph; new kinds are found when a CustomResourceDefinition changes.
//! What the graph decides is done by `steps`. There is no resync: a failed step is tried again after a pause.

mod graph;
mod resources;
mod steps;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DynamicObject, ObjectMeta, PartialObjectMeta, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tokio_util::time::DelayQueue;

use crate::objects::time;
use graph::{Graph, Object, ResourceId, Step};
use resources::{Resource, Resources};
use steps::Answer;

/// The pause before a failed step is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// Several changes of CustomResourceDefinitions within this time cause one discovery.
const DISCOVERY_DEBOUNCE: Duration = Duration::from_millis(30);

/// News of one kind's watch.
enum News {
    Seen(ResourceId, Box<ObjectMeta>),
    Gone(ResourceId, Box<ObjectMeta>),
    /// A complete list: what is not among these uids is gone.
    Listed(ResourceId, Vec<String>),
}

/// What the loop waits for besides news.
#[derive(Clone, Debug)]
enum Later {
    Discover,
    Again(Step),
}

struct Collector {
    client: Client,
    graph: Graph,
    resources: Arc<Resources>,
    watches: BTreeMap<ResourceId, AbortOnDropHandle<()>>,
    news: mpsc::UnboundedSender<News>,
    later: DelayQueue<Later>,
    discovery_is_due: bool,
    in_progress: Vec<Step>,
}

/// Runs until it is dropped.
pub(crate) async fn run(client: Client) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let mut collector = Collector {
        client,
        graph: Graph::default(),
        resources: Arc::default(),
        watches: BTreeMap::new(),
        news: sender,
        later: DelayQueue::new(),
        discovery_is_due: false,
        in_progress: Vec::new(),
    };
    collector.discover().await;
    let mut tasks = FuturesUnordered::new();
    loop {
        let steps = tokio::select! {
            // The collector itself holds a sender, so the channel never closes.
            Some(news) = receiver.recv() => collector.book(news),
            Some((step, result)) = tasks.next(), if !tasks.is_empty() => collector.answered(step, result),
            Some(expired) = collector.later.next(), if !collector.later.is_empty() => match expired.into_inner() {
                Later::Again(step) => collector.again(step),
                Later::Discover => {
                    collector.discovery_is_due = false;
                    collector.discover().await
                }
            },
        };
        for step in steps {
            if collector.in_progress.contains(&step) {
                continue;
            }
            collector.in_progress.push(step.clone());
            tasks.push(collector.perform(step));
        }
    }
}

impl Collector {
    /// Finds out what kinds there are, and watches exactly those.
    async fn discover(&mut self) -> Vec<Step> {
        let found = match Resources::discover(&self.client).await {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(%error, "discovery failed and will be tried again");
                self.discover_later(RETRY);
                return Vec::new();
            }
        };
        let lost: Vec<_> = self.watches.keys().filter(|id| found.get(id).is_none()).cloned().collect();
        let mut steps = Vec::new();
        for id in lost {
            self.watches.remove(&id);
            steps.extend(self.graph.of_resource(&id).iter().flat_map(|uid| self.graph.forget(uid)).collect::<Vec<_>>());
        }
        for (id, resource) in found.iter() {
            if !self.watches.contains_key(id) {
                let task = tokio::spawn(watch(self.client.clone(), id.clone(), resource.clone(), self.news.clone()));
                self.watches.insert(id.clone(), AbortOnDropHandle::new(task));
            }
        }
        self.resources = Arc::new(found);
        steps
    }

    fn discover_later(&mut self, delay: Duration) {
        if !std::mem::replace(&mut self.discovery_is_due, true) {
            self.later.insert(Later::Discover, delay);
        }
    }

    fn book(&mut self, news: News) -> Vec<Step> {
        match news {
            News::Seen(id, meta) => {
                self.notice_kind(&id);
                Object::new(id, &meta).map(|object| self.graph.observe(object)).unwrap_or_default()
            }
            News::Gone(id, meta) => {
                self.notice_kind(&id);
                meta.uid.as_ref().map(|uid| self.graph.forget(uid)).unwrap_or_default()
            }
            News::Listed(id, uids) => {
                let gone: Vec<_> = self.graph.of_resource(&id).into_iter().filter(|uid| !uids.contains(uid)).collect();
                gone.iter().flat_map(|uid| self.graph.forget(uid)).collect()
            }
        }
    }

    fn notice_kind(&mut self, id: &ResourceId) {
        if id.plural == "customresourcedefinitions" {
            self.discover_later(DISCOVERY_DEBOUNCE);
        }
    }

    fn perform(&self, step: Step) -> impl Future<Output = (Step, Result<Answer, kube::Error>)> + use<> {
        let object = match &step {
            Step::Verify { dependent: uid, .. }
            | Step::Delete { uid, .. }
            | Step::RemoveOwners { uid, .. }
            | Step::RemoveFinalizer { uid, .. } => self.graph.get(uid).cloned(),
            Step::Finalize { .. } => None,
        };
        let (client, resources) = (self.client.clone(), self.resources.clone());
        let remaining = match &step {
            Step::Finalize { namespace } => Some((namespace.clone(), self.graph.remaining(namespace))),
            _ => None,
        };
        async move {
            let result = steps::perform(&client, &resources, &step, object.as_ref()).await;
            if let (Some((namespace, remaining)), Ok(Answer::NotEmpty)) = (remaining, &result) {
                tell_remaining(&client, &namespace, remaining).await;
            }
            (step, result)
        }
    }

    fn answered(&mut self, step: Step, result: Result<Answer, kube::Error>) -> Vec<Step> {
        self.in_progress.retain(|running| *running != step);
        match result {
            Ok(Answer::Done) => Vec::new(),
            Ok(Answer::OwnerIsAbsent(uid)) => self.graph.owner_is_absent(&uid),
            Ok(Answer::NotEmpty) => {
                self.later.insert(Later::Again(step), RETRY);
                Vec::new()
            }
            Err(error) => {
                tracing::debug!(?step, %error, "a step of the garbage collector failed and will be tried again");
                self.later.insert(Later::Again(step), RETRY);
                Vec::new()
            }
        }
    }

    /// A step is not repeated blindly: the graph is asked what is due now.
    fn again(&self, step: Step) -> Vec<Step> {
        match step {
            Step::Finalize { namespace } => self.graph.empty(&namespace),
            Step::Delete { uid, policy } => {
                let due = self.graph.get(&uid).is_some_and(|object| !object.deleting);
                due.then_some(Step::Delete { uid, policy }).into_iter().collect()
            }
            Step::Verify { dependent: uid, .. }
            | Step::RemoveOwners { uid, .. }
            | Step::RemoveFinalizer { uid, .. } => self.graph.judge(&uid),
        }
    }
}

async fn watch(client: Client, id: ResourceId, resource: Resource, news: mpsc::UnboundedSender<News>) {
    let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client, &resource.api);
    let events = watcher(api, watcher::Config::default()).default_backoff();
    futures::pin_mut!(events);
    let mut listed = Vec::new();
    while let Some(event) = events.next().await {
        let sent = match event {
            Ok(watcher::Event::Apply(object)) => news.send(News::Seen(id.clone(), Box::new(object.metadata))),
            Ok(watcher::Event::Delete(object)) => news.send(News::Gone(id.clone(), Box::new(object.metadata))),
            Ok(watcher::Event::Init) => {
                listed.clear();
                Ok(())
            }
            Ok(watcher::Event::InitApply(object)) => {
                listed.extend(object.metadata.uid.clone());
                news.send(News::Seen(id.clone(), Box::new(object.metadata)))
            }
            Ok(watcher::Event::InitDone) => news.send(News::Listed(id.clone(), std::mem::take(&mut listed))),
            Err(error) => {
                tracing::debug!(resource = id.plural, %error, "a metadata watch is being restarted");
                Ok(())
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Shows in the conditions of a namespace why it is still there.
async fn tell_remaining(
    client: &Client,
    namespace: &str,
    (kinds, finalizers): (BTreeMap<String, usize>, BTreeMap<String, usize>),
) {
    let list = |counts: &BTreeMap<String, usize>, verb: &str| {
        let parts: Vec<_> =
            counts.iter().map(|(name, count)| format!("{name} {verb} {count} resource instances")).collect();
        parts.join(", ")
    };
    let condition = |type_: &str, reason: &str, message: String| {
        let status = if message.is_empty() { "False" } else { "True" };
        json!({"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": time(jiff::Timestamp::now())})
    };
    let conditions = [
        condition("NamespaceContentRemaining", "SomeResourcesRemain", list(&kinds, "has")),
        condition("NamespaceFinalizersRemaining", "SomeFinalizersRemain", list(&finalizers, "in")),
    ];
    let patch = json!({"status": {"conditions": conditions}});
    let api: Api<Namespace> = Api::all(client.clone());
    if let Err(error) = api.patch_status(namespace, &PatchParams::default(), &Patch::Merge(&patch)).await {
        tracing::debug!(namespace, %error, "the conditions of a namespace could not be written");
    }
}
