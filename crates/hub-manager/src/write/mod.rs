//! Makes the objects of one cluster what they shall be: one task per cluster, which compares what is wanted with what is seen,
//! object by object. It takes nothing as done that it has not seen, and writes nothing that is as it shall be.

pub mod observation;
pub mod plan;
pub mod request;
mod task;
mod units;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hub::output::Desired;
use hub::progress::Progress;
use kube::Client;
use mesh_types::hub::acknowledgement::Acknowledgements;
use mesh_types::hub::names;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::kinds::{Key, ResourceKind};
use observation::Observation;

pub use task::run;

/// An object as it shall be.
#[derive(Clone, Debug)]
pub enum Manifest {
    /// As the hub's core made it.
    Output(Arc<Desired>),
    /// As the manager made it.
    Own(Arc<Value>),
}

impl Manifest {
    fn value(&self) -> Arc<Value> {
        let mut value = match self {
            // The core renders it; it is JSON.
            Self::Output(desired) => serde_json::from_str(&desired.manifest).unwrap_or_default(),
            Self::Own(value) => Value::clone(value),
        };
        mark(&mut value);
        Arc::new(value)
    }

    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Output(one), Self::Output(other)) => Arc::ptr_eq(one, other) || one == other,
            (Self::Own(one), Self::Own(other)) => Arc::ptr_eq(one, other) || one == other,
            _ => false,
        }
    }
}

/// Notes what an object was written from. What is there may have more fields than are wanted, for API servers fill some in; by
/// this it shows that a field was wanted before, and is not any more.
fn mark(manifest: &mut Value) {
    let digest = names::digest(manifest["spec"].to_string().as_bytes());
    if let Some(metadata) = manifest["metadata"].as_object_mut() {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        annotations[names::ANNOTATION_WRITTEN] = format!("{digest:016x}").into();
    }
}

/// What is wanted of an object from now on.
#[derive(Clone, Debug)]
pub struct Wanted<T> {
    /// As it shall be; `None` where it shall not be.
    pub manifest: Option<Manifest>,
    /// Whose object it is.
    pub owner: T,
    /// The call of the core that it follows from.
    pub revision: u64,
    /// When the change was seen that it follows from.
    pub since: Instant,
}

/// What a writer is told.
pub enum Command<T> {
    /// What is wanted of some objects from now on.
    Want(Vec<(Key, Wanted<T>)>),
    /// All objects that are wanted from now on of a part of the cluster. Objects of the part that are the hub's and not among
    /// these are garbage.
    WantAll(String, BTreeMap<Key, Wanted<T>>),
    /// Nothing is wanted of any part that is not among these.
    ForgetOthers(BTreeSet<String>),
    /// All objects of a kind that are there.
    Listed(ResourceKind, BTreeMap<Key, Observation>),
    /// A kind cannot be read, for the reason.
    Blind(ResourceKind, String),
    /// An object is there in this state, or is gone.
    Seen(Key, Option<Box<Observation>>),
    /// The cluster answers.
    Connected(Client),
    /// The cluster does not answer, for the reason.
    Disconnected(String),
    /// The agent told something of the proxies.
    Proxies(Acknowledgements),
    /// The agent tells nothing, for the reason.
    NoProxies(String),
    /// Answer once nothing is left to do, and nothing failed.
    WhenDone(oneshot::Sender<()>),
    /// Answer once it is known how things are: everything is read and compared, or the cluster does not answer.
    WhenSettled(oneshot::Sender<()>),
    /// Say how things are.
    Inspect(oneshot::Sender<Inspection>),
}

/// How a writer's things are.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// Objects that are wanted.
    pub wanted: usize,
    /// Objects of the hub that are there.
    pub there: usize,
    /// Objects about which something is to be done.
    pub queued: Vec<String>,
    /// Objects that are being written.
    pub writing: usize,
    /// What failed, by object.
    pub failures: BTreeMap<String, String>,
}

/// Where a writer tells what came of it.
pub trait Outcomes<T>: Send + Sync + 'static {
    /// An object was written after it could not be, or could not be written.
    fn written(&self, owner: &T, key: &Key, error: Option<String>);
    /// The objects of an owner got this far; `revision` is the last call of the core that this takes into account.
    fn progress(&self, owner: &T, revision: u64, progress: Progress);
}

/// What a writer is for.
pub struct Settings<T> {
    /// Name of the cluster.
    pub cluster: String,
    /// Value of the owner's label.
    pub owner: String,
    /// To which part of the cluster an object belongs.
    pub part: fn(&Observation) -> &str,
    /// Kinds of which proxies hear nothing: done once they are written.
    pub unheard: BTreeSet<ResourceKind>,
    /// Kinds that it has to know completely before it writes any of them.
    pub kinds: Vec<ResourceKind>,
    /// Where it tells what came of it.
    pub outcomes: Arc<dyn Outcomes<T>>,
    /// Where it counts.
    pub metrics: Arc<crate::metrics::Metrics>,
}

/// A running writer.
pub struct Writer<T> {
    commands: mpsc::UnboundedSender<Command<T>>,
}

impl<T> Clone for Writer<T> {
    fn clone(&self) -> Self {
        Self { commands: self.commands.clone() }
    }
}

impl<T: Clone + Ord + Send + Sync + 'static> Writer<T> {
    /// Starts a writer; it ends when all its handles are gone.
    pub fn start(settings: Settings<T>) -> Self {
        let (commands, receiver) = mpsc::unbounded_channel();
        tokio::spawn(run(settings, receiver));
        Self { commands }
    }

    /// Tells it something. One that has ended has nothing left to do.
    pub fn tell(&self, command: Command<T>) {
        let _ended = self.commands.send(command);
    }

    /// Waits until nothing is left to do.
    pub async fn done(&self) {
        let (sender, receiver) = oneshot::channel();
        self.tell(Command::WhenDone(sender));
        let _ended = receiver.await;
    }

    /// Waits until it is known how things are.
    pub async fn settled(&self) {
        let (sender, receiver) = oneshot::channel();
        self.tell(Command::WhenSettled(sender));
        let _ended = receiver.await;
    }

    /// How things are.
    pub async fn inspect(&self) -> Inspection {
        let (sender, receiver) = oneshot::channel();
        self.tell(Command::Inspect(sender));
        receiver.await.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::plan::{Step, step};
    use super::*;

    #[test]
    fn a_field_that_is_no_longer_wanted_is_a_difference() {
        let wanted = |spec: Value| {
            let labels = json!({ names::LABEL_OWNER: "hub" });
            Manifest::Own(Arc::new(json!({ "metadata": { "labels": labels }, "spec": spec }))).value()
        };
        let before =
            wanted(json!({ "endpoints": [{ "address": "10.0.0.1" }], "http": [{ "timeout": "2s", "name": "a" }] }));
        let there = Observation::of(&before);
        assert_eq!(step("hub", Some(&before), Some(&there), true), Step::Nothing);
        for less in [
            json!({ "http": [{ "timeout": "2s", "name": "a" }] }),
            json!({ "endpoints": [{ "address": "10.0.0.1" }], "http": [{ "name": "a" }] }),
        ] {
            let step = step("hub", Some(&wanted(less)), Some(&there), true);
            assert_eq!(step, Step::Apply { new: false, force: true, replace: false });
        }
    }
}
