//! What an environment on real clusters consists of, layer by layer, and which layers one more `up` has to do: those whose
//! content is another than what was recorded, whose objects are gone, and all that stand on them. Pure; [`record`] keeps what
//! was done on disk, [`content`] says what is applied.

pub(super) mod arrangement;
pub(super) mod content;
pub(super) mod progress;
pub(super) mod record;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::cluster::ledger::Entry;
use crate::provider::existing::contexts::Refusal;

/// Annotation of the pods of Deployments: the hash of what they stand on, files that they read included. Where that changes, they are
/// started anew.
const STANDS_ON: &str = "meshproof.dev/stands-on";

/// A layer of an environment. The order is that in which they are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Layer {
    /// Networks of the machine and the router between them.
    Host,
    /// The cluster itself.
    Cluster,
    /// Images of our programs on its nodes.
    Images,
    /// What gives LoadBalancers their addresses, where that is installed.
    LoadBalancers,
    /// The certificate authority of its mesh.
    Authority,
    /// The control plane.
    Mesh,
    /// The gateways.
    Gateways,
    /// The manager of the management plane.
    Management,
    /// The management plane's agent, and what the manager needs to reach the cluster.
    Registration,
    /// The applications.
    Applications,
}

impl Layer {
    /// As people name it.
    #[must_use]
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Cluster => "cluster",
            Self::Images => "images",
            Self::LoadBalancers => "load balancers",
            Self::Authority => "certificate authority",
            Self::Mesh => "mesh",
            Self::Gateways => "gateways",
            Self::Management => "management plane",
            Self::Registration => "registration",
            Self::Applications => "applications",
        }
    }

    /// What it stands on.
    fn below(self) -> Option<Self> {
        match self {
            Self::Host => None,
            Self::Cluster => Some(Self::Host),
            Self::Images => Some(Self::Cluster),
            Self::LoadBalancers => Some(Self::Images),
            Self::Authority | Self::Management => Some(Self::LoadBalancers),
            Self::Mesh => Some(Self::Authority),
            Self::Gateways | Self::Registration | Self::Applications => Some(Self::Mesh),
        }
    }

    /// Whether another one goes with it when it is made anew.
    fn carries(self, other: Self) -> bool {
        matches!(self, Self::Host | Self::Cluster) && other > self
    }

    /// Whether it can be taken away by itself once nobody wants it any more.
    fn is_removable(self) -> bool {
        matches!(self, Self::Gateways | Self::Applications)
    }
}

/// A layer of a cluster; that of the host is of none, which is called the empty string.
pub(crate) type Key = (Layer, String);

/// What a layer is made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Part {
    /// What is applied, in that order.
    pub(crate) objects: Vec<Value>,
    /// What else it is made by: command lines, files, versions.
    pub(crate) settings: Vec<String>,
}

/// A layer that is wanted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Planned {
    /// Hash of what it is made of.
    pub(crate) content: String,
    /// Hash of all that it stands on.
    pub(crate) below: Option<String>,
    /// What is applied, in that order.
    pub(crate) objects: Vec<Value>,
}

/// A layer that was done, or begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recorded {
    /// Hash of what it was made of; nothing until it is done.
    pub(crate) content: Option<String>,
    /// Hash of all that it stood on.
    pub(crate) below: Option<String>,
    /// What it may have applied.
    pub(crate) objects: BTreeSet<Entry>,
}

/// What is to be done about a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing.
    Keep,
    /// Everything, for this reason.
    Do(Why),
}

/// Why a layer is done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Why {
    /// Nobody has begun it.
    #[error("it was not done before")]
    New,
    /// Somebody began it.
    #[error("it was not finished")]
    Unfinished,
    /// What it is made of is not what it was.
    #[error("it has changed")]
    Changed,
    /// What it stands on is not what it was, or is done once more.
    #[error("it stands on the {}, which changed", .0.word())]
    Below(Layer),
    /// Something of it is gone.
    #[error("{0} is gone")]
    Gone(String),
}

/// The layers that are made of these parts. Where `stamped`, pods say what they stand on.
#[must_use]
pub(crate) fn plan(parts: BTreeMap<Key, Part>, stamped: bool) -> BTreeMap<Key, Planned> {
    let mut planned: BTreeMap<Key, Planned> = BTreeMap::new();
    // A layer comes after all that it stands on.
    for ((layer, cluster), part) in parts {
        let below = below(&planned, layer, &cluster).map(|(_, one)| one.hash());
        let content = hash(&(&part.settings, &part.objects));
        let mut objects = part.objects;
        if let Some(below) = below.as_ref().filter(|_| stamped) {
            // What programs read when they start.
            let files = objects.iter().filter(|object| matches!(object["kind"].as_str(), Some("ConfigMap" | "Secret")));
            let stands_on = hash(&(below, files.collect::<Vec<_>>()));
            objects.iter_mut().for_each(|object| stamp(object, &stands_on));
        }
        planned.insert((layer, cluster), Planned { content, below, objects });
    }
    planned
}

/// The nearest layer of a cluster that there is below another.
fn below<'all, T>(all: &'all BTreeMap<Key, T>, layer: Layer, cluster: &str) -> Option<(Layer, &'all T)> {
    let mut layer = layer.below()?;
    loop {
        let place = if layer == Layer::Host { "" } else { cluster };
        if let Some(found) = all.get(&(layer, place.to_owned())) {
            return Some((layer, found));
        }
        layer = layer.below()?;
    }
}

impl Planned {
    fn hash(&self) -> String {
        hash(&(&self.content, &self.below))
    }
}

impl Recorded {
    /// A layer that is about to be done: what was there before may still be there.
    fn begun(before: Option<Self>, cluster: &str, planned: &Planned) -> Self {
        let mut objects = before.map(|before| before.objects).unwrap_or_default();
        objects.extend(planned.entries(cluster));
        Self { content: None, below: None, objects }
    }

    fn done(cluster: &str, planned: &Planned) -> Self {
        Self {
            content: Some(planned.content.clone()),
            below: planned.below.clone(),
            objects: planned.entries(cluster).collect(),
        }
    }
}

impl Planned {
    fn entries<'all>(&'all self, cluster: &'all str) -> impl Iterator<Item = Entry> + 'all {
        self.objects.iter().map(move |object| Entry::of(cluster, object))
    }
}

fn hash(value: &impl Serialize) -> String {
    let text = serde_json::to_vec(value).expect("invariant: plain data serialises");
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn stamp(object: &mut Value, stands_on: &str) {
    if object["kind"] != "Deployment" {
        return;
    }
    let metadata = &mut object["spec"]["template"]["metadata"];
    if !metadata["annotations"].is_object() {
        metadata["annotations"] = Value::Object(serde_json::Map::new());
    }
    // As many characters as tell one from another.
    metadata["annotations"][STANDS_ON] = stands_on[..16].into();
}

/// What is to be done about each layer. `absent` are objects that are wanted and not there.
#[must_use]
pub(crate) fn decide(
    planned: &BTreeMap<Key, Planned>,
    recorded: &BTreeMap<Key, Recorded>,
    absent: &BTreeSet<Entry>,
) -> BTreeMap<Key, Decision> {
    let mut decisions: BTreeMap<Key, Decision> = BTreeMap::new();
    for ((layer, cluster), wanted) in planned {
        let key = (*layer, cluster.clone());
        let gone = wanted.entries(cluster).find(|entry| absent.contains(entry));
        let base = below(&decisions, *layer, cluster).map(|(layer, decision)| (layer, decision.clone()));
        let why = match (recorded.get(&key), base) {
            (None, _) => Some(Why::New),
            (Some(Recorded { content: None, .. }), _) => Some(Why::Unfinished),
            (Some(done), _) if done.content.as_ref() != Some(&wanted.content) => Some(Why::Changed),
            (_, Some((base, Decision::Do(_)))) => Some(Why::Below(base)),
            (Some(done), Some((base, _))) if done.below != wanted.below => Some(Why::Below(base)),
            _ => gone.map(|entry| Why::Gone(entry.named())),
        };
        decisions.insert(key, why.map_or(Decision::Keep, Decision::Do));
    }
    decisions
}

/// What was made and nobody wants any more.
#[must_use]
pub(crate) fn obsolete(planned: &BTreeMap<Key, Planned>, recorded: &BTreeMap<Key, Recorded>) -> BTreeSet<Entry> {
    let wanted: BTreeSet<Entry> =
        planned.iter().flat_map(|((_, cluster), one)| one.entries(cluster).collect::<Vec<_>>()).collect();
    recorded.values().flat_map(|one| &one.objects).filter(|entry| !wanted.contains(entry)).cloned().collect()
}

/// A layer that was begun, that nobody wants any more, and that goes with the whole environment only.
#[must_use]
pub(crate) fn stuck<'all, T>(planned: &BTreeMap<Key, T>, recorded: &'all BTreeMap<Key, Recorded>) -> Option<&'all Key> {
    // Hosts and clusters come and go as their provider says.
    let on_a_cluster = |key: &&Key| key.0 > Layer::Cluster;
    recorded.keys().filter(on_a_cluster).find(|key| !key.0.is_removable() && !planned.contains_key(*key))
}

/// Says so, and what to do.
#[must_use]
pub(crate) fn not_taken_away((layer, cluster): &Key) -> Refusal {
    let cure = match layer {
        Layer::LoadBalancers => "say `--load-balancers` as before",
        Layer::Management | Layer::Registration => "say `--management hub`, or name the topology of before",
        _ => "say `--mesh` as before, or name the topology of before",
    };
    Refusal::new(
        format!("an earlier `up` made the {} of {cluster}, which is no longer wanted", layer.word()),
        format!("{cure}; otherwise it goes with the whole environment only: `meshproof down`, then `up`"),
    )
}
