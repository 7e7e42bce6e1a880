//! The plane's own resources as they were seen, and what a sight of them changes. Pure.

use std::collections::BTreeMap;

use hub::state::{Change, Input, InputKey};
use kube_support::watch;
use mesh_types::hub::names::LABEL_OWNER;
use mesh_types::hub::{Kind, Object, Resource};
use serde_json::Value;

/// What a sight of resources of a kind comes to.
#[derive(Debug, Default)]
pub struct Sight {
    /// For the core.
    pub changes: Vec<Change>,
    /// Objects that are there, as they are.
    pub there: Vec<(watch::Key, Value)>,
    /// Objects that are no longer there.
    pub gone: Vec<watch::Key>,
    /// Objects that cannot be read, and why.
    pub unreadable: Vec<(watch::Key, String)>,
}

/// Resources of one kind.
#[derive(Debug)]
pub struct Table {
    kind: Kind,
    owner: String,
    known: BTreeMap<watch::Key, Known>,
}

#[derive(Debug)]
struct Known {
    input: Input,
    by_hand: bool,
}

impl Table {
    /// An empty table; what carries the label of `owner` was written by this plane.
    pub fn new(kind: Kind, owner: &str) -> Self {
        Self { kind, owner: owner.to_owned(), known: BTreeMap::new() }
    }

    /// Takes the whole list over.
    pub fn all(&mut self, listed: BTreeMap<watch::Key, Value>) -> Sight {
        let mut sight = Sight::default();
        let gone: Vec<_> = self.known.keys().filter(|key| !listed.contains_key(*key)).cloned().collect();
        gone.into_iter().for_each(|key| self.gone_into(key, &mut sight));
        listed.into_iter().for_each(|(key, value)| self.set_into(key, value, &mut sight));
        sight
    }

    /// Takes an object over.
    pub fn set(&mut self, key: watch::Key, value: Value) -> Sight {
        let mut sight = Sight::default();
        self.set_into(key, value, &mut sight);
        sight
    }

    /// Takes over that an object is gone.
    pub fn gone(&mut self, key: watch::Key) -> Sight {
        let mut sight = Sight::default();
        self.gone_into(key, &mut sight);
        sight
    }

    fn set_into(&mut self, key: watch::Key, value: Value, sight: &mut Sight) {
        match input(self.kind, value.clone()) {
            Ok(Some(input)) => {
                let by_hand = value["metadata"]["labels"][LABEL_OWNER].as_str() != Some(&self.owner);
                let name = input.key();
                let before = self.known.insert(key.clone(), Known { input, by_hand }).map(|known| known.input.key());
                if let Some(before) = before.filter(|before| *before != name) {
                    self.settle(before, sight);
                }
                self.settle(name, sight);
            }
            Ok(None) => {}
            // What was known of it holds on.
            Err(error) => sight.unreadable.push((key.clone(), error)),
        }
        sight.there.push((key, value));
    }

    fn gone_into(&mut self, key: watch::Key, sight: &mut Sight) {
        if let Some(known) = self.known.remove(&key) {
            self.settle(known.input.key(), sight);
        }
        sight.gone.push(key);
    }

    /// Says what holds for a name. Two Destinations may be for one Service: the one that somebody wrote by hand holds.
    fn settle(&self, name: InputKey, sight: &mut Sight) {
        let candidates: Vec<&Known> = match name {
            InputKey::Destination(_) => self.known.values().filter(|known| known.input.key() == name).collect(),
            InputKey::Cluster(ref cluster) => {
                self.known.iter().filter(|((_, known), _)| known == cluster).map(|(_, known)| known).collect()
            }
            InputKey::Mesh(ref one)
            | InputKey::Workload(ref one)
            | InputKey::VirtualMesh(ref one)
            | InputKey::TrafficPolicy(ref one)
            | InputKey::VirtualDestination(ref one)
            | InputKey::AccessPolicy(ref one) => {
                self.known.get(&(one.namespace.clone(), one.name.clone())).into_iter().collect()
            }
            InputKey::Foreign(_) => Vec::new(),
        };
        let holds = candidates.iter().find(|known| known.by_hand).or_else(|| candidates.first());
        sight.changes.push(match holds {
            Some(known) => Change::put(known.input.clone()),
            None => Change::Remove(name),
        });
    }
}

/// An object as the core takes it; `None` for a kind that the core does not take.
fn input(kind: Kind, value: Value) -> Result<Option<Input>, String> {
    fn read<R: Resource>(value: Value) -> Result<Object<R>, String> {
        Object::from_value(value).map_err(|error| error.to_string())
    }
    Ok(Some(match kind {
        Kind::KubernetesCluster => Input::Cluster(read(value)?),
        Kind::Mesh => Input::Mesh(read(value)?),
        Kind::Workload => Input::Workload(read(value)?),
        Kind::Destination => Input::Destination(read(value)?),
        Kind::VirtualMesh => Input::VirtualMesh(read(value)?),
        Kind::TrafficPolicy => Input::TrafficPolicy(read(value)?),
        Kind::VirtualDestination => Input::VirtualDestination(read(value)?),
        Kind::AccessPolicy => Input::AccessPolicy(read(value)?),
        Kind::IssuedCertificate | Kind::CertificateRequest | Kind::WorkloadRestart => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn destination(owner: &str, region: &str) -> Value {
        json!({ "metadata": { "labels": { LABEL_OWNER: owner } },
            "spec": { "kubeService": { "ref": { "name": "details", "namespace": "bookinfo", "clusterName": "c1" },
                "labels": { "from": region } } } })
    }

    fn key(name: &str) -> watch::Key {
        ("hub".to_owned(), name.to_owned())
    }

    fn told(sight: &Sight) -> Vec<String> {
        let tell = |change: &Change| match change {
            Change::Put(input) => match &**input {
                Input::Destination(object) => object.spec.kube_service.labels["from"].clone(),
                other => format!("{other:?}"),
            },
            Change::Remove(_) => "gone".to_owned(),
            other => format!("{other:?}"),
        };
        sight.changes.iter().map(tell).collect()
    }

    #[test]
    fn a_destination_by_hand_holds_against_one_that_was_found() {
        let mut table = Table::new(Kind::Destination, "hub");
        assert_eq!(told(&table.set(key("found"), destination("hub", "found"))), ["found"]);
        assert_eq!(told(&table.set(key("zz"), destination("", "by hand"))), ["by hand"]);
        assert_eq!(told(&table.gone(key("found"))), ["by hand"]);
        assert_eq!(told(&table.set(key("found"), destination("hub", "found"))), ["by hand"]);
        assert_eq!(told(&table.gone(key("zz"))), ["found"]);
        assert_eq!(told(&table.gone(key("found"))), ["gone"]);
    }

    #[test]
    fn what_a_list_lacks_is_gone_and_what_cannot_be_read_stays() {
        let mut table = Table::new(Kind::Destination, "hub");
        table.set(key("a"), destination("hub", "a"));
        let sight = table.set(key("a"), json!({ "spec": { "kubeService": 7 } }));
        assert_eq!((sight.changes.len(), sight.unreadable.len()), (0, 1));
        let sight = table.all(BTreeMap::new());
        assert_eq!((told(&sight), sight.gone), (vec!["gone".to_owned()], vec![key("a")]));
    }
}
