//! What the core's thread is told.

use std::collections::BTreeSet;

use hub::output::OutputKind;
use hub::progress::{Progress, Report};
use hub::state::{Change, Outcome, State, Unit};
use mesh_types::hub::Kind;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::kinds::Key;
use crate::write::{Outcomes, Writer};

/// Something that the core's thread has to know.
pub enum Event {
    /// Inputs changed, or something came of a write.
    Changes(Vec<Change>, Instant),
    /// A kind of the management cluster was listed; its objects came before.
    Listed(Kind),
    /// The clusters that are registered when the manager starts.
    Registered(BTreeSet<String>),
    /// Everything of a cluster that the core has to know came before this, or the cluster does not answer.
    Read(String),
    /// Do not wait any longer for clusters that have not been read.
    Impatient,
    /// A cluster is written by this from now on.
    Joined(String, Writer<Unit>),
    /// A cluster is not written any more; answer once that holds.
    Left(String, oneshot::Sender<()>),
    /// It is known how things are in every cluster that answers.
    Settled,
    /// Somebody wants to know something.
    Ask(Box<dyn FnOnce(&State) + Send>),
}

/// Where the core's thread is told.
pub type Events = mpsc::UnboundedSender<Event>;

/// Asks the core's thread.
///
/// # Errors
/// The manager is stopping.
pub async fn ask<T: Send + 'static>(events: &Events, question: impl FnOnce(&State) -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    let question = Box::new(move |state: &State| drop(sender.send(question(state))));
    events.send(Event::Ask(question)).ok()?;
    receiver.await.ok()
}

/// Tells the core what came of writes into a cluster.
pub struct ToCore {
    /// The cluster.
    pub cluster: String,
    /// The core, which must not be kept alive by its own writers.
    pub events: mpsc::WeakUnboundedSender<Event>,
}

impl ToCore {
    fn tell(&self, change: Change) {
        // A manager that stops has nobody left to tell.
        let _stopping = self.events.upgrade().map(|events| events.send(Event::Changes(vec![change], Instant::now())));
    }
}

impl Outcomes<Unit> for ToCore {
    fn written(&self, owner: &Unit, key: &Key, error: Option<String>) {
        let Some(kind) = OutputKind::ALL.into_iter().find(|kind| kind.name() == key.kind.name) else { return };
        let key = hub::output::ObjectKey::new(kind, &key.namespace, &key.name);
        self.tell(Change::Written(Outcome { unit: owner.clone(), cluster: self.cluster.clone(), key, error }));
    }

    fn progress(&self, owner: &Unit, revision: u64, progress: Progress) {
        self.tell(Change::Progress(Report { unit: owner.clone(), cluster: self.cluster.clone(), revision, progress }));
    }
}
