//! What has to be done so that what was there becomes what shall be.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::change::{Action, Unit, Write};
use crate::output::{Clusters, Emitted, ObjectKey};

/// Writes that turn the objects of a unit from `before` into `after`.
pub(super) fn writes(unit: &Unit, before: &[Emitted], after: &[Emitted]) -> Vec<Write> {
    let mut by_key: BTreeMap<&ObjectKey, (Vec<&Emitted>, Vec<&Emitted>)> = BTreeMap::new();
    for emitted in before {
        by_key.entry(&emitted.object.key).or_default().0.push(emitted);
    }
    for emitted in after {
        by_key.entry(&emitted.object.key).or_default().1.push(emitted);
    }
    by_key.into_iter().flat_map(|(key, (before, after))| of_object(unit, key, &before, &after)).collect()
}

/// An object may be another in some clusters; no cluster is in two of the sets on one side.
fn of_object(unit: &Unit, key: &ObjectKey, before: &[&Emitted], after: &[&Emitted]) -> Vec<Write> {
    let write = |clusters, action| Write { unit: unit.clone(), clusters, action };
    let mut writes = Vec::new();
    for wanted in after {
        let apply = |clusters| write(clusters, Action::Apply(Arc::clone(&wanted.object)));
        let same = before.iter().find(|old| old.object == wanted.object);
        match same {
            Some(old) if old.clusters == wanted.clusters => {}
            Some(old) => {
                let more: Clusters = wanted.clusters.difference(&old.clusters).map(str::to_owned).collect();
                if !more.is_empty() {
                    writes.push(apply(more));
                }
            }
            None => writes.push(apply(wanted.clusters.clone())),
        }
    }
    for old in before {
        let mut gone = old.clusters.clone();
        for wanted in after {
            // What stays in the sets of now is not gone; what is left shrinks quickly.
            gone = gone.difference(&wanted.clusters).map(str::to_owned).collect();
            if gone.is_empty() {
                break;
            }
        }
        if !gone.is_empty() {
            writes.push(write(gone, Action::Delete(key.clone())));
        }
    }
    writes
}

/// Leaves out deletions of objects that another unit takes over in the same cluster at the same time.
pub(super) fn handed_over(writes: Vec<Write>) -> Vec<Write> {
    let deletes = |write: &Write| matches!(write.action, Action::Delete(_));
    if !writes.iter().any(deletes) {
        return writes;
    }
    let mut applied: BTreeMap<ObjectKey, Vec<Clusters>> = BTreeMap::new();
    for write in &writes {
        if let Action::Apply(object) = &write.action {
            applied.entry(object.key.clone()).or_default().push(write.clusters.clone());
        }
    }
    let left = |mut write: Write| {
        if let Action::Delete(key) = &write.action {
            for taken in applied.get(key).into_iter().flatten() {
                write.clusters = write.clusters.difference(taken).map(str::to_owned).collect();
            }
        }
        (!write.clusters.is_empty()).then_some(write)
    };
    writes.into_iter().filter_map(left).collect()
}

#[cfg(test)]
mod tests {
    use mesh_types::hub::ObjectRef;

    use super::*;
    use crate::output::{OutputKind, Renderer};

    fn emitted(name: &str, content: &str, clusters: &[&str]) -> Emitted {
        let key = ObjectKey::new(OutputKind::VirtualService, "ns", name);
        Emitted {
            object: Renderer { owner: "hub" }.render(key, &[], &serde_json::json!({ "content": content })),
            clusters: clusters.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn shown(before: &[Emitted], after: &[Emitted]) -> Vec<String> {
        let unit = Unit::Mesh(ObjectRef::new("m", "hub"));
        let show = |write: &Write| {
            let clusters = write.clusters.iter().collect::<Vec<_>>().join(" ");
            match &write.action {
                Action::Apply(object) => {
                    let value: serde_json::Value = serde_json::from_str(&object.manifest).unwrap();
                    format!("{} = {} in {clusters}", object.key.name, value["spec"]["content"].as_str().unwrap())
                }
                Action::Delete(key) => format!("{} gone in {clusters}", key.name),
            }
        };
        writes(&unit, before, after).iter().map(show).collect()
    }

    #[test]
    fn only_what_differs_is_written() {
        let before = [emitted("a", "1", &["x", "y"]), emitted("b", "1", &["x"])];
        assert_eq!(shown(&before, &before), Vec::<String>::new());
        let after = [emitted("a", "1", &["y", "z"]), emitted("c", "1", &["x"])];
        assert_eq!(shown(&before, &after), ["a = 1 in z", "a gone in x", "b gone in x", "c = 1 in x"]);
    }

    #[test]
    fn an_object_that_differs_between_clusters_is_followed_in_each() {
        let before = [emitted("a", "1", &["x", "y", "z"])];
        let after = [emitted("a", "1", &["x", "z"]), emitted("a", "2", &["y"])];
        assert_eq!(shown(&before, &after), ["a = 2 in y"]);
        assert_eq!(shown(&after, &before), ["a = 1 in y"]);
        assert_eq!(shown(&after, &[emitted("a", "2", &["x"])]), ["a = 2 in x", "a gone in z", "a gone in y"]);
    }

    #[test]
    fn an_object_that_another_unit_takes_over_is_not_deleted() {
        let (old, new) = (emitted("a", "1", &["x", "y"]), emitted("a", "2", &["y"]));
        let unit = |name: &str| Unit::VirtualDestination(ObjectRef::new(name, "hub"));
        let mut both = writes(&unit("taker"), &[], &[new]);
        both.extend(writes(&unit("giver"), &[old], &[]));
        let deleted: Vec<_> = handed_over(both)
            .into_iter()
            .filter(|write| matches!(write.action, Action::Delete(_)))
            .map(|write| write.clusters.iter().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        assert_eq!(deleted, [["x"]]);
    }
}
