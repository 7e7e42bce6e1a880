//! A manager that leads: its tasks, wired together.

use std::sync::Arc;

use hub::state::{State, Unit};
use hub::world::Settings as HubSettings;
use kube::Client;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Duration;

use crate::admin::View;
use crate::clusters::report::Directory;
use crate::clusters::{self, Agents, Shared};
use crate::core::{Core, KINDS};
use crate::event::{Event, Events};
use crate::kinds::{Key, ResourceKind};
use crate::management::{DISCOVERED, Outlets, follow_kind};
use crate::metrics::Metrics;
use crate::plane::Plane;
use crate::signing::run::Signing;
use crate::status::StatusWriter;
use crate::write::{Command, Outcomes, Settings, Writer};

/// How long statuses wait after a start for what is known of proxies, so that none is written for a moment only.
const SETTLE: Duration = Duration::from_secs(5);

/// A running manager; dropping it ends all it does.
pub struct Manager {
    /// The core.
    pub events: Events,
    /// What is told about clusters.
    pub directory: Directory,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Agents of the clusters.
    pub agents: Agents,
    /// Whether everything was read and the work has begun.
    pub began: watch::Receiver<bool>,
    tasks: JoinSet<()>,
    /// Tells when the core has ended; nothing once that was told.
    core: Option<oneshot::Receiver<()>>,
}

impl Manager {
    /// What there is to look at.
    pub fn view(&self) -> View {
        View { events: self.events.clone(), directory: self.directory.clone(), metrics: Arc::clone(&self.metrics) }
    }

    /// Starts to work in a management cluster.
    pub fn start(client: Client, plane: &Plane) -> Self {
        Self::start_with(client, plane, Agents::default())
    }

    /// The same; where the agents are is told in `agents`.
    pub fn start_with(client: Client, plane: &Plane, agents: Agents) -> Self {
        let metrics = Arc::new(Metrics::default());
        let directory = Directory::default();
        let (events, receiver) = mpsc::unbounded_channel();
        let statuses = StatusWriter::start(client.clone(), Arc::clone(&metrics));
        let discovered = discovered(plane, &metrics, &client);
        let (registrations, sights) = mpsc::unbounded_channel();
        let outlets = Outlets {
            events: events.clone(),
            statuses: statuses.clone(),
            discovered: discovered.clone(),
            registrations,
        };
        let mut tasks = JoinSet::new();
        for kind in KINDS {
            tasks.spawn(follow_kind(client.clone(), plane.clone(), kind, outlets.clone()));
        }
        drop(outlets);
        let management = client.clone();
        let shared = Shared {
            management: client,
            plane: plane.clone(),
            events: events.clone(),
            discovered,
            statuses: statuses.clone(),
            metrics: Arc::clone(&metrics),
            directory: directory.clone(),
            agents: agents.clone(),
        };
        tasks.spawn(clusters::run(shared, sights));
        let (began, core) = start_core(plane, events.clone(), receiver, statuses, Arc::clone(&metrics));
        let signing = Signing {
            management,
            plane: plane.clone(),
            events: events.clone(),
            agents: agents.clone(),
            began: began.clone(),
        };
        tasks.spawn(signing.run());
        Self { events, directory, metrics, agents, began, tasks, core: Some(core) }
    }

    /// Waits until a part of it ends, which none does unless something is wrong with it; says which.
    pub async fn ended(&mut self) -> &'static str {
        let core = async {
            match &mut self.core {
                Some(core) => drop(core.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = core => {
                self.core = None;
                "the core"
            }
            Some(_) = self.tasks.join_next() => "a task",
        }
    }

    /// Ends everything and waits for it.
    pub async fn stop(self) {
        let Self { events, mut tasks, core, .. } = self;
        tasks.shutdown().await;
        // With its last sender the core ends, with the core the writers.
        drop(events);
        if let Some(core) = core
            && tokio::time::timeout(SETTLE, core).await.is_err()
        {
            tracing::warn!("the core has not ended yet");
        }
    }
}

/// The writer of what is discovered, into the management cluster.
fn discovered(plane: &Plane, metrics: &Arc<Metrics>, client: &Client) -> Writer<()> {
    let kinds: Vec<ResourceKind> = DISCOVERED.into_iter().map(ResourceKind::from).collect();
    let settings = Settings {
        cluster: "management".to_owned(),
        owner: plane.identity.clone(),
        part: |there| there.cluster(),
        unheard: kinds.iter().copied().collect(),
        kinds,
        outcomes: Arc::new(Silent),
        metrics: Arc::clone(metrics),
    };
    let writer = Writer::start(settings);
    writer.tell(Command::Connected(client.clone()));
    writer
}

/// What comes of writing what is discovered is in the log; the next look at the cluster tries again.
struct Silent;

impl Outcomes<()> for Silent {
    fn written(&self, _: &(), _: &Key, _: Option<String>) {}
    fn progress(&self, _: &(), _: u64, _: hub::progress::Progress) {}
}

fn start_core(
    plane: &Plane,
    events: Events,
    receiver: mpsc::UnboundedReceiver<Event>,
    statuses: StatusWriter,
    metrics: Arc<Metrics>,
) -> (watch::Receiver<bool>, oneshot::Receiver<()>) {
    let (namespace, owner) = (plane.namespace.clone(), plane.identity.clone());
    let state = State::new(HubSettings { namespace, owner, ..HubSettings::default() });
    let (begin, began) = watch::channel(false);
    // The core must not keep itself alive: it ends when everybody else has let go of its events.
    let weak = events.downgrade();
    let core = Core::new(state, events.downgrade(), statuses, metrics);
    drop(events);
    let runtime = tokio::runtime::Handle::current();
    let settle = move |writers: Vec<Writer<Unit>>| {
        begin.send_replace(true);
        let events = weak.clone();
        runtime.spawn(async move {
            let all = futures::future::join_all(writers.iter().map(Writer::settled));
            if tokio::time::timeout(SETTLE, all).await.is_err() {
                tracing::info!("not every cluster told how things are; statuses are written all the same");
            }
            if let Some(events) = events.upgrade() {
                let _stopping = events.send(Event::Settled);
            }
        });
    };
    // It computes, at times for longer than a task should.
    let (ended, end) = oneshot::channel();
    let run = move || {
        core.run(receiver, settle);
        let _gone = ended.send(());
    };
    let spawned = std::thread::Builder::new().name("hub-core".to_owned()).spawn(run);
    if let Err(error) = spawned {
        tracing::error!(%error, "the core's thread does not start");
    }
    (began, end)
}
